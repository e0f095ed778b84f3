package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/time/rate"

	"github.com/tarn-grid/tarn/transport"
)

var (
	errNotAdmitted = errors.New("no more memory before login")
	errOvertaken   = errors.New("the connection was closed before the handshake's turn came")
)

// connLimits is a listener's resource manager. libp2p's own refuses the 253rd
// connection, and the ninth of an address; it counts by peer and address,
// which mean nothing where every client has a new key and many share a Tor
// exit. This one counts connections, of them those in handshake apart, has these
// take turns, and keeps windows small until Admit.
type connLimits struct {
	network.NullResourceManager
	most, mostHalf int
	handshake      time.Duration // at most

	mu   sync.Mutex
	open int // those in handshake included
	half transport.Crowd[*connScope]
	// quic is how many are in handshake that can't be closed for others.
	quic int
	// coming are connections between InterceptAccept and OpenConnection, halves
	// those of half.
	coming map[string]io.Closer
	halves map[io.Closer]*connScope

	turns, quicTurns *rate.Limiter
	// next is full while somebody is next to have a turn; the others wait in the
	// order in which they came.
	next chan struct{}
}

func newConnLimits(o Options) *connLimits {
	each := rate.Limit(o.HandshakeRate)
	return &connLimits{
		most: o.Connections, mostHalf: o.Handshakes, handshake: o.HandshakeTimeout,
		coming: map[string]io.Closer{}, halves: map[io.Closer]*connScope{},
		turns: rate.NewLimiter(each, o.Handshakes), quicTurns: rate.NewLimiter(each/4, max(1, o.Handshakes/4)),
		next: make(chan struct{}, 1),
	}
}

// OpenConnection makes room for one, or refuses. Where too many are in
// handshake, one of those makes room.
func (l *connLimits) OpenConnection(dir network.Direction, _ bool, from ma.Multiaddr) (network.ConnManagementScope, error) {
	s := &connScope{limits: l, gone: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if dir == network.DirInbound {
		s.conn = l.coming[from.String()]
		delete(l.coming, from.String())
		l.makeRoom(from.String())
	}
	switch {
	case l.open >= l.most:
		return nil, fmt.Errorf("%w: %d connections", network.ErrResourceLimitExceeded, l.most)
	case dir == network.DirInbound && s.conn == nil:
		if l.quic >= l.mostHalf/4 {
			return nil, fmt.Errorf("%w: %d handshakes over QUIC", network.ErrResourceLimitExceeded, l.quic)
		}
		if !l.quicTurns.Allow() {
			return nil, fmt.Errorf("%w: %v handshakes over QUIC a second", network.ErrResourceLimitExceeded, l.quicTurns.Limit())
		}
		l.quic++
		s.state = halfQUIC
	case dir == network.DirInbound:
		l.half.Add(s, from.String())
		l.halves[s.conn] = s
		s.state = half
	}
	l.open++
	return s, nil
}

// makeRoom for one more handshake from an address.
func (l *connLimits) makeRoom(from string) {
	if l.half.Len() < l.mostHalf {
		return
	}
	if first, ok := l.half.First(from, rand.IntN); ok {
		l.end(first)
		go first.conn.Close()
	}
}

// Whether a connection is in handshake.
type connState int

const (
	whole connState = iota
	half
	halfQUIC
	over
)

// established takes a connection off those in handshake.
func (l *connLimits) established(s *connScope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaveHalf(s)
}

func (l *connLimits) leaveHalf(s *connScope) {
	switch s.state {
	case half:
		l.half.Remove(s)
		delete(l.halves, s.conn)
	case halfQUIC:
		l.quic--
	case whole, over:
		return
	}
	s.state = whole
}

func (l *connLimits) end(s *connScope) {
	if s.state == over {
		return
	}
	l.leaveHalf(s)
	s.state = over
	close(s.gone)
	l.open--
}

// turn waits until a connection's handshake may take the processor: so many may in
// a second, whoever they are. One that is closed meanwhile takes nobody's turn.
func (l *connLimits) turn(ctx context.Context, c io.Closer) error {
	select {
	case l.next <- struct{}{}:
	case <-l.gone(c):
		return errOvertaken
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.next }()
	return l.turns.Wait(ctx)
}

// gone is closed when a connection in handshake is over, and nil for any other.
func (l *connLimits) gone(c io.Closer) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.halves[c]; s != nil {
		return s.gone
	}
	return nil
}

// inTurn has accepted connections take turns before they are secured.
type inTurn struct {
	sec.SecureTransport
	limits *connLimits
}

func (t inTurn) SecureInbound(ctx context.Context, c net.Conn, p peer.ID) (sec.SecureConn, error) {
	if err := t.limits.turn(ctx, c); err != nil {
		return nil, errors.Join(fmt.Errorf("secure connection: %w", err), c.Close())
	}
	return t.SecureTransport.SecureInbound(ctx, c, p)
}

// crowded reports whether more than half of the room is taken. Then a stranger
// who speaks QUIC has to show that his address is his before he gets any.
func (l *connLimits) crowded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open > l.most/2 || l.quic > l.mostHalf/8
}

// InterceptAccept notes what OpenConnection, which comes next, is about: libp2p
// tells it the address only.
func (l *connLimits) InterceptAccept(c network.ConnMultiaddrs) bool {
	if conn, ok := c.(io.Closer); ok {
		l.mu.Lock()
		l.coming[c.RemoteMultiaddr().String()] = conn
		l.mu.Unlock()
	}
	return true
}

// The rest of connmgr.ConnectionGater forbids nothing.

func (*connLimits) InterceptPeerDial(peer.ID) bool               { return true }
func (*connLimits) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }
func (*connLimits) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool {
	return true
}
func (*connLimits) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// connScope is one connection's share of the limits.
type connScope struct {
	network.NullScope
	limits   *connLimits
	conn     io.Closer     // nil if it can't be closed for others
	state    connState     // below limits.mu
	gone     chan struct{} // closed when it is over
	admitted atomic.Bool
}

// Done makes room for another connection. libp2p may call it more than once.
func (s *connScope) Done() {
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	s.limits.end(s)
}

// ReserveMemory is asked by QUIC before a connection's window grows, and for
// the windows of yamux.
func (s *connScope) ReserveMemory(_ int, priority uint8) error {
	if priority < network.ReservationPriorityAlways && !s.admitted.Load() {
		return errNotAdmitted
	}
	return nil
}

// PeerScope is where yamux asks for the memory of its windows.
func (s *connScope) PeerScope() network.PeerScope { return &windowScope{conn: s} }

type windowScope struct {
	network.NullScope
	conn *connScope
}

// BeginSpan is called for each stream.
func (w *windowScope) BeginSpan() (network.ResourceScopeSpan, error) { return w, nil }

// ReserveMemory is asked with the highest priority for a stream's first
// window, with a lower one to let it grow.
func (w *windowScope) ReserveMemory(size int, priority uint8) error {
	return w.conn.ReserveMemory(size, priority)
}
