package p2p

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	coretransport "github.com/libp2p/go-libp2p/core/transport"
	blankhost "github.com/libp2p/go-libp2p/p2p/host/blank"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"

	"github.com/tarn-grid/tarn/grid"
)

// host is a libp2p host that says nothing of itself but its key: no identify
// service runs on it.
type host struct {
	*blankhost.BlankHost
	swarm    *swarm.Swarm
	peers    *peers
	key      crypto.PrivKey
	upgrader coretransport.Upgrader
	limits   network.ResourceManager
	timeout  time.Duration
	sockets  sockets
	once     sync.Once
	err      error
}

// newHost makes a host without listeners that can't dial either: it has those
// transports that are added. timeout bounds a dial.
func newHost(key ed25519.PrivateKey, muxer *yamux.Transport, limits network.ResourceManager, timeout time.Duration, more ...swarm.Option) (*host, error) {
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make host: %w", err)
	}
	id, err := peer.IDFromPrivateKey(priv)
	if err != nil {
		return nil, fmt.Errorf("make host: %w", err)
	}
	h, err := assemble(id, priv, muxer, limits, timeout, more)
	if err != nil {
		return nil, fmt.Errorf("make host: %w", err)
	}
	return h, nil
}

// assemble puts the host together from its parts; libp2p.New would bring more
// transports and services than are wanted.
func assemble(id peer.ID, priv crypto.PrivKey, muxer *yamux.Transport, limits network.ResourceManager, timeout time.Duration, more []swarm.Option) (*host, error) {
	peers, bus := newPeers(id, priv), eventbus.NewBus()
	sw, err := swarm.NewSwarm(id, peers, bus, append([]swarm.Option{
		swarm.WithDialTimeout(timeout), swarm.WithDialTimeoutLocal(timeout), swarm.WithResourceManager(limits),
		swarm.WithUDPBlackHoleSuccessCounter(nil), swarm.WithIPv6BlackHoleSuccessCounter(nil), swarm.WithDialRanker(rank),
	}, more...)...)
	if err != nil {
		return nil, err
	}
	up, err := newUpgrader(priv, muxer, limits)
	if err != nil {
		return nil, errors.Join(err, sw.Close())
	}
	h := blankhost.NewBlankHost(sw, blankhost.WithEventBus(bus))
	if h == nil {
		return nil, errors.Join(errors.New("blank host not made"), sw.Close())
	}
	return &host{BlankHost: h, swarm: sw, peers: peers, key: priv, upgrader: up, limits: limits, timeout: timeout}, nil
}

// names are the protocols that a stream of a session may name.
var names = func() protocol.Switch {
	m := multistream.NewMultistreamMuxer[protocol.ID]()
	for _, p := range protocols {
		m.AddHandler(protocol.ID(p), nil)
	}
	m.AddHandler(punchProtocol, nil)
	return m
}()

// newUpgrader makes a session of what carries bytes.
func newUpgrader(priv crypto.PrivKey, muxer *yamux.Transport, limits network.ResourceManager) (coretransport.Upgrader, error) {
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: muxer}}
	tls, err := newTLS(priv)
	if err != nil {
		return nil, err
	}
	noise, err := noise.New(noise.ID, priv, muxers)
	if err != nil {
		return nil, err
	}
	secured := []sec.SecureTransport{tls, noise}
	if l, ok := limits.(*connLimits); ok {
		for i, s := range secured {
			secured[i] = inTurn{s, l}
		}
		return upgrader.New(secured, muxers, nil, l, l, upgrader.WithAcceptTimeout(l.handshake))
	}
	return upgrader.New(secured, muxers, nil, limits, nil)
}

// addDirect lets the host dial these addresses, and none that needs another
// transport.
func (h *host) addDirect(addrs []ma.Multiaddr) error {
	var err error
	if need(addrs, ma.P_TCP) {
		err = h.addTCP()
	}
	if need(addrs, ma.P_QUIC_V1) {
		err = errors.Join(err, h.addQUIC())
	}
	return err
}

// need reports whether a protocol is in one of the addresses.
func need(addrs []ma.Multiaddr, code int) bool {
	return slices.ContainsFunc(addrs, func(a ma.Multiaddr) bool {
		_, err := a.ValueForProtocol(code)
		return err == nil
	})
}

// addTCP lets the host dial and listen at TCP addresses.
func (h *host) addTCP() error {
	// A reused port would be the same towards every server.
	t, err := tcp.NewTCPTransport(h.upgrader, h.limits, nil, tcp.DisableReuseport(), tcp.WithConnectionTimeout(h.timeout))
	if err != nil {
		return fmt.Errorf("add TCP: %w", err)
	}
	return h.swarm.AddTransport(t)
}

// close ends everything of the host.
func (h *host) close() error {
	h.once.Do(func() {
		h.err = h.Close()
		h.sockets.close()
	})
	return h.err
}

// peerOf is the libp2p name of a key.
func peerOf(k grid.PublicKey) (peer.ID, error) {
	pub, err := crypto.UnmarshalEd25519PublicKey(k[:])
	if err != nil {
		return "", fmt.Errorf("name peer: %w", err)
	}
	return peer.IDFromPublicKey(pub)
}

// keyOf is the key that the other side of a connection proved; false if it is
// of another kind than Ed25519.
func keyOf(c network.Conn) (grid.PublicKey, bool) {
	pub, ok := c.RemotePublicKey().(*crypto.Ed25519PublicKey)
	if !ok {
		return grid.PublicKey{}, false
	}
	raw, err := pub.Raw()
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return grid.PublicKey{}, false
	}
	return grid.PublicKey(raw), true
}
