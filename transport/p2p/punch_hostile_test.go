package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multistream"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// quarry is a server behind a relay, and a client's session with it.
type quarry struct {
	listener transport.Listener
	accepted chan transport.Session
	target   transport.Target
	session  *session
}

func seeded(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), b))
}

func newQuarry(t *testing.T) *quarry {
	t.Helper()
	o := Options{Punch: true, PunchAnywhere: true}
	home := []string{"/ip4/127.0.0.1/tcp/0"}
	relay, err := ServeRelay(seeded(1), home, transport.RelayLimits{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	q := &quarry{accepted: make(chan transport.Session, 10)}
	q.listener, err = Listen(seeded(2), home, o, func(s transport.Session) transport.SessionEvents {
		s.Admit()
		q.accepted <- s
		return transport.SessionEvents{}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(q.listener.Close(), relay.Close()); err != nil {
			t.Error(err)
		}
	})
	at := transport.Target{Server: grid.ServerID(grid.PublicKeyOf(seeded(1))), Hints: relay.Hints(), Connections: transport.DirectConnections}
	slots := make(chan transport.Slot, 1)
	q.listener.Reserve(at, func(error) {}, func(s transport.Slot, err error) {
		if err != nil {
			t.Error(err)
		}
		slots <- s
	})
	slot := <-slots
	if slot == nil {
		t.FailNow()
	}
	q.target = transport.Target{Server: grid.ServerID(grid.PublicKeyOf(seeded(2))), Hints: slot.Hints(), Connections: transport.DirectConnections}
	q.session = q.dial(t)
	return q
}

func (q *quarry) dial(t *testing.T) *session {
	t.Helper()
	sessions := make(chan transport.Session, 1)
	NewDialer(Options{PunchAnywhere: true}).Dial(q.target, transport.SessionEvents{}, func(s transport.Session, err error) {
		if err != nil {
			t.Error(err)
		}
		sessions <- s
	})
	s := <-sessions
	if s == nil {
		t.FailNow()
	}
	t.Cleanup(s.Close)
	<-q.accepted
	return s.(*session)
}

// TestPunchLeavesTheSlotAlone: while the server tries for a direct connection,
// the relay still finds it.
func TestPunchLeavesTheSlotAlone(t *testing.T) {
	q := newQuarry(t)
	at, _ := bystander(t)
	s := q.session
	for range 5 {
		if _, err := s.offerPunch(t.Context(), wire.Punch{Key: grid.PublicKeyOf(seeded(9)), Address: at.String()}); err != nil {
			t.Fatal(err)
		}
		s.Close() // now nothing tells the relay which connection is the slot's
		<-s.gone
		s = q.dial(t)
	}
}

// bystander listens where somebody is sent to who does not belong there.
func bystander(t *testing.T) (netip.AddrPort, net.Listener) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return netip.MustParseAddrPort(l.Addr().String()), l
}

// TestPunchAtABystander: a client names somebody else's address, as it also does
// when its relay lies. The server knocks there once, and says nothing but a greeting that is always the same.
func TestPunchAtABystander(t *testing.T) {
	q := newQuarry(t)
	at, l := bystander(t)
	if _, err := q.session.offerPunch(t.Context(), wire.Punch{Key: grid.PublicKeyOf(seeded(9)), Address: at.String()}); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := q.listener.Close(); err != nil { // and the server ends, in the midst of it
		t.Error(err)
	}
	const greeting = "\x13/multistream/1.0.0\n"
	said, err := io.ReadAll(c)
	if len(said) > 0 && string(said) != greeting {
		t.Errorf("the server said %q, %v", said, err)
	}
	if err := l.(*net.TCPListener).SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if c, err := l.Accept(); err == nil {
		t.Errorf("a second knock, from %s", c.RemoteAddr())
	}
	if len(q.accepted) > 0 {
		t.Error("a session came of it")
	}
}

// TestPunchUnderAnotherKey: whoever comes through the hole must be whom the
// client named.
func TestPunchUnderAnotherKey(t *testing.T) {
	q := newQuarry(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	h, hole, err := q.session.options.dig(ctx, seeded(8), bulkWindow, &network.NullResourceManager{}, q.session.conn)
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	to, err := q.session.offerPunch(ctx, wire.Punch{Key: grid.PublicKeyOf(seeded(9)), Address: hole.Seen().String()})
	if err != nil {
		t.Fatal(err)
	}
	d := &dial{options: q.session.options, target: q.session.dial.target, id: q.session.dial.id, host: h, path: transport.PathPunched}
	if s, err := d.through(ctx, hole, to, network.DirOutbound); err == nil {
		defer s.Close()
		s.events.Unlock()
		<-s.gone // the handshake may be over on this side before the other refuses
	}
	if len(q.accepted) > 0 {
		t.Error("the server took another one")
	}
}

// TestPunchGarbage: what is said where an offer belongs harms nothing.
func TestPunchGarbage(t *testing.T) {
	q := newQuarry(t)
	frame := func(m wire.Message) func(io.Writer) error {
		return func(w io.Writer) error { return wire.WriteFrame(w, wire.Frame{ID: 1, Message: m}) }
	}
	for name, say := range map[string]func(io.Writer) error{
		"noise":       func(w io.Writer) error { _, err := w.Write([]byte("\xff\xff\xff\xff\xff\xff\xff\xff")); return err },
		"nothing":     func(io.Writer) error { return nil },
		"a request":   frame(&wire.Find{}),
		"no key":      frame(&wire.Punch{Key: [32]byte{2}, Address: "127.0.0.1:22"}),
		"no position": frame(&wire.Punching{Address: "127.0.0.1:4000"}),
	} {
		st, err := q.session.conn.NewStream(network.WithAllowLimitedConn(t.Context(), "a test"))
		if err != nil {
			t.Fatal(err)
		}
		lazy := multistream.NewMSSelect(st, punchProtocol)
		if err := say(lazy); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = st.CloseWrite()
		if f, err := wire.ReadFrame(lazy, 0); err == nil {
			if _, refused := f.Message.(*wire.Error); !refused {
				t.Errorf("%s: answered by %T", name, f.Message)
			}
		}
		_ = st.Reset()
	}
	if to, err := q.session.offerPunch(t.Context(), wire.Punch{Key: grid.PublicKeyOf(seeded(9)), Address: "127.0.0.1:4000"}); err != nil || to.Port() == 0 {
		t.Errorf("after all that: %v, %v", to, err)
	}
}
