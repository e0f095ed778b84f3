package fake_test

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/fake"
	"github.com/tarn-grid/tarn/transport/transporttest"
	"github.com/tarn-grid/tarn/transport/wire"
)

// world is a virtual clock with an ordered list of what is to happen.
type world struct {
	now    time.Duration
	events []event
	made   int
}

type event struct {
	at  time.Duration
	seq int
	fn  func()
}

func (w *world) after(d time.Duration, fn func()) {
	w.made++
	w.events = append(w.events, event{w.now + d, w.made, fn})
}

// step runs the earliest event, of those at one time the first made.
func (w *world) step() bool {
	if len(w.events) == 0 {
		return false
	}
	first := 0
	for i, e := range w.events {
		if f := w.events[first]; e.at < f.at || (e.at == f.at && e.seq < f.seq) {
			first = i
		}
	}
	e := w.events[first]
	w.events = append(w.events[:first], w.events[first+1:]...)
	w.now = e.at
	e.fn()
	return true
}

// runUntil runs what happens up to t.
func (w *world) runUntil(t time.Duration) {
	stop := false
	w.after(t-w.now, func() { stop = true })
	for !stop && w.step() {
	}
}

func (w *world) run() {
	for w.step() {
	}
}

func newNetwork(seed byte) (*world, *fake.Network) {
	w := &world{}
	return w, fake.New(w.after, rand.NewChaCha8([32]byte{seed}))
}

func TestSuite(t *testing.T) {
	defer goleak.VerifyNone(t)
	for name, latency := range map[string]time.Duration{"without latency": 0, "with latency": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T) transporttest.World {
				w, n := newNetwork(1)
				n.SetLatency("client", "server", latency, latency/2)
				return transporttest.World{
					Dialer:      n.Dialer("client"),
					DeadHint:    "/dns/nobody/tcp/1",
					Connections: transport.DirectConnections,
					Step:        w.step,
					Listen: func(key ed25519.PrivateKey, accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
						return n.Listen("server", key, accept)
					},
				}
			})
		})
	}
}

// hidden is a listener that is reached through its slot alone.
type hidden struct {
	transport.Listener
	slot transport.Slot
}

func (h hidden) Hints() []grid.Hint { return h.slot.Hints() }

func TestSuiteThroughRelay(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.World {
		w, n := newNetwork(1)
		relay := n.Relay("relay", grid.PublicKey{7}, time.Hour)
		return transporttest.World{
			Dialer: n.Dialer("client"), Relayed: true, Connections: transport.DirectConnections,
			DeadHint: "/dns/nobody/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit", Step: w.step,
			Listen: func(key ed25519.PrivateKey, accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
				l, err := n.Listen("server", key, accept)
				if err != nil {
					return nil, err
				}
				slot, err := reserve(w, l, relay)
				return hidden{l, slot}, err
			},
		}
	})
}

func reserve(w *world, l transport.Listener, relay transport.Target) (slot transport.Slot, err error) {
	l.Reserve(relay, func(error) {}, func(s transport.Slot, e error) { slot, err = s, e })
	for slot == nil && err == nil && w.step() {
	}
	return slot, err
}

// scene is a client and a server that write down what happens to them.
type scene struct {
	*world
	net    *fake.Network
	key    ed25519.PrivateKey
	hints  []grid.Hint
	client transport.Session
	trace  strings.Builder
}

func (s *scene) note(format string, args ...any) {
	fmt.Fprintf(&s.trace, "%v "+format+"\n", append([]any{s.now}, args...)...)
}

func (s *scene) handler(who string) transport.Handler {
	return func(e transport.Event) {
		switch e := e.(type) {
		case transport.Received:
			s.note("%s got %d", who, e.Frame.ID)
		case transport.Ended:
			s.note("%s ended: %v", who, e.Err)
		}
	}
}

func (s *scene) events(who string) transport.SessionEvents {
	return transport.SessionEvents{
		Incoming: func(c transport.Conversation, p transport.Protocol) (transport.Handler, int) {
			s.note("%s hears %s", who, p)
			return s.handler(who), 1000
		},
		Closed: func(err error) { s.note("%s closed: %v", who, err) },
	}
}

func newScene(t *testing.T, seed byte) *scene {
	t.Helper()
	w, n := newNetwork(seed)
	s := &scene{world: w, net: n, key: ed25519.NewKeyFromSeed(make([]byte, 32))}
	n.SetLatency("c", "s", 10*time.Millisecond, 5*time.Millisecond)
	l, err := n.Listen("s", s.key, func(peer transport.Session) transport.SessionEvents {
		s.note("accepted %s", peer.Remote().Short())
		peer.Admit()
		return s.events("server")
	})
	if err != nil {
		t.Fatal(err)
	}
	s.hints = l.Hints()
	return s
}

func (s *scene) dial() {
	t := transport.Target{Server: grid.ServerID(grid.PublicKeyOf(s.key)), Hints: s.hints, Connections: transport.DirectConnections}
	s.net.Dialer("c").Dial(t, s.events("client"), func(session transport.Session, err error) {
		s.note("dialled: %v", err)
		s.client = session
	})
}

func TestSameSeedSameTrace(t *testing.T) {
	play := func(seed byte) string {
		s := newScene(t, seed)
		for range 3 {
			s.dial()
			s.run()
			for range 3 {
				c := s.client.Open(transport.Storage, s.handler("client"), 1)
				for id := range uint64(5) {
					c.Send(wire.Frame{ID: id + 1, Message: &wire.Usage{}})
				}
			}
		}
		s.run()
		s.net.Drop("c", "s")
		s.run()
		return s.trace.String()
	}
	if a, b := play(1), play(1); a != b {
		t.Errorf("one seed, two traces:\n%s\n%s", a, b)
	}
	if a, b := play(1), play(2); a == b {
		t.Error("two seeds, one trace")
	}
}

func (s *scene) expect(t *testing.T, want ...string) {
	t.Helper()
	got := s.trace.String()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("no %q in\n%s", w, got)
		}
	}
	s.trace.Reset()
}

func TestPartition(t *testing.T) {
	s := newScene(t, 1)
	s.dial()
	s.run()
	c := s.client.Open(transport.Storage, s.handler("client"), 1)
	s.run()
	s.trace.Reset()

	s.net.Partition("c", "s")
	c.Send(wire.Frame{ID: 1, Message: &wire.Usage{}})
	s.runUntil(fake.DeadAfter / 2)
	if s.trace.Len() > 0 {
		t.Errorf("through a partition: %s", s.trace.String())
	}
	s.net.Heal("c", "s")
	s.run()
	s.expect(t, "server got 1")

	s.net.Partition("c", "s")
	s.dial()
	s.run()
	s.expect(t, "client ended: connection closed", "server ended: connection closed",
		"client closed: ", "server closed: ", "no address of the server answered: timed out")
}

func TestRefuseAndCrash(t *testing.T) {
	s := newScene(t, 1)
	s.net.Refuse("s", true)
	s.dial()
	s.run()
	s.expect(t, "no address of the server answered: connection refused")

	s.net.Refuse("s", false)
	s.dial()
	s.run()
	s.expect(t, "dialled: <nil>")

	s.net.Crash("s")
	s.run()
	if got := s.trace.String(); strings.Contains(got, "server") {
		t.Errorf("a crashed node hears: %s", got)
	}
	s.expect(t, "client closed: connection closed")
	if _, err := s.net.Listen("s", s.key, func(transport.Session) transport.SessionEvents { return s.events("server") }); err != nil {
		t.Errorf("listen again: %v", err)
	}
	if _, err := s.net.Listen("s", s.key, nil); err == nil {
		t.Error("two listeners at one address")
	}
	s.dial()
	s.run()
	s.expect(t, "dialled: <nil>")
}

func TestDropWhileConnecting(t *testing.T) {
	s := newScene(t, 1)
	s.dial()
	for !strings.Contains(s.trace.String(), "accepted") {
		if !s.step() {
			t.Fatal("never accepted")
		}
	}
	s.net.Drop("c", "s")
	s.run()
	s.expect(t, "server closed: ", "lost while connecting")
	if s.client != nil {
		t.Error("a session that was lost before")
	}
}

// TestSafeWithRealTimers runs the callbacks from goroutines, as in a synctest
// bubble.
func TestSafeWithRealTimers(t *testing.T) {
	n := fake.New(func(d time.Duration, fn func()) { time.AfterFunc(d, fn) }, rand.NewChaCha8([32]byte{}))
	transporttest.Run(t, func(t *testing.T) transporttest.World {
		name := strings.ReplaceAll(t.Name(), "/", "-")
		server, client := name+"-s", name+"-c"
		return transporttest.World{
			Dialer:      n.Dialer(client),
			DeadHint:    "/dns/nobody/tcp/1",
			Connections: transport.DirectConnections,
			Listen: func(key ed25519.PrivateKey, accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
				return n.Listen(server, key, accept)
			},
		}
	})
}
