package inbound

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Talk is what all actors of sessions have in common that serve requests over
// one conversation. Such an actor embeds it and hands it each message that is
// not its own: it takes the conversation, closes the connection of who stays
// silent or breaks the order of things, and ends with the session.
type Talk struct {
	Env  *env.Env
	Log  *slog.Logger // its lines name the session
	Conn transport.Session
	Conv *Opened // nil until the other side has opened it

	terms   Terms
	greeted bool
}

// Terms are how a conversation begins.
type Terms struct {
	Protocol transport.Protocol
	// Credit is how many frames may come unanswered.
	Credit int
	// HelloWithin is how long the other side may say nothing at first.
	HelloWithin time.Duration
}

// NewTalk is for the actor of a session that has just arrived.
func NewTalk(e *env.Env, a Arrival, t Terms) Talk {
	return Talk{Env: e, Log: e.Log.With("session", a.Number), Conn: a.Session, terms: t}
}

type (
	silence  struct{}
	answered struct{} // an answer was written
)

// Hear takes a message that is not the actor's own. One that does something by
// itself when it starts or ends hands on that message, too.
func (t *Talk) Hear(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		t.Env.Clock.After(t.terms.HelloWithin, ctx.Self(), silence{})
	case *Opened:
		t.opened(ctx, m)
	case Ended:
		if m.Of == t.Conv {
			t.Conn.Close()
		}
	case Closed:
		ctx.Stop(ctx.Self())
	case silence:
		if !t.greeted {
			t.Log.Debug("connection closed: the other side is silent", "address", t.Conn.Address())
			t.Conn.Close()
		}
	case answered:
		t.Conv.Conversation.Grant(1)
	case *actor.Restarting:
		t.Conn.Close()
		ctx.Stop(ctx.Self()) // a fresh self would not know the conversation
	case *actor.Stopping:
		t.Conn.Close()
	}
}

// opened takes the one conversation that a session needs.
func (t *Talk) opened(ctx actor.Context, o *Opened) {
	if t.Conv != nil || o.Protocol != t.terms.Protocol {
		o.Conversation.Close(transport.ErrRefused)
		return
	}
	t.Conv = o
	o.Take(ctx.Self(), t.terms.Credit)
}

// InOrder reports whether a frame is a request that may come now: a hello first,
// and no other after that. The connection is closed where it is not.
func (t *Talk) InOrder(m Frame) bool {
	_, hello := m.Message.(*wire.Hello)
	switch {
	case m.Of != t.Conv || m.Answer || m.ID == 0:
		t.Break("an answer or a notice where a request was expected")
	case hello == t.greeted:
		t.Break("hello must come first, and once")
	default:
		t.greeted = true
		return true
	}
	return false
}

// Break closes the connection: whoever gets the order of things wrong would get
// what follows wrong, too.
func (t *Talk) Break(what string) {
	t.Log.Debug("connection closed", "error", what, "address", t.Conn.Address())
	t.Conv.Conversation.Close(fmt.Errorf("%w: %s", transport.ErrProtocol, what))
	t.Conn.Close()
}

// Answer answers a request, and has another one come once that is written.
func (t *Talk) Answer(ctx actor.Context, request uint64, m wire.Message) {
	t.Send(ctx, wire.Frame{ID: request, Answer: true, Message: m}, answered{})
}

// Send tells the actor itself something when the frame is written.
func (t *Talk) Send(ctx actor.Context, f wire.Frame, then any) {
	e, self := t.Env, ctx.Self()
	t.Conv.Conversation.Send(f.WithBody(func() { e.Spawn.Send(self, then) }))
}
