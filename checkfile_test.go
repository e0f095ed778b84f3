package tarn_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
)

// holder is a server that has a share of the file, and is not the one given.
func (g *testGrid) holder(r tarn.CheckResult) int {
	g.t.Helper()
	return slices.IndexFunc(g.ids, func(id grid.ServerID) bool { return len(r.GoodAt()[id]) > 0 })
}

// leave ends a server, and waits until the client has noticed.
func (g *testGrid) leave(i int) {
	g.t.Helper()
	if err := g.servers[i].Close(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
	g.ids = slices.Delete(g.ids, i, i+1)
	g.servers = append(slices.Delete(g.servers, i, i+1), g.servers[i]) // the client still knows it
	g.await(len(g.ids))
}

// A file is checked and made whole again by its verify capability, by its owner
// and, while he is not there, by who has a repair cap.
func TestCheckAndRepair(t *testing.T) {
	g := newGrid(t, 6, file.Params{Needed: 2, Happy: 4, Total: 4, SegmentSize: 256 << 10})
	data := random(1 << 20)
	read := g.put(data).Cap
	parsed, err := file.Parse(read)
	if err != nil {
		t.Fatal(err)
	}
	verify := parsed.(file.CHK).Verifier().String()
	check := func(o tarn.CheckOptions) tarn.CheckResult {
		t.Helper()
		r, err := g.client.Check(t.Context(), verify, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	progress := int64(0)
	whole := check(tarn.CheckOptions{Verify: true, Progress: func(done, _ int64) { progress = max(progress, done) }})
	if !whole.Healthy() || !whole.Verified || progress < int64(len(data)) || len(whole.Names) != 6 {
		t.Errorf("%s, %d bytes read, %v", whole.Summary(), progress, whole.Names)
	}
	g.leave(g.holder(whole))
	if r := check(tarn.CheckOptions{}); r.Shares() != 3 || r.Healthy() || !r.Recoverable() || len(r.Silent) != 1 {
		t.Errorf("a server is gone: %s", r.Summary())
	}
	repaired, err := g.client.Repair(t.Context(), verify, tarn.CheckOptions{})
	if err != nil || !repaired.Attempted || repaired.Pushed != 1 || !repaired.After.Healthy() || repaired.Err != nil {
		t.Fatalf("repaired: %+v, %v", repaired, err)
	}

	repairer := g.open(tarn.Config{Repairer: &tarn.RepairerConfig{Key: newKey(t), Files: 1, Every: time.Hour, Verify: time.Hour}})
	theirs, err := repairer.Repairer()
	if err != nil {
		t.Fatal(err)
	}
	c, err := g.client.RepairCap(t.Context(), read, theirs.Key(), time.Now().AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte(read)) || c.VerifyCap != verify {
		t.Error("a repair cap has what reads the file")
	}
	g.leave(g.holder(repaired.After))
	if _, err := theirs.Add(t.Context(), "alice", bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Check(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	list, err := theirs.List(t.Context())
	if err != nil || len(list) != 1 || !list[0].Files[0].Healthy || list[0].Files[0].Pushed != 1 {
		t.Errorf("looked after: %+v, %v", list, err)
	}
	if r := check(tarn.CheckOptions{Verify: true}); !r.Healthy() {
		t.Errorf("after the repairer: %s", r.Summary())
	}
	if got := g.get(read); !bytes.Equal(got, data) {
		t.Error("the file is another one")
	}
}

func TestCheckOfWhatHasNoShares(t *testing.T) {
	g := newGrid(t, 1, file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 1 << 20})
	for _, literal := range []string{"URI:LIT:krugkidfnzsc4", "URI:DIR2-LIT:"} {
		r, err := g.client.Check(t.Context(), literal, tarn.CheckOptions{Verify: true})
		if err != nil || !r.Healthy() || !r.Literal {
			t.Errorf("%s: %+v, %v", literal, r, err)
		}
		repaired, err := g.client.Repair(t.Context(), literal, tarn.CheckOptions{})
		if err != nil || repaired.Attempted || !repaired.After.Healthy() {
			t.Errorf("%s: %+v, %v", literal, repaired, err)
		}
	}
	if _, err := g.client.Check(t.Context(), "nonsense", tarn.CheckOptions{}); !errors.Is(err, tarn.ErrCap) {
		t.Errorf("nonsense: %v", err)
	}
	lost := file.CHKVerifier{Needed: 1, Total: 1, Size: 100}.String()
	r, err := g.client.Repair(t.Context(), lost, tarn.CheckOptions{})
	if err != nil || !errors.Is(r.Err, tarn.ErrNotEnoughShares) || r.After.Recoverable() {
		t.Errorf("a file that there is not: %+v, %v", r, err)
	}
	if _, err := g.servers[0].Check(t.Context(), lost, tarn.CheckOptions{}); !errors.Is(err, tarn.ErrNoClient) {
		t.Errorf("a node without a client: %v", err)
	}
}

// Mutable files and directories are checked by any of their capabilities.
func TestCheckOfWhatChanges(t *testing.T) {
	g := newGrid(t, 4, file.Params{Needed: 2, Happy: 3, Total: 4, SegmentSize: 128 << 10})
	made := g.createMutable(someBytes(1, 700_000), tarn.MutableOptions{Format: tarn.MDMF})
	dir, err := g.client.MakeDirectory(t.Context(), tarn.MutableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{made.Cap, made.ReadCap, verifierText(t, made.Cap), dir.Cap, verifierText(t, dir.Cap)} {
		r, err := g.client.Check(t.Context(), c, tarn.CheckOptions{Verify: true})
		if err != nil || !r.Healthy() || r.Happiness() != 4 || r.Shares() != 4 || len(r.Names) != 4 {
			t.Errorf("%.12s: %s (%v), %v", c, r.Summary(), r.Report, err)
		}
	}
	g.leave(0)
	if _, err := g.client.Overwrite(t.Context(), made.Cap, bytes.NewReader(someBytes(2, 1000))); err != nil {
		t.Fatal(err)
	}
	r, err := g.client.Check(t.Context(), made.Cap, tarn.CheckOptions{})
	if err != nil || r.Shares() != 4 || r.Happiness() != 3 || len(r.Silent) != 1 || !r.Healthy() {
		t.Errorf("a server is gone, and its share is elsewhere: %s (%v), %v", r.Summary(), r.Report, err)
	}
	r, err = g.client.Check(t.Context(), dir.ReadCap, tarn.CheckOptions{AddLease: true})
	if err != nil || r.Shares() != 3 || r.Healthy() || !r.Recoverable() || r.Leased != 3 {
		t.Errorf("a server is gone: %s (%v), %v", r.Summary(), r.Report, err)
	}
	refused, err := g.client.Repair(t.Context(), dir.ReadCap, tarn.CheckOptions{})
	if err != nil || !errors.Is(refused.Err, tarn.ErrReadOnly) || refused.Attempted {
		t.Errorf("repaired by who can only read: %+v, %v", refused, err)
	}
	repaired, err := g.client.Repair(t.Context(), dir.Cap, tarn.CheckOptions{})
	if err != nil || repaired.Err != nil || !repaired.Attempted || !repaired.After.Healthy() || repaired.Pushed == 0 || repaired.After.Leased != 4 {
		t.Errorf("repaired: %+v, %v", repaired, err)
	}
	for _, c := range []string{dir.Cap, made.Cap} {
		if r, err := g.client.Check(t.Context(), c, tarn.CheckOptions{Verify: true}); err != nil || !r.Healthy() {
			t.Errorf("after the repair: %s, %v", r.Summary(), err)
		}
	}
	if _, err := g.client.RepairCap(t.Context(), made.Cap, grid.PublicKeyOf(newKey(t)), time.Now().Add(time.Hour)); !errors.Is(err, tarn.ErrCap) {
		t.Errorf("a repair cap of a mutable file: %v", err)
	}
}

func verifierText(t *testing.T, capability string) string {
	t.Helper()
	parsed, err := file.Parse(capability)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := file.Verifier(parsed)
	if err != nil {
		t.Fatal(err)
	}
	return verifier.String()
}
