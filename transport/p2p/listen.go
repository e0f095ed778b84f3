package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// Accept is called for each session that a listener accepts; it returns who
// hears of it.
type Accept func(transport.Session) transport.SessionEvents

// listener implements transport.Listener.
type listener struct {
	key     ed25519.PrivateKey
	host    *host
	limits  *connLimits
	options Options
	punches *budget
	accept  Accept
	ending  context.Context // of Close
	end     context.CancelFunc
	live    sync.WaitGroup // sessions whose Closed has not been called

	mu       sync.Mutex
	closed   bool
	sessions map[network.Conn]*session
	slots    map[*slot]struct{}
}

// Listen accepts sessions under key at multiaddrs such as /ip4/0.0.0.0/tcp/3457
// and /ip4/0.0.0.0/udp/3457/quic-v1; port 0 takes a free one. onion:3457 is an
// onion service at that port, made of o.Onion, which comes when Tor does. Listen
// fails unless it can listen at every other one of them.
func Listen(key ed25519.PrivateKey, addresses []string, o Options, accept Accept) (transport.Listener, error) {
	if len(addresses) == 0 {
		return nil, fmt.Errorf("listen: %w", transport.ErrNoAddress)
	}
	others, onion, err := splitOnion(addresses)
	if err != nil {
		return nil, err
	}
	addrs, err := parseListen(others)
	if err != nil {
		return nil, err
	}
	l, err := newListener(key, o.withDefaults(), accept)
	if err != nil {
		return nil, err
	}
	if err := l.listen(addrs...); err != nil {
		return nil, errors.Join(err, l.host.close())
	}
	if onion == 0 {
		return l, nil
	}
	hidden, err := l.serveOnion(onion)
	if err != nil {
		return nil, errors.Join(err, l.host.close())
	}
	return hidden, nil
}

func newListener(key ed25519.PrivateKey, o Options, accept Accept) (*listener, error) {
	limits := newConnLimits(o)
	h, err := newHost(key, o.muxer(earlyWindow), limits, o.DialTimeout)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(h.addTCP(), h.addQUIC()); err != nil {
		return nil, errors.Join(err, h.close())
	}
	l := &listener{key: key, host: h, limits: limits, options: o, punches: o.budget(), accept: accept, sessions: map[network.Conn]*session{}, slots: map[*slot]struct{}{}}
	l.ending, l.end = context.WithCancel(context.Background())
	h.swarm.Notify(&network.NotifyBundle{ConnectedF: l.connected, DisconnectedF: l.disconnected})
	h.swarm.SetStreamHandler(l.stream)
	return l, nil
}

func (l *listener) listen(addrs ...ma.Multiaddr) error {
	for _, a := range addrs {
		if err := l.host.swarm.AddListenAddr(a); err != nil {
			return fmt.Errorf("listen at %s: %w", a, err)
		}
	}
	return nil
}

func parseListen(addresses []string) ([]ma.Multiaddr, error) {
	var addrs []ma.Multiaddr
	for _, s := range addresses {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("listen at %q: %w", s, err)
		}
		if k := transport.KindOf(grid.Hint(s)); k != transport.TCP && k != transport.QUIC {
			return nil, fmt.Errorf("listen at %q: %w: want the form /ip4/192.0.2.7/tcp/3457, /ip4/192.0.2.7/udp/3457/quic-v1 or onion:3457", s, transport.ErrNoAddress)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// Hints are the addresses listened at.
func (l *listener) Hints() []grid.Hint { return l.host.hints() }

// hints are the addresses listened at; 0.0.0.0 and :: are replaced by those
// of all interfaces.
func (h *host) hints() []grid.Hint {
	var hints []grid.Hint
	addrs, err := h.swarm.InterfaceListenAddresses()
	if err != nil {
		addrs = h.swarm.ListenAddresses()
	}
	for _, a := range addrs {
		hints = append(hints, grid.Hint(a.String()))
	}
	return hints
}

// Close ends the listener and its sessions, and returns when the last Closed
// callback has; so it is not called from one.
func (l *listener) Close() error {
	l.mu.Lock()
	l.closed = true
	var conns []network.Conn
	for c, s := range l.sessions {
		s.because(errHere)
		conns = append(conns, c)
	}
	slots := slices.Collect(maps.Keys(l.slots))
	hosts := l.ownHosts()
	l.mu.Unlock()
	l.end()
	for _, s := range slots {
		s.Close()
	}
	for _, c := range conns {
		c.Close() // over QUIC nobody could be told once the socket is closed
	}
	for _, h := range hosts {
		_ = h.close() // its session's end tells
	}
	err := l.host.close()
	l.live.Wait()
	return err
}

// ownHosts are those of sessions that have one. mu is held.
func (l *listener) ownHosts() (hosts []*host) {
	for _, s := range l.sessions {
		if s.host != nil {
			hosts = append(hosts, s.host)
		}
	}
	return hosts
}

func (l *listener) connected(_ network.Network, c network.Conn) { l.welcome(c, nil) }

// welcome makes a connection a session; h is a host that was made for it alone.
func (l *listener) welcome(c network.Conn, h *host) {
	key, ok := keyOf(c)
	if !ok {
		go c.Close() // its place is free once it is
		return
	}
	s := newSession(c, key, l.options)
	if scope, ok := c.Scope().(*connScope); ok {
		s.scope = scope
		l.limits.established(scope)
	}
	if h != nil {
		s.host, s.path = h, transport.PathPunched
	}
	if s.path == transport.PathRelay && l.options.Punch {
		s.punched = func(st network.Stream) { l.punch(s, st) }
	}
	s.left = l.live.Done
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		go c.Close()
		return
	}
	l.live.Add(1)
	l.sessions[c] = s
	l.mu.Unlock()
	s.events.Lock()
	defer s.events.Unlock()
	s.ev = l.accept(s)
}

func (l *listener) disconnected(_ network.Network, c network.Conn) {
	l.mu.Lock()
	s := l.sessions[c]
	delete(l.sessions, c)
	l.mu.Unlock()
	if s != nil {
		s.disconnected()
	}
}

func (l *listener) stream(st network.Stream) {
	l.mu.Lock()
	s := l.sessions[st.Conn()]
	l.mu.Unlock()
	if s != nil {
		s.accept(st)
		return
	}
	_ = st.ResetWithError(network.StreamGated)
}
