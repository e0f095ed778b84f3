package client

import (
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// link is one connection that this node makes, from the dial on, and the one
// conversation that it opens there. Only the actor that owns it calls its
// methods; what happens on it reaches that actor as linkEvents, of which the
// last is linkClosed.
type link struct {
	cancel  func()
	session transport.Session
	conv    transport.Conversation
	handler transport.Handler

	// A session may come while the owner closes the link: whoever is later
	// sees the other's mark and closes the session.
	arrived atomic.Pointer[transport.Session]
	closed  atomic.Bool
}

// linkEvent is something that happened on a link.
type linkEvent struct {
	link  *link
	event any
}

type (
	linkOpen   struct{ session transport.Session }
	linkFrame  struct{ frame wire.Frame }
	linkClosed struct{ err error }
	// pullFrame is a frame of a conversation that the server opened,
	// pullEnded the end of one.
	pullFrame struct {
		conv  transport.Conversation
		frame wire.Frame
	}
	pullEnded struct{ conv transport.Conversation }
)

// Discard lets go of what came with an event of a link that is not ours any
// more.
func (m linkEvent) Discard() {
	switch e := m.event.(type) {
	case linkOpen:
		e.session.Close()
	case linkFrame:
		e.frame.Release()
	case pullFrame:
		e.frame.Release()
	}
}

// dial starts to connect. With pulls, the other side may open Pull
// conversations.
func dial(e *env.Env, owner *actor.PID, d transport.Dialer, t transport.Target, pulls bool) *link {
	return newLink(e, owner, func(ev transport.SessionEvents, done func(transport.Session, error)) func() {
		return d.Dial(t, ev, done)
	}, pulls)
}

// newLink makes a link of what begins a connection.
func newLink(e *env.Env, owner *actor.PID, begin func(transport.SessionEvents, func(transport.Session, error)) (cancel func()), pulls bool) *link {
	l := &link{}
	tell := func(ev any) { e.Spawn.Send(owner, linkEvent{l, ev}) }
	l.handler = func(ev transport.Event) {
		switch ev := ev.(type) {
		case transport.Received:
			tell(linkFrame{ev.Frame})
		case transport.Ended:
			tell(linkClosed{orClosed(ev.Err)})
		}
	}
	events := transport.SessionEvents{Closed: func(err error) { tell(linkClosed{orClosed(err)}) }}
	if pulls {
		events.Incoming = func(c transport.Conversation, p transport.Protocol) (transport.Handler, int) {
			if p != transport.Pull {
				return nil, 0
			}
			return pullHandler(c, tell), pullCredit
		}
	}
	l.cancel = begin(events, func(s transport.Session, err error) {
		if err != nil {
			tell(linkClosed{err})
			return
		}
		l.arrived.Store(&s)
		if l.closed.Load() {
			s.Close()
		}
		tell(linkOpen{s})
	})
	return l
}

func pullHandler(c transport.Conversation, tell func(any)) transport.Handler {
	return func(ev transport.Event) {
		switch ev := ev.(type) {
		case transport.Received:
			tell(pullFrame{c, ev.Frame})
		case transport.Ended:
			tell(pullEnded{c})
		}
	}
}

func orClosed(err error) error {
	if err == nil {
		return transport.ErrClosed
	}
	return err
}

// open starts the link's conversation on the session that has come.
func (l *link) open(s transport.Session, p transport.Protocol) {
	l.session = s
	l.conv = s.Open(p, l.handler, storageCredit)
}

func (l *link) send(f wire.Frame) { l.conv.Send(f) }

func (l *link) grant(n int) { l.conv.Grant(n) }

// close ends the link in any state; a nil link is closed already.
func (l *link) close() {
	if l == nil || l.closed.Swap(true) {
		return
	}
	l.cancel()
	if s := l.arrived.Load(); s != nil {
		(*s).Close()
	}
}
