package p2p

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multiaddr"
)

var errNotAdmitted = errors.New("no more memory before login")

// connLimits is a listener's resource manager. libp2p's own refuses the 253rd
// connection, and the ninth of an address; it counts by peer and address,
// which mean nothing where every client has a new key and many share a Tor
// exit. This one counts connections, and keeps windows small until Admit.
type connLimits struct {
	network.NullResourceManager
	most int64
	open atomic.Int64
}

// OpenConnection makes room for one, or refuses.
func (l *connLimits) OpenConnection(network.Direction, bool, multiaddr.Multiaddr) (network.ConnManagementScope, error) {
	if l.open.Add(1) > l.most {
		l.open.Add(-1)
		return nil, fmt.Errorf("%w: %d connections", network.ErrResourceLimitExceeded, l.most)
	}
	return &connScope{limits: l}, nil
}

// crowded reports whether more than half of the room is taken. Then a stranger
// who speaks QUIC has to show that his address is his before he gets any.
func (l *connLimits) crowded() bool { return l.open.Load() > l.most/2 }

// connScope is one connection's share of the limits.
type connScope struct {
	network.NullScope
	limits   *connLimits
	once     sync.Once
	admitted atomic.Bool
}

// Done makes room for another connection. libp2p may call it more than once.
func (s *connScope) Done() { s.once.Do(func() { s.limits.open.Add(-1) }) }

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
