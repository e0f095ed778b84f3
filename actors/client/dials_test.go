package client_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/wire"
)

// desert is a Dialer that finds nobody, and takes its time.
type desert struct {
	world          *sim.World
	underWay, most int
	mostHints      int
	servers        map[grid.ServerID]bool
	hints          map[grid.Hint]bool
}

func (d *desert) Dial(t transport.Target, _ transport.SessionEvents, done func(transport.Session, error)) func() {
	d.underWay++
	d.most, d.mostHints = max(d.most, d.underWay), max(d.mostHints, len(t.Hints))
	d.servers[t.Server] = true
	for _, h := range t.Hints {
		d.hints[h] = true
	}
	d.world.After(15*time.Second, func() {
		d.underWay--
		done(nil, transport.ErrUnreachable)
	})
	return func() {}
}

// TestFloodOfAnnouncements: of many servers that nobody runs few are dialled
// at a time, and few addresses of each, but in the end all.
func TestFloodOfAnnouncements(t *testing.T) {
	const servers, addresses = 200, 10
	var announced saved
	for n := range uint32(servers) {
		key := ed25519.NewKeyFromSeed(append(binary.BigEndian.AppendUint32(nil, n), make([]byte, 28)...))
		id := grid.ServerID(grid.PublicKeyOf(key))
		a := grid.Announcement{Server: id, Sequence: 1, NodeID: id.DefaultNodeID(), PermutationSeed: id[:]}
		for i := range addresses {
			a.Hints = append(a.Hints, grid.Hint(fmt.Sprintf("/ip4/192.0.2.%d/tcp/%d", i, n+1)))
		}
		signed, err := wire.SignAnnouncement(key, a)
		if err != nil {
			t.Fatal(err)
		}
		announced = append(announced, signed)
	}
	w := sim.New(3, nil)
	d := &desert{world: w, servers: map[grid.ServerID]bool{}, hints: map[grid.Hint]bool{}}
	w.Sys.Root("client", client.New(w.Env(), client.Config{
		Rules:  clause.Rules{Connections: transport.DirectConnections},
		Dialer: d, References: noReferences{},
		Introducers: []client.Introducer{{Target: transport.Target{Server: grid.ServerID{1}}, Cache: announced}},
	}))
	err := w.Until(func() bool { return len(d.servers) > servers && len(d.hints) == servers*addresses }, time.Hour)
	if err != nil {
		t.Errorf("%d servers and %d addresses were tried: %v", len(d.servers), len(d.hints), err)
	}
	if d.most > 32+1 || d.mostHints > 4 { // and the introducer
		t.Errorf("%d dials at a time, %d addresses in one", d.most, d.mostHints)
	}
}
