package server_test

import (
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/introducer"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// memo is an introducer's file.
type memo struct{ saved [][]byte }

func (m *memo) Load() ([][]byte, error) { return m.saved, nil }

func (m *memo) Save(all [][]byte) error {
	m.saved = all
	return nil
}

func (m *memo) announcement(t *testing.T) (a grid.Announcement) {
	t.Helper()
	if len(m.saved) != 1 {
		t.Fatalf("%d announcements", len(m.saved))
	}
	a, err := wire.OpenAnnouncement(m.saved[0])
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (r *rig) startIntroducer(m *memo) {
	r.world.Sys.Root("introducer", introducer.New(r.world.Env(), introducer.Config{
		Listen: func(accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
			return r.net.Listen("introducer", key(9), accept)
		},
		Store: m,
		Fatal: func(err error) { r.Fatal(err) },
	}))
}

// TestAnnounces: also where the introducer comes late, and where it goes and
// comes back.
func TestAnnounces(t *testing.T) {
	r := newRig(t, 40, func(c *server.Config) {
		c.Introducers = []transport.Target{{Server: grid.ServerID(grid.PublicKeyOf(key(9))), Hints: []grid.Hint{"/dns/introducer/tcp/1"}}}
		c.Accepts = []grid.PublicKey{grid.PublicKeyOf(key(5))}
		c.ReadsNeedAccount = true
	})
	if err := r.world.For(10 * time.Minute); err != nil { // nobody there yet
		t.Fatal(err)
	}
	m := &memo{}
	r.startIntroducer(m)
	if err := r.world.For(10 * time.Minute); err != nil {
		t.Fatal(err)
	}
	a := m.announcement(t)
	if a.Server != serverID() || a.Nickname != "rig" || len(a.Hints) != 1 || a.Hints[0] != "/dns/server/tcp/1" ||
		a.NodeID != serverID().DefaultNodeID() || len(a.Accepts) != 1 || !a.ReadsNeedAccount {
		t.Errorf("announced %+v", a)
	}

	r.net.Crash("introducer")
	r.world.Crash("introducer")
	lost := &memo{} // with its disk
	r.startIntroducer(lost)
	if err := r.world.For(20 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if again := lost.announcement(t); again.Sequence != a.Sequence {
		t.Errorf("published again with number %d, was %d", again.Sequence, a.Sequence)
	}
}

// TestRestartAnnouncesAnew: a server that comes back replaces what it said
// before.
func TestRestartAnnouncesAnew(t *testing.T) {
	r := newRig(t, 41, func(c *server.Config) {
		c.Introducers = []transport.Target{{Server: grid.ServerID(grid.PublicKeyOf(key(9))), Hints: []grid.Hint{"/dns/introducer/tcp/1"}}}
	})
	m := &memo{}
	r.startIntroducer(m)
	if err := r.world.For(time.Minute); err != nil {
		t.Fatal(err)
	}
	first := m.announcement(t).Sequence
	r.net.Crash("server")
	r.world.Crash("storage")
	r.pid, _ = r.world.Sys.Root("storage", server.New(r.world.Env(), r.config))
	if err := r.world.For(time.Minute); err != nil {
		t.Fatal(err)
	}
	if again := m.announcement(t).Sequence; again <= first {
		t.Errorf("announced with %d after %d", again, first)
	}
}
