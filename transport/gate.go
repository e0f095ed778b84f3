package transport

import (
	"fmt"
	"slices"
	"sync"
)

// AtMost is d with no more than n dials under way at a time; the others wait
// in the order in which they came. Whoever is told of many addresses by
// strangers so costs the network, and the strangers' victims, little.
func AtMost(d Dialer, n int) Dialer { return &gate{to: d, most: n} }

// gate implements Dialer.
type gate struct {
	to   Dialer
	most int

	mu       sync.Mutex
	underWay int
	queue    []*gated
}

// gated is one Dial.
type gated struct {
	gate   *gate
	target Target
	ev     SessionEvents
	done   func(Session, error)

	// Below gate.mu.
	givenUp bool
	cancel  func() // nil until it has begun
}

// Dial implements Dialer.
func (g *gate) Dial(t Target, ev SessionEvents, done func(Session, error)) (cancel func()) {
	d := &gated{gate: g, target: t, ev: ev, done: done}
	g.mu.Lock()
	begin := g.underWay < g.most
	if begin {
		g.underWay++
	} else {
		g.queue = append(g.queue, d)
	}
	g.mu.Unlock()
	if begin {
		d.begin()
	}
	return d.giveUp
}

func (d *gated) begin() {
	cancel := d.gate.to.Dial(d.target, d.ev, func(s Session, err error) {
		d.done(s, err)
		d.gate.next()
	})
	d.gate.mu.Lock()
	d.cancel = cancel
	givenUp := d.givenUp
	d.gate.mu.Unlock()
	if givenUp {
		cancel()
	}
}

// next begins with who waits longest, once a dial has ended.
func (g *gate) next() {
	g.mu.Lock()
	if len(g.queue) == 0 {
		g.underWay--
		g.mu.Unlock()
		return
	}
	d := g.queue[0]
	g.queue = g.queue[1:]
	g.mu.Unlock()
	d.begin()
}

func (d *gated) giveUp() {
	g := d.gate
	g.mu.Lock()
	at := slices.Index(g.queue, d)
	if at >= 0 {
		g.queue = slices.Delete(g.queue, at, at+1)
	}
	d.givenUp = true
	cancel := d.cancel
	g.mu.Unlock()
	switch {
	case at >= 0:
		d.done(nil, fmt.Errorf("dial %s: %w: given up", d.target.Server.Short(), ErrClosed))
	case cancel != nil:
		cancel()
	}
}
