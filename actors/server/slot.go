package server

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/announcer"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// Relays says through which relays a server is reached that nobody can dial.
type Relays struct {
	// Named are relays that the operator chose, the first ones first.
	Named []transport.Target
	// Offered lets those be used, too, that introducers know.
	Offered bool
	// Connections are how those are reached, and how the server looks whether it
	// is reached through them.
	Connections transport.Connections
}

// slot keeps a reservation on a relay, so that those reach the server who
// can't dial it. A slot counts only once the server has reached itself through
// it, as a stranger would: a relay that passes nothing on is left.
//
// Owns: the slot, which relays are known and which is next, the backoff.
// On failure: gives the slot back and takes another.
type slot struct {
	env      *env.Env
	config   *Config
	listener transport.Listener

	relays []transport.Target // the named ones first
	next   int                // of relays, to be tried
	tried  int                // in a row without success
	pause  time.Duration

	attempt int // grows with each; what an older one says is ignored
	at      transport.Target
	held    transport.Slot
	good    bool // the server was reached through it
	failed  int  // renewals or checks in a row
	cancel  func()
	timer   func()
}

func newSlot(e *env.Env, c *Config, l transport.Listener, offered []transport.Target) env.Producer {
	return func() actor.Actor {
		return &slot{env: e, config: c, listener: l, pause: slotPause, relays: slices.Concat(c.Relays.Named, offered)}
	}
}

// relay is where a relay is that introducers know.
func (c *Config) relay(a grid.Announcement) transport.Target {
	return transport.Target{Server: a.Server, Hints: a.Hints, Connections: c.Relays.Connections}
}

// reachable tells Storage by which addresses the server is reached through
// relays; none says that it is not.
type reachable struct{ hints []grid.Hint }

// What an attempt tells; n says which.
type (
	takeSlot  struct{ n int }
	slotTaken struct {
		n    int
		slot transport.Slot
		err  error
	}
	slotLost struct {
		n   int
		err error
	}
	renewSlot   struct{ n int }
	slotRenewed struct {
		n   int
		err error
	}
	checkSlot   struct{ n int }
	slotChecked struct {
		n       int
		session transport.Session
		err     error
	}
)

// Discard gives back a slot that came too late.
func (t slotTaken) Discard() {
	if t.slot != nil {
		t.slot.Close()
	}
}

// Discard closes what was only a test.
func (c slotChecked) Discard() {
	if c.session != nil {
		c.session.Close()
	}
}

// Receive implements actor.Actor.
func (s *slot) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		if len(s.relays) > 0 {
			s.next = int(s.env.Rand.Int64N(int64(len(s.relays))))
		}
		if len(s.config.Relays.Named) > 0 {
			s.next = 0
		}
		s.begin(ctx)
	case announcer.Offered:
		s.offered(ctx, m.Announcement)
	case takeSlot:
		if m.n == s.attempt {
			s.take(ctx)
		}
	case slotTaken:
		s.taken(ctx, m)
	case slotLost:
		if m.n == s.attempt {
			s.held = nil
			s.another(ctx, m.err)
		}
	case renewSlot:
		s.renew(ctx, m)
	case slotRenewed:
		s.renewed(ctx, m)
	case checkSlot:
		s.check(ctx, m)
	case slotChecked:
		s.checked(ctx, m)
	case *actor.Restarting, *actor.Stopping:
		s.letGo()
	}
}

// offered notes a relay, or where it is now.
func (s *slot) offered(ctx actor.Context, a grid.Announcement) {
	t := s.config.relay(a)
	at := slices.IndexFunc(s.relays, func(r transport.Target) bool { return r.Server == t.Server })
	switch {
	case at >= len(s.config.Relays.Named):
		s.relays[at] = t
	case at < 0 && len(s.relays) < maxRelays:
		s.relays = append(s.relays, t)
		if s.held == nil && s.cancel == nil { // nothing is under way
			s.next = len(s.relays) - 1
			s.begin(ctx)
		}
	}
}

// begin asks for a slot, after a time drawn at random if the node is anonymous.
func (s *slot) begin(ctx actor.Context) {
	if s.config.Anonymous {
		s.takeIn(ctx, 0)
		return
	}
	s.take(ctx)
}

// takeIn asks for a slot after a while.
func (s *slot) takeIn(ctx actor.Context, wait time.Duration) {
	s.attempt++
	if s.config.Anonymous {
		wait += time.Duration(s.env.Rand.Int64N(int64(transport.Spread)))
	}
	s.env.Clock.After(wait, ctx.Self(), takeSlot{s.attempt})
}

// take asks the next relay for a slot.
func (s *slot) take(ctx actor.Context) {
	if len(s.relays) == 0 {
		s.env.Log.Info("no relay is known yet; nobody behind other routers reaches this server")
		return
	}
	s.attempt++
	s.at = s.relays[s.next%len(s.relays)]
	n, self, e := s.attempt, ctx.Self(), s.env
	s.cancel = s.listener.Reserve(s.at,
		func(err error) { e.Spawn.Send(self, slotLost{n, err}) },
		func(got transport.Slot, err error) { e.Spawn.Send(self, slotTaken{n, got, err}) })
}

func (s *slot) taken(ctx actor.Context, m slotTaken) {
	switch {
	case m.n != s.attempt:
		m.Discard()
	case m.err != nil:
		s.another(ctx, m.err)
	default:
		s.held, s.good, s.failed = m.slot, false, 0
		s.later(ctx, s.held.Lasts()*3/4, renewSlot{s.attempt})
		s.check(ctx, checkSlot{s.attempt})
	}
}

// later sets the timer of the slot's renewal.
func (s *slot) later(ctx actor.Context, d time.Duration, m renewSlot) {
	if s.timer != nil {
		s.timer()
	}
	s.timer = s.env.Clock.After(d, ctx.Self(), m)
}

// check dials the server itself through the relay, under an identity for that
// alone.
func (s *slot) check(ctx actor.Context, m checkSlot) {
	if m.n != s.attempt || s.held == nil {
		return
	}
	self, e := ctx.Self(), s.env
	s.config.Dialer.Dial(transport.Target{Server: s.config.server(), Hints: s.held.Hints(), Connections: s.config.Relays.Connections}, transport.SessionEvents{},
		func(session transport.Session, err error) { e.Spawn.Send(self, slotChecked{m.n, session, err}) })
}

func (s *slot) checked(ctx actor.Context, m slotChecked) {
	m.Discard()
	if m.n != s.attempt || s.held == nil {
		return
	}
	if m.err != nil {
		s.failed++
		if !s.good || s.failed >= slotTries {
			s.another(ctx, fmt.Errorf("%w: %w", errPassesNothing, m.err))
			return
		}
		s.env.Clock.After(s.env.Jitter(slotPause), ctx.Self(), checkSlot{m.n})
		return
	}
	s.failed = 0
	s.env.Clock.After(s.env.Jitter(checkEvery), ctx.Self(), checkSlot{m.n})
	if !s.good {
		s.good, s.tried, s.pause = true, 0, slotPause
		s.env.Log.Info("reached through a relay", "relay", s.at.Server.Short())
		ctx.Send(ctx.Parent(), reachable{s.held.Hints()})
	}
}

// errPassesNothing is why a slot is given back through which nobody comes.
var errPassesNothing = errors.New("the server is not reached through it")

func (s *slot) renew(ctx actor.Context, m renewSlot) {
	if m.n != s.attempt || s.held == nil {
		return
	}
	self, e := ctx.Self(), s.env
	s.held.Renew(func(err error) { e.Spawn.Send(self, slotRenewed{m.n, err}) })
}

// renewed tries again while there is time left: a slot that is given back ends
// the connections through it.
func (s *slot) renewed(ctx actor.Context, m slotRenewed) {
	switch {
	case m.n != s.attempt || s.held == nil:
	case m.err == nil:
		s.failed = 0
		s.later(ctx, s.held.Lasts()*3/4, renewSlot{m.n})
	case s.failed+1 >= slotTries:
		s.another(ctx, fmt.Errorf("renew the slot: %w", m.err))
	default:
		s.failed++
		s.later(ctx, s.held.Lasts()/16, renewSlot{m.n})
	}
}

// another goes on to the next relay. Only a round of all of them without
// success makes the pauses longer.
func (s *slot) another(ctx actor.Context, err error) {
	s.env.Log.Info("no slot on the relay", "relay", s.at.Server.Short(), "error", err)
	if s.good {
		ctx.Send(ctx.Parent(), reachable{})
	}
	s.letGo()
	s.next++
	if s.tried++; s.tried >= len(s.relays) {
		s.tried = 0
		s.pause = min(2*s.pause, slotPauseMost)
	}
	s.takeIn(ctx, s.env.Jitter(s.pause))
}

func (s *slot) letGo() {
	if s.timer != nil {
		s.timer()
	}
	if s.cancel != nil {
		s.cancel()
	}
	if s.held != nil {
		s.held.Close()
	}
	s.timer, s.cancel, s.held, s.good, s.failed = nil, nil, nil, false, 0
}
