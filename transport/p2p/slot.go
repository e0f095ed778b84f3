package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// slot implements transport.Slot: a connection to a relay from a host of its
// own, under the listener's key, to which circuits come. Of the relay nothing
// is believed but that its time has an end.
type slot struct {
	listener *listener
	options  Options
	relay    peer.ID
	hints    []grid.Hint
	host     *host
	lost     func(error)
	stop     func() // gives up what is under way

	mu     sync.Mutex
	taken  bool // done was told of it
	closed bool
	lasts  time.Duration
}

// A reservation that lasts no longer than leastSlot is none; the longest is
// taken for mostSlot.
const (
	leastSlot = time.Minute
	mostSlot  = 24 * time.Hour
)

// Reserve takes a slot on a relay.
func (l *listener) Reserve(relay transport.Target, lost func(error), done func(transport.Slot, error)) (cancel func()) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		s, err := l.reserve(ctx, relay, lost)
		if err != nil {
			cancel()
			done(nil, fmt.Errorf("take a slot on relay %s: %w", relay.Server.Short(), err))
			return
		}
		done(s, nil)
		s.told()
	}()
	return cancel
}

func (l *listener) reserve(ctx context.Context, relay transport.Target, lost func(error)) (*slot, error) {
	id, err := peerOf(relay.Server.Key())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", transport.ErrNoAddress, err)
	}
	way := relay.Connections.Of(transport.Relay)
	s := &slot{listener: l, options: l.options.by(way), relay: id, lost: lost}
	ctx, s.stop = context.WithCancel(ctx)
	if way == transport.Disabled {
		return nil, fmt.Errorf("%w: relays are not reached, as the settings for connections say", transport.ErrNoAddress)
	}
	addrs := dialable(relay, relay.Connections.WayToRelay, way, id)
	if s.hints = circuitHints(addrs, id); len(s.hints) == 0 {
		return nil, fmt.Errorf("%w: %s", transport.ErrNoAddress, fmt.Sprintf("relays are reached by %s, and it has no address for that", way))
	}
	if s.host, err = s.options.hostFor(way, l.key, earlyWindow, l.limits, addrs); err != nil {
		return nil, err
	}
	if !l.addSlot(s) {
		return nil, errors.Join(transport.ErrClosed, s.host.close())
	}
	if err := s.take(ctx, addrs); err != nil {
		given := ctx.Err() != nil
		s.Close()
		if given {
			return nil, fmt.Errorf("%w: given up", transport.ErrClosed)
		}
		return nil, err
	}
	return s, nil
}

// circuitHints are the addresses of whoever has a slot on the relay.
func circuitHints(relay []ma.Multiaddr, id peer.ID) []grid.Hint {
	var hints []grid.Hint
	for _, a := range relay {
		h := grid.Hint(fmt.Sprintf("%s/p2p/%s/p2p-circuit", a, id))
		if transport.KindOf(h) == transport.Relay && len(h) <= wire.MaxHint {
			hints = append(hints, h)
		}
	}
	return hints
}

func (l *listener) addSlot(s *slot) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.slots[s] = struct{}{}
	return true
}

// take connects, begins to accept circuits, and reserves.
func (s *slot) take(ctx context.Context, addrs []ma.Multiaddr) error {
	circuits, err := s.host.circuits()
	if err != nil {
		return err
	}
	s.host.swarm.Notify(&network.NotifyBundle{ConnectedF: s.connected, DisconnectedF: s.disconnected})
	s.host.swarm.SetStreamHandler(s.stream)
	if err := s.host.swarm.AddListenAddr(ma.StringCast("/p2p-circuit")); err != nil {
		return fmt.Errorf("accept circuits: %w", err)
	}
	circuits.Start()
	s.host.peers.AddAddrs(s.relay, addrs, peerstore.TempAddrTTL)
	limited, cancel := context.WithTimeout(ctx, s.options.DialTimeout)
	defer cancel()
	if _, err := s.host.swarm.DialPeer(limited, s.relay); err != nil {
		return dialError(err)
	}
	return s.reserve(limited)
}

// reserve asks for the slot, or for more time.
func (s *slot) reserve(ctx context.Context) error {
	got, err := circuit.Reserve(ctx, s.host, peer.AddrInfo{ID: s.relay})
	if err != nil {
		return reserveError(err)
	}
	left := time.Until(got.Expiration)
	if left <= leastSlot {
		return fmt.Errorf("%w: it would last %v", transport.ErrRefused, left.Round(time.Second))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lasts = min(left, mostSlot)
	return nil
}

// reserveError says in our words why there is no slot.
func reserveError(err error) error {
	var refused circuit.ReservationError
	if !errors.As(err, &refused) || refused.Status == pb.Status_CONNECTION_FAILED {
		return fmt.Errorf("%w: %w", transport.ErrUnreachable, err)
	}
	return fmt.Errorf("%w: it has no slot to give (%s)", transport.ErrRefused, pb.Status_name[int32(refused.Status)])
}

// Hints are the addresses by which the listener is reached through the slot.
func (s *slot) Hints() []grid.Hint { return s.hints }

// Lasts is for how long, counted from when it was taken or renewed.
func (s *slot) Lasts() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lasts
}

// Renew asks for more time.
func (s *slot) Renew(done func(error)) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.options.DialTimeout)
		defer cancel()
		done(s.reserve(ctx))
	}()
}

// Close gives the slot back.
func (s *slot) Close() { _ = s.end() }

// end closes the slot; false if it was closed before.
func (s *slot) end() bool {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	s.stop()
	_ = s.host.close() // it is given up either way
	s.listener.mu.Lock()
	delete(s.listener.slots, s)
	s.listener.mu.Unlock()
	return first
}

// told is called once whoever asked for the slot has it: only now may he hear
// of its loss.
func (s *slot) told() {
	s.mu.Lock()
	s.taken = true
	s.mu.Unlock()
	if s.host.swarm.Connectedness(s.relay) != network.Connected {
		s.gone()
	}
}

// connected lets circuits in as sessions; the connection to the relay itself
// is none.
func (s *slot) connected(n network.Network, c network.Conn) {
	if throughRelay(c) {
		s.listener.connected(n, c)
	}
}

func (s *slot) disconnected(n network.Network, c network.Conn) {
	if throughRelay(c) {
		s.listener.disconnected(n, c)
		return
	}
	go s.gone()
}

// gone follows the end of the connection to the relay.
func (s *slot) gone() {
	s.mu.Lock()
	taken := s.taken
	s.mu.Unlock()
	if taken && s.end() {
		s.lost(fmt.Errorf("%w: the relay", errLost))
	}
}

// stream takes new circuits from the relay, and conversations from clients.
func (s *slot) stream(st network.Stream) {
	if throughRelay(st.Conn()) {
		s.listener.stream(st)
		return
	}
	if err := st.SetDeadline(time.Now().Add(negotiateTimeout)); err == nil {
		if name, handle, err := s.host.Mux().Negotiate(st); err == nil && name == proto.ProtoIDv2Stop {
			_ = handle(name, st) // it sets deadlines of its own, and never fails
			return
		}
	}
	_ = st.ResetWithError(network.StreamGated)
}
