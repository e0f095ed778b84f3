// Package transporttest is the suite that every transport passes: transport/
// fake and transport/p2p run it. It checks the promises of the interfaces in
// package transport from both sides of a connection, and waits for events,
// never for time.
package transporttest

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// World is one implementation under test, with nothing connected yet.
type World struct {
	// Dialer dials from a node that does not listen.
	Dialer transport.Dialer
	// Listen starts a listener at an address of its own.
	Listen func(key ed25519.PrivateKey, accept func(transport.Session) transport.SessionEvents) (transport.Listener, error)
	// DeadHint is an address at which nobody answers, of the same kind.
	DeadHint grid.Hint
	// Connections are those under which the listener is reached.
	Connections transport.Connections
	// Relayed says that the address is a relay's, which leads to the server that
	// is asked for or to nobody.
	Relayed bool
	// Step makes one thing happen and returns false if there is nothing left;
	// nil where things happen by themselves.
	Step func() bool
}

// Run checks an implementation. make is called for each test; what it starts
// is ended by t.Cleanup.
func Run(t *testing.T, make func(t *testing.T) World) {
	for _, c := range []struct {
		name string
		test func(*kit)
	}{
		{"Connect", testConnect},
		{"EachDialIsANewIdentity", testNewIdentity},
		{"WrongIdentity", testWrongIdentity},
		{"NobodyThere", testNobodyThere},
		{"NoAddress", testNoAddress},
		{"DisabledKind", testDisabledKind},
		{"CancelledDial", testCancelledDial},
		{"OrderAndAnswers", testOrder},
		{"ServerOpens", testServerOpens},
		{"BigBodies", testBigBodies},
		{"Credit", testCredit},
		{"CloseInGoodOrder", testCloseInGoodOrder},
		{"CloseWithReason", testCloseWithReason},
		{"CloseFlushesLargeQueue", testCloseFlushes},
		{"Refuse", testRefuse},
		{"RefuseWithoutIncoming", testRefuseAll},
		{"UnsendableFrame", testUnsendable},
		{"OversizeFrame", testOversize},
		{"BodiesPerSide", testBodiesPerSide},
		{"LimitsBeforeAdmit", testLimitsBeforeAdmit},
		{"EndedConversationMakesRoom", testRoom},
		{"ManyConversations", testMany},
		{"SessionClosedHere", testSessionClosedHere},
		{"SessionClosedThere", testSessionClosedThere},
		{"ListenerClosed", testListenerClosed},
		{"OpenOnClosedSession", testOpenOnClosed},
		{"EverythingIsReleased", testReleased},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(newKit(t, make(t))) })
	}
}

// kit is what the tests share: a server that accepts everything and records.
type kit struct {
	*testing.T
	world World
	bell  chan struct{}
	key   ed25519.PrivateKey

	mu       sync.Mutex
	accepted []*side
	listener transport.Listener
}

func newKit(t *testing.T, w World) *kit {
	k := &kit{T: t, world: w, bell: make(chan struct{}, 1), key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))}
	l, err := w.Listen(k.key, k.accept)
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	k.listener = l
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close listener: %v", err)
		}
	})
	return k
}

func (k *kit) target() transport.Target {
	return transport.Target{Server: grid.ServerID(grid.PublicKeyOf(k.key)), Hints: k.listener.Hints(), Connections: k.world.Connections}
}

// ring tells await that something happened.
func (k *kit) ring() {
	select {
	case k.bell <- struct{}{}:
	default:
	}
}

// await waits until done holds; it is called with k.mu held.
func (k *kit) await(what string, done func() bool) {
	k.Helper()
	holds := func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return done()
	}
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for !holds() {
		if k.world.Step != nil {
			if !k.world.Step() && !holds() {
				k.Fatalf("never happened: %s", what)
			}
			continue
		}
		select {
		case <-k.bell:
		case <-deadline.C:
			k.Fatalf("did not happen in time: %s", what)
		}
	}
}

// side is one end of a session and what happened there.
type side struct {
	k        *kit
	session  transport.Session
	incoming []*flow
	// decide overrides what becomes of an incoming conversation.
	decide func(p transport.Protocol) (credit int, accept bool)
	closed []error
	late   int // events after Closed
}

// flow is one end of a conversation and what happened there.
type flow struct {
	k        *kit
	owner    *side
	c        transport.Conversation
	protocol transport.Protocol
	frames   []wire.Frame
	ended    []error
	// echo answers each request with its own message.
	echo bool
	late int // events after Ended
}

const plenty = 1 << 20

func (k *kit) events(s *side) transport.SessionEvents {
	return transport.SessionEvents{
		Incoming: func(c transport.Conversation, p transport.Protocol) (transport.Handler, int) {
			k.mu.Lock()
			defer k.mu.Unlock()
			defer k.ring()
			credit, accept := plenty, true
			if s.decide != nil {
				credit, accept = s.decide(p)
			}
			if !accept {
				return nil, 0
			}
			f := &flow{k: k, owner: s, c: c, protocol: p}
			s.incoming = append(s.incoming, f)
			return f.handle, credit
		},
		Closed: func(err error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			defer k.ring()
			s.closed = append(s.closed, err)
		},
	}
}

func (k *kit) accept(session transport.Session) transport.SessionEvents {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.ring()
	s := &side{k: k, session: session}
	k.accepted = append(k.accepted, s)
	return k.events(s)
}

func (f *flow) handle(e transport.Event) {
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	defer f.k.ring()
	if len(f.ended) > 0 {
		f.late++
	}
	if len(f.owner.closed) > 0 {
		f.owner.late++
	}
	switch e := e.(type) {
	case transport.Received:
		f.frames = append(f.frames, e.Frame)
		if f.echo {
			f.c.Send(wire.Frame{ID: e.Frame.ID, Answer: true, Message: &wire.Done{}})
		}
	case transport.Ended:
		f.ended = append(f.ended, e.Err)
	}
}

// dial tries to connect.
func (k *kit) dial(t transport.Target) (*side, error) {
	k.Helper()
	s := &side{k: k}
	var session transport.Session
	var failure error
	answers := 0
	k.world.Dialer.Dial(t, k.events(s), func(got transport.Session, err error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		defer k.ring()
		session, failure = got, err
		answers++
	})
	k.await("the dial is answered", func() bool { return answers > 0 })
	s.session = session
	if failure == nil {
		k.Cleanup(session.Close)
	}
	if (session == nil) != (failure != nil) || answers != 1 {
		k.Fatalf("dial gave %v and %v, %d times", session, failure, answers)
	}
	return s, failure
}

// connect makes a session, admitted, and returns both sides of it.
func (k *kit) connect() (client, server *side) {
	k.Helper()
	k.mu.Lock()
	before := len(k.accepted)
	k.mu.Unlock()
	client, err := k.dial(k.target())
	if err != nil {
		k.Fatalf("dial: %v", err)
	}
	k.await("the session is accepted", func() bool { return len(k.accepted) > before })
	server = k.accepted[before]
	server.session.Admit()
	return client, server
}

// open starts a conversation.
func (s *side) open(p transport.Protocol, credit int) *flow {
	f := &flow{k: s.k, owner: s, protocol: p}
	s.k.mu.Lock()
	defer s.k.mu.Unlock() // an event waits until f.c is set
	f.c = s.session.Open(p, f.handle, credit)
	return f
}

// next waits for the n-th conversation that the other side opened, from 0.
func (s *side) next(n int) *flow {
	s.k.Helper()
	s.k.await("a conversation comes in", func() bool { return len(s.incoming) > n })
	return s.incoming[n]
}

// pair opens a conversation and returns both ends of it.
func (k *kit) pair(from, to *side, p transport.Protocol, creditFrom, creditTo int) (near, far *flow) {
	k.Helper()
	k.mu.Lock()
	to.decide = func(transport.Protocol) (int, bool) { return creditTo, true }
	n := len(to.incoming)
	k.mu.Unlock()
	near = from.open(p, creditFrom)
	return near, to.next(n)
}

func ask(id uint64) wire.Frame {
	return wire.Frame{ID: id, Message: &wire.ReadOffer{Offset: id, Length: 1}}
}

// data makes a frame of n bytes, each of them b.
func data(id uint64, n int, b byte) wire.Frame {
	f := wire.Frame{ID: id, Answer: true, Message: &wire.Data{Lengths: []uint64{uint64(n)}}}
	body := bytes.Repeat([]byte{b}, n)
	return f.WithBody(nil, body[:n/3], body[n/3:])
}

func (f *flow) awaitFrames(n int) {
	f.k.Helper()
	f.k.await(fmt.Sprintf("%d frames", n), func() bool { return len(f.frames) >= n || len(f.ended) > 0 })
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	if len(f.frames) != n {
		f.k.Fatalf("%d frames, then %v; want %d", len(f.frames), f.ended, n)
	}
}

func (f *flow) awaitEnd() error {
	f.k.Helper()
	f.k.await("the conversation ends", func() bool { return len(f.ended) > 0 })
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	if len(f.ended) != 1 || f.late != 0 {
		f.k.Fatalf("ended %d times, %d events afterwards", len(f.ended), f.late)
	}
	return f.ended[0]
}

func (s *side) awaitClosed() error {
	s.k.Helper()
	s.k.await("the session is closed", func() bool { return len(s.closed) > 0 })
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	if len(s.closed) != 1 || s.late != 0 {
		s.k.Fatalf("closed %d times, %d events afterwards", len(s.closed), s.late)
	}
	return s.closed[0]
}

// barrier makes a round trip on a conversation of its own, so that what was
// under way before has arrived.
func (k *kit) barrier(from, to *side) {
	k.Helper()
	near, far := k.pair(from, to, transport.Pull, plenty, plenty)
	k.mu.Lock()
	far.echo = true
	k.mu.Unlock()
	near.c.Send(ask(1))
	near.awaitFrames(1)
	near.c.Close(nil)
	far.awaitEnd()
}
