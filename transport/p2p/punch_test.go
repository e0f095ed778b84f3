package p2p_test

import (
	"errors"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
)

// anywhere are options with which one may punch on loopback.
var anywhere = p2p.Options{Punch: true, PunchAnywhere: true}

// relayed is a session through a relay, and its other side, admitted.
type relayed struct {
	relay     transport.RelayService
	here      transport.Session
	there     transport.Session
	accepted  <-chan transport.Session
	punchable transport.Target
}

// relay connects through a relay, under a clause that allows punching.
func connectRelayed(t *testing.T, server, client p2p.Options, ev transport.SessionEvents) relayed {
	t.Helper()
	var r relayed
	var at transport.Target
	r.relay, at = serveRelay(t, transport.RelayLimits{})
	accepted := make(chan transport.Session, 100)
	l, err := p2p.Listen(key(1), loopback, server, func(s transport.Session) transport.SessionEvents {
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
	slot, err := reserve(t, l, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.punchable = transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(1))), Hints: slot.Hints(), Connections: transport.DirectConnections}
	if r.here, err = dial(t, p2p.NewDialer(client), r.punchable, transport.SessionEvents{}); err != nil {
		t.Fatal(err)
	}
	r.there, r.accepted = <-accepted, accepted
	return r
}

func punched(s transport.Session) (transport.Session, error) {
	type result struct {
		s   transport.Session
		err error
	}
	results := make(chan result, 1)
	s.Punch(transport.SessionEvents{}, func(s transport.Session, err error) { results <- result{s, err} })
	r := <-results
	return r.s, r.err
}

func TestPunch(t *testing.T) {
	got := make(chan int, 1)
	r := connectRelayed(t, anywhere, anywhere, sink(got))
	r.there.Admit()
	direct, err := punched(r.here)
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	theirs := <-r.accepted
	theirs.Admit()
	if direct.Path() != transport.PathPunched || theirs.Path() != transport.PathPunched {
		t.Errorf("reached by %s, came by %s", direct.Path(), theirs.Path())
	}
	if direct.Remote() != r.here.Remote() || direct.Local() == r.here.Local() || theirs.Remote() != direct.Local() {
		t.Error("identities are not as they should be")
	}
	before := r.relay.Status().Bytes
	r.here.Close()
	send(direct, 200<<10)
	<-got
	if moved := r.relay.Status().Bytes - before; moved > 4<<10 {
		t.Errorf("%d bytes more through the relay", moved)
	}
	if _, err := punched(direct); !errors.Is(err, transport.ErrNoPunch) {
		t.Errorf("punched again: %v", err)
	}
}

// TestPunchedSessionsEnd ends them with the listener.
func TestPunchedSessionsEnd(t *testing.T) {
	accepted, closed := make(chan transport.Session, 2), make(chan error, 1)
	_, at := serveRelay(t, transport.RelayLimits{})
	l, err := p2p.Listen(key(1), loopback, anywhere, func(s transport.Session) transport.SessionEvents {
		s.Admit()
		accepted <- s
		return transport.SessionEvents{}
	})
	if err != nil {
		t.Fatal(err)
	}
	slot, err := reserve(t, l, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dial(t, p2p.NewDialer(anywhere), transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(1))), Hints: slot.Hints(), Connections: transport.DirectConnections}, transport.SessionEvents{})
	if err != nil {
		t.Fatal(err)
	}
	<-accepted
	done := make(chan error, 1)
	s.Punch(transport.SessionEvents{Closed: func(err error) { closed <- err }}, func(_ transport.Session, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-closed; !errors.Is(err, transport.ErrClosed) {
		t.Errorf("closed with %v", err)
	}
}

// TestPunchIsRefused where either side does not want it, and before login.
func TestPunchIsRefused(t *testing.T) {
	strict := p2p.Options{Punch: true}
	for name, c := range map[string]struct {
		server, client p2p.Options
		admit          bool
	}{
		"by a server that does not punch":                   {p2p.Options{PunchAnywhere: true}, anywhere, true},
		"before login":                                      {anywhere, anywhere, false},
		"at addresses that are not public, says the server": {strict, anywhere, true},
		"at addresses that are not public, says the client": {anywhere, strict, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := connectRelayed(t, c.server, c.client, transport.SessionEvents{})
			if c.admit {
				r.there.Admit()
			}
			if s, err := punched(r.here); err == nil {
				t.Errorf("punched to %s", s.Address())
			}
			if len(r.accepted) > 0 {
				t.Error("the server has a session more")
			}
		})
	}
}

// TestPunchNeedsTheClause keeps a client's address from the server.
func TestPunchNeedsTheClause(t *testing.T) {
	r := connectRelayed(t, anywhere, anywhere, transport.SessionEvents{})
	r.there.Admit()
	quiet := r.punchable
	quiet.Connections.Punch = false
	s, err := dial(t, p2p.NewDialer(anywhere), quiet, transport.SessionEvents{})
	if err != nil {
		t.Fatal(err)
	}
	(<-r.accepted).Admit()
	if _, err := punched(s); !errors.Is(err, transport.ErrNoPunch) {
		t.Errorf("without the clause: %v", err)
	}
}

// TestPunchesAMinute bounds what one client makes a server do.
func TestPunchesAMinute(t *testing.T) {
	server := anywhere
	server.PunchesPerAddress = 2
	r := connectRelayed(t, server, anywhere, transport.SessionEvents{})
	r.there.Admit()
	for n := range 3 {
		s, err := punched(r.here)
		if (err == nil) != (n < 2) {
			t.Errorf("punch %d: %v", n, err)
		}
		if err == nil {
			s.Close()
			<-r.accepted
		}
	}
}
