package p2p

import (
	"crypto/ed25519"
	"errors"
	"fmt"
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
	host    *host
	options Options
	accept  Accept
	live    sync.WaitGroup // sessions whose Closed has not been called

	mu       sync.Mutex
	sessions map[network.Conn]*session
}

// Listen accepts sessions under key at TCP multiaddrs such as
// /ip4/0.0.0.0/tcp/3457; port 0 takes a free one. It fails unless it can
// listen at every one of them.
func Listen(key ed25519.PrivateKey, addresses []string, o Options, accept Accept) (transport.Listener, error) {
	o = o.withDefaults()
	addrs, err := parseListen(addresses)
	if err != nil {
		return nil, err
	}
	h, err := newHost(key, o.muxer(earlyWindow), &connLimits{most: int64(o.Connections)}, o.DialTimeout)
	if err != nil {
		return nil, err
	}
	l := &listener{host: h, options: o, accept: accept, sessions: map[network.Conn]*session{}}
	h.swarm.Notify(&network.NotifyBundle{ConnectedF: l.connected, DisconnectedF: l.disconnected})
	h.swarm.SetStreamHandler(l.stream)
	for _, a := range addrs {
		if err := h.swarm.AddListenAddr(a); err != nil {
			return nil, errors.Join(fmt.Errorf("listen at %s: %w", a, err), h.close())
		}
	}
	return l, nil
}

func parseListen(addresses []string) ([]ma.Multiaddr, error) {
	if len(addresses) == 0 {
		return nil, fmt.Errorf("listen: %w", transport.ErrNoAddress)
	}
	var addrs []ma.Multiaddr
	for _, s := range addresses {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("listen at %q: %w", s, err)
		}
		if transport.KindOf(grid.Hint(s)) != transport.TCP {
			return nil, fmt.Errorf("listen at %q: %w: want the form /ip4/192.0.2.7/tcp/3457", s, transport.ErrNoAddress)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// Hints are the addresses listened at; 0.0.0.0 and :: are replaced by those
// of all interfaces.
func (l *listener) Hints() []grid.Hint {
	var hints []grid.Hint
	addrs, err := l.host.swarm.InterfaceListenAddresses()
	if err != nil {
		addrs = l.host.swarm.ListenAddresses()
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
	for _, s := range l.sessions {
		s.because(errHere)
	}
	l.mu.Unlock()
	err := l.host.close()
	l.live.Wait()
	return err
}

func (l *listener) connected(_ network.Network, c network.Conn) {
	key, ok := keyOf(c)
	if !ok {
		go c.Close()
		return
	}
	s := newSession(c, key, l.options)
	s.scope, _ = c.Scope().(*connScope)
	l.live.Add(1)
	s.left = l.live.Done
	l.mu.Lock()
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
		s.accept(st, l.host.Mux())
		return
	}
	_ = st.ResetWithError(network.StreamGated)
}
