// Package transport is how actors reach other nodes: a Dialer makes a
// Session under an identity of its own, a Session carries Conversations, a
// Conversation carries wire frames in order. The real one is transport/p2p
// (libp2p); transport/fake is the same in memory, for tests and simulation,
// and both pass the suite in transport/transporttest.
//
// Nothing here blocks its caller: results, frames and the end of things
// arrive through callbacks. A callback is called by one goroutine at a time
// per session and must return at once (an actor's callback sends itself a
// message). Bulk data moves by credit: no frame is delivered beyond what the
// receiver granted, so a peer that sends more is slowed by its own link.
package transport

import (
	"errors"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Protocol names what a conversation is about.
type Protocol string

// The protocols, version 1.
const (
	Storage      Protocol = "/tarn/1/storage"      // client to storage server: login, shares, leases
	Pull         Protocol = "/tarn/1/pull"         // storage server back to the client: reads of an offered share
	Introduction Protocol = "/tarn/1/introduction" // anyone to an introducer: publish, subscribe
	Membership   Protocol = "/tarn/1/manager"      // anyone to an account manager: enrol, servers, cards
	Helping      Protocol = "/tarn/1/helper"       // anyone to a helper: ciphertext to encode and place
)

// Errors that actors act on. They reach Closed events and Dial callbacks
// wrapped with what happened.
var (
	ErrClosed      = errors.New("connection closed")
	ErrUnreachable = errors.New("no address of the server answered")
	ErrWrongServer = errors.New("another identity answered at this address")
	ErrRefused     = errors.New("refused by the other side")
	ErrProtocol    = errors.New("the other side broke the protocol")
	ErrNoPunch     = errors.New("no direct connection beside this one")
	ErrNoAddress   = errors.New("no address that may be dialled")
)

// Target says whom to connect to, where, and how. The connection is pinned to
// Server: nobody else is talked to. Hints that Connections does not let be
// dialled are passed over.
type Target struct {
	Server      grid.ServerID
	Hints       []grid.Hint
	Connections Connections
}

// Dialer connects. Every Dial makes a new host with a new Ed25519 identity,
// listens on nothing, and tells the other side nothing but that key.
type Dialer interface {
	// Dial calls done once, with a session or an error. cancel gives up; done
	// is then called with an error unless it was called already. Without that,
	// too, a dial ends by itself in a time that the dialer sets.
	Dial(t Target, ev SessionEvents, done func(Session, error)) (cancel func())
}

// Listener accepts sessions under the node's long-lived identity.
type Listener interface {
	// Hints are the addresses to announce.
	Hints() []grid.Hint
	// Reserve takes a slot on a relay, through which sessions then come as they
	// do at the listener's own addresses. It calls done once, with a slot or an
	// error; lost is called once for a slot that ended other than by its Close.
	// cancel gives up; done is then called with an error unless it was called
	// already.
	Reserve(relay Target, lost func(error), done func(Slot, error)) (cancel func())
	// Close ends the listener, its slots and every session that it accepted.
	Close() error
}

// Slot is a reservation on a relay.
type Slot interface {
	// Hints are the addresses by which the listener is reached through it.
	Hints() []grid.Hint
	// Lasts is for how long, counted from when it was taken or renewed.
	Lasts() time.Duration
	// Renew calls done once. A slot that could not be renewed stays until its
	// time is over.
	Renew(done func(error))
	// Close gives the slot back, and ends the sessions that came through it.
	Close()
}

// Path is how a session reaches the other side.
type Path string

// The paths.
const (
	PathDirect  Path = "direct"
	PathTor     Path = "tor"
	PathRelay   Path = "relay"
	PathPunched Path = "hole-punched" // directly, after a relay helped to
)

// SessionEvents is what a session tells its owner.
type SessionEvents struct {
	// Incoming is called when the other side opens a conversation. It returns
	// who handles it and how many frames may be delivered at first, or nil to
	// refuse. A nil Incoming refuses all.
	Incoming func(c Conversation, p Protocol) (h Handler, credit int)
	// Closed is called once, after the last event of every conversation.
	Closed func(err error)
}

// Session is one authenticated, encrypted connection.
type Session interface {
	// Local is the identity this side used; on a dialled session no other
	// session ever uses it.
	Local() grid.PublicKey
	// Remote is the identity that the other side proved.
	Remote() grid.PublicKey
	// Address is where the other side was reached or came from, for people.
	Address() string
	// Path is how it was reached or came.
	Path() Path
	// Open starts a conversation. It returns at once; a failure arrives as
	// Closed. Frames sent before the other side accepted are queued.
	Open(p Protocol, h Handler, credit int) Conversation
	// Punch makes a direct connection to the other side of a session that was
	// dialled through a relay, where the target's connections say so and the
	// routers between let it. It calls done once, with a session under a new
	// identity or an error; this session stays as it is. cancel gives up.
	Punch(ev SessionEvents, done func(Session, error)) (cancel func())
	// Admit lifts the small limits that an accepted session has before login
	// (one conversation, small windows). On a dialled session it does nothing.
	Admit()
	// Close ends the session and all of its conversations.
	Close()
}

// Handler receives the events of one conversation, in order.
type Handler func(Event)

// Event is Received or Ended.
type Event interface{ event() }

// Received is one frame. The receiver owns Frame.Body until it calls
// Frame.Release.
type Received struct{ Frame wire.Frame }

// Ended is the last event of a conversation. Err is nil when the other side
// closed it in good order.
type Ended struct{ Err error }

func (Received) event() {}
func (Ended) event()    {}

// Conversation is one ordered, two-way flow of frames.
type Conversation interface {
	// Send queues a frame and never blocks. The frame, its message and its
	// body are given away; Release is called once it is written or dropped.
	// What may be outstanding is the protocol's business: each answers no
	// more than was asked, and asks no more than a fixed number at a time.
	Send(f wire.Frame)
	// Grant allows n more frames to be delivered.
	Grant(n int)
	// Close ends the conversation after what was queued is written; with a
	// non-nil reason at once, and the other side sees it broken.
	Close(reason error)
}
