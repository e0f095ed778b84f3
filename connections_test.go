package tarn_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
)

func TestConnectionsOf(t *testing.T) {
	for name, c := range map[string]struct {
		ways             map[string]string
		punch, anonymous bool
		want             string // tcp quic onion relay, or a part of the error
	}{
		"nothing set":          {nil, false, false, "direct disabled disabled direct"},
		"nothing, anonymous":   {nil, false, true, "tor disabled tor tor"},
		"some":                 {map[string]string{"tcp": "tor", "quic": "direct"}, false, false, "tor direct disabled direct"},
		"looser than it may":   {map[string]string{"tcp": "direct"}, false, true, "direct disabled tor tor"}, // Open refuses it
		"quic through Tor":     {map[string]string{"quic": "tor"}, false, false, `quic: "tor" is no way`},
		"no way":               {map[string]string{"tcp": "thor"}, false, false, `tcp: "thor" is no way`},
		"no kind":              {map[string]string{"smoke": "direct"}, false, false, `no kind of address "smoke"`},
		"punching through Tor": {map[string]string{"relay": "tor"}, true, false, "punch: it needs tcp: direct and relay: direct"},
		"punching by QUIC":     {map[string]string{"tcp": "disabled", "quic": "direct"}, true, false, "punch: it needs tcp: direct and relay: direct"},
	} {
		got, err := tarn.ConnectionsOf(c.ways, c.punch, c.anonymous)
		var ways []string
		for _, kind := range tarn.AddressKinds() {
			ways = append(ways, string(got.Of(kind)))
		}
		text := strings.Join(ways, " ")
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(text, c.want) || err != nil && !errors.Is(err, tarn.ErrConnections) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// TestAnonymousRefusesToStart: with all the reasons at once, and with nothing
// done before.
func TestAnonymousRefusesToStart(t *testing.T) {
	loose, err := tarn.ConnectionsOf(map[string]string{"tcp": "direct", "quic": "direct", "relay": "direct"}, true, true)
	if err != nil {
		t.Fatal(err)
	}
	local, open := []string{"/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"}, []string{"/ip4/0.0.0.0/tcp/0"}
	onion := []grid.Hint{grid.Hint("/onion3/" + strings.Repeat("tarn", 14) + ":3457")}
	c := tarn.Config{
		Dir: t.TempDir(), Anonymous: true, Connections: loose,
		Storage:    &tarn.StorageConfig{Key: newKey(t), Listen: open, Announce: []grid.Hint{"/dns/storage.example/tcp/3457"}},
		Introducer: &tarn.IntroducerConfig{Key: newKey(t), Listen: local, Announce: []grid.Hint{"/ip4/192.0.2.1/tcp/1"}},
		Manager:    &tarn.ManagerConfig{Key: newKey(t), Listen: open},
		Helper:     &tarn.HelperConfig{Key: newKey(t), Listen: []string{"/dns/localhost/tcp/0"}, Announce: onion},
		Client:     &tarn.ClientConfig{Subcontract: true},
	}
	_, err = tarn.Open(t.Context(), c)
	var refused *tarn.NotAnonymous
	if !errors.As(err, &refused) || !errors.Is(err, tarn.ErrNotAnonymous) {
		t.Fatal(err)
	}
	want := []string{
		"connections.tcp: direct", "connections.quic: direct", "connections.relay: direct", "connections.punch",
		"storage.listen: /ip4/0.0.0.0/tcp/0", "storage.announce: /dns/storage.example/tcp/3457", "introducer.announce: /ip4/192.0.2.1/tcp/1",
		"manager.listen: /ip4/0.0.0.0/tcp/0", "helper.listen: /dns/localhost/tcp/0", "client.subcontract: true",
	}
	if len(refused.Reasons) != len(want) {
		t.Errorf("%d reasons: %v", len(refused.Reasons), err)
	}
	for _, w := range want {
		if !slices.ContainsFunc(refused.Reasons, func(r string) bool { return strings.HasPrefix(r, w) }) {
			t.Errorf("nothing about %s: %v", w, err)
		}
	}

	c.Connections, c.Manager, c.Client = tarn.Connections{}, nil, nil
	c.Storage.Listen, c.Storage.Announce, c.Introducer.Announce, c.Helper.Listen = local, onion, nil, local
	n, err := tarn.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
