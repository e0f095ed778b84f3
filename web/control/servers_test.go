package control_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

func TestServersArrive(t *testing.T) {
	heard := time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)
	ways, err := tarn.ConnectionsOf(map[string]string{"quic": "direct"}, true, false)
	if err != nil {
		t.Fatal(err)
	}
	node := &memnode.Node{Known: tarn.Servers{
		File: "/node/private/servers.yaml", Mistakes: []tarn.OverrideMistake{{Line: 3, Server: grid.ServerID{7}, Reason: "odd"}, {Reason: "empty"}},
		Servers: []tarn.KnownServer{{
			ServerStatus: tarn.ServerStatus{Server: grid.ServerID{7}, Nickname: "s1", Petname: "cellar", State: "logged-in", Stale: true},
			Addresses:    []grid.Hint{"/ip4/192.0.2.1/tcp/1"}, Connections: ways, Own: []string{"connections.quic", "petname"},
			Introducers: []tarn.AnnouncedBy{{Number: 2, Introducer: grid.ServerID{9}, Heard: heard}},
		}},
	}}
	c := start(t, node, t.TempDir())
	got, err := c.Servers(t.Context())
	if err != nil || !reflect.DeepEqual(got, control.ServersOf(node.Known)) {
		t.Fatalf("%+v, %v", got, err)
	}
	s := got.Servers[0]
	if s.Name() != "cellar" || s.Connections["quic"] != "direct" || s.Connections["onion"] != "disabled" || !s.Punch || !s.Stale ||
		s.Introducers[0].Number != 2 || !s.Introducers[0].Heard.Equal(heard) || s.Own[0] != "connections.quic" {
		t.Errorf("%+v", s)
	}
	if m := got.Mistakes; m[0].Line != 3 || !strings.HasPrefix(m[0].Server, "v0-") || m[1].Server != "" || m[1].Reason != "empty" {
		t.Errorf("%+v", m)
	}
}

func TestServersOfNoClient(t *testing.T) {
	if _, err := tarn.ReadServers(tarn.Config{Dir: t.TempDir()}); !errors.Is(err, tarn.ErrNoClient) {
		t.Error(err)
	}
}
