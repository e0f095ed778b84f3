package p2p

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tarn-grid/tarn/transport"
)

var errNotAdmitted = errors.New("no more memory before login")

// connLimits is a listener's resource manager. libp2p's own refuses the 253rd
// connection, and the ninth of an address; it counts by peer and address,
// which mean nothing where every client has a new key and many share a Tor
// exit. This one counts connections, of them those in handshake apart, and keeps
// windows small until Admit.
type connLimits struct {
	network.NullResourceManager
	most, mostHalf int
	handshake      time.Duration // at most

	mu   sync.Mutex
	open int // those in handshake included
	half transport.Crowd[*connScope]
	// quic is how many are in handshake that can't be closed for others.
	quic int
	// coming are connections between InterceptAccept and OpenConnection.
	coming map[string]io.Closer
}

func newConnLimits(o Options) *connLimits {
	return &connLimits{most: o.Connections, mostHalf: o.Handshakes, handshake: o.HandshakeTimeout, coming: map[string]io.Closer{}}
}

// OpenConnection makes room for one, or refuses. Where too many are in
// handshake, one of those makes room.
func (l *connLimits) OpenConnection(dir network.Direction, _ bool, from ma.Multiaddr) (network.ConnManagementScope, error) {
	s := &connScope{limits: l}
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
		l.quic++
		s.state = halfQUIC
	case dir == network.DirInbound:
		l.half.Add(s, from.String())
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
	l.open--
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
	conn     io.Closer // nil if it can't be closed for others
	state    connState // below limits.mu
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
