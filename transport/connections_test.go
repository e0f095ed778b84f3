package transport_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

const (
	peerName  = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
	onionName = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd"
)

func TestKindOf(t *testing.T) {
	for h, want := range map[grid.Hint]transport.Kind{
		"/ip4/192.0.2.7/tcp/3457":                                                                transport.TCP,
		"/ip6/2001:db8::7/tcp/3457/p2p/" + peerName:                                              transport.TCP,
		"/dns/one.example.org/tcp/3457":                                                          transport.TCP,
		"/dns4/one.example.org/tcp/3457":                                                         transport.TCP,
		"/dns6/one.example.org/tcp/3457":                                                         transport.TCP,
		"/ip4/192.0.2.7/udp/3457/quic-v1":                                                        transport.QUIC,
		"/dns/one.example.org/udp/1/quic-v1":                                                     transport.QUIC,
		"/onion3/" + onionName + ":3457":                                                         transport.Onion,
		"/onion3/" + onionName + ":1/p2p/" + peerName:                                            transport.Onion,
		"/ip4/192.0.2.7/tcp/1/p2p/" + peerName + "/p2p-circuit":                                  transport.Relay,
		"/ip4/192.0.2.7/udp/1/quic-v1/p2p/" + peerName + "/p2p-circuit/p2p/" + peerName:          transport.Relay,
		"/onion3/" + onionName + ":1/p2p/" + peerName + "/p2p-circuit":                           transport.Relay,
		"/ip4/192.0.2.7/tcp/1/p2p-circuit":                                                       "",
		"/p2p/" + peerName + "/p2p-circuit":                                                      "",
		"/ip4/192.0.2.7/tcp/1/p2p/" + peerName + "/p2p-circuit/p2p/" + peerName + "/p2p-circuit": "",
		"/ip4/192.0.2.7/tcp/1/p2p/" + peerName + "/p2p/" + peerName:                              "",
		"/ip4/192.0.2.7/tcp/1/ws":                                                                "",
		"/ip4/192.0.2.7/udp/1/quic-v1/webtransport":                                              "",
		"/ip4/192.0.2.7/udp/1":                                                                   "",
		"/ip4/192.0.2.7":                                                                         "",
		"/dnsaddr/example.org/tcp/1":                                                             "",
		"/unix/tmp/socket":                                                                       "",
		"/tcp/1":                                                                                 "",
		"/p2p/" + peerName:                                                                       "",
		"192.0.2.7:3457":                                                                         "",
		"":                                                                                       "",
		"/":                                                                                      "",
		"/onion3/" + onionName + ":1/tcp/1":                                                      "",
		"/onion3/" + grid.Hint(strings.Repeat("a", 55)) + ":1":                                   "",
		"/ip4/192.0.2.7/tcp/1/p2p/nobody/p2p-circuit":                                            "",
	} {
		if got := transport.KindOf(h); got != want {
			t.Errorf("%s is of kind %q, want %q", h, got, want)
		}
	}
}

func TestConnectionsValidate(t *testing.T) {
	for _, good := range []transport.Connections{
		{}, transport.DirectConnections,
		{TCP: transport.Tor, QUIC: transport.Disabled, Onion: transport.Tor, Relay: transport.Tor},
		{TCP: transport.Direct, QUIC: transport.Direct, Relay: transport.Direct, Punch: true},
	} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for want, bad := range map[string]transport.Connections{
		`tcp: "direkt" is no way to dial it (want direct, tor or disabled)`:  {TCP: "direkt"},
		`quic: "tor" is no way to dial it (want direct or disabled)`:         {QUIC: transport.Tor},
		`onion: "direct" is no way to dial it (want tor or disabled)`:        {TCP: transport.Direct, Onion: transport.Direct},
		`relay: "relay" is no way to dial it (want direct, tor or disabled)`: {Relay: "relay"},
		`punch: it needs tcp: direct and relay: direct`:                      {TCP: transport.Direct, Relay: transport.Tor, Punch: true},
		`punch: it needs tcp: direct and relay: direct, and makes`:           {QUIC: transport.Direct, Relay: transport.Direct, Punch: true},
	} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", bad, err, want)
		}
	}
}

// A relay is reached in the relay's way, whatever may be done with other
// addresses; and each kind is dialled if its own way is open.
func TestDialable(t *testing.T) {
	const (
		tcp     = "/ip4/192.0.2.7/tcp/1"
		quic    = "/ip4/192.0.2.7/udp/1/quic-v1"
		onion   = "/onion3/" + onionName + ":1"
		circuit = "/p2p/" + peerName + "/p2p-circuit"
		junk    = "/ip4/192.0.2.7/tcp/1/ws"
	)
	all := []grid.Hint{junk, onion + circuit, quic + circuit, tcp + circuit, onion, quic, tcp}
	for _, c := range []struct {
		connections transport.Connections
		want        []grid.Hint
	}{
		{transport.Connections{}, nil},
		{transport.Connections{TCP: transport.Disabled, Onion: transport.Disabled}, nil},
		{transport.Connections{TCP: transport.Direct}, []grid.Hint{tcp}},
		{transport.DirectConnections, []grid.Hint{quic + circuit, tcp + circuit, tcp}},
		{transport.Connections{QUIC: transport.Direct}, []grid.Hint{quic}},
		{transport.Connections{Onion: transport.Tor, TCP: transport.Tor}, []grid.Hint{onion, tcp}},
		{transport.Connections{Relay: transport.Direct}, []grid.Hint{quic + circuit, tcp + circuit}},
		{transport.Connections{Relay: transport.Tor}, []grid.Hint{onion + circuit, tcp + circuit}},
	} {
		if got := c.connections.Dialable(all); !slices.Equal(got, c.want) {
			t.Errorf("%+v dials %v, want %v", c.connections, got, c.want)
		}
	}
}

// A relay is taken a slot on in the relay's way, too.
func TestWayToRelay(t *testing.T) {
	for _, c := range []struct {
		connections transport.Connections
		hint        grid.Hint
		want        transport.Way
	}{
		{transport.Connections{TCP: transport.Direct}, "/ip4/192.0.2.7/tcp/1", transport.Disabled},
		{transport.Connections{TCP: transport.Direct, Relay: transport.Tor}, "/ip4/192.0.2.7/tcp/1", transport.Tor},
		{transport.Connections{TCP: transport.Tor, Relay: transport.Direct}, "/dns/one.example.org/tcp/1", transport.Direct},
		{transport.Connections{Relay: transport.Tor}, "/ip4/192.0.2.7/udp/1/quic-v1", transport.Disabled},
		{transport.Connections{Relay: transport.Tor}, "/onion3/" + onionName + ":1", transport.Tor},
		{transport.Connections{Onion: transport.Tor, Relay: transport.Direct}, "/onion3/" + onionName + ":1", transport.Disabled},
		{transport.Connections{TCP: transport.Direct, Relay: transport.Direct}, "/ip4/192.0.2.7/tcp/1/p2p/" + peerName + "/p2p-circuit", transport.Disabled},
		{transport.Connections{Relay: transport.Direct}, "nonsense", transport.Disabled},
	} {
		if got := c.connections.WayToRelay(c.hint); got != c.want {
			t.Errorf("%+v: %s is reached by %s, want %s", c.connections, c.hint, got, c.want)
		}
	}
}

func TestBarred(t *testing.T) {
	quic := transport.Connections{QUIC: transport.Direct}
	for want, hints := range map[string][]grid.Hint{
		"it has none of a kind that is known here":                                                {"nonsense"},
		"it has none but tcp and relay, which the settings for connections do not let be dialled": {"/ip4/192.0.2.7/tcp/1/p2p/" + peerName + "/p2p-circuit", "/ip4/192.0.2.7/tcp/1"},
		"those that may be dialled name another server":                                           {"/ip4/192.0.2.7/udp/1/quic-v1", "/ip4/192.0.2.7/tcp/1"},
	} {
		if got := quic.Barred(hints); got != want {
			t.Errorf("%v: %s, want %s", hints, got, want)
		}
	}
}

// FuzzKindOf: whatever a stranger announces has at most one kind, and the zero
// clause dials none of it.
func FuzzKindOf(f *testing.F) {
	f.Add("/ip4/192.0.2.7/tcp/3457")
	f.Add("/ip4/192.0.2.7/udp/3457/quic-v1/p2p/" + peerName + "/p2p-circuit")
	f.Add("/onion3/" + onionName + ":3457")
	f.Fuzz(func(t *testing.T, s string) {
		h := grid.Hint(s)
		if way := (transport.Connections{}).WayOf(h); way != transport.Disabled {
			t.Errorf("%q is dialled %s", s, way)
		}
		open := transport.Connections{TCP: transport.Direct, QUIC: transport.Direct, Onion: transport.Tor, Relay: transport.Direct}
		if kind := transport.KindOf(h); kind == "" && open.WayOf(h) != transport.Disabled {
			t.Errorf("%q of no kind is dialled", s)
		}
	})
}
