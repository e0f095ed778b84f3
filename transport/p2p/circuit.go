package p2p

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/network"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tarn-grid/tarn/transport"
)

// addCircuits lets the host dial through relays, which it reaches by its other
// transports, as itself.
func (h *host) addCircuits() error {
	_, err := h.circuits()
	return err
}

func (h *host) circuits() (*circuit.Client, error) {
	c, err := circuit.New(h, h.upgrader)
	if err != nil {
		return nil, fmt.Errorf("dial through relays: %w", err)
	}
	if err := h.swarm.AddTransport(c); err != nil {
		return nil, fmt.Errorf("dial through relays: %w", err)
	}
	return c, nil
}

// throughRelay reports whether a connection is a circuit.
func throughRelay(c network.ConnMultiaddrs) bool {
	_, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

func pathOf(c network.ConnMultiaddrs) transport.Path {
	if throughRelay(c) {
		return transport.PathRelay
	}
	return transport.PathDirect
}
