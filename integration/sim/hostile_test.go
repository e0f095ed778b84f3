package sim_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
)

// wrongClock is one that was set wrongly.
type wrongClock struct {
	env.Clock
	by time.Duration
}

func (c wrongClock) Now() time.Time { return c.Clock.Now().Add(c.by) }

func (c wrongClock) After(d time.Duration, pid *actor.PID, msg any) func() {
	return c.Clock.After(d, pid, msg)
}

// clocksApart: between a client and some of its servers the clocks are an hour
// apart, either way. Nobody is told anything, nothing lapses, everything can
// be read.
func clocksApart(w *sim.World) error {
	g, err := aGrid{servers: 4, clients: 2, prepare: func(g *simGrid) {
		g.servers[0].clock, g.servers[1].clock = time.Hour, -time.Hour
		g.clients[0].clock = -30 * time.Minute
	}}.build(w)
	if err != nil {
		return err
	}
	sessions, err := g.sessions()
	if err != nil {
		return err
	}
	for range 3 {
		for _, c := range g.clients {
			if err := g.putBoth(c); err != nil {
				return err
			}
		}
		if err := g.For(20 * day); err != nil { // leases and references are made anew on the way
			return err
		}
		if err := errors.Join(g.settled(), g.connected()); err != nil {
			return err
		}
	}
	if now, err := g.sessions(); now != sessions || err != nil {
		return fmt.Errorf("%d connections, %d at first: %w", now, sessions, orNil(err))
	}
	return g.readable()
}

func TestClocksAnHourApart(t *testing.T) { checkSeeds(t, 1, clocksApart) }

// junkFirst: somebody who knows which file comes next stores shares of another
// one under its storage index, at two servers of five. They are good shares,
// and nobody's but his; the file goes elsewhere, and is read.
func junkFirst(w *sim.World) error {
	g, err := aGrid{servers: 5, clients: 2}.build(w)
	if err != nil {
		return err
	}
	owner, other := g.clients[0], g.clients[1]
	for _, of := range []struct {
		file.Params
		size, junk int
	}{{inTable, 1000, 1000}, {inTable, 1000, 2000}, {inFiles, 100_000, 100_000}, {inFiles, 100_000, 200_000}} {
		p, data := of.Params, g.content(of.size)
		key, err := keyOf(data, p)
		if err != nil {
			return err
		}
		if err := g.junk(other, key.StorageIndex(), of.junk, p); err != nil {
			return err
		}
		f, err := g.putNow(owner, data, p)
		if err != nil {
			return fmt.Errorf("put where junk was first: %w", err)
		}
		for _, s := range g.servers[:2] {
			if nums := f.sharesAt(s.id()); len(nums) > 0 {
				g.violated("%s is said to hold shares %v, and holds junk", s.name, nums)
			}
		}
		for _, s := range g.servers[:2] {
			if n := g.leasesOn(s, owner, f); n > 0 {
				g.violated("%s: %s has %d leases on junk", s.name, owner.name, n)
			}
		}
		if err := g.getNow(other, f); err != nil {
			g.violated("%w", err)
		}
	}
	return g.settled()
}

// junk stores shares of another file under a storage index at two servers.
func (g *simGrid) junk(c *clientNode, si grid.StorageIndex, size int, p file.Params) error {
	f, err := g.putNow(c, g.content(size), p)
	if err != nil {
		return err
	}
	for _, num := range slices.Sorted(maps.Keys(f.stored.Placement)) {
		at := f.stored.Placement[num]
		body, size, err := g.shareOf(f, num, at[0])
		if err != nil {
			return err
		}
		for _, s := range g.servers[:2] {
			rules := lease.NewLedger(s.disk.Store, s.policy)
			key := c.account.PublicKey(s.id())
			all := lease.AllOperations
			grant := lease.Grant{Root: key, Keys: []grid.PublicKey{key}, Label: key}
			grant.Effective.Operation = &all
			change, _, err := rules.Put(g.Now(), grant, lease.ShareID{StorageIndex: si, Num: num}, lease.Body{
				UEBHash: lease.UEBHash(f.cap.UEBHash), Size: size, Inline: body,
			}, lease.NoLimit)
			if err != nil {
				return err
			}
			if _, err := s.disk.Store.Apply(change); err != nil {
				return err
			}
		}
	}
	return nil
}

// shareOf is the bytes of a share as a server holds it.
func (g *simGrid) shareOf(f *storedFile, num grid.ShareNum, at grid.ServerID) ([]byte, int64, error) {
	b, err := g.honest(at).disk.Store.OpenShare(lease.ShareID{StorageIndex: f.cap.StorageIndex(), Num: num})
	if err != nil {
		return nil, 0, err
	}
	body := make([]byte, b.Size)
	_, err = b.ReadAt(body, 0)
	return body, b.Size, errors.Join(err, b.Close())
}

// leasesOn is how many leases a client has under a file's storage index.
func (g *simGrid) leasesOn(s *storageNode, c *clientNode, f *storedFile) (n int) {
	for num := range f.params.Total {
		id := lease.ShareID{StorageIndex: f.cap.StorageIndex(), Num: grid.ShareNum(num)}
		_, there, err := s.disk.Lease(lease.LeaseID{Column: column(s, c), Share: id})
		if err != nil {
			g.violated("%s: %w", s.name, err)
		}
		if there {
			n++
		}
	}
	return n
}

func TestJunkFirst(t *testing.T) { checkSeeds(t, 2, junkFirst) }
