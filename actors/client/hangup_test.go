package client_test

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/fake"
	"github.com/tarn-grid/tarn/transport/wire"
)

// cached is an AnnouncementCache with one announcement.
type cached []byte

func (c cached) Load() ([]client.Cached, error) {
	return []client.Cached{{Signed: c, Heard: sim.Start}}, nil
}
func (cached) Save([]client.Cached) error { return nil }

// noReferences is a ReferenceCache that keeps nothing.
type noReferences struct{}

func (noReferences) Load(grid.ServerID, lease.CredentialID) ([]byte, error) { return nil, nil }
func (noReferences) Save(grid.ServerID, lease.CredentialID, []byte) error   { return nil }

// hangsUp answers hello on a conversation and closes it at once.
func hangsUp(c transport.Conversation, hellos *int) transport.Handler {
	return func(ev transport.Event) {
		m, ok := ev.(transport.Received)
		if !ok {
			return
		}
		m.Frame.Release()
		if _, ok := m.Frame.Message.(*wire.Hello); ok {
			*hellos++
			c.Send(wire.Frame{ID: m.Frame.ID, Answer: true, Message: &wire.Hello{Version: wire.Version, MaxRequests: 1}})
			c.Close(nil)
		}
	}
}

// TestServerHangsUpAfterHello has a server whose connection ends while the
// login is being signed: it must be tried again and again, and never counts as
// connected.
func TestServerHangsUpAfterHello(t *testing.T) {
	for name, authority := range map[string]lease.Authority{
		"with an account":    {Holdings: []lease.Holding{{Account: lease.AccountOf([lease.SeedSize]byte{1})}}},
		"without an account": {},
	} {
		t.Run(name, func(t *testing.T) { hangUp(t, authority) })
	}
}

func hangUp(t *testing.T, authority lease.Authority) {
	w := sim.New(1, nil)
	net := fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	id, hellos := grid.ServerID(grid.PublicKeyOf(key)), 0
	l, err := net.Listen("server", key, func(transport.Session) transport.SessionEvents {
		return transport.SessionEvents{Incoming: func(c transport.Conversation, _ transport.Protocol) (transport.Handler, int) {
			return hangsUp(c, &hellos), 100
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := wire.SignAnnouncement(key, grid.Announcement{
		Server: id, Sequence: 1, Hints: l.Hints(), NodeID: id.DefaultNodeID(), PermutationSeed: id[:],
	})
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := w.Sys.Root("client", client.New(w.Env(), client.Config{
		Rules:  clause.Rules{Connections: transport.DirectConnections},
		Dialer: net.Dialer("client"), Authority: authority, References: noReferences{},
		Introducers: []client.Introducer{{Target: transport.Target{Server: id}, Cache: cached(signed)}},
	}))
	var status client.Status
	inbox := w.Inbox("inbox", func(m any) { status, _ = m.(client.Status) })
	connected := false
	var look func()
	look = func() {
		for _, s := range status.Servers {
			connected = connected || s.State == client.Connected || s.State == client.LoggedIn
		}
		w.Env().Spawn.Send(pid, client.AskStatus{ReplyTo: inbox})
		w.After(10*time.Millisecond, look)
	}
	look()
	err = w.Until(func() bool { return hellos >= 12 || connected }, time.Hour)
	if connected {
		t.Fatalf("connection %d counts as connected though the server had hung up", hellos)
	}
	if err != nil || len(status.Servers) != 1 {
		t.Fatalf("after %d connections: %v, %d servers", hellos, err, len(status.Servers))
	}
}
