package p2p_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/transporttest"
	"github.com/tarn-grid/tarn/transport/wire"
)

// serveRelay starts a relay, and says how it is reached.
func serveRelay(t testing.TB, limits transport.RelayLimits) (transport.RelayService, transport.Target) {
	t.Helper()
	r, err := p2p.ServeRelay(key(77), loopback, limits, p2p.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(77))), Hints: r.Hints(), Connections: transport.DirectConnections}
}

// reserve takes a slot and waits for it; lost may be nil.
func reserve(t testing.TB, l transport.Listener, relay transport.Target, lost func(error)) (transport.Slot, error) {
	t.Helper()
	if lost == nil {
		lost = func(error) {}
	}
	type result struct {
		slot transport.Slot
		err  error
	}
	results := make(chan result, 1)
	l.Reserve(relay, lost, func(s transport.Slot, err error) { results <- result{s, err} })
	r := <-results
	return r.slot, r.err
}

// hidden is a listener that is reached through its slot alone.
type hidden struct {
	transport.Listener
	slot transport.Slot
}

func (h hidden) Hints() []grid.Hint { return h.slot.Hints() }

// TestSuiteThroughRelay holds a session through a relay to all that one without
// it promises.
func TestSuiteThroughRelay(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.World {
		_, relay := serveRelay(t, transport.RelayLimits{})
		return transporttest.World{
			Dialer:      p2p.NewDialer(p2p.Options{}),
			Relayed:     true,
			Connections: transport.DirectConnections,
			DeadHint:    "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit",
			Listen: func(key ed25519.PrivateKey, accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
				l, err := p2p.Listen(key, loopback, p2p.Options{}, accept)
				if err != nil {
					return nil, err
				}
				slot, err := reserve(t, l, relay, nil)
				return hidden{l, slot}, err
			},
		}
	})
}

// behind starts a listener with a slot on the relay.
func behind(t testing.TB, relay transport.Target, serverKey byte, ev transport.SessionEvents) (transport.Target, <-chan transport.Session) {
	t.Helper()
	l, accepted := listener(t, serverKey, p2p.Options{}, ev)
	slot, err := reserve(t, l, relay, nil)
	if err != nil {
		t.Fatal(err)
	}
	return transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(serverKey))), Hints: slot.Hints(), Connections: transport.DirectConnections}, accepted
}

// sink takes everything, and says how many bytes of bodies have come.
func sink(got chan<- int) transport.SessionEvents {
	return transport.SessionEvents{Incoming: func(c transport.Conversation, _ transport.Protocol) (transport.Handler, int) {
		return func(e transport.Event) {
			if e, ok := e.(transport.Received); ok {
				got <- e.Frame.BodySize()
				e.Frame.Release()
				c.Grant(1)
			}
		}, 8
	}}
}

func send(s transport.Session, size int) (ended <-chan error) {
	done := make(chan error, 1)
	c := s.Open(transport.Storage, func(e transport.Event) {
		if e, ok := e.(transport.Ended); ok {
			done <- e.Err
		}
	}, 1)
	c.Send(wire.Frame{ID: 1, Message: &wire.Allocate{Size: 1 << 40}}.WithBody(nil, bytes.Repeat([]byte("x"), size)))
	return done
}

func TestRelayCountsWhatPasses(t *testing.T) {
	r, relay := serveRelay(t, transport.RelayLimits{})
	got := make(chan int, 1)
	target, accepted := behind(t, relay, 1, sink(got))
	if st := r.Status(); len(st.Slots) != 1 || st.Slots[0].Server != target.Server || len(st.Circuits) != 0 || st.Bytes != 0 {
		t.Fatalf("before: %+v", st)
	}
	s, err := dial(t, p2p.NewDialer(p2p.Options{}), target, transport.SessionEvents{})
	if err != nil {
		t.Fatal(err)
	}
	theirs := <-accepted
	theirs.Admit()
	if s.Path() != transport.PathRelay || theirs.Path() != transport.PathRelay || theirs.Remote() != s.Local() {
		t.Errorf("reached by %s, came by %s", s.Path(), theirs.Path())
	}
	send(s, 200<<10)
	<-got
	st := r.Status()
	if len(st.Circuits) != 1 || st.Circuits[0].Server != target.Server || st.Circuits[0].ToServer < 200<<10 || st.Circuits[0].ToServer > 220<<10 {
		t.Errorf("circuits: %+v", st.Circuits)
	}
	if st.Slots[0].Circuits != 1 {
		t.Errorf("slots: %+v", st.Slots)
	}
	for { // what is on its way now is counted one after the other
		st := r.Status()
		if c := st.Circuits[0]; st.Bytes == c.ToServer+c.FromServer && st.Slots[0].Bytes == st.Bytes {
			return
		}
	}
}

// TestRelayAllowance ends circuits of a server that has used up its bytes.
func TestRelayAllowance(t *testing.T) {
	r, relay := serveRelay(t, transport.RelayLimits{Data: 300 << 10})
	got := make(chan int, 2)
	target, accepted := behind(t, relay, 1, sink(got))
	closed := make(chan error, 1)
	s, err := dial(t, p2p.NewDialer(p2p.Options{}), target, transport.SessionEvents{Closed: func(err error) { closed <- err }})
	if err != nil {
		t.Fatal(err)
	}
	(<-accepted).Admit()
	send(s, 200<<10)
	<-got
	send(s, 200<<10)
	if err := <-closed; !errors.Is(err, transport.ErrClosed) {
		t.Errorf("session beyond the allowance: %v", err)
	}
	if _, err := dial(t, p2p.NewDialer(p2p.Options{}), target, transport.SessionEvents{}); !errors.Is(err, transport.ErrUnreachable) {
		t.Errorf("another one: %v", err)
	}
	if st := r.Status(); st.Refused != 1 || st.Slots[0].Bytes > 400<<10 {
		t.Errorf("after: %+v", st)
	}
}

func TestRelaySlots(t *testing.T) {
	r, relay := serveRelay(t, transport.RelayLimits{ReservationsPerAddress: 1})
	first, _ := behind(t, relay, 1, transport.SessionEvents{})
	l, err := p2p.Listen(key(2), loopback, p2p.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := reserve(t, l, relay, nil); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("a second slot of one address: %v", err)
	}
	st := r.Status()
	if len(st.Slots) != 1 || st.Slots[0].Server != first.Server || st.Refused != 1 {
		t.Errorf("slots: %+v", st)
	}
	// Who has none is not reached, and who knows the relay learns nothing else.
	other := transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(2))), Hints: first.Hints, Connections: first.Connections}
	if _, err := dial(t, p2p.NewDialer(p2p.Options{}), other, transport.SessionEvents{}); !errors.Is(err, transport.ErrUnreachable) {
		t.Errorf("a server without a slot: %v", err)
	}
}

func TestRelayCircuitsOfAnAddress(t *testing.T) {
	_, relay := serveRelay(t, transport.RelayLimits{CircuitsPerAddress: 1, ReservationsPerAddress: 1})
	target, _ := behind(t, relay, 1, transport.SessionEvents{})
	d := p2p.NewDialer(p2p.Options{})
	for range 2 { // a place that a slot needs only while it is asked for is free
		if _, err := dial(t, d, target, transport.SessionEvents{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := dial(t, d, target, transport.SessionEvents{}); !errors.Is(err, transport.ErrUnreachable) {
		t.Errorf("one circuit too many: %v", err)
	}
}

func TestSlotEnds(t *testing.T) {
	limits := transport.RelayLimits{Time: 2 * time.Hour}
	r, err := p2p.ServeRelay(key(77), loopback, limits, p2p.Options{})
	if err != nil {
		t.Fatal(err)
	}
	relay := transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(77))), Hints: r.Hints(), Connections: transport.DirectConnections}
	l, err := p2p.Listen(key(1), loopback, p2p.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lost := make(chan error, 2)
	slot, err := reserve(t, l, relay, func(err error) { lost <- err })
	if err != nil {
		t.Fatal(err)
	}
	if left := slot.Lasts(); left > 2*time.Hour || left < 2*time.Hour-time.Minute {
		t.Errorf("the slot is for %v", left)
	}
	renewed := make(chan error, 1)
	slot.Renew(func(err error) { renewed <- err })
	if err := <-renewed; err != nil {
		t.Errorf("renew: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-lost; !errors.Is(err, transport.ErrClosed) {
		t.Errorf("lost with %v", err)
	}
	slot.Renew(func(err error) { renewed <- err })
	if err := <-renewed; !errors.Is(err, transport.ErrUnreachable) {
		t.Errorf("renew a lost slot: %v", err)
	}
	slot.Close()
	if _, err := reserve(t, l, relay, nil); !errors.Is(err, transport.ErrUnreachable) {
		t.Errorf("reserve at a dead relay: %v", err)
	}
}

// TestSlotOfAClosedListener has nobody hear of a slot that the listener's own
// end took.
func TestSlotOfAClosedListener(t *testing.T) {
	r, relay := serveRelay(t, transport.RelayLimits{})
	l, err := p2p.Listen(key(1), loopback, p2p.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reserve(t, l, relay, func(err error) { t.Errorf("lost: %v", err) }); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := reserve(t, l, relay, nil); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("reserve for a closed listener: %v", err)
	}
	for len(r.Status().Slots) > 0 { // the relay learns of the end a moment after
	}
}

func TestReserveIsGivenUp(t *testing.T) {
	_, relay := serveRelay(t, transport.RelayLimits{})
	l, err := p2p.Listen(key(1), loopback, p2p.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	cancel := l.Reserve(relay, func(error) {}, func(s transport.Slot, err error) {
		if s != nil {
			s.Close()
		}
		done <- err
	})
	cancel()
	if err := <-done; err != nil && !errors.Is(err, transport.ErrClosed) {
		t.Errorf("given up: %v", err)
	}
}
