package tarn_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
)

var twoServers = file.Params{Needed: 1, Happy: 2, Total: 2, SegmentSize: 128 << 10}

// another opens a client of the same grid with an empty journal.
func (g *testGrid) another(account lease.Account) *tarn.Node {
	g.t.Helper()
	n := g.open(tarn.Config{
		Introducers: []tarn.IntroducerRef{g.ref},
		Client:      &tarn.ClientConfig{Params: twoServers, Account: account, Convergence: bytes.Repeat([]byte("c"), 16)},
	})
	first := g.client
	g.client = n
	g.await(len(g.servers))
	g.client = first
	return n
}

// grant makes an account at every server.
func (g *testGrid) grant(petname string, account lease.Account) {
	g.t.Helper()
	for i, s := range g.servers {
		op, err := s.Operator()
		if err != nil {
			g.t.Fatal(err)
		}
		key := account.PublicKey(g.ids[i])
		if _, _, err := op.AddAccount(g.t.Context(), petname, &key, nil); err != nil {
			g.t.Fatal(err)
		}
	}
}

// sameAccount is a grid whose client's account is known.
func sameAccount(t testing.TB) (*testGrid, lease.Account) {
	g := newGrid(t, 2, twoServers)
	account := newAccount(t)
	g.grant("carol", account)
	g.client = g.another(account)
	return g, account
}

func reconcile(t testing.TB, n *tarn.Node, o tarn.ReconcileOptions) (sum tarn.Reconciliation, all []tarn.LeaseDifference) {
	t.Helper()
	o.Found = func(d tarn.LeaseDifference) error { all = append(all, d); return nil }
	list, err := n.Reconcile(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if r.Err != nil {
			t.Fatalf("%s: %v", r.Nickname, r.Err)
		}
		sum.There += r.There
		sum.Known += r.Known
		sum.Unknown += r.Unknown
		sum.Lapsed += r.Lapsed
		sum.Returned += r.Returned
		sum.Shorter += r.Shorter
		sum.Mended += r.Mended
	}
	if int64(len(all)) != sum.Differences() {
		t.Errorf("told of %d differences of %+v", len(all), sum)
	}
	return sum, all
}

func wantSum(t testing.TB, what string, got, want tarn.Reconciliation) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

// A client that lost its journal gets it back from the servers; one whose
// leases somebody else gave up learns that they are gone.
func TestReconcile(t *testing.T) {
	g, account := sameAccount(t)
	for i := range 3 {
		g.put(random(1000 + 100_000*i))
	}
	sum, _ := reconcile(t, g.client, tarn.ReconcileOptions{})
	wantSum(t, "at first", sum, tarn.Reconciliation{There: 6, Known: 6})

	lost := g.another(account)
	for range 2 { // looking changes nothing
		sum, _ = reconcile(t, lost, tarn.ReconcileOptions{})
		wantSum(t, "without a journal", sum, tarn.Reconciliation{There: 6, Unknown: 6})
	}
	sum, _ = reconcile(t, lost, tarn.ReconcileOptions{Fix: true})
	wantSum(t, "mended", sum, tarn.Reconciliation{There: 6, Unknown: 6, Mended: 6})
	sum, _ = reconcile(t, lost, tarn.ReconcileOptions{Fix: true})
	wantSum(t, "after that", sum, tarn.Reconciliation{There: 6, Known: 6})
	if l, err := lost.Leases(t.Context()); err != nil || l.Files != 3 || len(l.Servers) != 2 || l.Servers[0].Leases != 3 {
		t.Errorf("leases: %+v, %v", l, err)
	}

	tidy := g.another(account)
	sum, _ = reconcile(t, tidy, tarn.ReconcileOptions{Fix: true, CancelUnknown: true})
	wantSum(t, "given up", sum, tarn.Reconciliation{There: 6, Unknown: 6, Mended: 6})
	if usage, _, err := g.client.OwnUsage(t.Context()); err != nil || usage[0].Shares+usage[1].Shares != 0 {
		t.Errorf("usage after all was given up: %+v, %v", usage, err)
	}
	sum, found := reconcile(t, g.client, tarn.ReconcileOptions{Fix: true})
	wantSum(t, "gone", sum, tarn.Reconciliation{Known: 6, Lapsed: 6})
	for _, d := range found {
		if d.Kind != lease.Lapsed || d.Mended != "the share is gone" || d.VerifyCap == "" || !d.Expires.IsZero() {
			t.Errorf("found %+v", d)
		}
	}
	sum, _ = reconcile(t, g.client, tarn.ReconcileOptions{})
	wantSum(t, "known to be gone", sum, tarn.Reconciliation{})
	wantLapsed(t, g.client, 3)
}

// wantLapsed wants so many files to be listed as lapsed, each without a share.
func wantLapsed(t testing.TB, n *tarn.Node, files int) {
	t.Helper()
	err := n.LeasedFiles(t.Context(), false, func(f tarn.LeasedFile) error {
		if f.Held != 0 || f.Needed != 1 || len(f.Shares) != 2 || f.VerifyCap == "" || f.Shares[0].Lapsed.IsZero() {
			t.Errorf("lapsed: %+v", f)
		}
		files--
		return nil
	})
	if err != nil || files != 0 {
		t.Errorf("%d files more were to be listed as lapsed, %v", files, err)
	}
}

// A lease that is gone is made again where somebody else keeps the share.
func TestReconcileMakesLeasesAgain(t *testing.T) {
	g, account := sameAccount(t)
	other := newAccount(t)
	g.grant("dave", other)
	data := random(5000)
	c := g.put(data).Cap
	dave := g.another(other)
	if _, err := dave.Put(t.Context(), bytes.NewReader(data), tarn.PutOptions{Size: -1}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.another(account).GiveUp(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	sum, found := reconcile(t, g.client, tarn.ReconcileOptions{Fix: true})
	wantSum(t, "made again", sum, tarn.Reconciliation{Known: 2, Lapsed: 2, Mended: 2})
	if found[0].Mended != "made again" {
		t.Errorf("found %+v", found)
	}
	sum, _ = reconcile(t, g.client, tarn.ReconcileOptions{})
	wantSum(t, "after that", sum, tarn.Reconciliation{There: 2, Known: 2})
}

// What somebody gives up is gone at once; what he keeps by its verify cap is
// renewed from then on.
func TestKeepAndGiveUp(t *testing.T) {
	g, account := sameAccount(t)
	c := g.put(random(5000)).Cap
	parsed, err := file.Parse(c)
	if err != nil {
		t.Fatal(err)
	}
	keeper := g.another(account)
	kept, err := keeper.Keep(t.Context(), parsed.(file.CHK).Verifier().String())
	if err != nil || len(kept) != 2 || kept[0].Leases != 1 || kept[0].Expires.IsZero() {
		t.Fatalf("kept %+v, %v", kept, err)
	}
	if l, err := keeper.Leases(t.Context()); err != nil || l.Files != 1 {
		t.Errorf("the keeper's journal: %+v, %v", l, err)
	}
	gone, err := g.client.GiveUp(t.Context(), c)
	if err != nil || len(gone) != 2 || gone[0].Leases != 1 || gone[0].Err != nil {
		t.Fatalf("given up %+v, %v", gone, err)
	}
	if usage, _, err := g.client.OwnUsage(t.Context()); err != nil || usage[0].Bytes+usage[1].Bytes != 0 {
		t.Errorf("usage %+v, %v", usage, err)
	}
	if l, err := g.client.Leases(t.Context()); err != nil || l.Files != 0 || len(l.Servers) != 0 {
		t.Errorf("the journal: %+v, %v", l, err)
	}
	if again, err := g.client.GiveUp(t.Context(), c); err != nil || len(again) != 0 {
		t.Errorf("given up twice: %+v, %v", again, err)
	}
	for _, bad := range []string{"nonsense", "URI:LIT:nbswy3dp"} {
		if _, err := g.client.GiveUp(t.Context(), bad); !errors.Is(err, tarn.ErrCap) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A server that is away when a file is given up is named, with the day on
// which its lease ends by itself.
func TestGiveUpWhileServerIsAway(t *testing.T) {
	g, _ := sameAccount(t)
	c := g.put(random(5000)).Cap
	reconcile(t, g.client, tarn.ReconcileOptions{Fix: true}) // which tells when leases end
	if err := g.servers[0].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone, err := g.client.GiveUp(t.Context(), c)
	if err != nil || len(gone) != 2 {
		t.Fatalf("given up %+v, %v", gone, err)
	}
	away := 0
	for _, f := range gone {
		if f.Err != nil {
			away++
			if f.Server != g.ids[0] || f.Expires.IsZero() {
				t.Errorf("away: %+v", f)
			}
		}
	}
	if away != 1 {
		t.Errorf("%d servers are said to be away", away)
	}
	list, err := g.client.Reconcile(t.Context(), tarn.ReconcileOptions{})
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	for _, r := range list {
		if (r.Err != nil) != (r.Server == g.ids[0]) {
			t.Errorf("reconciled %+v", r)
		}
	}
}

// Where somebody else has stored something else under a file's storage index,
// no lease is put on that.
func TestReconcileLeavesJunkAlone(t *testing.T) {
	g, mine, other, key := introduced(t), newAccount(t), newAccount(t), newKey(t)
	id := grid.ServerID(grid.PublicKeyOf(key))
	junk := lease.ShareID{StorageIndex: grid.StorageIndex{7}} // whose content has the hash zero
	g.shares = []lease.ShareID{junk}
	g.start(key, other, mine, time.Now())
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	j, err := store.OpenJournal(filepath.Join(dir, "private", "journal"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := file.CHKVerifier{StorageIndex: junk.StorageIndex, UEBHash: tagged.Hash{8}, Needed: 1, Total: 1, Size: 1000}
	f := lease.JournalFile{StorageIndex: junk.StorageIndex, VerifyCap: v.String(), Size: v.Size}
	l := lease.JournalLease{Share: junk, Label: mine.PublicKey(id), Renewed: time.Now().Unix(), Expires: time.Now().Add(lease.LeaseDuration).Unix()}
	if err := errors.Join(j.Add(f, []lease.PlacedLease{{Server: id, JournalLease: l}}), j.Close()); err != nil {
		t.Fatal(err)
	}
	g.startClient(dir, mine)
	sum, found := reconcile(t, g.client, tarn.ReconcileOptions{Fix: true})
	wantSum(t, "junk", sum, tarn.Reconciliation{Known: 1, Lapsed: 1})
	if found[0].Mended != "the share is gone" {
		t.Errorf("found %+v", found)
	}
	if usage, _, err := g.client.OwnUsage(t.Context()); err != nil || usage[0].Shares != 0 {
		t.Errorf("usage %+v, %v", usage, err)
	}
}
