package p2p

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// Why a session ended.
var (
	errHere = fmt.Errorf("%w: by this side", transport.ErrClosed)
	errLost = fmt.Errorf("%w: the other side closed it or is gone", transport.ErrClosed)
)

// session implements transport.Session.
type session struct {
	conn    network.Conn
	local   grid.PublicKey
	remote  grid.PublicKey
	options Options
	path    transport.Path
	host    *host                // made for this session, nil if it is a listener's
	dial    *dial                // that made it, nil if it was accepted
	punched func(network.Stream) // serves offers to punch, nil where there are none
	left    func()               // called after Closed, may be nil
	gone    chan struct{}        // closed after that
	scope   *connScope           // limits of an accepted session

	admitted atomic.Bool

	// events is held during every callback of the session and of its
	// conversations; nothing that a callback may call takes it.
	events sync.Mutex
	ev     transport.SessionEvents

	mu            sync.Mutex
	reason        error // why it ended or is about to
	ended         bool  // the connection is
	incoming      int   // conversations that the other side opened
	conversations map[*conversation]struct{}
}

func newSession(c network.Conn, remote grid.PublicKey, o Options) *session {
	local, _ := c.LocalPeer().ExtractPublicKey() // it is in the id of an Ed25519 peer
	raw, _ := local.Raw()
	return &session{
		conn: c, local: grid.PublicKey(raw), remote: remote, options: o, path: pathOf(c),
		gone: make(chan struct{}), conversations: map[*conversation]struct{}{},
	}
}

func (s *session) Local() grid.PublicKey  { return s.local }
func (s *session) Remote() grid.PublicKey { return s.remote }
func (s *session) Address() string        { return s.conn.RemoteMultiaddr().String() }
func (s *session) Path() transport.Path   { return s.path }

// Admit lifts the limits before login.
func (s *session) Admit() {
	s.admitted.Store(true)
	if s.scope != nil {
		s.scope.admitted.Store(true)
	}
}

// Close ends the session. It does not wait for the connection.
func (s *session) Close() {
	s.because(errHere)
	go s.conn.Close()
}

// because notes why the session is about to end, unless that is known.
func (s *session) because(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason == nil {
		s.reason = err
	}
}

// lost is why the session ended.
func (s *session) lost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason == nil {
		return errLost
	}
	return s.reason
}

// maxIncoming is how many conversations the other side may have open.
func (s *session) maxIncoming() int {
	if s.admitted.Load() {
		return s.options.Conversations
	}
	return 1
}

// disconnected is called once, when the connection has ended.
func (s *session) disconnected() {
	s.because(errLost)
	s.mu.Lock()
	s.ended = true
	last := len(s.conversations) == 0
	for c := range s.conversations {
		c.interrupt()
	}
	s.mu.Unlock()
	if last {
		go s.finish()
	}
}

// finish is called once, after the end of the connection and of the last
// conversation.
func (s *session) finish() {
	defer close(s.gone)
	if s.host != nil {
		_ = s.host.close() // its only connection is gone, nothing to be done
	}
	s.events.Lock()
	closed := s.ev.Closed
	if closed != nil {
		closed(s.lost())
	}
	s.events.Unlock()
	if s.left != nil {
		s.left()
	}
}

// join counts a conversation in; false if there can be no more.
func (s *session) join(c *conversation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || (c.incoming && s.incoming >= s.maxIncoming()) {
		return false
	}
	if c.incoming {
		s.incoming++
	}
	s.conversations[c] = struct{}{}
	return true
}

// vacate makes room for another incoming conversation; it is called before
// anybody hears of the end of this one.
func (s *session) vacate(c *conversation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.incoming {
		s.incoming--
	}
}

// leave is called after the last event of a conversation.
func (s *session) leave(c *conversation) {
	s.mu.Lock()
	delete(s.conversations, c)
	last := s.ended && len(s.conversations) == 0
	s.mu.Unlock()
	if last {
		s.finish()
	}
}

// Open starts a conversation.
func (s *session) Open(p transport.Protocol, h transport.Handler, credit int) transport.Conversation {
	c := newConversation(s, h, credit)
	c.protocol = p
	if !s.join(c) {
		c.Close(fmt.Errorf("open conversation: %w", s.lost()))
		go c.finish()
		return c
	}
	go c.open()
	return c
}

// accept runs a conversation that the other side opened, in the goroutine that
// libp2p made for its stream.
func (s *session) accept(st network.Stream) {
	c := newConversation(s, nil, 0)
	c.incoming = true
	if !s.join(c) {
		_ = st.ResetWithError(network.StreamResourceLimitExceeded)
		return
	}
	p, err := negotiate(st)
	if err != nil {
		s.vacate(c)
		_ = st.ResetWithError(network.StreamProtocolNegotiationFailed)
		s.leave(c)
		return
	}
	if p == punchProtocol {
		s.vacate(c)
		s.leave(c)
		s.offeredPunch(st)
		return
	}
	c.protocol = transport.Protocol(p)
	c.attach(st, st)
	if !s.offer(c) {
		s.vacate(c)
		_ = st.ResetWithError(network.StreamGated)
		c.drop()
		s.leave(c)
		return
	}
	go c.write()
	c.read()
}

// negotiate learns which protocol a stream is for.
func negotiate(st network.Stream) (protocol.ID, error) {
	if err := st.SetDeadline(time.Now().Add(negotiateTimeout)); err != nil {
		return "", err
	}
	p, _, err := names.Negotiate(st)
	if err != nil {
		return "", err
	}
	return p, st.SetDeadline(time.Time{})
}

// offer asks the owner who handles a conversation.
func (s *session) offer(c *conversation) bool {
	s.events.Lock()
	defer s.events.Unlock()
	if s.ev.Incoming == nil {
		return false
	}
	h, credit := s.ev.Incoming(c, c.protocol)
	if h == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handler = h
	c.credit += credit
	return true
}
