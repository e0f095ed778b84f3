package p2p_test

import (
	"crypto/ed25519"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/transporttest"
	"github.com/tarn-grid/tarn/transport/wire"
)

func TestMain(m *testing.M) {
	p2p.LogTo(slog.DiscardHandler)
	goleak.VerifyTestMain(m)
}

var (
	loopback     = []string{"/ip4/127.0.0.1/tcp/0"}
	quicLoopback = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
)

func key(b byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = b
	return ed25519.NewKeyFromSeed(seed)
}

func TestSuite(t *testing.T) {
	runSuite(t, loopback, "/ip4/127.0.0.1/tcp/1", transport.DirectConnections)
}

func TestSuiteOverQUIC(t *testing.T) {
	runSuite(t, quicLoopback, "/ip4/127.0.0.1/udp/1/quic-v1", overQUIC)
}

var overQUIC = transport.Connections{QUIC: transport.Direct}

func runSuite(t *testing.T, listen []string, dead grid.Hint, connections transport.Connections) {
	transporttest.Run(t, func(*testing.T) transporttest.World {
		return transporttest.World{
			Dialer:      p2p.NewDialer(p2p.Options{}),
			DeadHint:    dead,
			Connections: connections,
			Listen: func(key ed25519.PrivateKey, accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
				return p2p.Listen(key, listen, p2p.Options{}, accept)
			},
		}
	})
}

// listen starts a listener whose sessions are sent to the channel.
func listen(t *testing.T, o p2p.Options, ev transport.SessionEvents) (transport.Target, <-chan transport.Session) {
	t.Helper()
	l, accepted := listener(t, 1, o, ev)
	return transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(1))), Hints: l.Hints(), Connections: transport.DirectConnections}, accepted
}

// listener starts one, and has what it accepts.
func listener(t testing.TB, serverKey byte, o p2p.Options, ev transport.SessionEvents) (transport.Listener, <-chan transport.Session) {
	t.Helper()
	accepted := make(chan transport.Session, 100)
	l, err := p2p.Listen(key(serverKey), loopback, o, func(s transport.Session) transport.SessionEvents {
		accepted <- s
		return ev
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, accepted
}

func dial(t testing.TB, d transport.Dialer, target transport.Target, ev transport.SessionEvents) (transport.Session, error) {
	t.Helper()
	type result struct {
		s   transport.Session
		err error
	}
	results := make(chan result, 1)
	d.Dial(target, ev, func(s transport.Session, err error) { results <- result{s, err} })
	r := <-results
	if r.err == nil {
		t.Cleanup(r.s.Close)
	}
	return r.s, r.err
}

func TestOnlyTCPAddressesAreDialled(t *testing.T) {
	target, _ := listen(t, p2p.Options{}, transport.SessionEvents{})
	d := p2p.NewDialer(p2p.Options{})
	good := target.Hints
	for _, h := range []grid.Hint{
		"", "nonsense", "/ip4/127.0.0.1/udp/1/quic-v1", "/onion3/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:1234",
		"/dnsaddr/example.org/tcp/1", "/ip4/127.0.0.1/tcp/1/ws", "/ip4/127.0.0.1", "/unix/tmp/socket",
		good[0] + "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
	} {
		target.Hints = []grid.Hint{h}
		if _, err := dial(t, d, target, transport.SessionEvents{}); !errors.Is(err, transport.ErrNoAddress) {
			t.Errorf("%q: %v", h, err)
		}
	}
	target.Hints = []grid.Hint{"nonsense", good[0]}
	if _, err := dial(t, d, target, transport.SessionEvents{}); err != nil {
		t.Errorf("a good hint among bad ones: %v", err)
	}
}

func TestListenRefusesBadAddresses(t *testing.T) {
	for _, bad := range [][]string{nil, {"127.0.0.1:80"}, {"/ip4/127.0.0.1/udp/1"}, {"/ip4/203.0.113.77/tcp/0"}} {
		if l, err := p2p.Listen(key(1), bad, p2p.Options{}, nil); err == nil {
			t.Errorf("listens at %v as %v", bad, l.Hints())
		}
	}
	target, _ := listen(t, p2p.Options{}, transport.SessionEvents{})
	if _, err := p2p.Listen(key(2), []string{string(target.Hints[0])}, p2p.Options{}, nil); err == nil {
		t.Error("two listeners at one port")
	}
}

func TestUnspecifiedAddressIsAnnouncedAsInterfaces(t *testing.T) {
	l, err := p2p.Listen(key(1), []string{"/ip4/0.0.0.0/tcp/0"}, p2p.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if len(l.Hints()) == 0 {
		t.Error("no hints")
	}
	for _, h := range l.Hints() {
		if strings.HasPrefix(string(h), "/ip4/0.0.0.0/") || strings.HasSuffix(string(h), "/tcp/0") {
			t.Errorf("announces %s", h)
		}
	}
}

func TestConnectionLimit(t *testing.T) {
	target, accepted := listen(t, p2p.Options{Connections: 2}, transport.SessionEvents{})
	d := p2p.NewDialer(p2p.Options{})
	var first transport.Session
	closed := make(chan error, 1)
	for i := range 2 {
		ev := transport.SessionEvents{}
		if i == 0 {
			ev.Closed = func(err error) { closed <- err }
		}
		s, err := dial(t, d, target, ev)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = s
		}
		<-accepted
	}
	if _, err := dial(t, d, target, transport.SessionEvents{}); !errors.Is(err, transport.ErrUnreachable) {
		t.Errorf("third connection of two: %v", err)
	}
	first.Close()
	<-closed
	for { // the listener learns of the end a moment after
		if _, err := dial(t, d, target, transport.SessionEvents{}); err == nil {
			return
		}
	}
}

// TestManyFromOneAddress has more connections than libp2p's own limits allow.
func TestManyFromOneAddress(t *testing.T) {
	target, accepted := listen(t, p2p.Options{}, transport.SessionEvents{})
	d := p2p.NewDialer(p2p.Options{})
	for range 30 {
		if _, err := dial(t, d, target, transport.SessionEvents{}); err != nil {
			t.Fatal(err)
		}
		<-accepted
	}
}

// TestStalledReader gives up a conversation whose frames nobody takes.
func TestStalledReader(t *testing.T) {
	handler := func(transport.Event) {}
	target, accepted := listen(t, p2p.Options{}, transport.SessionEvents{
		Incoming: func(transport.Conversation, transport.Protocol) (transport.Handler, int) { return handler, 0 },
	})
	s, err := dial(t, p2p.NewDialer(p2p.Options{Stall: 50 * time.Millisecond}), target, transport.SessionEvents{})
	if err != nil {
		t.Fatal(err)
	}
	(<-accepted).Admit()
	ended, released := make(chan error, 1), make(chan bool, 2)
	c := s.Open(transport.Storage, func(e transport.Event) {
		if e, ok := e.(transport.Ended); ok {
			ended <- e.Err
		}
	}, 1)
	for range 2 {
		f := wire.Frame{ID: 1, Answer: true, Message: &wire.Data{Lengths: []uint64{wire.MaxBody}}}
		c.Send(f.WithBody(func() { released <- true }, make([]byte, wire.MaxBody)))
	}
	c.Close(nil)
	if err := <-ended; !errors.Is(err, transport.ErrClosed) {
		t.Errorf("stalled conversation: %v", err)
	}
	<-released
	<-released
}

func TestDialTimesOut(t *testing.T) {
	target, _ := listen(t, p2p.Options{}, transport.SessionEvents{})
	_, err := dial(t, p2p.NewDialer(p2p.Options{DialTimeout: time.Microsecond}), target, transport.SessionEvents{})
	if !errors.Is(err, transport.ErrUnreachable) {
		t.Errorf("dial in a microsecond: %v", err)
	}
}

// Why a server was not reached is one line that a person can read.
func TestDialErrorsAreOneLine(t *testing.T) {
	target := transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(99))), Hints: []grid.Hint{"/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2"}, Connections: transport.DirectConnections}
	failed := make(chan error, 1)
	p2p.NewDialer(p2p.Options{}).Dial(target, transport.SessionEvents{}, func(_ transport.Session, err error) { failed <- err })
	err := <-failed
	text := err.Error()
	if !errors.Is(err, transport.ErrUnreachable) || strings.ContainsAny(text, "\n*") || strings.Contains(text, "12D3") ||
		!strings.Contains(text, "/ip4/127.0.0.1/tcp/1: ") || !strings.Contains(text, "connection refused") {
		t.Errorf("%q", text)
	}
}
