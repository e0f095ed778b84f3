package p2p

import (
	"slices"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

func TestRank(t *testing.T) {
	var addrs []ma.Multiaddr
	want := []string{
		"/ip4/192.0.2.7/tcp/1", "/ip4/192.0.2.8/tcp/2", "/ip4/192.0.2.7/udp/1/quic-v1",
		"/onion3/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:1",
		"/ip4/192.0.2.7/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit",
	}
	for _, a := range slices.Backward(want) {
		addrs = append(addrs, ma.StringCast(a))
	}
	ranked := rank(addrs)
	if len(ranked) != len(want) {
		t.Fatalf("%d addresses of %d", len(ranked), len(want))
	}
	for i, d := range ranked {
		if d.Addr.String() != want[i] || i > 0 && d.Delay <= ranked[i-1].Delay {
			t.Errorf("%d. is %s after %v, want %s", i, d.Addr, d.Delay, want[i])
		}
	}
	if ranked[0].Delay != 0 {
		t.Errorf("the first waits %v", ranked[0].Delay)
	}
}
