package p2p

import (
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// ranks are the kinds of addresses in the order in which they are tried, and
// how long after the last dial of the kind before. TCP costs least; QUIC three
// times the CPU; an onion service seconds; a relay costs others.
var ranks = []struct {
	kind  transport.Kind
	after time.Duration
}{
	{transport.TCP, 0},
	{transport.QUIC, 250 * time.Millisecond},
	{transport.Onion, 2 * time.Second},
	{transport.Relay, 500 * time.Millisecond},
}

// rank says when each address is dialled if none answered before. Within a kind
// libp2p's order holds. While no dial is under way the next one does not wait.
func rank(addrs []ma.Multiaddr) []network.AddrDelay {
	of := map[transport.Kind][]ma.Multiaddr{}
	for _, a := range addrs {
		kind := transport.KindOf(grid.Hint(a.String()))
		of[kind] = append(of[kind], a)
	}
	var ranked []network.AddrDelay
	var last time.Duration
	for _, r := range ranks {
		if len(of[r.kind]) == 0 {
			continue
		}
		if len(ranked) > 0 {
			last += r.after
		}
		from := last
		for _, d := range swarm.DefaultDialRanker(of[r.kind]) {
			d.Delay += from
			last = max(last, d.Delay)
			ranked = append(ranked, d)
		}
	}
	return ranked
}
