package relay

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tarn-grid/tarn/transport"
)

// spare is how many connections there may be beyond those of slots and
// circuits: in handshake, or asking for their address. It is for each address,
// and eight times as many for all.
const spare = 16

// connections is a relay's resource manager. It counts connections, in all and
// by network address.
type connections struct {
	network.NullResourceManager
	most, perAddress int

	mu   sync.Mutex
	open int
	from map[netip.Prefix]int
}

// Connections is the resource manager of a relay's host.
func Connections(l transport.RelayLimits) network.ResourceManager {
	l = l.WithDefaults()
	return &connections{
		most:       l.Reservations + l.Circuits + 8*spare,
		perAddress: l.ReservationsPerAddress + l.CircuitsPerAddress + spare,
		from:       map[netip.Prefix]int{},
	}
}

// OpenConnection makes room for one, or refuses.
func (c *connections) OpenConnection(_ network.Direction, _ bool, a ma.Multiaddr) (network.ConnManagementScope, error) {
	from, ok := sourceOf(a)
	if !ok {
		return nil, fmt.Errorf("%w: no network address", network.ErrResourceLimitExceeded)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.most || c.from[from] >= c.perAddress {
		return nil, fmt.Errorf("%w: %d connections, %d from %s", network.ErrResourceLimitExceeded, c.open, c.from[from], from)
	}
	c.open++
	c.from[from]++
	return &connection{of: c, from: from}, nil
}

// connection is one connection's share of the limits.
type connection struct {
	network.NullScope
	of   *connections
	from netip.Prefix
	once sync.Once
}

// Done makes room for another connection. libp2p may call it more than once.
func (c *connection) Done() {
	c.once.Do(func() {
		c.of.mu.Lock()
		defer c.of.mu.Unlock()
		c.of.open--
		if c.of.from[c.from]--; c.of.from[c.from] == 0 {
			delete(c.of.from, c.from)
		}
	})
}
