package server_test

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/relay"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// hiddenRig is a server that uses the relays that the introducer knows.
func hiddenRig(t *testing.T, seed uint64, relays server.Relays) (*rig, *memo) {
	t.Helper()
	r := newRig(t, seed, func(c *server.Config) {
		c.Introducers = []transport.Target{{Server: grid.ServerID(grid.PublicKeyOf(key(9))), Hints: []grid.Hint{"/dns/introducer/tcp/1"}, Connections: transport.DirectConnections}}
		relays.Connections = transport.DirectConnections
		c.Relays = &relays
	})
	m := &memo{}
	r.startIntroducer(m)
	return r, m
}

// fakeRelay is the network's relay as a service.
type fakeRelay struct{ hints []grid.Hint }

func (f fakeRelay) Hints() []grid.Hint            { return f.hints }
func (f fakeRelay) Status() transport.RelayStatus { return transport.RelayStatus{Bytes: 5} }
func (f fakeRelay) Close() error                  { return nil }

// startRelay runs a relay of this name that the introducer is told of.
func (r *rig) startRelay(name string, k ed25519.PrivateKey, lasts time.Duration) {
	target := r.net.Relay(name, grid.PublicKeyOf(k), lasts)
	r.world.Sys.Root(name, relay.New(r.world.Env(), relay.Config{
		Key: k, Nickname: name, Dialer: r.net.Dialer(name),
		Serve:       func() (transport.RelayService, error) { return fakeRelay{target.Hints}, nil },
		Introducers: []transport.Target{{Server: grid.ServerID(grid.PublicKeyOf(key(9))), Hints: []grid.Hint{"/dns/introducer/tcp/1"}, Connections: transport.DirectConnections}},
		Fatal:       func(err error) { r.Error(err) },
	}, nil))
}

// announced is what the introducer has of the server.
func (m *memo) announced(t *testing.T) (a grid.Announcement, ok bool) {
	t.Helper()
	for _, signed := range m.saved {
		got, err := wire.OpenAnnouncement(signed)
		if err != nil {
			t.Fatal(err)
		}
		if got.Server == serverID() {
			return got, true
		}
	}
	return a, false
}

func (m *memo) through(t *testing.T, relay string) func() bool {
	return func() bool {
		a, ok := m.announced(t)
		return ok && len(a.Hints) == 1 && strings.HasPrefix(string(a.Hints[0]), "/dns/"+relay+"/") && strings.HasSuffix(string(a.Hints[0]), "/p2p-circuit")
	}
}

// TestSlot follows a server behind a router: nobody hears of it until there is a
// relay, it keeps its slot, and goes on to another relay when that one ends.
func TestSlot(t *testing.T) {
	r, m := hiddenRig(t, 60, server.Relays{Offered: true})
	if err := r.world.For(10 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if a, ok := m.announced(t); ok {
		t.Fatalf("announced before anybody can reach it: %+v", a)
	}
	r.startRelay("first", key(71), time.Hour)
	r.until("the server is announced by its relay", m.through(t, "first"))
	a, _ := m.announced(t)
	var path transport.Path
	r.net.Dialer("client").Dial(transport.Target{Server: serverID(), Hints: a.Hints, Connections: transport.DirectConnections}, transport.SessionEvents{}, func(s transport.Session, err error) {
		if err != nil {
			t.Fatal(err)
		}
		path = s.Path()
		s.Close()
	})
	r.until("a session", func() bool { return path == transport.PathRelay })
	if err := r.world.For(24 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if n := r.net.Renewals("first"); n < 30 || n > 40 {
		t.Errorf("%d renewals of a slot of an hour in a day", n)
	}
	if again, _ := m.announced(t); again.Sequence != a.Sequence {
		t.Error("announced anew though nothing had changed")
	}

	r.startRelay("second", key(72), time.Hour)
	if err := r.world.For(time.Minute); err != nil {
		t.Fatal(err)
	}
	r.net.Unrelay("first")
	r.until("the server has gone on to the other relay", m.through(t, "second"))
	if s := r.status(); len(s.Hints) != 1 || !strings.HasPrefix(string(s.Hints[0]), "/dns/second/") {
		t.Errorf("status says %v", s.Hints)
	}
}

// TestSlotOnALiar leaves a relay that gives slots and passes nothing on, also
// when it begins to do so later.
func TestSlotOnALiar(t *testing.T) {
	mute, good := key(71), key(72)
	r, m := hiddenRig(t, 61, server.Relays{Named: []transport.Target{
		{Server: grid.ServerID(grid.PublicKeyOf(mute)), Hints: []grid.Hint{"/dns/mute/tcp/1"}, Connections: transport.DirectConnections},
		{Server: grid.ServerID(grid.PublicKeyOf(good)), Hints: []grid.Hint{"/dns/good/tcp/1"}, Connections: transport.DirectConnections},
	}})
	r.net.Relay("mute", grid.PublicKeyOf(mute), time.Hour)
	r.net.Mute("mute")
	r.net.Relay("good", grid.PublicKeyOf(good), time.Hour)
	r.until("the server is announced by the good relay", m.through(t, "good"))
	r.net.Relay("mute", grid.PublicKeyOf(mute), time.Hour) // it has mended its ways
	r.net.Mute("good")
	r.until("the server has gone back", m.through(t, "mute"))
}

// TestSlotKeepsTrying bounds what a server without luck does to routers.
func TestSlotKeepsTrying(t *testing.T) {
	k := key(71)
	r, m := hiddenRig(t, 62, server.Relays{Named: []transport.Target{{Server: grid.ServerID(grid.PublicKeyOf(k)), Hints: []grid.Hint{"/dns/late/tcp/1"}, Connections: transport.DirectConnections}}})
	if err := r.world.For(time.Hour); err != nil {
		t.Fatal(err)
	}
	r.net.Relay("late", grid.PublicKeyOf(k), time.Hour)
	if err := r.world.For(7 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if !m.through(t, "late")() {
		t.Error("not announced seven minutes after the relay came")
	}
	if s := r.status(); !slices.Equal(s.Hints, []grid.Hint{"/dns/late/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit"}) {
		t.Errorf("status says %v", s.Hints)
	}
}

// asking is a listener that notes when it asks a relay.
type asking struct {
	transport.Listener
	note func()
}

func (a asking) Reserve(relay transport.Target, lost func(error), done func(transport.Slot, error)) func() {
	a.note()
	return a.Listener.Reserve(relay, lost, done)
}

// TestAnonymousSlotsAreStrewn: an anonymous server asks its relays at times drawn at
// random, another one at once.
func TestAnonymousSlotsAreStrewn(t *testing.T) {
	for _, anonymous := range []bool{true, false} {
		var waits []time.Duration
		for seed := range uint64(12) {
			var listens time.Time
			var asked []time.Time
			w := sim.New(200+seed, nil)
			newRigIn(t, w, func(c *server.Config) {
				c.Anonymous = anonymous
				nobody := transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(71))), Hints: []grid.Hint{"/dns/nobody/tcp/1"}, Connections: transport.DirectConnections}
				c.Relays = &server.Relays{Named: []transport.Target{nobody}, Connections: transport.DirectConnections}
				listen := c.Listen
				c.Listen = func(accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
					l, err := listen(accept)
					listens = w.Now()
					return asking{l, func() { asked = append(asked, w.Now()) }}, err
				}
			})
			if err := w.For(time.Minute); err != nil || len(asked) == 0 {
				t.Fatal(err)
			}
			waits = append(waits, asked[0].Sub(listens))
		}
		slices.Sort(waits)
		if spread := waits[len(waits)-1] - waits[0]; anonymous != (spread > 10*time.Second) {
			t.Errorf("anonymous %v: a relay is asked after %v", anonymous, waits)
		}
	}
}
