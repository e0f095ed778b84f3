// Package inbound turns connections that others open into actors: a Listener
// listens and spawns one child for each session that it accepts, and the
// child is told what happens on that session as messages, in order.
//
// Main types: Listener and its Config; Arrival, which a child is born with;
// Opened, Frame, Ended and Closed, which it receives; Talk, which does with them
// what children have in common.
//
// Promises: a child is told of a conversation before of anything in it, of
// all frames of a conversation before its end, and of Closed last. No frame
// is delivered before the child took the conversation, nor beyond the credit
// that it gave. There are never more sessions than the bound; where it is
// reached, one that was not admitted makes room for a new one: one of the older
// ones from the source that has most of them. So nobody keeps others out by doing
// nothing, and one source does not keep out another.
package inbound

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Listen starts to accept sessions. It may block; accept is called for each
// session, at once, by any goroutine.
type Listen func(accept func(transport.Session) transport.SessionEvents) (transport.Listener, error)

// Arrival is what the actor of a session is born with.
type Arrival struct {
	// Session is the accepted one. Its Admit also keeps it from being closed
	// for others.
	Session transport.Session
	// Number tells the sessions of one listener apart, in logs.
	Number uint64
}

// Opened tells that the other side opened a conversation. The actor either
// takes it or refuses it.
type Opened struct {
	Conversation transport.Conversation
	Protocol     transport.Protocol

	env *env.Env
	// owner receives the frames. It is written before the first credit is
	// granted and read after the first frame came, which the grant orders.
	owner *actor.PID
}

// Take makes owner the receiver of the conversation's frames and lets the
// first credit of them come.
func (o *Opened) Take(owner *actor.PID, credit int) {
	o.owner = owner
	o.Conversation.Grant(credit)
}

// Frame is a frame of a conversation that was taken. Its receiver releases it.
type Frame struct {
	Of *Opened
	wire.Frame
}

// Discard gives the body back when the actor is gone.
func (f Frame) Discard() { f.Release() }

// Ended is the last message of a conversation.
type Ended struct {
	Of  *Opened
	Err error // nil when the other side closed it in good order
}

// Closed is the last message of a session.
type Closed struct{ Err error }

// arrival is a session on its way to its actor; its address names it.
type arrival struct {
	session transport.Session
	// counted and admitted are the listener's.
	counted, admitted bool
}

// guest is a session whose Admit the listener hears of.
type guest struct {
	transport.Session
	admit func()
}

func (g guest) Admit() {
	g.Session.Admit()
	g.admit()
}

// accepted, event tell the listener what the transport says, admitted what a
// session's actor does.
type (
	accepted struct{ of *arrival }
	admitted struct{ of *arrival }
	event    struct {
		of  *arrival
		msg any
	}
)

// events are the callbacks of one accepted session. What is rare goes through
// the listener, which knows the child once there is one; frames go straight
// to it.
func events(e *env.Env, listener *actor.PID, s transport.Session) transport.SessionEvents {
	a := &arrival{session: s}
	e.Spawn.Send(listener, accepted{a})
	return transport.SessionEvents{
		Incoming: func(c transport.Conversation, p transport.Protocol) (transport.Handler, int) {
			o := &Opened{Conversation: c, Protocol: p, env: e}
			e.Spawn.Send(listener, event{a, o})
			return func(ev transport.Event) { o.handle(listener, a, ev) }, 0
		},
		Closed: func(err error) { e.Spawn.Send(listener, event{a, Closed{err}}) },
	}
}

func (o *Opened) handle(listener *actor.PID, a *arrival, ev transport.Event) {
	switch ev := ev.(type) {
	case transport.Received:
		o.env.Spawn.Send(o.owner, Frame{o, ev.Frame})
	case transport.Ended:
		o.env.Spawn.Send(listener, event{a, Ended{o, ev.Err}})
	}
}
