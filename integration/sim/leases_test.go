package sim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
)

// renewals asks a client what its last rounds came to.
func (g *simGrid) renewals(c *clientNode) (map[grid.ServerID]client.Renewal, error) {
	var all client.Renewals
	got := false
	pid := g.inbox(func(m any) bool { all, got = m.(client.Renewals); return true })
	g.send(&c.node, actors.ToClient{Message: client.AskRenewals{ReplyTo: pid}}, pid)
	if err := g.Until(func() bool { return got }, time.Hour); err != nil {
		return nil, err
	}
	by := map[grid.ServerID]client.Renewal{}
	for _, r := range all {
		by[r.Server] = r
	}
	return by, nil
}

// holiday: a client is off for forty days. One server lets leases last longer
// than that, another client keeps half of the files; so some of what it stored
// is there when it comes back, and it is told exactly what.
func holiday(w *sim.World) error {
	g, err := aGrid{servers: 3, clients: 2, prepare: func(g *simGrid) {
		g.servers[2].policy.Duration = 100 * day
	}}.build(w)
	if err != nil {
		return err
	}
	away, other := g.clients[0], g.clients[1]
	for range 4 {
		if err := g.putBoth(away); err != nil {
			return err
		}
	}
	mine := g.files
	for _, f := range mine[:4] {
		if _, err := g.putNow(other, f.data, f.params); err != nil {
			return err
		}
	}
	if err := g.For(3 * lease.LeaseDuration); err != nil {
		return err
	}
	if err := g.settled(); err != nil {
		return err
	}
	away.crash()
	g.files = nil // what is left of them is looked at below
	if err := g.For(40 * day); err != nil {
		return err
	}
	before := away.journal
	away.start()
	if err := g.For(time.Hour); err != nil {
		return err
	}
	if away.journal != before {
		return fmt.Errorf("the client failed")
	}
	if err := g.told(away, mine); err != nil {
		return err
	}
	for i, f := range mine {
		at2 := len(f.sharesAt(g.servers[2].id()))
		err := g.getNow(away, f)
		if readable := i < 4 || at2 >= f.params.Needed; readable != (err == nil) {
			g.violated("file %d, with %d shares at the server that keeps them longer: %w", i, at2, orNil(err))
		}
	}
	return g.verdict()
}

// sharesAt is which shares were placed at a server.
func (f *storedFile) sharesAt(id grid.ServerID) (nums []grid.ShareNum) {
	for num, servers := range f.stored.Placement {
		for _, at := range servers {
			if at == id {
				nums = append(nums, num)
			}
		}
	}
	return nums
}

// told holds that the client's journal says of every lease whether the server
// has it, and its rounds how many there are of either.
func (g *simGrid) told(c *clientNode, files []*storedFile) error {
	rounds, err := g.renewals(c)
	if err != nil {
		return err
	}
	for i, s := range g.servers {
		column := lease.ColumnOf(c.account.PublicKey(s.id()))
		var held, lapsed int
		for _, f := range files {
			for _, num := range f.sharesAt(s.id()) {
				id := lease.ShareID{StorageIndex: f.cap.StorageIndex(), Num: num}
				there, err := g.saysOf(c, s, id, column)
				if err != nil {
					return err
				}
				if there {
					held++
				} else {
					lapsed++
				}
			}
		}
		if want := i == 2; want != (held > 0) || want == (lapsed > 0) {
			g.violated("%s: %d leases are there and %d have lapsed", s.name, held, lapsed)
		}
		if r := rounds[s.id()]; r.Held != held || r.Lapsed != lapsed || r.Err != nil {
			g.violated("%s: the client is told %+v; %d leases are there and %d have lapsed", s.name, r, held, lapsed)
		}
	}
	return g.verdict()
}

// saysOf compares one lease in the journal with the server's own.
func (g *simGrid) saysOf(c *clientNode, s *storageNode, id lease.ShareID, column lease.Column) (there bool, err error) {
	_, there, err = s.disk.Lease(lease.LeaseID{Column: column, Share: id})
	if err != nil {
		return false, err
	}
	leases, err := c.journal.Leases(id.StorageIndex)
	if err != nil {
		return false, err
	}
	for _, l := range leases {
		if l.Server == s.id() && l.Share == id {
			if (l.Lapsed == 0) != there {
				g.violated("%s: share %v: the journal says %+v, the server has a lease: %v", s.name, id, l, there)
			}
			return there, nil
		}
	}
	g.violated("%s: share %v is not in the journal", s.name, id)
	return there, nil
}

func TestFortyDaysOff(t *testing.T) { checkSeeds(t, 2, holiday) }

// renewalCap lets one client renew another's leases, and nothing else, and
// tells it of all of them.
func (g *simGrid) renewalCap(from, to *clientNode) error {
	for _, s := range g.servers {
		id := s.id()
		certificate := lease.Certificate{Delegate: to.account.PublicKey(id), SignerGetsLease: true}
		certificate.Server, certificate.Operation = &id, new(lease.OpRenewLease)
		chain, err := lease.Chain{}.Sign(from.account.Key(id), certificate)
		if err != nil {
			return err
		}
		to.given = append(to.given, lease.Holding{Chain: chain, Account: to.account})
		leases, _, err := from.journal.LeasesAfter(id, nil, 1000)
		if err != nil {
			return err
		}
		if err := to.journal.Adopt(id, leases); err != nil {
			return err
		}
	}
	return nil
}

// laptop: a client that is off for a hundred days loses nothing where another
// one has a renewal cap, and is told so.
func laptop(w *sim.World) error {
	g, err := aGrid{servers: 3, clients: 2}.build(w)
	if err != nil {
		return err
	}
	away, friend := g.clients[0], g.clients[1]
	for range 3 {
		if err := g.putBoth(away); err != nil {
			return err
		}
	}
	if err := g.putBoth(friend); err != nil {
		return err
	}
	if err := g.renewalCap(away, friend); err != nil {
		return err
	}
	friend.crash()
	friend.start()
	away.crash()
	if err := g.For(100 * day); err != nil {
		return err
	}
	if err := g.settled(); err != nil { // the model wants every lease to be there
		return err
	}
	away.start()
	if err := g.For(time.Hour); err != nil {
		return err
	}
	rounds, err := g.renewals(away)
	if err != nil {
		return err
	}
	for _, s := range g.servers {
		if r := rounds[s.id()]; r.Lapsed != 0 || r.Held == 0 || r.Err != nil {
			g.violated("%s: the client that was away is told %+v", s.name, r)
		}
	}
	return g.readable()
}

func TestLaptopIsOff(t *testing.T) { checkSeeds(t, 2, laptop) }
