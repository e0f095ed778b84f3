package server_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport/wire"
)

// diskRig is a server on a folder of the real disk.
func diskRig(t testing.TB, dir string, change ...func(*server.Config)) *rig {
	t.Helper()
	return diskRigIn(t, sim.New(91, nil), dir, change...)
}

func diskRigIn(t testing.TB, w *sim.World, dir string, change ...func(*server.Config)) *rig {
	t.Helper()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	onDisk := func(c *server.Config) {
		at := c.Store.(table)
		at.Store = s
		c.Store = at
	}
	r := newRigIn(t, w, append([]func(*server.Config){onDisk}, change...)...)
	r.table.Store = s
	return r
}

// stop is the end of the process.
func (r *rig) stop() {
	r.Helper()
	r.world.Crash("storage")
	if err := r.table.Close(); err != nil {
		r.Fatal(err)
	}
}

// TestSharesOfALostTable are found, proven, and lent a month; what proves
// nothing is left alone.
func TestSharesOfALostTable(t *testing.T) {
	dir := t.TempDir()
	r := diskRig(t, dir)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("kept", 100_000)
	for n := byte(1); n <= 3; n++ {
		c.offer(allocate(n, 0, share), share)
	}
	r.until("all are stored", func() bool { return len(c.stored) == 3 })
	r.stop()
	if err := os.RemoveAll(filepath.Join(dir, "table")); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "shares", grid.StorageIndex{2}.String()[:2], grid.StorageIndex{2}.String(), "0")
	if err := os.WriteFile(damaged, share[:len(share)-1], 0o600); err != nil {
		t.Fatal(err)
	}

	r = diskRig(t, dir)
	r.until("they are adopted", func() bool { adopting, err := r.table.Adopting(); return err == nil && !adopting })
	r.until("both are counted", func() bool {
		u := r.usage(t)
		return len(u) == 1 && u[0].Root.Petname == server.StarterPetname && u[0].Own.Stored.Leases == 2
	})
	r.addAccount(1, nil)
	c = r.dial("client")
	c.logIn(1)
	if got := c.offer(allocate(1, 0, share), share); got.State != wire.AlreadyHere {
		t.Errorf("offered again: %v", got)
	}
	if _, err := os.Stat(damaged); err != nil {
		t.Errorf("the damaged one: %v", err)
	}
	if err := r.world.For(32 * 24 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if u := r.usage(t); len(u) != 1 || u[0].Own.Stored.Leases != 0 {
		t.Errorf("usage after a month: %+v", u)
	}
}

// TestCollectorIsPaced: however many files there are to delete, the disk has
// time for others.
func TestCollectorIsPaced(t *testing.T) {
	at := map[time.Time]int{} // how many were deleted when
	r := newRig(t, 92)
	r.restartWith(deletions{r.table, func() { at[r.world.Now()]++ }})
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	const shares = 300 // each a file
	for n := range shares {
		share := shareNumber(grid.ShareNum(n%4), "x", 40_000)
		c.offer(allocate(byte(n/4+1), grid.ShareNum(n%4), share), share)
	}
	r.until("all are stored", func() bool { return len(c.stored) == shares })
	r.changed(server.RemoveRoot{Name: "account 1", CancelLeases: true})
	r.until("all are gone", func() bool { return len(r.usage(t)) == 0 && r.nothingGoes() })
	jobs := slices.SortedFunc(maps.Keys(at), time.Time.Compare)
	for i, job := range jobs {
		if at[job] > 64 {
			t.Errorf("%d files deleted without a rest", at[job])
		}
		if i > 0 && job.Sub(jobs[i-1]) < 20*time.Millisecond {
			t.Errorf("a rest of %v", job.Sub(jobs[i-1]))
		}
	}
	if took := jobs[len(jobs)-1].Sub(jobs[0]); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

// deletions tells of each share whose bytes are deleted.
type deletions struct {
	table
	deleted func()
}

func (d deletions) Delete(all ...lease.GoingShare) ([]lease.GoingShare, error) {
	for range all {
		d.deleted()
	}
	return d.table.Delete(all...)
}

func (r *rig) nothingGoes() bool {
	r.Helper()
	going, err := r.table.Going()
	if err != nil {
		r.Fatal(err)
	}
	return len(going) == 0
}

// restartWith is the server again, on another store.
func (r *rig) restartWith(s server.Store) {
	r.Helper()
	r.world.Crash("storage")
	r.net.Crash("server")
	r.config.Store = s
	r.pid, _ = r.world.Sys.Root("storage", server.New(r.world.Env(), r.config))
	r.status() // answered once it listens
}

// TestScanGoesOnAfterARestart: a pass over the leases is not begun anew.
func TestScanGoesOnAfterARestart(t *testing.T) {
	r := newRig(t, 93)
	cursor := []byte("L\xff")
	if err := r.table.SaveProgress(cursor); err != nil {
		t.Fatal(err)
	}
	var asked [][]byte
	r.world.Crash("storage")
	r.net.Crash("server")
	r.config.Store = watched{table: r.table, scanned: func(from []byte) { asked = append(asked, from) }}
	r.pid, _ = r.world.Sys.Root("storage", server.New(r.world.Env(), r.config))
	r.until("a scan", func() bool { return len(asked) > 0 })
	if string(asked[0]) != string(cursor) {
		t.Errorf("the scan began at %q", asked[0])
	}
	if err := r.world.For(2 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if len(asked) < 2 || asked[1] != nil {
		t.Errorf("the next scans began at %q", asked[1:])
	}
	if cursor, err := r.table.Progress(); cursor != nil || err != nil {
		t.Errorf("a restart would go on at %q (%v)", cursor, err)
	}
}

// TestRootThatComesBack keeps what was not cancelled yet, and nobody goes on
// looking for it: it comes back when the collector has found its leases.
func TestRootThatComesBack(t *testing.T) {
	kept := 0
	for seed := range uint64(20) {
		kept += rootThatComesBack(t, seed)
	}
	if kept == 0 {
		t.Error("it never came back in time")
	}
}

func rootThatComesBack(t *testing.T, seed uint64) (kept int) {
	r := newRig(t, seed)
	passes := 0
	pub := grid.PublicKeyOf(key(1))
	comeBack := func() {
		if passes++; passes == 1 {
			root := lease.Root{Key: pub, Petname: "account 1"}
			inbox := r.world.Inbox("operator", func(any) {})
			r.world.Sys.Env.Spawn.Send(r.pid, &actor.MessageEnvelope{Message: server.PutRoot{Root: root}, Sender: inbox})
		}
	}
	r.restartWith(watched{table: r.table, under: comeBack})
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("x", 1000)
	c.do(allocate(1, 0, share), share)
	r.changed(server.RemoveRoot{Name: pub.String(), CancelLeases: true})
	if err := r.world.For(10 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if u := r.usage(t); len(u) != 1 || u[0].Removed {
		t.Errorf("usage %+v", u)
	} else {
		kept = int(u[0].Own.Stored.Leases)
	}
	if passes > 5 {
		t.Errorf("seed %d: %d passes over the leases", seed, passes)
	}
	return kept
}

// watched tells where scans begin, and of each step of a scan for what is to be
// cancelled.
type watched struct {
	table
	scanned func(from []byte)
	under   func()
}

func (w watched) ScanUnder(root grid.PublicKey, from []byte, limit int) ([]lease.StoredLease, []byte, error) {
	if w.under != nil {
		w.under()
	}
	return w.table.ScanUnder(root, from, limit)
}

func (w watched) ScanExpired(now time.Time, from []byte, limit int) ([]lease.LeaseID, []byte, error) {
	if w.scanned != nil {
		w.scanned(from)
	}
	return w.table.ScanExpired(now, from, limit)
}
