// Package announcer keeps introducers told of a server or a relay of this node,
// and hears from them which relays there are.
//
// Main type: Announcer, one for each introducer. It is sent an Announcement
// each time that there is a new one, and tells its parent of relays as Offered.
//
// Promises: the newest announcement is published again after every loss of the
// connection; what an introducer sends unasked is not answered.
package announcer

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Announcer keeps one introducer told of where a server is, over a connection
// with an identity of its own.
//
// Owns: the connection to one introducer, the backoff, the announcement as signed.
// On failure: waits for the next announcement; the introducer still has the last one.
type Announcer struct {
	env    *env.Env
	dialer transport.Dialer
	target transport.Target
	relays bool
	strewn bool // its dials are
	signed Announcement

	attempt int // grows with each; what an older one says is ignored
	cancel  func()
	conn    transport.Session
	conv    transport.Conversation
	asked   uint64 // id of the newest request
	greeted bool
	pending bool // a request is not answered
	hearing bool // relays were asked for
	publish bool // the newest request publishes
	pause   time.Duration
}

// New makes an Announcer. With relays it connects before there is anything to
// announce, and tells its parent of those that the introducer knows. Dials of a
// node that wants to be anonymous are strewn: they begin at a time drawn at random.
func New(e *env.Env, d transport.Dialer, t transport.Target, relays, anonymous bool) env.Producer {
	return func() actor.Actor {
		return &Announcer{env: e, dialer: d, target: t, relays: relays, strewn: anonymous, pause: firstPause}
	}
}

// Announcement is a signed announcement to be published.
type Announcement []byte

// Offered tells the parent of a relay: what an introducer passed on, verified.
type Offered struct{ Announcement grid.Announcement }

// What bounds an announcer.
const (
	// firstPause and mostPause bound the pauses between attempts to reach an
	// introducer; each is twice the one before.
	firstPause = time.Second
	mostPause  = 5 * time.Minute
	// answerWithin is how long an introducer may take to answer.
	answerWithin = time.Minute
	// ahead is how many announcements of others may come at a time.
	ahead = 16
)

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
func (a *Announcer) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		if a.relays {
			a.dialIn(ctx, 0)
		}
	case Announcement:
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
func (a *Announcer) announce(ctx actor.Context, m Announcement) {
	a.signed = m
	switch {
	case a.attempt == 0:
		a.dialIn(ctx, 0)
	case a.greeted:
		a.next(ctx)
	}
}

// next asks for what was not asked for over this connection: which relays there
// are, then to publish.
func (a *Announcer) next(ctx actor.Context) {
	switch {
	case a.relays && !a.hearing:
		a.hearing = true
		a.conv.Grant(ahead)
		a.request(ctx, &wire.Subscribe{})
	case a.signed != nil:
		a.request(ctx, &wire.Publish{Announcement: a.signed})
	}
}

// dialIn begins an attempt after a while.
func (a *Announcer) dialIn(ctx actor.Context, wait time.Duration) {
	a.attempt++
	if a.strewn {
		wait += time.Duration(a.env.Rand.Int64N(int64(transport.Spread)))
	}
	if wait == 0 {
		a.dial(ctx)
		return
	}
	a.env.Clock.After(wait, ctx.Self(), redial{a.attempt})
}

func (a *Announcer) dial(ctx actor.Context) {
	n, self, e := a.attempt, ctx.Self(), a.env
	a.cancel = a.dialer.Dial(a.target, transport.SessionEvents{
		Closed: func(err error) { e.Spawn.Send(self, hungUp{n, err}) },
	}, func(s transport.Session, err error) { e.Spawn.Send(self, dialed{n, s, err}) })
}

func (a *Announcer) dialed(ctx actor.Context, m dialed) {
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

func (a *Announcer) greet(ctx actor.Context, conn transport.Session) {
	n, self, e := a.attempt, ctx.Self(), a.env
	a.conn = conn
	a.conv = conn.Open(transport.Introduction, func(ev transport.Event) { e.Spawn.Send(self, introducerSaid{n, ev}) }, 0)
	a.request(ctx, &wire.Hello{Version: wire.Version})
}

// request asks; the introducer must answer within a while. It may send as many
// frames as it was asked.
func (a *Announcer) request(ctx actor.Context, m wire.Message) {
	a.asked++
	a.pending = true
	_, a.publish = m.(*wire.Publish)
	a.conv.Grant(1)
	a.conv.Send(wire.Frame{ID: a.asked, Message: m})
	a.env.Clock.After(answerWithin, ctx.Self(), unanswered{a.attempt, a.asked})
}

func (a *Announcer) heard(ctx actor.Context, m introducerSaid) {
	received, ok := m.event.(transport.Received)
	if !ok {
		a.again(ctx, m.n, m.event.(transport.Ended).Err)
		return
	}
	f := received.Frame
	f.Release()
	if m.n != a.attempt {
		return
	}
	if other, ok := f.Message.(*wire.Announce); ok && !f.Answer && a.hearing {
		a.conv.Grant(1)
		a.offered(ctx, other.Announcement)
		return
	}
	if !f.Answer || f.ID != a.asked || !a.pending {
		return // nobody asked
	}
	a.pending = false
	a.answered(ctx, m.n, f.Message)
}

// offered passes on an announcement if it is a relay's.
func (a *Announcer) offered(ctx actor.Context, signed []byte) {
	if other, err := wire.OpenAnnouncement(signed); err == nil && other.Relay {
		ctx.Send(ctx.Parent(), Offered{other})
	}
}

// answered takes the answer to what was asked last: to hello, Subscribe or
// Publish.
func (a *Announcer) answered(ctx actor.Context, n int, answer wire.Message) {
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
		a.next(ctx)
	case done && a.greeted && !a.publish:
		a.pause = firstPause
		a.next(ctx)
	case done && a.greeted:
		a.pause = firstPause
		a.env.Log.Info("announced", "introducer", a.target.Server.Short())
	default:
		a.again(ctx, n, fmt.Errorf("%w: answered by %T", transport.ErrProtocol, answer))
	}
}

// again ends an attempt, if it is the present one, and sets the time of the
// next.
func (a *Announcer) again(ctx actor.Context, n int, err error) {
	if n != a.attempt {
		return
	}
	a.env.Log.Info("introducer not reached", "introducer", a.target.Server.Short(), "error", err, "next try in", a.pause)
	a.hangUp()
	a.dialIn(ctx, a.env.Jitter(a.pause))
	a.pause = min(2*a.pause, mostPause)
}

func (a *Announcer) hangUp() {
	if a.cancel != nil {
		a.cancel()
	}
	if a.conn != nil {
		a.conn.Close()
	}
	a.cancel, a.conn, a.conv, a.greeted, a.pending, a.hearing = nil, nil, nil, false, false, false
}
