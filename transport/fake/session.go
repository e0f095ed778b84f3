package fake

import (
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// session is one end of a connection; it implements transport.Session.
type session struct {
	net           *Network
	link          *link
	node          string
	peer          *session
	listener      *listener // nil where it was dialled
	pending       *attempt  // the dial that has not been answered yet
	local, remote grid.PublicKey
	address       string
	path          transport.Path
	punch         bool // its clause lets it become a direct one
	ev            transport.SessionEvents

	admitted      bool
	incoming      int             // conversations that the other side opened
	conversations []*conversation // live, in the order of their opening
	coming        []func()        // what arrives here next
	held          int             // how many arrivals wait for the link to heal
	ended         bool
	crashed       bool // nobody listens any more
}

func (s *session) Local() grid.PublicKey  { return s.local }
func (s *session) Remote() grid.PublicKey { return s.remote }
func (s *session) Address() string        { return s.address }
func (s *session) Path() transport.Path   { return s.path }

// Admit lifts the limits before login.
func (s *session) Admit() {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.admitted = true
}

// Close ends the session.
func (s *session) Close() {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.closeLocked()
}

func (s *session) closeLocked() {
	s.net.at(0, func() { s.end(fmt.Errorf("%w: by this side", transport.ErrClosed)) })
	s.net.send(s.peer, func() { s.peer.end(fmt.Errorf("%w: by the other side", transport.ErrClosed)) })
}

// send makes fn happen at the other end, in order.
func (n *Network) send(to *session, fn func()) {
	to.coming = append(to.coming, fn)
	n.at(n.delay(to.link), to.arrive)
}

// arrive lets the next thing happen, unless the link is cut.
func (s *session) arrive() {
	if s.link.cut && !s.ended {
		s.held++
		return
	}
	if len(s.coming) == 0 {
		return
	}
	next := s.coming[0]
	s.coming = s.coming[1:]
	if !s.ended {
		next()
	}
}

// end is the end of the connection at this end.
func (s *session) end(err error) {
	if s.ended {
		return
	}
	s.ended = true
	s.forget()
	for _, c := range slices.Clone(s.conversations) {
		c.end(err)
	}
	if a := s.pending; a != nil {
		a.fail(fmt.Errorf("%w: lost while connecting", transport.ErrUnreachable))
		return
	}
	if !s.crashed {
		// s.ev is read later: the accept callback may not have returned.
		s.net.call(func() { callClosed(s.events(), err) })
	}
}

func callClosed(ev transport.SessionEvents, err error) {
	if ev.Closed != nil {
		ev.Closed(err)
	}
}

func (s *session) events() transport.SessionEvents {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	return s.ev
}

// crash ends this end without telling anybody at it.
func (s *session) crash() {
	s.crashed, s.ended, s.coming = true, true, nil
	s.forget()
	for _, c := range s.conversations {
		c.done = true
		c.drop()
	}
}

func (s *session) forget() {
	s.net.sessions = slices.DeleteFunc(s.net.sessions, func(o *session) bool { return o == s })
}

// maxIncoming is how many conversations the other side may have open.
func (s *session) maxIncoming() int {
	if s.admitted {
		return MaxConversations
	}
	return 1
}

// Open starts a conversation.
func (s *session) Open(p transport.Protocol, h transport.Handler, credit int) transport.Conversation {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	c := &conversation{session: s, protocol: p, handler: h, credit: credit}
	if s.ended {
		s.net.at(0, func() { c.end(fmt.Errorf("open conversation: %w", transport.ErrClosed)) })
		return c
	}
	s.conversations = append(s.conversations, c)
	c.peer = &conversation{session: s.peer, protocol: p, peer: c, incoming: true}
	s.net.send(s.peer, func() { s.peer.accept(c.peer, p) })
	return c
}

// accept decides about a conversation that the other side opened.
func (s *session) accept(c *conversation, p transport.Protocol) {
	if s.incoming >= s.maxIncoming() || s.ev.Incoming == nil {
		c.refuse()
		return
	}
	s.incoming++
	s.conversations = append(s.conversations, c)
	s.net.call(func() {
		h, credit := s.events().Incoming(c, p)
		s.net.mu.Lock()
		defer s.net.mu.Unlock()
		c.answered(h, credit)
	})
}
