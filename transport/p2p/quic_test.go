package p2p_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
)

// TestQUICPorts: two servers that compare notes see two source ports, over
// QUIC as over TCP.
func TestQUICPorts(t *testing.T) {
	d := p2p.NewDialer(p2p.Options{})
	var ports []string
	for n := range 2 {
		accepted := make(chan transport.Session, 1)
		l, err := p2p.Listen(key(byte(n)), quicLoopback, p2p.Options{}, func(s transport.Session) transport.SessionEvents {
			accepted <- s
			return transport.SessionEvents{}
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		target := transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(byte(n)))), Hints: l.Hints(), Connections: overQUIC}
		if _, err := dial(t, d, target, transport.SessionEvents{}); err != nil {
			t.Fatal(err)
		}
		s := <-accepted
		if s.Remote().IsZero() || !strings.HasSuffix(s.Address(), "/quic-v1") {
			t.Errorf("came from %s as %s", s.Address(), s.Remote())
		}
		ports = append(ports, strings.Split(s.Address(), "/")[4])
	}
	if ports[0] == ports[1] {
		t.Errorf("both came from port %s", ports[0])
	}
}

// TestBothKinds listens at TCP and QUIC addresses; each is reached by its own
// clause, and TCP first where both may be.
func TestBothKinds(t *testing.T) {
	l, err := p2p.Listen(key(1), slices.Concat(quicLoopback, loopback), p2p.Options{}, func(transport.Session) transport.SessionEvents {
		return transport.SessionEvents{}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	target := transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(1))), Hints: l.Hints()}
	if len(target.Hints) != 2 {
		t.Fatalf("listens at %v", target.Hints)
	}
	d := p2p.NewDialer(p2p.Options{})
	for _, c := range []struct {
		connections transport.Connections
		want        transport.Kind
	}{
		{overQUIC, transport.QUIC},
		{transport.DirectConnections, transport.TCP},
		{transport.Connections{TCP: transport.Direct, QUIC: transport.Direct}, transport.TCP},
	} {
		target.Connections = c.connections
		s, err := dial(t, d, target, transport.SessionEvents{})
		if err != nil {
			t.Fatal(err)
		}
		if kind := transport.KindOf(grid.Hint(s.Address())); kind != c.want {
			t.Errorf("%+v dialled %s, want %s", c.connections, s.Address(), c.want)
		}
	}
}

func TestQUICConnectionLimit(t *testing.T) {
	l, err := p2p.Listen(key(1), quicLoopback, p2p.Options{Connections: 1}, func(transport.Session) transport.SessionEvents {
		return transport.SessionEvents{}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	target := transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(1))), Hints: l.Hints(), Connections: overQUIC}
	d := p2p.NewDialer(p2p.Options{})
	closed := make(chan error, 1)
	s, err := dial(t, d, target, transport.SessionEvents{Closed: func(err error) { closed <- err }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, d, target, transport.SessionEvents{}); !errors.Is(err, transport.ErrUnreachable) {
		t.Errorf("second connection of one: %v", err)
	}
	s.Close()
	<-closed
	for { // the listener learns of the end a moment after
		if _, err := dial(t, d, target, transport.SessionEvents{}); err == nil {
			return
		}
	}
}
