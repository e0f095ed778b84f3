package inbound

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// Config is what a Listener needs.
type Config struct {
	Listen Listen
	// Session makes the actor of an accepted session.
	Session func(Arrival) env.Producer
	// MaxSessions is how many may be open at a time, a quarter of them only
	// after Admit. The transport must allow some more: those in handshake, and
	// those that are just being closed.
	MaxSessions int
}

// Listening is told to the parent once connections are accepted, and again
// after a restart. The Listener is there to take slots on relays.
type Listening struct {
	Hints    []grid.Hint
	Listener transport.Listener
}

// Failed is told to the parent when the node can't listen.
type Failed struct{ Err error }

// Count asks for the number of open sessions; the answer is Sessions.
type Count struct{ ReplyTo *actor.PID }

// Sessions answers Count.
type Sessions int

// Listener accepts sessions and gives each an actor of its own.
//
// Owns: the listening sockets, which session has which actor.
// On failure: closes every session and listens anew; clients come back by themselves.
type Listener struct {
	env      *env.Env
	config   Config
	listener transport.Listener
	actors   map[*arrival]*actor.PID
	arrivals map[string]*arrival // by PID id
	last     uint64

	strangers transport.Crowd[*arrival] // open and not admitted
	admitted  int                       // open and admitted
	warned    time.Time
}

// warnEvery bounds how often the log says that there are too many connections.
const warnEvery = time.Minute

// New makes a Listener.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor {
		return &Listener{env: e, config: c, actors: map[*arrival]*actor.PID{}, arrivals: map[string]*arrival{}}
	}
}

// listened is the outcome of Config.Listen.
type listened struct {
	listener transport.Listener
	err      error
}

// Discard closes a listener that came too late.
func (l listened) Discard() {
	if l.listener != nil {
		// Nobody is left to be told.
		_ = l.listener.Close()
	}
}

// Receive implements actor.Actor.
func (l *Listener) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		l.listen(ctx)
	case listened:
		l.listening(ctx, m)
	case accepted:
		l.accept(ctx, m.of)
	case admitted:
		l.admit(m.of)
	case event:
		l.pass(ctx, m)
	case *actor.Terminated:
		l.ended(m.Who)
	case Count:
		ctx.Send(m.ReplyTo, Sessions(len(l.actors)))
	case *actor.Restarting, *actor.Stopping:
		l.close()
	}
}

func (l *Listener) listen(ctx actor.Context) {
	self, e, listen := ctx.Self(), l.env, l.config.Listen
	e.Exec.Do(env.Disk, self, func() any {
		got, err := listen(func(s transport.Session) transport.SessionEvents { return events(e, self, s) })
		return listened{got, err}
	})
}

func (l *Listener) listening(ctx actor.Context, m listened) {
	if m.err != nil {
		ctx.Send(ctx.Parent(), Failed{fmt.Errorf("listen for connections: %w", m.err)})
		return
	}
	l.listener = m.listener
	ctx.Send(ctx.Parent(), Listening{m.listener.Hints(), m.listener})
}

func (l *Listener) accept(ctx actor.Context, a *arrival) {
	if !l.makeRoom(a.session.Address()) {
		a.session.Close()
		return
	}
	l.last++
	self, e := ctx.Self(), l.env
	session := guest{a.session, func() { e.Spawn.Send(self, admitted{a}) }}
	// Child: server.session, introducer.session, manager.session, helper.session
	pid := l.env.Spawn.Child(ctx, fmt.Sprintf("session/%d", l.last), l.config.Session(Arrival{session, l.last}))
	l.actors[a] = pid
	l.arrivals[pid.Id] = a
	a.counted = true
	l.strangers.Add(a, a.session.Address())
}

// makeRoom closes a session that was not admitted where there are too many for
// one more from this address; false if there is none that could go.
func (l *Listener) makeRoom(address string) bool {
	most := l.config.MaxSessions
	if l.strangers.Len()+l.admitted < most && l.strangers.Len() < most-most/4 {
		return true
	}
	if now := l.env.Clock.Now(); l.warned.IsZero() || now.Sub(l.warned) >= warnEvery {
		l.warned = now
		l.env.Log.Warn("too many connections: old ones without a login are closed for new ones", "most", most, "logged in", l.admitted)
	}
	first, ok := l.strangers.First(address, func(n int) int { return int(l.env.Rand.Int64N(int64(n))) })
	if !ok {
		return false
	}
	l.env.Log.Debug("connection closed for a new one", "address", first.session.Address())
	l.discount(first)
	first.session.Close()
	return true
}

func (l *Listener) admit(a *arrival) {
	if !a.counted || a.admitted {
		return // it is being closed
	}
	l.discount(a)
	a.counted, a.admitted = true, true
	l.admitted++
}

// discount takes a session off the count once it is closed or about to be.
func (l *Listener) discount(a *arrival) {
	switch {
	case !a.counted:
	case a.admitted:
		l.admitted--
	default:
		l.strangers.Remove(a)
	}
	a.counted = false
}

// pass gives an event to the session's actor. Where there is none the session
// was closed already.
func (l *Listener) pass(ctx actor.Context, m event) {
	pid, ok := l.actors[m.of]
	if !ok {
		return
	}
	ctx.Send(pid, m.msg)
}

// ended closes the session of an actor that is gone, which is harmless if it
// is closed.
func (l *Listener) ended(who *actor.PID) {
	if a, ok := l.arrivals[who.Id]; ok {
		a.session.Close()
		l.discount(a)
		delete(l.arrivals, who.Id)
		delete(l.actors, a)
	}
}

// close frees the port before a next self listens on it, and leaves nothing
// open when the actor is gone.
func (l *Listener) close() {
	if l.listener == nil {
		return
	}
	if err := l.listener.Close(); err != nil {
		l.env.Log.Warn("the listener did not close in good order", "error", err)
	}
	l.listener = nil
}
