package server_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/introducer"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
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
		c.Introducers = []transport.Target{{Server: grid.ServerID(grid.PublicKeyOf(key(9))), Hints: []grid.Hint{"/dns/introducer/tcp/1"}, Connections: transport.DirectConnections}}
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
		a.NodeID != serverID().DefaultNodeID() || len(a.Accepts) != 0 || !a.ReadsNeedAccount {
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

// TestAnnouncesManagers: their keys, as long as the operator accepts them, and
// never those of friends.
func TestAnnouncesManagers(t *testing.T) {
	r := newRig(t, 42, func(c *server.Config) {
		c.Introducers = []transport.Target{{Server: grid.ServerID(grid.PublicKeyOf(key(9))), Hints: []grid.Hint{"/dns/introducer/tcp/1"}, Connections: transport.DirectConnections}}
	})
	m := &memo{}
	r.startIntroducer(m)
	manager := lease.Root{Key: grid.PublicKeyOf(key(5)), Petname: "manager", Manager: true}
	announced := func(want ...grid.PublicKey) {
		t.Helper()
		if err := r.world.For(time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := m.announcement(t).Accepts; !slices.Equal(got, want) {
			t.Errorf("announced %v, want %v", got, want)
		}
	}
	put := func(root lease.Root) {
		t.Helper()
		if err, refused := r.ask(server.PutRoot{Root: root}).(error); refused {
			t.Fatal(err)
		}
	}
	r.addAccount(1, nil)
	announced()
	put(manager)
	announced(manager.Key)
	before := m.announcement(t).Sequence
	r.addAccount(2, nil)
	announced(manager.Key)
	if m.announcement(t).Sequence != before {
		t.Error("announced anew where nothing had changed")
	}
	manager.Disabled = true
	put(manager)
	announced()
	manager.Disabled = false
	put(manager)
	r.net.Crash("server")
	r.world.Crash("storage")
	r.pid, _ = r.world.Sys.Root("storage", server.New(r.world.Env(), r.config))
	announced(manager.Key)
}

// TestRestartAnnouncesAnew: a server that comes back replaces what it said
// before.
func TestRestartAnnouncesAnew(t *testing.T) {
	r := newRig(t, 41, func(c *server.Config) {
		c.Introducers = []transport.Target{{Server: grid.ServerID(grid.PublicKeyOf(key(9))), Hints: []grid.Hint{"/dns/introducer/tcp/1"}, Connections: transport.DirectConnections}}
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

// TestHostileIntroducer answers too much, or what was not asked: the announcer
// says as much as to any other, and leaves whoever breaks the protocol.
func TestHostileIntroducer(t *testing.T) {
	hello := &wire.Hello{Version: wire.Version, MaxRequests: 1}
	answer := func(id uint64, m wire.Message) wire.Frame { return wire.Frame{ID: id, Answer: true, Message: m} }
	for name, c := range map[string]struct {
		say  func(asked wire.Frame) []wire.Frame
		ends bool // the announcer breaks off
	}{
		"hello again and again": {ends: true, say: func(f wire.Frame) []wire.Frame {
			return slices.Repeat([]wire.Frame{answer(f.ID, hello)}, 100)
		}},
		"hello to the announcement": {ends: true, say: func(f wire.Frame) []wire.Frame {
			return []wire.Frame{answer(f.ID, hello)}
		}},
		"done without hello": {ends: true, say: func(f wire.Frame) []wire.Frame {
			return []wire.Frame{answer(f.ID, &wire.Done{})}
		}},
		"answers to what comes next": {ends: true, say: func(f wire.Frame) []wire.Frame {
			return []wire.Frame{answer(f.ID+1, hello)}
		}},
		"requests": {ends: true, say: func(f wire.Frame) []wire.Frame {
			return slices.Repeat([]wire.Frame{{ID: f.ID, Message: hello}}, 100)
		}},
		"done again and again": {say: func(f wire.Frame) []wire.Frame {
			if f.ID == 1 {
				return []wire.Frame{answer(1, hello)}
			}
			return slices.Repeat([]wire.Frame{answer(f.ID, &wire.Done{})}, 100)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 42, func(c *server.Config) {
				c.Introducers = []transport.Target{{Server: grid.ServerID(grid.PublicKeyOf(key(9))), Hints: []grid.Hint{"/dns/introducer/tcp/1"}, Connections: transport.DirectConnections}}
			})
			dials, ends, asked := r.hostileIntroducer(c.say)
			if err := r.world.For(10 * time.Minute); err != nil {
				t.Fatal(err)
			}
			if *asked > 2**dials || *dials > 20 {
				t.Errorf("%d requests over %d connections", *asked, *dials)
			}
			if c.ends != (*ends > 0) || *dials == 0 {
				t.Errorf("%d of %d connections ended", *ends, *dials)
			}
		})
	}
}

// hostileIntroducer listens where an introducer should, and counts.
func (r *rig) hostileIntroducer(say func(wire.Frame) []wire.Frame) (dials, ends, asked *int) {
	dials, ends, asked = new(int), new(int), new(int)
	serve := func(c transport.Conversation, _ transport.Protocol) (transport.Handler, int) {
		return func(ev transport.Event) {
			if m, ok := ev.(transport.Received); ok {
				*asked++
				for _, f := range say(m.Frame) {
					c.Send(f)
				}
			}
		}, 1000
	}
	_, err := r.net.Listen("introducer", key(9), func(transport.Session) transport.SessionEvents {
		*dials++
		return transport.SessionEvents{Incoming: serve, Closed: func(error) { *ends++ }}
	})
	must(err)
	return dials, ends, asked
}

// strewn is a Dialer that notes when introducers are dialled.
type strewn struct {
	transport.Dialer
	now func() time.Time
	at  map[grid.ServerID][]time.Time
}

func (s *strewn) Dial(t transport.Target, ev transport.SessionEvents, done func(transport.Session, error)) func() {
	s.at[t.Server] = append(s.at[t.Server], s.now())
	return s.Dialer.Dial(t, ev, done)
}

// TestAnonymousAnnouncementsAreStrewn: which two introducers are told of one server
// can't be seen by when they are told, at first and after a loss.
func TestAnonymousAnnouncementsAreStrewn(t *testing.T) {
	const introducers = 20
	for _, anonymous := range []bool{true, false} {
		s := &strewn{at: map[grid.ServerID][]time.Time{}}
		r := newRig(t, 44, func(c *server.Config) {
			s.Dialer, c.Dialer, c.Anonymous = c.Dialer, s, anonymous
			for n := range byte(introducers) {
				c.Introducers = append(c.Introducers, transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(100 + n))), Hints: []grid.Hint{"/dns/nobody/tcp/1"}, Connections: transport.DirectConnections})
			}
			s.now = func() time.Time { return time.Time{} }
		})
		s.now = r.world.Now
		if err := r.world.For(time.Minute); err != nil {
			t.Fatal(err)
		}
		for attempt, least := range []time.Duration{15 * time.Second, 15 * time.Second} {
			var first, last time.Time
			for _, at := range s.at {
				if first.IsZero() || at[attempt].Before(first) {
					first = at[attempt]
				}
				if at[attempt].After(last) {
					last = at[attempt]
				}
			}
			if spread := last.Sub(first); len(s.at) != introducers || anonymous != (spread > least) {
				t.Errorf("anonymous %v: attempt %d at %d introducers within %v", anonymous, attempt, len(s.at), spread)
			}
		}
	}
}
