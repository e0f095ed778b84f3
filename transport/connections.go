package transport

import (
	"fmt"
	"slices"
	"strings"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/tarn-grid/tarn/grid"
)

// Kind is a kind of hint: what has to be spoken to reach the address.
type Kind string

// The kinds, by the names that they have in a clause.
const (
	TCP   Kind = "tcp"   // /ip4/192.0.2.7/tcp/3457, /dns/one.example.org/tcp/3457
	QUIC  Kind = "quic"  // /ip4/192.0.2.7/udp/3457/quic-v1
	Onion Kind = "onion" // /onion3/<56 characters>:3457
	Relay Kind = "relay" // an address of a relay, then /p2p/<relay>/p2p-circuit
)

// kinds in the order in which people read them.
var kinds = []Kind{TCP, QUIC, Onion, Relay}

// Way is how the hints of one kind are dialled.
type Way string

// The ways. The empty one is Disabled, too.
const (
	Disabled Way = "disabled"
	Direct   Way = "direct" // from this node's own address
	Tor      Way = "tor"    // through Tor's SOCKS port
)

// ways are those that make sense for a kind.
var ways = map[Kind][]Way{
	TCP:   {Direct, Tor, Disabled},
	QUIC:  {Direct, Disabled}, // Tor carries no UDP
	Onion: {Tor, Disabled},
	Relay: {Direct, Tor, Disabled},
}

// Connections says for each kind of hint how it is dialled. A dialer that is
// not named does not exist in the connection's host, so the zero value reaches
// nobody.
type Connections struct {
	TCP, QUIC, Onion Way
	// Relay is how the relay itself is reached.
	Relay Way
	// Punch lets a connection through a relay become a direct one over TCP, which
	// tells the server this node's address.
	Punch bool
}

// DirectConnections is TCP from this node's own address, through relays where
// it must be.
var DirectConnections = Connections{TCP: Direct, Relay: Direct, Punch: true}

// Of is how hints of a kind are dialled.
func (c Connections) Of(k Kind) Way {
	way := map[Kind]Way{TCP: c.TCP, QUIC: c.QUIC, Onion: c.Onion, Relay: c.Relay}[k]
	if way == "" {
		return Disabled
	}
	return way
}

// Validate reports ways that the kind does not have.
func (c Connections) Validate() error {
	for _, k := range kinds {
		if way := c.Of(k); !slices.Contains(ways[k], way) {
			return fmt.Errorf("%s: %q is no way to dial it (want %s)", k, way, joinWays(ways[k]))
		}
	}
	if c.Punch && !c.MayPunch() {
		return fmt.Errorf("punch: %s, and makes this node's address known", NeedsOfPunch)
	}
	return nil
}

// NeedsOfPunch is what MayPunch wants, for people.
const NeedsOfPunch = "it needs tcp: direct and relay: direct"

// MayPunch reports whether a connection through a relay could become a direct
// one: routers are passed by TCP.
func (c Connections) MayPunch() bool { return c.TCP == Direct && c.Relay == Direct }

func joinWays(ways []Way) string {
	var names []string
	for _, w := range ways {
		names = append(names, string(w))
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// WayOf is how a hint is dialled. It is Disabled if the hint is of no kind, or
// of a relay that can't be reached in the relay's way.
func (c Connections) WayOf(h grid.Hint) Way {
	kind, relay := kindsOf(h)
	way := c.Of(kind)
	if kind == Relay && !slices.Contains(ways[relay], way) {
		return Disabled
	}
	return way
}

// WayToRelay is how a relay is reached at an address of its own: as Relay says,
// where that kind of address can be, and through no other relay.
func (c Connections) WayToRelay(h grid.Hint) Way {
	kind, way := KindOf(h), c.Of(Relay)
	if kind == Relay || !slices.Contains(ways[kind], way) {
		return Disabled
	}
	return way
}

// Barred says for people why none of the hints may be dialled.
func (c Connections) Barred(hints []grid.Hint) string {
	var names []string
	for _, k := range kinds {
		if slices.ContainsFunc(hints, func(h grid.Hint) bool { return KindOf(h) == k }) {
			names = append(names, string(k))
		}
	}
	switch {
	case len(names) == 0:
		return "it has none of a kind that is known here"
	case len(c.Dialable(hints)) > 0:
		return "those that may be dialled name another server"
	}
	return fmt.Sprintf("it has none but %s, which the settings for connections do not let be dialled", strings.Join(names, " and "))
}

// Dialable are the hints that may be dialled, in their order.
func (c Connections) Dialable(hints []grid.Hint) []grid.Hint {
	var may []grid.Hint
	for _, h := range hints {
		if c.WayOf(h) != Disabled {
			may = append(may, h)
		}
	}
	return may
}

// KindOf classifies a hint; it is "" for one that no dialer knows.
func KindOf(h grid.Hint) Kind {
	kind, _ := kindsOf(h)
	return kind
}

// kindsOf is the kind of a hint and, for a circuit, of the relay's address.
func kindsOf(h grid.Hint) (kind, relay Kind) {
	a, err := ma.NewMultiaddr(string(h))
	if err != nil {
		return "", ""
	}
	a, _ = cut(a, ma.P_P2P) // the peer meant
	circuit, is := cut(a, ma.P_CIRCUIT)
	if !is {
		return plainKind(a), ""
	}
	a, named := cut(circuit, ma.P_P2P)
	if relay = plainKind(a); relay == "" || !named {
		return "", ""
	}
	return Relay, relay
}

// cut takes off the last component if it is of this protocol.
func cut(a ma.Multiaddr, code int) (rest ma.Multiaddr, is bool) {
	if len(a) == 0 || a[len(a)-1].Code() != code {
		return a, false
	}
	return a[:len(a)-1], true
}

// plainKind is the kind of an address without any peer in it.
func plainKind(a ma.Multiaddr) Kind {
	var codes []int
	for _, c := range a {
		codes = append(codes, c.Code())
	}
	switch {
	case slices.Equal(codes, []int{ma.P_ONION3}):
		return Onion
	case len(codes) == 0 || !slices.Contains([]int{ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6}, codes[0]):
		return ""
	case slices.Equal(codes[1:], []int{ma.P_TCP}):
		return TCP
	case slices.Equal(codes[1:], []int{ma.P_UDP, ma.P_QUIC_V1}):
		return QUIC
	}
	return ""
}
