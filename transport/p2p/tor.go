package p2p

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	coretransport "github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/tor"
)

// throughTor carries connections of a host through Tor's SOCKS port, as one
// circuit of its own, and can do nothing else. Names are looked up by Tor.
type throughTor struct {
	upgrader coretransport.Upgrader
	limits   network.ResourceManager
	socks    tor.Address
	circuit  tor.Circuit
	kinds    []transport.Kind
}

var (
	_ coretransport.Transport    = (*throughTor)(nil)
	_ coretransport.SkipResolver = (*throughTor)(nil)
)

// addTor lets the host dial these addresses through Tor, and none of another
// kind.
func (h *host) addTor(socks tor.Address, addrs []ma.Multiaddr) error {
	var kinds []transport.Kind
	if need(addrs, ma.P_TCP) {
		kinds = append(kinds, transport.TCP)
	}
	if need(addrs, ma.P_ONION3) {
		kinds = append(kinds, transport.Onion)
	}
	return h.swarm.AddTransport(&throughTor{upgrader: h.upgrader, limits: h.limits, socks: socks, circuit: tor.NewCircuit(), kinds: kinds})
}

// Dial connects and upgrades.
func (t *throughTor) Dial(ctx context.Context, a ma.Multiaddr, p peer.ID) (coretransport.CapableConn, error) {
	name, port, err := nameAndPort(a)
	if err != nil {
		return nil, err
	}
	scope, err := t.limits.OpenConnection(network.DirOutbound, true, a)
	if err != nil {
		return nil, err
	}
	if err := scope.SetPeer(p); err != nil {
		scope.Done()
		return nil, err
	}
	c, err := t.socks.Dial(ctx, t.circuit, name, port)
	if err != nil {
		scope.Done()
		return nil, err
	}
	return t.upgrader.Upgrade(ctx, t, &torConn{c, a}, network.DirOutbound, p, scope)
}

// CanDial is true for addresses of the kinds that the clause sends through Tor.
func (t *throughTor) CanDial(a ma.Multiaddr) bool {
	return slices.Contains(t.kinds, transport.KindOf(grid.Hint(a.String())))
}

// Listen fails: an onion service is reached at an ordinary listener.
func (t *throughTor) Listen(ma.Multiaddr) (coretransport.Listener, error) {
	return nil, errors.New("nothing listens through Tor")
}

// Protocols are the last of an address.
func (t *throughTor) Protocols() []int { return []int{ma.P_TCP, ma.P_ONION3} }

// Proxy means something else to libp2p.
func (t *throughTor) Proxy() bool { return false }

// SkipResolve keeps libp2p from looking up names.
func (t *throughTor) SkipResolve(context.Context, ma.Multiaddr) bool { return true }

// nameAndPort is what the SOCKS port is asked for.
func nameAndPort(a ma.Multiaddr) (name string, port uint16, err error) {
	var text string
	switch transport.KindOf(grid.Hint(a.String())) {
	case transport.TCP:
		name, text = a[0].Value(), a[1].Value()
	case transport.Onion:
		name, text, err = net.SplitHostPort(a[0].Value())
		name += ".onion"
	default:
		err = fmt.Errorf("%w: Tor carries TCP alone", transport.ErrNoAddress)
	}
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return name, uint16(n), err
}

// torConn has the address that was dialled. Where it comes from is Tor's
// affair.
type torConn struct {
	net.Conn
	remote ma.Multiaddr
}

var nowhere = ma.StringCast("/ip4/127.0.0.1/tcp/0")

func (c *torConn) LocalMultiaddr() ma.Multiaddr  { return nowhere }
func (c *torConn) RemoteMultiaddr() ma.Multiaddr { return c.remote }

// noNames is the resolver of a host that must look up nothing: its transport
// takes names as they are, and this is in case libp2p asks all the same.
type noNames struct{}

var errNoNames = errors.New("names are looked up by Tor alone")

// ResolveDNSAddr fails.
func (noNames) ResolveDNSAddr(context.Context, peer.ID, ma.Multiaddr, int, int) ([]ma.Multiaddr, error) {
	return nil, errNoNames
}

// ResolveDNSComponent fails.
func (noNames) ResolveDNSComponent(context.Context, ma.Multiaddr, int) ([]ma.Multiaddr, error) {
	return nil, errNoNames
}
