package scale

import (
	"crypto/ed25519"
	"errors"
	"io"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	coretransport "github.com/libp2p/go-libp2p/core/transport"
	blankhost "github.com/libp2p/go-libp2p/p2p/host/blank"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

// bare is what a libp2p host for one connection may be made of; the zero value is the
// least.
type bare struct {
	noise bool // instead of TLS
	// more is added to the host, and ended with it.
	more func(*bareHost) (io.Closer, error)
}

type bareHost struct {
	*blankhost.BlankHost
	swarm    *swarm.Swarm
	key      crypto.PrivKey
	upgrader coretransport.Upgrader
	closers  []io.Closer
}

func (h *bareHost) Close() error {
	err := h.BlankHost.Close()
	for _, c := range h.closers {
		err = errors.Join(err, c.Close())
	}
	return err
}

// newHost makes a host of libp2p's own parts, as transport/p2p does of some.
func newHost(key ed25519.PrivateKey, o bare) (*bareHost, error) {
	private, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(private)
	if err != nil {
		return nil, err
	}
	peers, err := pstoremem.NewPeerstore()
	if err != nil {
		return nil, err
	}
	if err := peers.AddPrivKey(id, private); err != nil {
		return nil, err
	}
	limits, bus := &network.NullResourceManager{}, eventbus.NewBus()
	s, err := swarm.NewSwarm(id, peers, bus, swarm.WithResourceManager(limits))
	if err != nil {
		return nil, err
	}
	h := &bareHost{BlankHost: blankhost.NewBlankHost(s, blankhost.WithEventBus(bus)), swarm: s, key: private, closers: []io.Closer{peers}}
	if h.upgrader, err = newUpgrader(private, limits, o.noise); err != nil {
		return nil, err
	}
	t, err := tcp.NewTCPTransport(h.upgrader, limits, nil)
	if err := errors.Join(err, s.AddTransport(t)); err != nil || o.more == nil {
		return h, err
	}
	more, err := o.more(h)
	h.closers = append(h.closers, more)
	return h, err
}

func newUpgrader(private crypto.PrivKey, limits network.ResourceManager, overNoise bool) (coretransport.Upgrader, error) {
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
	var secure sec.SecureTransport
	var err error
	if overNoise {
		secure, err = noise.New(noise.ID, private, muxers)
	} else {
		secure, err = libp2ptls.New(libp2ptls.ID, private, muxers)
	}
	if err != nil {
		return nil, err
	}
	return upgrader.New([]sec.SecureTransport{secure}, muxers, nil, limits, nil)
}
