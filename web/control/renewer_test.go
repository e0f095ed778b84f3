package control_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

// renewals is a tarn.Renewer for one name.
type renewals struct {
	name string
	cap  lease.RenewalCap
	err  error
}

func (r *renewals) Key() grid.PublicKey { return grid.PublicKey{9} }

func (r *renewals) Add(_ context.Context, name string, from io.Reader) (tarn.Renewed, error) {
	c, err := lease.ReadRenewalCap(from)
	if err != nil {
		return tarn.Renewed{}, err
	}
	r.name, r.cap = name, c
	return r.renewed(), r.err
}

func (r *renewals) renewed() tarn.Renewed {
	return tarn.Renewed{
		Name: r.name, Added: renewedAt, Until: renewedAt.AddDate(3, 0, 0), Files: 1, Leases: int64(r.cap.Leases()), Lapsed: 1, Next: renewedAt,
		Servers:  []tarn.ServerLeases{{Nickname: "s1", Leases: 2, Lapsed: 1, Err: lease.ErrAuthorityRevoked}},
		Managers: []tarn.RenewedCards{{Manager: grid.ServerID{7}, Until: renewedAt, LastError: "no"}},
	}
}

func (r *renewals) List(context.Context) ([]tarn.Renewed, error) {
	return []tarn.Renewed{r.renewed()}, r.err
}

func (r *renewals) Lapsed(_ context.Context, name string, yield func(tarn.LeasedFile) error) error {
	if name != r.name {
		return tarn.ErrNoRenewal
	}
	err := yield(tarn.LeasedFile{StorageIndex: grid.StorageIndex{7}, Shares: []tarn.LeasedShare{{Num: 3, Lapsed: renewedAt}}})
	return errors.Join(err, r.err)
}

func (r *renewals) Remove(_ context.Context, name string) error {
	if name != r.name {
		return tarn.ErrNoRenewal
	}
	r.name = ""
	return nil
}

var renewedAt = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// smallCap is a renewal cap for two leases.
func smallCap(t *testing.T) lease.RenewalCap {
	t.Helper()
	owner, server := lease.AccountOf([lease.SeedSize]byte{1}), grid.ServerID{1}
	held := []lease.HeldLeases{{Server: server, Label: owner.PublicKey(server), Shares: []lease.ShareID{{Num: 1}, {Num: 2}}}}
	c, _, err := lease.Authority{Holdings: []lease.Holding{{Account: owner}}}.RenewalCap(grid.PublicKey{9}, 1<<33, held)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRenewerOverTheSocket: a cap goes from one node to the other, and what the
// renewer says and refuses arrives as it was.
func TestRenewerOverTheSocket(t *testing.T) {
	ctx := t.Context()
	want := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	owner := start(t, &memnode.Node{Cap: smallCap(t)}, t.TempDir())
	made, err := owner.RenewalCap(ctx, grid.PublicKey{9}, renewedAt)
	if err != nil || made.Leases != 2 || made.Left != 3 || !strings.Contains(made.Cap, "BEGIN TARN RENEWAL CAP") {
		t.Fatalf("made %+v, %v", made, err)
	}
	_, err = owner.RenewalCap(ctx, grid.PublicKey{8}, renewedAt)
	want("a cap for nothing", err, lease.ErrNoCommonServer)

	theirs := &renewals{}
	c := start(t, &memnode.Node{Renewals: theirs}, t.TempDir())
	added, err := c.AddRenewal(ctx, "alice", made.Cap)
	if err != nil || added.Name != "alice" || added.Leases != 2 || added.Servers[0].Error != lease.ErrAuthorityRevoked.Error() {
		t.Errorf("added %+v, %v", added, err)
	}
	list, err := c.Renewals(ctx)
	if err != nil || len(list) != 1 || !list[0].Next.Equal(renewedAt) || list[0].Managers[0] != (control.RenewedCards{Manager: grid.ServerID{7}.String(), Until: renewedAt, LastError: "no"}) {
		t.Errorf("list %+v, %v", list, err)
	}
	var files []control.LeasedFile
	see := func(f control.LeasedFile) error { files = append(files, f); return nil }
	if err := c.Lapsed(ctx, "alice", see); err != nil || len(files) != 1 || files[0].Shares[0].Number != 3 || !files[0].Shares[0].Lapsed.Equal(renewedAt) {
		t.Errorf("lapsed %+v, %v", files, err)
	}
	want("nobody's", c.Lapsed(ctx, "bob", see), tarn.ErrNoRenewal)
	want("nobody's", c.RemoveRenewal(ctx, "bob"), tarn.ErrNoRenewal)
	want("removed", c.RemoveRenewal(ctx, "alice"), nil)
	_, err = c.AddRenewal(ctx, "alice", "nonsense")
	want("nonsense", err, lease.ErrRenewalCap)
	for _, refusal := range []error{tarn.ErrRenewalTaken, tarn.ErrRenewerFull, tarn.ErrRenewalName, lease.ErrNotSigner} {
		theirs.err = refusal
		_, err = c.AddRenewal(ctx, "alice", made.Cap)
		want("refused", err, refusal)
	}
	_, err = owner.Renewals(ctx)
	want("not a renewer", err, tarn.ErrNoRenewer)
	want("not a renewer", owner.Lapsed(ctx, "alice", see), tarn.ErrNoRenewer)
}
