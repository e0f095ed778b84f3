package transport_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// phone is a Dialer whose dials end when the test says so.
type phone struct {
	dials     []func(transport.Session, error)
	first     []byte // of each server that was dialled
	cancelled int
}

func (p *phone) Dial(t transport.Target, _ transport.SessionEvents, done func(transport.Session, error)) func() {
	p.dials = append(p.dials, done)
	p.first = append(p.first, t.Server[0])
	return func() { p.cancelled++ }
}

func TestAtMost(t *testing.T) {
	p := &phone{}
	d := transport.AtMost(p, 2)
	ends := map[byte]error{}
	var cancels []func()
	for n := range byte(6) {
		cancels = append(cancels, d.Dial(transport.Target{Server: grid.ServerID{n}}, transport.SessionEvents{},
			func(_ transport.Session, err error) { ends[n] = err }))
	}
	want := func(dialled ...byte) {
		t.Helper()
		if !slices.Equal(p.first, dialled) {
			t.Errorf("dialled %v, want %v", p.first, dialled)
		}
	}
	want(0, 1)
	cancels[2]() // waits
	if err := ends[2]; !errors.Is(err, transport.ErrClosed) {
		t.Errorf("a dial that was given up while it waited: %v", err)
	}
	cancels[1]() // is under way: its dialer says when it ended
	if _, ended := ends[1]; ended || p.cancelled != 1 {
		t.Errorf("a dial under way that was given up ended with %v, %d cancelled", ends[1], p.cancelled)
	}
	p.dials[1](nil, transport.ErrClosed)
	want(0, 1, 3)
	p.dials[0](nil, nil)
	want(0, 1, 3, 4)
	p.dials[3](nil, transport.ErrUnreachable)
	p.dials[2](nil, nil)
	want(0, 1, 3, 4, 5)
	p.dials[4](nil, nil)
	if len(ends) != 6 || !errors.Is(ends[4], transport.ErrUnreachable) {
		t.Errorf("ends: %v", ends)
	}
	d.Dial(transport.Target{Server: grid.ServerID{6}}, transport.SessionEvents{}, nil)
	d.Dial(transport.Target{Server: grid.ServerID{7}}, transport.SessionEvents{}, nil)
	want(0, 1, 3, 4, 5, 6, 7)
}
