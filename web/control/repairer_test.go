package control_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

// repairs is a tarn.Repairer for one name.
type repairs struct {
	name    string
	checked []string
	removed []grid.StorageIndex
	err     error
}

func (r *repairs) Key() grid.PublicKey { return grid.PublicKey{9} }

func (r *repairs) watched() tarn.Watched {
	return tarn.Watched{Name: r.name, Files: []tarn.WatchedFile{{
		StorageIndex: grid.StorageIndex{7}, Size: 5, Needed: 1, Total: 3, Happy: 2, Added: renewedAt, Checked: renewedAt, Next: renewedAt,
		Shares: 2, Happiness: 2, Summary: "Not Healthy", Recoverable: true, Lost: 4, Pushed: 3, Trouble: "s1: full",
	}}}
}

func (r *repairs) Add(_ context.Context, name string, from io.Reader) (tarn.Watched, error) {
	if _, err := lease.ReadRepairCaps(from); err != nil {
		return tarn.Watched{}, err
	}
	r.name = name
	return r.watched(), r.err
}

func (r *repairs) List(context.Context) ([]tarn.Watched, error) {
	return []tarn.Watched{r.watched()}, r.err
}

func (r *repairs) Check(_ context.Context, name string) error {
	r.checked = append(r.checked, name)
	return r.err
}

func (r *repairs) Remove(_ context.Context, name string, si *grid.StorageIndex) error {
	if name != r.name {
		return tarn.ErrNoRepair
	}
	if si != nil {
		r.removed = append(r.removed, *si)
	}
	return r.err
}

// TestRepairerOverTheSocket: a cap goes from one node to the other, and what the
// repairer says and refuses arrives as it was.
func TestRepairerOverTheSocket(t *testing.T) {
	ctx := t.Context()
	want := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	mine := lease.Authority{Holdings: []lease.Holding{{Account: lease.AccountOf([lease.SeedSize]byte{1})}}}
	c, err := mine.RepairCap(grid.PublicKey{9}, 1<<33, grid.StorageIndex{7}, lease.UEBHash{8}, []grid.ServerID{{1}, {2}})
	if err != nil {
		t.Fatal(err)
	}
	c.VerifyCap, c.Happy = "URI:the-file", 2
	owner := start(t, &memnode.Node{Mending: c}, t.TempDir())
	made, err := owner.RepairCap(ctx, "URI:the-file", grid.PublicKey{9}, renewedAt)
	if err != nil || made.Servers != 2 || !strings.Contains(made.Cap, "BEGIN TARN REPAIR CAP") {
		t.Fatalf("made %+v, %v", made, err)
	}
	_, err = owner.RepairCap(ctx, "URI:another", grid.PublicKey{9}, renewedAt)
	want("a cap for nothing", err, lease.ErrNoCommonServer)

	theirs := &repairs{}
	n := start(t, &memnode.Node{Repairs: theirs}, t.TempDir())
	added, err := n.AddRepair(ctx, "alice", made.Cap)
	if err != nil || added.Name != "alice" || len(added.Files) != 1 {
		t.Errorf("added %+v, %v", added, err)
	}
	list, err := n.Watched(ctx)
	f := control.WatchedFile{
		StorageIndex: grid.StorageIndex{7}.String(), Size: 5, Needed: 1, Total: 3, Happy: 2, Added: renewedAt, Checked: renewedAt, Next: renewedAt,
		Shares: 2, Happiness: 2, Summary: "Not Healthy", Recoverable: true, Lost: 4, Pushed: 3, Trouble: "s1: full",
	}
	if err != nil || len(list) != 1 || len(list[0].Files) != 1 || list[0].Files[0] != f {
		t.Errorf("list %+v, %v", list, err)
	}
	want("checked", n.CheckWatched(ctx, "alice"), nil)
	want("removed", n.RemoveRepair(ctx, "alice", grid.StorageIndex{7}.String()), nil)
	want("all", n.RemoveRepair(ctx, "alice", ""), nil)
	want("nonsense", n.RemoveRepair(ctx, "alice", "nonsense"), control.ErrRequest)
	want("nobody's", n.RemoveRepair(ctx, "bob", ""), tarn.ErrNoRepair)
	if len(theirs.checked) != 1 || theirs.checked[0] != "alice" || len(theirs.removed) != 1 || theirs.removed[0] != (grid.StorageIndex{7}) {
		t.Errorf("checked %v, removed %v", theirs.checked, theirs.removed)
	}
	_, err = n.AddRepair(ctx, "alice", "nonsense")
	want("nonsense", err, lease.ErrRepairCap)
	for _, refusal := range []error{tarn.ErrRepairTaken, tarn.ErrRepairerFull, tarn.ErrRenewalName, lease.ErrNotSigner, tarn.ErrNoRepair} {
		theirs.err = refusal
		_, err = n.AddRepair(ctx, "alice", made.Cap)
		want("refused", err, refusal)
	}
	_, err = owner.Watched(ctx)
	want("not a repairer", err, tarn.ErrNoRepairer)
}
