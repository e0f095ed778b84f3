package inbound_test

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/inbound"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/fake"
)

var key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// rig is a listener for few sessions in a simulated world.
type rig struct {
	*testing.T
	world    *sim.World
	net      *fake.Network
	arrivals []inbound.Arrival
	closed   map[int]bool // by the order of dialling
	dials    int
}

// sitter is the actor of a session that does nothing.
type sitter struct{ conn transport.Session }

func (s sitter) Receive(ctx actor.Context) {
	if _, ok := ctx.Message().(inbound.Closed); ok {
		ctx.Stop(ctx.Self())
	}
}

// parent hears what the listener tells, and nothing of it matters here.
type parent struct{ start func(actor.Context) }

func (p parent) Receive(ctx actor.Context) {
	if _, ok := ctx.Message().(*actor.Started); ok {
		p.start(ctx)
	}
}

func newRig(t *testing.T, most int) *rig {
	t.Helper()
	return newRigOf(t, most, func(_ *env.Env, a inbound.Arrival) actor.Actor { return sitter{a.Session} })
}

// newRigOf has sessions of an actor.
func newRigOf(t *testing.T, most int, session func(*env.Env, inbound.Arrival) actor.Actor) *rig {
	t.Helper()
	w := sim.New(1, nil)
	r := &rig{T: t, world: w, closed: map[int]bool{}}
	r.net = fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
	listener := inbound.New(w.Env(), inbound.Config{
		Listen: func(accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
			return r.net.Listen("server", key, accept)
		},
		Session: func(a inbound.Arrival) env.Producer {
			r.arrivals = append(r.arrivals, a)
			return func() actor.Actor { return session(w.Env(), a) }
		},
		MaxSessions: most,
	})
	w.Sys.Root("parent", func() actor.Actor {
		return parent{func(ctx actor.Context) { w.Env().Spawn.Child(ctx, "listener", listener) }}
	})
	r.settle()
	return r
}

func (r *rig) settle() {
	r.Helper()
	if err := r.world.For(time.Second); err != nil {
		r.Fatal(err)
	}
}

// dial makes sessions from different addresses, one after the other.
func (r *rig) dial(n int) {
	r.Helper()
	for range n {
		r.dialFrom(fmt.Sprint("client", r.dials), 1)
	}
}

// dialFrom makes sessions from one address.
func (r *rig) dialFrom(from string, n int) {
	r.Helper()
	for range n {
		number := r.dials
		r.dials++
		r.net.Dialer(from).Dial(
			transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key)), Hints: []grid.Hint{"/dns/server/tcp/1"}, Connections: transport.DirectConnections},
			transport.SessionEvents{Closed: func(error) { r.closed[number] = true }},
			func(_ transport.Session, err error) {
				if err != nil {
					r.closed[number] = true
				}
			})
		r.settle()
	}
}

func (r *rig) wantClosed(numbers ...int) {
	r.Helper()
	for _, n := range numbers {
		if !r.closed[n] {
			r.Errorf("session %d is open", n)
		}
	}
	if len(r.closed) != len(numbers) {
		r.Errorf("%d sessions are closed, want those: %v", len(r.closed), numbers)
	}
}

// TestStrangersMakeRoom: the oldest session without a login goes first, one
// with a login never.
func TestStrangersMakeRoom(t *testing.T) {
	r := newRig(t, 8)
	r.dial(2)
	r.arrivals[1].Session.Admit()
	r.dial(5) // with number 0 six strangers, three quarters of all
	r.wantClosed()
	r.dial(1)
	r.wantClosed(0)
	r.dial(2)
	r.wantClosed(0, 2, 3)
}

// TestOneSource: who comes again and again from one address is in nobody's way but
// those who come from there, too; and there each has as long as any other.
func TestOneSource(t *testing.T) {
	r := newRig(t, 8)
	r.dial(2)
	r.dialFrom("flood", 4)
	r.wantClosed()
	r.dialFrom("flood", 3)
	for n := range r.closed {
		if n < 2 || n > 5 {
			t.Errorf("session %d is closed for newer ones", n)
		}
	}
	if len(r.closed) != 3 {
		t.Errorf("%d sessions are closed", len(r.closed))
	}
	r.arrivals[6].Session.Admit() // an honest one at the same address
	r.settle()
	r.dialFrom("flood", 10)
	for n := range r.closed {
		if n < 2 || n == 6 {
			t.Errorf("session %d is closed for others", n)
		}
	}
	if open := len(r.arrivals) - len(r.closed); open != 7 {
		t.Errorf("%d sessions are open, want 6 strangers and one with a login", open)
	}
}

// TestNewcomerAmongAFlood: where one source has all places, as all have who come
// through an onion service, each of them is safe until half as many others have
// come as there are places, and may still be there when all places have been taken
// anew.
func TestNewcomerAmongAFlood(t *testing.T) {
	const most, places, tries = 40, 30, 60
	for others, least := range map[int]int{places/2 - 1: tries, places: tries / 6} {
		r := newRig(t, most)
		r.dialFrom("flood", places)
		there := 0
		for range tries {
			honest := r.dials
			r.dialFrom("flood", 1+others)
			if !r.closed[honest] {
				there++
			}
		}
		if there < least {
			t.Errorf("after %d others, of %d places, %d of %d are there", others, places, there, tries)
		}
	}
}

// TestAllLoggedIn: where nobody can go, the new one does.
func TestAllLoggedIn(t *testing.T) {
	r := newRig(t, 4)
	for n := range 4 {
		r.dial(1)
		r.arrivals[n].Session.Admit()
		r.arrivals[n].Session.Admit()
		r.settle()
	}
	r.dial(1)
	r.wantClosed(4)
	r.arrivals[2].Session.Close()
	r.settle()
	r.dial(1)
	r.wantClosed(2, 4)
}
