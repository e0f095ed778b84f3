package sim

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
)

// A toy grid: clients put numbered things to stores over a network that loses
// and delays, and repeat what was not acknowledged.
type (
	put struct {
		id   int
		from *actor.PID
	}
	ack   struct{ id int }
	retry struct{}
)

// network delivers messages between nodes, late or never.
type network struct {
	w    *World
	lose int64 // percent
}

func (n *network) send(to *actor.PID, msg any) {
	if n.w.Rand().Int64N(100) < n.lose {
		n.w.Note("lost on the way to %s", to.Id)
		return
	}
	n.w.After(time.Duration(n.w.Rand().Int64N(int64(200*time.Millisecond))), func() { n.w.Sys.Send(to, msg) })
}

// store writes to its disk before it acknowledges.
type store struct {
	env *env.Env
	net *network
}

func (s *store) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case put:
		s.env.Exec.Do(env.Disk, ctx.Self(), func() any { return stored(m) })
	case stored:
		s.net.send(m.from, ack{m.id})
	}
}

type stored put

// client wants so many things stored; children are its stores.
type client struct {
	env     *env.Env
	net     *network
	repeat  bool
	waiting []int
	stores  []*actor.PID
	acked   *int
}

func (c *client) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		for _, name := range []string{"a", "b", "c"} {
			c.stores = append(c.stores, c.env.Spawn.Child(ctx, name, func() actor.Actor {
				return &store{env: c.env, net: c.net}
			}))
		}
		c.sendAll(ctx)
	case retry:
		c.sendAll(ctx)
	case ack:
		c.took(m.id)
	}
}

func (c *client) sendAll(ctx actor.Context) {
	for _, id := range c.waiting {
		c.net.send(c.stores[id%len(c.stores)], put{id, ctx.Self()})
	}
	if c.repeat && len(c.waiting) > 0 {
		c.env.Clock.After(c.env.Jitter(time.Second), ctx.Self(), retry{})
	}
}

func (c *client) took(id int) {
	for i, w := range c.waiting {
		if w == id {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			*c.acked++
			return
		}
	}
}

const things = 30

// startToy starts a client and returns the count of what was acknowledged.
func startToy(w *World, name string, repeat bool, lose int64) *int {
	acked := new(int)
	n := &network{w: w, lose: lose}
	w.Sys.Root(name, func() actor.Actor {
		c := &client{env: w.Env(), net: n, repeat: repeat, acked: acked}
		for id := range things {
			c.waiting = append(c.waiting, id)
		}
		return c
	})
	return acked
}

// toy is a whole scenario: two clients, losses, and stores that fail.
func toy(w *World) error {
	w.Inject = func(_ string, msg any) bool {
		_, isPut := msg.(put)
		return isPut && w.Rand().Int64N(50) == 0
	}
	a, b := startToy(w, "alice", true, 30), startToy(w, "bob", true, 30)
	return w.Until(func() bool { return *a == things && *b == things }, time.Hour)
}
