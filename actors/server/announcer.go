package server

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// announcer keeps one introducer told of where this server is, over a
// connection with an identity of its own.
//
// Owns: the connection to one introducer, the backoff, the announcement as signed.
// On failure: waits for the next announcement; the introducer still has the last one.
type announcer struct {
	env    *env.Env
	dialer transport.Dialer
	target transport.Target
	signed announcement

	attempt int // grows with each; what an older one says is ignored
	cancel  func()
	conn    transport.Session
	conv    transport.Conversation
	asked   uint64 // id of the newest request
	greeted bool
	pending bool // a request is not answered
	pause   time.Duration
}

func newAnnouncer(e *env.Env, d transport.Dialer, t transport.Target) env.Producer {
	return func() actor.Actor { return &announcer{env: e, dialer: d, target: t, pause: announceFirst} }
}

// announcement is a signed announcement.
type announcement []byte

// What an attempt tells; n says which.
type (
	redial struct{ n int }
	dialed struct {
		n    int
		conn transport.Session
		err  error
	}
	introducerSaid struct {
		n     int
		event transport.Event
	}
	hungUp struct {
		n   int
		err error
	}
	unanswered struct {
		n     int
		asked uint64
	}
)

// Discard closes a connection that came too late.
func (d dialed) Discard() {
	if d.conn != nil {
		d.conn.Close()
	}
}

// Receive implements actor.Actor.
func (a *announcer) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case announcement:
		a.announce(ctx, m)
	case redial:
		if m.n == a.attempt {
			a.dial(ctx)
		}
	case dialed:
		a.dialed(ctx, m)
	case introducerSaid:
		a.heard(ctx, m)
	case hungUp:
		a.again(ctx, m.n, m.err)
	case unanswered:
		if m.n == a.attempt && a.pending && m.asked == a.asked {
			a.again(ctx, m.n, fmt.Errorf("%w: no answer", transport.ErrUnreachable))
		}
	case *actor.Restarting, *actor.Stopping:
		a.hangUp()
	}
}

// announce publishes, now or as soon as there is a connection.
func (a *announcer) announce(ctx actor.Context, m announcement) {
	first := a.signed == nil
	a.signed = m
	switch {
	case first:
		a.dial(ctx)
	case a.greeted:
		a.request(ctx, &wire.Publish{Announcement: m})
	}
}

func (a *announcer) dial(ctx actor.Context) {
	a.attempt++
	n, self, e := a.attempt, ctx.Self(), a.env
	a.cancel = a.dialer.Dial(a.target, transport.SessionEvents{
		Closed: func(err error) { e.Spawn.Send(self, hungUp{n, err}) },
	}, func(s transport.Session, err error) { e.Spawn.Send(self, dialed{n, s, err}) })
}

func (a *announcer) dialed(ctx actor.Context, m dialed) {
	switch {
	case m.n != a.attempt:
		if m.conn != nil {
			m.conn.Close()
		}
	case m.err != nil:
		a.again(ctx, m.n, m.err)
	default:
		a.greet(ctx, m.conn)
	}
}

func (a *announcer) greet(ctx actor.Context, conn transport.Session) {
	n, self, e := a.attempt, ctx.Self(), a.env
	a.conn = conn
	a.conv = conn.Open(transport.Introduction, func(ev transport.Event) { e.Spawn.Send(self, introducerSaid{n, ev}) }, 0)
	a.request(ctx, &wire.Hello{Version: wire.Version})
}

// request asks; the introducer must answer within a while. It may send as many
// frames as it was asked.
func (a *announcer) request(ctx actor.Context, m wire.Message) {
	a.asked++
	a.pending = true
	a.conv.Grant(1)
	a.conv.Send(wire.Frame{ID: a.asked, Message: m})
	a.env.Clock.After(answerWithin, ctx.Self(), unanswered{a.attempt, a.asked})
}

func (a *announcer) heard(ctx actor.Context, m introducerSaid) {
	received, ok := m.event.(transport.Received)
	if !ok {
		a.again(ctx, m.n, m.event.(transport.Ended).Err)
		return
	}
	f := received.Frame
	f.Release()
	if m.n != a.attempt || !f.Answer || f.ID != a.asked || !a.pending {
		return // nobody asked
	}
	a.pending = false
	a.answered(ctx, m.n, f.Message)
}

// answered takes the answer to what was asked last: to hello, or to Publish.
func (a *announcer) answered(ctx actor.Context, n int, answer wire.Message) {
	_, hello := answer.(*wire.Hello)
	_, done := answer.(*wire.Done)
	refusal, refused := answer.(*wire.Error)
	switch {
	case refused && (!a.greeted || refusal.Code == wire.Internal || refusal.Code == wire.Busy):
		a.again(ctx, n, refusal)
	case refused: // trying again with the same announcement would be refused again
		a.env.Log.Error("the introducer refuses the announcement", "introducer", a.target.Server.Short(), "error", refusal)
	case hello && !a.greeted:
		a.greeted = true
		a.request(ctx, &wire.Publish{Announcement: a.signed})
	case done && a.greeted:
		a.pause = announceFirst
		a.env.Log.Info("announced", "introducer", a.target.Server.Short())
	default:
		a.again(ctx, n, fmt.Errorf("%w: answered by %T", transport.ErrProtocol, answer))
	}
}

// again ends an attempt, if it is the present one, and sets the time of the
// next.
func (a *announcer) again(ctx actor.Context, n int, err error) {
	if n != a.attempt {
		return
	}
	a.env.Log.Info("introducer not reached", "introducer", a.target.Server.Short(), "error", err, "next try in", a.pause)
	a.hangUp()
	a.attempt++
	a.env.Clock.After(a.env.Jitter(a.pause), ctx.Self(), redial{a.attempt})
	a.pause = min(2*a.pause, announceMost)
}

func (a *announcer) hangUp() {
	if a.cancel != nil {
		a.cancel()
	}
	if a.conn != nil {
		a.conn.Close()
	}
	a.cancel, a.conn, a.conv, a.greeted, a.pending = nil, nil, nil, false, false
}
