package client_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/fake"
	"github.com/tarn-grid/tarn/transport/wire"
)

// saved is an AnnouncementCache with some announcements.
type saved [][]byte

func (s saved) Load() (list []client.Cached, err error) {
	for _, signed := range s {
		list = append(list, client.Cached{Signed: signed, Heard: sim.Start})
	}
	return list, nil
}
func (saved) Save([]client.Cached) error { return nil }

// lookalike is one of two servers whose short names are the same: a million
// keys are tried in a minute, and anybody may publish.
func lookalike(t *testing.T, seed uint32) (grid.ServerID, []byte) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(append(binary.BigEndian.AppendUint32(nil, seed), make([]byte, 28)...))
	id := grid.ServerID(grid.PublicKeyOf(key))
	signed, err := wire.SignAnnouncement(key, grid.Announcement{Server: id, Sequence: 1, NodeID: id.DefaultNodeID(), PermutationSeed: id[:]})
	if err != nil {
		t.Fatal(err)
	}
	return id, signed
}

func TestServersOfOneShortName(t *testing.T) {
	a, first := lookalike(t, 405875)
	b, second := lookalike(t, 1349841)
	if a.Short() != b.Short() || a == b {
		t.Fatalf("%s and %s don't look alike", a.Short(), b.Short())
	}
	w := sim.New(1, nil)
	net := fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
	pid, dead := w.Sys.Root("client", client.New(w.Env(), client.Config{
		Rules:  clause.Rules{Connections: transport.DirectConnections},
		Dialer: net.Dialer("client"), References: noReferences{},
		Introducers: []client.Introducer{{Target: transport.Target{Server: a}, Cache: saved{first, second}}},
	}))
	var status client.Status
	inbox := w.Inbox("inbox", func(m any) { status, _ = m.(client.Status) })
	if err := w.For(time.Minute); err != nil {
		t.Fatal(err)
	}
	w.Env().Spawn.Send(pid, client.AskStatus{ReplyTo: inbox})
	if err := w.For(time.Second); err != nil {
		t.Fatal(err)
	}
	select {
	case <-dead:
		t.Error("the client ended")
	default:
	}
	if len(status.Servers) != 2 {
		t.Errorf("%d servers", len(status.Servers))
	}
}
