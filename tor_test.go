package tarn_test

import (
	"slices"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// A server's onion address is known before Tor is, and is announced beside
// what its operator says, and instead of the port of this machine behind it.
func TestOnionAddressIsAnnounced(t *testing.T) {
	for _, c := range []struct {
		listen   []string
		announce []grid.Hint
		others   []grid.Hint
	}{
		{[]string{"onion:3457"}, nil, nil},
		{[]string{"onion:3457", "/ip4/127.0.0.1/tcp/0"}, []grid.Hint{"/dns/one.example.org/tcp/1"}, []grid.Hint{"/dns/one.example.org/tcp/1"}},
	} {
		g := &testGrid{t: t}
		n := g.open(tarn.Config{
			Storage: &tarn.StorageConfig{Key: newKey(t), OnionKey: newKey(t), Listen: c.listen, Announce: c.announce},
			Tor:     tarn.TorConfig{Control: "127.0.0.1:1"},
		})
		status, err := n.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if o := status.Onions; len(o) != 1 || o[0].Role != "storage" || o[0].Up || o[0].Since.IsZero() || o[0].LastError == "" || !slices.Contains(status.Storage.Hints, o[0].Address) {
			t.Errorf("without Tor, the status is %+v", o)
		}
		hints := status.Storage.Hints
		onion := slices.IndexFunc(hints, func(h grid.Hint) bool { return transport.KindOf(h) == transport.Onion })
		if onion < 0 || !slices.Equal(slices.Delete(slices.Clone(hints), onion, onion+1), c.others) {
			t.Errorf("listening at %v, told to announce %v: announces %v", c.listen, c.announce, hints)
		}
	}
}
