// Package relay is the service by which servers are reached that nobody can
// dial: libp2p's circuit relay v2 on a host of its own, with bounds for each
// server and each network address, and a count of the bytes of each circuit.
//
// Main type: Service. A server takes a slot over a connection that it keeps;
// a client asks for a circuit to it. What passes is encrypted between those
// two, under the server's own identity.
//
// Promises: a relay dials nobody; it opens no circuit but to a server that has
// a slot now; no circuit outlives its server's allowance by more than a
// buffer; whoever is connected for nothing is not for long.
package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// bufferSize is what a circuit copies at a time, in bytes, for each direction.
const bufferSize = 64 << 10

// idle is how long a connection is kept that has no slot and asks for nothing.
const idle = 30 * time.Second

var errSpent = errors.New("the server's allowance is used up")

// Service relays.
type Service struct {
	limits transport.RelayLimits
	relay  *circuit.Relay
	host   host.Host
	bytes  atomic.Uint64

	mu       sync.Mutex
	refused  uint64
	slots    map[peer.ID]*slot
	circuits map[*passing]struct{}
	asking   map[netip.Prefix]int // open streams by which circuits are asked for, and used
	uses     map[network.Conn]int // of them, by connection
}

// slot is a server's reservation, and what passed in its time. It is kept
// until that is over, though the server may be gone and come back.
type slot struct {
	from     netip.Prefix
	began    time.Time // of the time in which bytes count
	until    time.Time
	gone     bool // the server is not connected
	circuits int
	bytes    atomic.Uint64
}

// New relays through a host that has no other use. Its resource manager
// should be Connections with the same limits.
func New(h host.Host, l transport.RelayLimits) (*Service, error) {
	s := &Service{
		limits: l.WithDefaults(), host: h,
		slots: map[peer.ID]*slot{}, circuits: map[*passing]struct{}{}, asking: map[netip.Prefix]int{}, uses: map[network.Conn]int{},
	}
	h.Network().Notify(&network.NotifyBundle{ConnectedF: s.connected, DisconnectedF: s.disconnected})
	h.SetStreamHandler(ObservedProtocol, tellObserved)
	var err error
	s.relay, err = circuit.New(counting{h, s}, circuit.WithACL(s), circuit.WithResources(s.resources()))
	if err != nil {
		return nil, fmt.Errorf("start relay: %w", err)
	}
	return s, nil
}

// resources are libp2p's own limits. Those on reservations are ours to hold:
// they are made so large that they never matter.
func (s *Service) resources() circuit.Resources {
	l := s.limits
	return circuit.Resources{
		Limit:          &circuit.RelayLimit{Duration: l.CircuitTime, Data: l.Data},
		ReservationTTL: l.Time, BufferSize: bufferSize, MaxCircuits: l.CircuitsPerServer,
		MaxReservations: 2 * l.Reservations, MaxReservationsPerIP: 2 * l.Reservations, MaxReservationsPerASN: 2 * l.Reservations,
	}
}

// Close ends the service; the host's own Close ends the circuits.
func (s *Service) Close() error { return s.relay.Close() }

// AllowReserve implements libp2p's ACLFilter: it gives or renews a slot.
func (s *Service) AllowReserve(p peer.ID, from ma.Multiaddr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	source, ok := sourceOf(from)
	if _, ed25519 := serverOf(p); !ok || !ed25519 || !s.mayReserve(p, source, now) {
		s.refused++
		return false
	}
	r := s.slots[p]
	if r == nil {
		r = &slot{began: now}
		s.slots[p] = r
	}
	r.from, r.until, r.gone = source, now.Add(s.limits.Time), false
	return true
}

func (s *Service) mayReserve(p peer.ID, source netip.Prefix, now time.Time) bool {
	s.forget(now)
	live, here := 0, 0
	for other, r := range s.slots {
		if other == p || !r.live(now) {
			continue
		}
		live++
		if r.from == source {
			here++
		}
	}
	// Slots that are only remembered are bounded, too.
	return live < s.limits.Reservations && here < s.limits.ReservationsPerAddress && (s.slots[p] != nil || len(s.slots) < 4*s.limits.Reservations)
}

// forget drops slots of which nothing counts any more.
func (s *Service) forget(now time.Time) {
	for p, r := range s.slots {
		if !r.live(now) && r.circuits == 0 && now.Sub(r.began) >= s.limits.Time {
			delete(s.slots, p)
		}
	}
}

func (r *slot) live(now time.Time) bool { return !r.gone && now.Before(r.until) }

// AllowConnect implements libp2p's ACLFilter.
func (s *Service) AllowConnect(_ peer.ID, _ ma.Multiaddr, server peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	r := s.slots[server]
	if r == nil || !r.live(now) || len(s.circuits) >= s.limits.Circuits || r.circuits >= s.limits.CircuitsPerServer || !s.has(r, 1, now) {
		s.refused++
		return false
	}
	return true
}

// has reports whether a slot may still have n bytes, and begins its next time
// if that has come. mu is held.
func (s *Service) has(r *slot, n int, now time.Time) bool {
	if now.Sub(r.began) >= s.limits.Time {
		r.began = now
		r.bytes.Store(0)
	}
	return r.bytes.Load()+uint64(n) <= uint64(s.limits.Data)
}

// spend counts n bytes of a circuit; false if the server may have no more.
func (s *Service) spend(r *slot, n int) bool {
	s.bytes.Add(uint64(n))
	if r.bytes.Add(uint64(n)) <= uint64(s.limits.Data) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has(r, 0, time.Now())
}

// connected gives a new connection a while to ask for something.
func (s *Service) connected(_ network.Network, c network.Conn) {
	time.AfterFunc(idle, func() { s.review(c) })
}

// review closes a connection that is there for nothing, or looks again later.
func (s *Service) review(c network.Conn) {
	if c.IsClosed() {
		return
	}
	s.mu.Lock()
	r := s.slots[c.RemotePeer()]
	used := s.uses[c] > 0 || r != nil && (r.live(time.Now()) || r.circuits > 0)
	s.mu.Unlock()
	if !used {
		_ = c.Close() // it is given up either way
		return
	}
	time.AfterFunc(idle, func() { s.review(c) })
}

func (s *Service) disconnected(n network.Network, c network.Conn) {
	if n.Connectedness(c.RemotePeer()) == network.Connected {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.slots[c.RemotePeer()]; r != nil {
		r.gone = true
	}
}

// Status is what the relay does now.
func (s *Service) Status() transport.RelayStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	status := transport.RelayStatus{Bytes: s.bytes.Load(), Refused: s.refused}
	for p, r := range s.slots {
		if id, ok := serverOf(p); ok && r.live(now) {
			status.Slots = append(status.Slots, transport.RelaySlot{Server: id, Until: r.until, Bytes: r.bytes.Load(), Circuits: r.circuits})
		}
	}
	for c := range s.circuits {
		id, _ := serverOf(c.server)
		status.Circuits = append(status.Circuits, transport.RelayCircuit{Server: id, Since: c.since, ToServer: c.to.Load(), FromServer: c.from.Load()})
	}
	slices.SortFunc(status.Slots, func(a, b transport.RelaySlot) int { return slices.Compare(a.Server[:], b.Server[:]) })
	slices.SortFunc(status.Circuits, func(a, b transport.RelayCircuit) int {
		return cmp.Or(a.Since.Compare(b.Since), slices.Compare(a.Server[:], b.Server[:]))
	})
	return status
}

// serverOf is the key in an Ed25519 peer's name.
func serverOf(p peer.ID) (grid.ServerID, bool) {
	pub, err := p.ExtractPublicKey()
	if err != nil {
		return grid.ServerID{}, false
	}
	raw, err := pub.Raw()
	if err != nil || len(raw) != len(grid.ServerID{}) {
		return grid.ServerID{}, false
	}
	return grid.ServerID(raw), true
}

// sourceOf is what of an address one person can't have many of.
func sourceOf(a ma.Multiaddr) (netip.Prefix, bool) {
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(ip)
	addr = addr.Unmap()
	if bits := 64; ok && addr.Is6() {
		return netip.PrefixFrom(addr, bits).Masked(), true
	}
	return netip.PrefixFrom(addr, addr.BitLen()), ok
}

// counting is the host as libp2p's relay sees it: the streams that it gets and
// makes are counted.
type counting struct {
	host.Host
	service *Service
}

// SetStreamHandler bounds how many circuits an address has.
func (c counting) SetStreamHandler(p protocol.ID, handle network.StreamHandler) {
	if p != proto.ProtoIDv2Hop {
		c.Host.SetStreamHandler(p, handle)
		return
	}
	c.Host.SetStreamHandler(p, func(st network.Stream) {
		if asked, ok := c.service.ask(st); ok {
			handle(asked)
			return
		}
		_ = st.ResetWithError(network.StreamResourceLimitExceeded)
	})
}

// NewStream is called for the server's end of a circuit.
func (c counting) NewStream(ctx context.Context, server peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	st, err := c.Host.NewStream(ctx, server, protocols...)
	if err != nil {
		return nil, err
	}
	return c.service.pass(st, server)
}
