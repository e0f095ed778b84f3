package server_test

import (
	"fmt"
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

// turns tells of each step of the ledger.
type turns struct {
	table
	applied func(lease.Change)
}

func (t turns) Apply(c lease.Change) (func() error, error) {
	t.applied(c)
	return t.table.Apply(c)
}

// crowd is a ledger alone: account 1 has many tiny leases, made so long ago,
// account 2 a few.
type crowd struct {
	*testing.T
	world    *sim.World
	table    table
	ledger   *actor.PID
	inbox    *actor.PID
	changes  []lease.Change
	answered int
	many     []lease.ShareID
	few      []lease.ShareID
}

func newCrowd(t *testing.T, leases int, ago time.Duration) *crowd {
	t.Helper()
	c := &crowd{T: t, world: sim.New(95, nil)}
	c.table = table{store.NewMemory(), func() int64 { return 1 << 40 }, new(int)}
	c.many = fillTiny(t, c.table.Store, 1, leases, sim.Start.Add(-ago))
	c.few = fillTiny(t, c.table.Store, 2, 10, sim.Start)
	config := &server.Config{
		Store:  turns{c.table, func(change lease.Change) { c.changes = append(c.changes, change) }},
		Policy: lease.LedgerPolicy{Duration: lease.LeaseDuration},
		Fatal:  func(err error) { t.Error(err) },
	}
	e := c.world.Env()
	c.world.Sys.Root("storage", func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				c.ledger = e.Spawn.Child(ctx, "ledger", server.NewLedger(e, config))
			}
		})
	})
	if err := c.world.Until(func() bool { return c.ledger != nil }, time.Hour); err != nil {
		t.Fatal(err)
	}
	c.inbox = c.world.Inbox("inbox", func(any) { c.answered++ })
	return c
}

func grantOf(n byte) lease.Grant {
	pub := grid.PublicKeyOf(key(n))
	return lease.Grant{Root: pub, Keys: []grid.PublicKey{pub}, Label: pub}
}

func fillTiny(t *testing.T, s *store.Store, account byte, leases int, then time.Time) (ids []lease.ShareID) {
	t.Helper()
	ledger := lease.NewLedger(s, lease.LedgerPolicy{Duration: lease.LeaseDuration})
	apply := func(c lease.Change, err error) {
		if err == nil {
			_, err = s.Apply(c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	grant := grantOf(account)
	apply(ledger.PutRoots(lease.Root{Key: grant.Root, Petname: fmt.Sprintf("account %d", account)}))
	for n := range leases {
		ids = append(ids, lease.ShareID{StorageIndex: grid.StorageIndex{account, byte(n >> 16), byte(n >> 8), byte(n)}})
		c, _, err := ledger.Put(then, grant, ids[n], lease.Body{}, lease.NoLimit)
		apply(c, err)
	}
	return ids
}

// run sends everything at once and waits for the last answer.
func (c *crowd) run(answers int, all ...any) {
	c.Helper()
	want := c.answered + answers
	for _, m := range all {
		c.world.Sys.Env.Spawn.Send(c.ledger, m)
	}
	if err := c.world.Until(func() bool { return c.answered >= want }, time.Hour); err != nil {
		c.Fatal(err)
	}
}

// stepsOf says where among the steps those are that change leases of an account,
// and how many the largest changes.
func (c *crowd) stepsOf(account byte) (at []int, largest int) {
	for i, change := range c.changes {
		n := 0
		for _, l := range change.Leases {
			if l.Key.Column == grantOf(account).Column() {
				n++
			}
		}
		if n > 0 {
			at = append(at, i)
		}
		largest = max(largest, n)
	}
	return at, largest
}

// TestCrowd: however often at a time an account has all of its many leases
// worked on, another one that comes last waits for one step of that, which is
// small.
func TestCrowd(t *testing.T) {
	const many = 2000
	for name, c := range map[string]struct {
		ago      time.Duration
		request  func(c *crowd) any
		requests int
		steps    int
	}{
		"renew":  {time.Hour, func(c *crowd) any { return server.Renew(c.inbox, grantOf(1), c.many) }, 10, 40},
		"cancel": {time.Hour, func(c *crowd) any { return server.Cancel(c.inbox, grantOf(1), c.many) }, 10, 4},
		"expire": {lease.LeaseDuration, func(c *crowd) any {
			var ids []lease.LeaseID
			for _, id := range c.many {
				ids = append(ids, lease.LeaseID{Column: grantOf(1).Column(), Share: id})
			}
			return server.Expire(c.inbox, ids)
		}, 1, 4},
	} {
		t.Run(name, func(t *testing.T) {
			crowd := newCrowd(t, many, c.ago)
			var all []any
			for range c.requests {
				all = append(all, c.request(crowd))
			}
			crowd.run(c.requests+1, append(all, server.Renew(crowd.inbox, grantOf(2), crowd.few))...)
			if err := crowd.world.For(time.Minute); err != nil {
				t.Fatal(err)
			}
			others, _ := crowd.stepsOf(2)
			steps, largest := crowd.stepsOf(1)
			if len(others) != 1 || others[0] > 1 {
				t.Errorf("the other one had turn %v", others)
			}
			if len(steps) < c.steps || largest > 512 {
				t.Errorf("%d steps, the largest of %d leases", len(steps), largest)
			}
		})
	}
}

// TestUsageBesideACrowd reads counters, whatever else is in the table.
func TestUsageBesideACrowd(t *testing.T) {
	r := newRig(t, 95, func(c *server.Config) { fillTiny(t, c.Store.(table).Store, 1, 5000, sim.Start) })
	r.addAccount(2, nil)
	c := r.dial("two")
	c.logIn(2)
	c.store(3)
	scanned := r.table.Scanned()
	if u, ok := c.do(&wire.Usage{}).(*wire.UsageReport); !ok || u.Shares != 3 {
		t.Errorf("usage: %+v", u)
	}
	if n := r.table.Scanned() - scanned; n != 0 {
		t.Errorf("usage scanned %d records", n)
	}
	if all, _ := c.enumerate(10); len(all) != 3 || r.table.Scanned()-scanned > 5 {
		t.Errorf("a list of %d leases scanned %d records", len(all), r.table.Scanned()-scanned)
	}
}
