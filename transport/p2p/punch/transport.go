package punch

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Transport lets a host that has no other way of dialling go through the hole.
type Transport struct {
	Hole *Hole
	// Dir is this side's part in the handshake.
	Dir network.Direction
}

// Address is what the host dials to go through the hole to somebody.
func Address(to netip.AddrPort) (ma.Multiaddr, error) {
	return manet.FromNetAddr(net.TCPAddrFromAddrPort(to))
}

// Dial goes through the hole.
func (t Transport) Dial(ctx context.Context, to ma.Multiaddr, id peer.ID) (transport.CapableConn, error) {
	where, err := manet.ToNetAddr(to)
	if err != nil {
		return nil, err
	}
	at, err := netip.ParseAddrPort(where.String())
	if err != nil {
		return nil, err
	}
	return t.Hole.Through(ctx, at, t.Dir, id)
}

// CanDial says that it dials TCP addresses.
func (t Transport) CanDial(a ma.Multiaddr) bool {
	return len(a) == 2 && a[1].Code() == ma.P_TCP
}

// Listen is not for holes.
func (t Transport) Listen(ma.Multiaddr) (transport.Listener, error) {
	return nil, errors.New("a hole is for one connection")
}

// Protocols are those that it handles.
func (t Transport) Protocols() []int { return []int{ma.P_TCP} }

// Proxy says that nobody stands between.
func (t Transport) Proxy() bool { return false }
