package tarn_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
)

// leasedGrid is a server on which one account has many leases, and that
// account's client, over the network of this machine.
type leasedGrid struct {
	*testGrid
	shares []lease.ShareID
}

func introduced(t testing.TB) *leasedGrid {
	g := &leasedGrid{testGrid: &testGrid{t: t}}
	in := g.open(tarn.Config{Introducer: &tarn.IntroducerConfig{Key: newKey(t), Listen: []string{"/ip4/127.0.0.1/tcp/0"}}})
	status, err := in.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g.ref = *status.Introducer
	return g
}

// newLeasedGrid fills the folders of server and client before they start; with
// listed the client's journal has all leases.
func newLeasedGrid(b *testing.B, leases int, listed bool) *leasedGrid {
	g := introduced(b)
	g.name(leases)
	key, account := newKey(b), newAccount(b)
	id := grid.ServerID(grid.PublicKeyOf(key))
	g.start(key, account, account, time.Now())
	dir := b.TempDir()
	if listed {
		g.fillJournal(b, dir, id)
	}
	g.startClient(dir, account)
	return g
}

// name makes up so many shares.
func (g *leasedGrid) name(leases int) {
	for i := range leases { // spread as hashes are, and in order
		var id lease.ShareID
		binary.BigEndian.PutUint64(id.StorageIndex[:], uint64(i)*(1<<63/uint64(leases)))
		binary.BigEndian.PutUint64(id.StorageIndex[8:], uint64(i+1)*0x9e3779b97f4a7c15)
		g.shares = append(g.shares, id)
	}
}

// start starts a server on which owner has a lease on each share, made then,
// and both may store.
func (g *leasedGrid) start(key ed25519.PrivateKey, owner, other lease.Account, then time.Time) {
	id := grid.ServerID(grid.PublicKeyOf(key))
	g.servers = append(g.servers, g.openIn(g.filledServer(owner.PublicKey(id), other.PublicKey(id), then), tarn.Config{
		Introducers: []tarn.IntroducerRef{g.ref},
		Storage:     &tarn.StorageConfig{Key: key, Listen: []string{"/ip4/127.0.0.1/tcp/0"}},
	}))
}

func (g *leasedGrid) startClient(dir string, account lease.Account) {
	g.client = g.openIn(dir, tarn.Config{
		Introducers: []tarn.IntroducerRef{g.ref}, Client: &tarn.ClientConfig{Params: twoServers, Account: account},
	})
	g.await(1)
}

func (g *leasedGrid) openIn(dir string, c tarn.Config) *tarn.Node {
	c.Dir = dir
	n, err := tarn.Open(g.t.Context(), c)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = n.Close(context.Background()) })
	return n
}

func (g *leasedGrid) filledServer(account, other grid.PublicKey, then time.Time) string {
	b := g.t
	b.Helper()
	dir := b.TempDir()
	s, err := store.Open(filepath.Join(dir, "storage"), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	l := lease.NewLedger(s, lease.LedgerPolicy{Duration: lease.LeaseDuration})
	grant := lease.Grant{Root: account, Keys: []grid.PublicKey{account}, Label: account}
	apply := func(c lease.Change, err error) {
		if err == nil {
			_, err = s.Apply(c)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	apply(l.PutRoots(lease.Root{Key: other, Petname: "other"}))
	apply(l.PutRoots(lease.Root{Key: account, Petname: "owner"}))
	for _, id := range g.shares {
		c, _, err := l.Put(then, grant, id, lease.Body{}, lease.NoLimit)
		apply(c, err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return dir
}

func (g *leasedGrid) fillJournal(b *testing.B, dir string, server grid.ServerID) {
	b.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "private"), 0o700); err != nil {
		b.Fatal(err)
	}
	j, err := store.OpenJournal(filepath.Join(dir, "private", "journal"), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var leases []lease.JournalLease
	for _, id := range g.shares {
		leases = append(leases, lease.JournalLease{Share: id, Renewed: time.Now().Unix(), Expires: time.Now().Add(lease.LeaseDuration).Unix()})
	}
	for len(leases) > 0 {
		n := min(len(leases), 4096)
		if err := j.Adopt(server, leases[:n]); err != nil {
			b.Fatal(err)
		}
		leases = leases[n:]
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRenewal renews 100,000 leases of one account on one server, journal
// included, over a real connection.
func BenchmarkRenewal(b *testing.B) {
	n := 100_000
	if testing.Short() {
		n = 2000
	}
	g := newLeasedGrid(b, n, true)
	for b.Loop() {
		l, err := g.client.RenewLeases(b.Context())
		if err != nil || len(l.Servers) != 1 || l.Servers[0].Renewed != n {
			b.Fatalf("%+v, %v", l, err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "leases/s")
}

// BenchmarkReconcile compares an empty journal with the leases of one account
// on one server, and an equal one after that; and reports by how much the heap
// of both nodes together grew at most.
func BenchmarkReconcile(b *testing.B) {
	n := 1_000_000
	if testing.Short() {
		n = 5000
	}
	g := newLeasedGrid(b, n, false)
	runtime.GC()
	before, most := heap(), atomic.Uint64{}
	o := tarn.ReconcileOptions{Fix: true, Found: func(tarn.LeaseDifference) error {
		if n--; n%8192 == 0 {
			most.Store(max(most.Load(), heap()))
		}
		return nil
	}}
	all := int64(n)
	for b.Loop() {
		list, err := g.client.Reconcile(b.Context(), o)
		if err != nil || len(list) != 1 || list[0].There != all || list[0].Err != nil {
			b.Fatalf("%+v, %v", list, err)
		}
	}
	b.ReportMetric(float64(max(most.Load(), before)-before)/1e6, "MB")
	b.ReportMetric(float64(all)*float64(b.N)/b.Elapsed().Seconds(), "leases/s")
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
