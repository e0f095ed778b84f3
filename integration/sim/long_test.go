package sim_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
)

// both is 1 of n shares small enough to lie in the table, and 2 of n in files.
var (
	inTable = file.Params{Needed: 1, Happy: 3, Total: 4, SegmentSize: 128 << 10}
	inFiles = file.Params{Needed: 2, Happy: 3, Total: 4, SegmentSize: 16 << 10}
)

func (g *simGrid) content(size int) []byte {
	data := make([]byte, size)
	_, _ = g.Rand().Read(data) // never fails
	return data
}

// putBoth stores a small and a larger file.
func (g *simGrid) putBoth(c *clientNode) error {
	if _, err := g.putNow(c, g.content(1000), inTable); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	if _, err := g.putNow(c, g.content(150_000), inFiles); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	return nil
}

// fullDisks: nothing new is stored, and all the rest goes on.
func fullDisks(w *sim.World) error {
	g, err := aGrid{servers: 4, clients: 2}.build(w)
	if err != nil {
		return err
	}
	if err := g.putBoth(g.clients[0]); err != nil {
		return err
	}
	before := g.leases()
	for _, s := range g.servers {
		s.disk.full = true
	}
	if err := g.For(time.Minute); err != nil {
		return err
	}
	for _, p := range []file.Params{inTable, inFiles} {
		var few *placement.TooFewServers
		if _, err := g.putNow(g.clients[0], g.content(100_000), p); !errors.As(err, &few) {
			return fmt.Errorf("put on full disks: %w", orNil(err))
		}
	}
	for _, f := range g.files {
		if err := g.getNow(g.clients[1], f); err != nil {
			return fmt.Errorf("read from full disks: %w", err)
		}
	}
	return g.renewOnFullDisks(before)
}

// renewOnFullDisks stores again what is there: that only makes leases new.
func (g *simGrid) renewOnFullDisks(before map[lease.LeaseID]lease.Lease) error {
	for _, f := range g.files[:2] {
		again, err := g.putNow(f.client, f.data, f.params)
		if err != nil {
			return fmt.Errorf("renew on full disks: %w", err)
		}
		if again.stored.Pushed != 0 || again.stored.Found != f.params.Total {
			return fmt.Errorf("%d shares were pushed and %d found of %d that are there", again.stored.Pushed, again.stored.Found, f.params.Total)
		}
	}
	for id, was := range before {
		if is := g.leases()[id]; is.Expires <= was.Expires {
			return fmt.Errorf("the lease on %v was to end at %d and now at %d", id.Share, was.Expires, is.Expires)
		}
	}
	return g.settled()
}

// leases is all of the acknowledged ones.
func (g *simGrid) leases() map[lease.LeaseID]lease.Lease {
	all := map[lease.LeaseID]lease.Lease{}
	for _, s := range g.servers {
		for _, c := range g.clients {
			for id := range g.acknowledgedAt(s, c) {
				key := lease.LeaseID{Column: lease.ColumnOf(c.account.PublicKey(s.id())), Share: id}
				l, _, err := s.disk.Lease(key)
				if err != nil {
					g.violated("read a lease: %w", err)
				}
				all[key] = l
			}
		}
	}
	return all
}

func orNil(err error) error {
	if err == nil {
		return errors.New("it went well")
	}
	return err
}

func TestFullDisks(t *testing.T) { checkSeeds(t, 2, fullDisks) }

// failingDisks refuse one operation in a few: a refused sync ends the server,
// which comes back with what it had acknowledged.
func failingDisks(w *sim.World) error {
	g, err := aGrid{servers: 4, clients: 2}.build(w)
	if err != nil {
		return err
	}
	for _, s := range g.servers[1:] {
		s.disk.fault = func(op string) error {
			if g.oneOf(25) == 0 {
				return fmt.Errorf("%s: %w", op, errDisk)
			}
			return nil
		}
	}
	c := &chaos{simGrid: g, calm: calm}
	c.begin()
	if err := g.busy(15, 150_000); err != nil {
		return err
	}
	c.end()
	return g.fineWeather()
}

func TestFailingDisksSeeds(t *testing.T) { checkSeeds(t, 2, failingDisks) }

// small is a quota that a few files reach.
func smallQuota(w *sim.World) error {
	quota := int64(400_000)
	g, err := aGrid{servers: 4, clients: 3, quota: &quota}.build(w)
	if err != nil {
		return err
	}
	c := &chaos{simGrid: g, calm: calm}
	c.begin()
	if err := g.busy(20, 300_000); err != nil {
		return err
	}
	c.end()
	if err := g.fineWeather(); err != nil {
		return err
	}
	refused := 0
	for range 10 {
		_, err := g.putNow(g.clients[0], g.content(300_000), inTable)
		if err != nil && strings.Contains(err.Error(), "could be placed") {
			refused++
		}
	}
	if refused == 0 {
		return errors.New("three megabytes went below a quota of four hundred kilobytes")
	}
	return g.settled()
}

func TestSmallQuotaSeeds(t *testing.T) { checkSeeds(t, 2, smallQuota) }

const day = 24 * time.Hour

// months: references and leases renew by themselves; once the clients are gone
// leases end, and bytes are freed.
func months(w *sim.World) error {
	g, err := aGrid{servers: 3, clients: 2}.build(w)
	if err != nil {
		return err
	}
	began := g.Now()
	sessions, err := g.sessions()
	if err != nil {
		return err
	}
	// A week of uploads, a few a day, over one connection for each server.
	for range 7 {
		for _, c := range g.clients {
			if err := g.putBoth(c); err != nil {
				return fmt.Errorf("after %v: %w", g.Now().Sub(began), err)
			}
		}
		if err := g.For(day); err != nil {
			return err
		}
	}
	if err := g.settled(); err != nil {
		return err
	}
	if now, err := g.sessions(); now != sessions || err != nil {
		return fmt.Errorf("%d connections after a week, %d at first: %w", now, sessions, orNil(err))
	}
	if err := g.For(3 * lease.LeaseDuration); err != nil {
		return err
	}
	if now, err := g.sessions(); now != sessions || err != nil {
		return fmt.Errorf("%d connections after three months, %d at first: %w", now, sessions, orNil(err))
	}
	if err := g.readable(); err != nil {
		return err
	}
	kept := g.files
	for _, c := range g.clients {
		c.crash()
	}
	if err := g.For(lease.LeaseDuration - day); err != nil {
		return err
	}
	g.files = nil
	if err := g.For(2 * day); err != nil {
		return err
	}
	for _, c := range g.clients {
		c.start()
	}
	if err := g.connected(); err != nil {
		return err
	}
	return g.empty(kept)
}

// empty holds that nothing is left of files whose leases have ended.
func (g *simGrid) empty(files []*storedFile) error {
	for _, s := range g.servers {
		for _, c := range g.clients {
			used, _, err := s.disk.Counter(lease.ColumnCounterKey(lease.ColumnOf(c.account.PublicKey(s.id()))))
			if err != nil || used != (lease.Counter{}) {
				g.violated("%s: %s holds %v when all leases have ended (%v)", s.name, c.name, used, err)
			}
		}
		for _, f := range files {
			left, err := s.disk.Store.ListShares(f.cap.StorageIndex())
			if err != nil || len(left) > 0 {
				g.violated("%s: %d shares are left without a lease (%v)", s.name, len(left), err)
			}
		}
		if going, err := s.disk.Going(); err != nil || len(going) > 0 {
			g.violated("%s: the bytes of %d shares are not deleted (%v)", s.name, len(going), err)
		}
	}
	for _, f := range files[:2] {
		if err := g.getNow(g.clients[0], f); err == nil {
			g.violated("a file could be read of which nothing is left")
		}
	}
	return g.settled()
}

func TestMonths(t *testing.T) { checkSeeds(t, 1, months) }

// churn is an hour in which connections break in every way, actors fail, and
// clients read files and store some that they then give up.
func (g *simGrid) churn() error {
	lost := 0
	for end := g.Now().Add(time.Hour); g.Now().Before(end); {
		g.eachLink(func(a, b *node) {
			switch lost++; g.oneOf(10) {
			case 0:
				g.net.Partition(a.name, b.name)
				g.After(g.upTo(time.Minute), func() { g.net.Heal(a.name, b.name) })
			default:
				g.net.Drop(a.name, b.name)
			}
		})
		c := g.clients[g.oneOf(len(g.clients))]
		f := g.files[g.oneOf(len(g.files))]
		g.get(c, f.cap, f.data, 0, len(f.data), nil) // it may fail
		j := g.put(c, g.content(30_000), inFiles, nil)
		g.After(g.upTo(150*time.Millisecond), func() { g.cancel(j) })
		if err := g.For(time.Second + g.upTo(20*time.Second)); err != nil {
			return err
		}
	}
	if lost < 5000 {
		return fmt.Errorf("only %d connections were lost", lost)
	}
	return g.wait(time.Hour)
}

// footprint is what there is of a grid at rest.
type footprint struct{ actors, timers, sessions, bytes int }

func (g *simGrid) footprint() (footprint, error) {
	g.puts = nil
	if err := g.fineWeather(); err != nil {
		return footprint{}, err
	}
	if err := g.For(day); err != nil { // logins are made anew, and what was put off is done
		return footprint{}, err
	}
	sessions, err := g.sessions()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{g.Actors(), g.Timers(), sessions, int(m.HeapAlloc)}, err
}

// maxGrowth is how many bytes more there may be after an hour of churn, some two
// hundred for each connection that was made: protoactor's registry of actors is 32,768
// maps, each made when the first name falls into it.
const maxGrowth = 2 << 20

// TestChurn: an hour of churn later there are as many actors, timers and connections
// as before, and as many bytes.
func TestChurn(t *testing.T) {
	g, err := aGrid{servers: 6, clients: 2}.build(sim.New(1, nil))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := g.putBoth(g.clients[0]); err != nil {
			t.Fatal(err)
		}
	}
	var before, after footprint
	for _, then := range []*footprint{&before, &after} {
		if err := g.churn(); err != nil {
			t.Fatal(err)
		}
		if *then, err = g.footprint(); err != nil {
			t.Fatal(err)
		}
	}
	grown := after.bytes - before.bytes
	if after.bytes = before.bytes; after != before || grown > maxGrowth {
		t.Errorf("%+v before, and then %+v with %d bytes more", before, after, grown)
	}
}
