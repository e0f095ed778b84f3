package fake

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// relay is a node on which listeners take slots. What passes is not slowed by
// it.
type relay struct {
	name  string
	key   grid.PublicKey
	lasts time.Duration
	slots []*slot
	mute  bool // it gives slots, and passes nothing on
	// renewals is how many there were.
	renewals int
}

// slot implements transport.Slot.
type slot struct {
	listener *listener
	relay    *relay
	lost     func(error)
}

// Relay makes a node a relay until Unrelay; its slots last for as long as is
// said here. It returns how it is reached.
func (n *Network) Relay(name string, key grid.PublicKey, lasts time.Duration) transport.Target {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.relays[hintOf(name)] = &relay{name: name, key: key, lasts: lasts}
	return transport.Target{Server: grid.ServerID(key), Hints: []grid.Hint{hintOf(name)}, Connections: transport.DirectConnections}
}

// Mute makes a relay pass nothing on any more, and say nothing of that.
func (n *Network) Mute(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.relays[hintOf(name)]; r != nil {
		r.mute = true
	}
}

// Renewals is how often slots of a relay were renewed.
func (n *Network) Renewals(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.relays[hintOf(name)]; r != nil {
		return r.renewals
	}
	return 0
}

// Unrelay ends a relay, and all that goes through it.
func (n *Network) Unrelay(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.relays[hintOf(name)]
	if r == nil {
		return
	}
	delete(n.relays, hintOf(name))
	for _, s := range slices.Clone(r.slots) {
		s.end()
		n.at(0, func() { n.call(func() { s.lost(fmt.Errorf("%w: the relay", transport.ErrClosed)) }) })
	}
}

// circuit is what the address of a relay ends in.
const circuit = "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit"

// behind returns the listener with a slot on the relay of this address.
func (n *Network) behind(h grid.Hint, server grid.ServerID) *listener {
	at, is := strings.CutSuffix(string(h), circuit)
	r := n.relays[grid.Hint(at)]
	if !is || r == nil || r.mute {
		return nil
	}
	for _, s := range r.slots {
		if s.listener.key == server.Key() {
			return s.listener
		}
	}
	return nil
}

// reserving is one Reserve.
type reserving struct {
	slot   *slot
	target transport.Target
	done   func(transport.Slot, error)
	over   bool
}

// Reserve takes a slot; it takes two latencies.
func (l *listener) Reserve(relay transport.Target, lost func(error), done func(transport.Slot, error)) (cancel func()) {
	n := l.net
	n.mu.Lock()
	defer n.mu.Unlock()
	r := &reserving{slot: &slot{listener: l, lost: lost}, target: relay, done: done}
	n.at(0, r.start)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.at(0, func() { r.end(fmt.Errorf("%w: given up", transport.ErrClosed)) })
	}
}

// relayAt is the relay that is asked for, nil if it is not there.
func (n *Network) relayAt(t transport.Target) *relay {
	for _, h := range t.Hints {
		if r := n.relays[h]; r != nil && r.key == t.Server.Key() {
			return r
		}
	}
	return nil
}

func (r *reserving) start() {
	n := r.slot.listener.net
	relay := n.relayAt(r.target)
	if relay == nil {
		r.end(transport.ErrUnreachable)
		return
	}
	way := n.link(r.slot.listener.name, relay.name)
	n.at(n.delay(way)+n.delay(way), func() {
		if way.cut || n.relayAt(r.target) != relay || n.listeners[hintOf(r.slot.listener.name)] != r.slot.listener {
			r.end(transport.ErrUnreachable)
			return
		}
		r.slot.relay = relay
		r.end(nil)
	})
}

func (r *reserving) end(err error) {
	if r.over {
		return
	}
	r.over = true
	s := r.slot
	if err != nil {
		s.listener.net.call(func() { r.done(nil, fmt.Errorf("take a slot on relay %s: %w", r.target.Server.Short(), err)) })
		return
	}
	s.listener.slots, s.relay.slots = append(s.listener.slots, s), append(s.relay.slots, s)
	s.listener.net.call(func() { r.done(s, nil) })
}

// Hints is the one address by which the listener is reached through the slot.
func (s *slot) Hints() []grid.Hint { return []grid.Hint{hintOf(s.relay.name) + circuit} }

// Lasts is what the relay's slots last.
func (s *slot) Lasts() time.Duration { return s.relay.lasts }

// Renew succeeds while the slot is there.
func (s *slot) Renew(done func(error)) {
	n := s.listener.net
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at(n.delay(n.link(s.listener.name, s.relay.name)), func() {
		var err error
		if !slices.Contains(s.relay.slots, s) {
			err = transport.ErrUnreachable
		}
		s.relay.renewals++
		n.call(func() { done(err) })
	})
}

// Close gives the slot back.
func (s *slot) Close() {
	s.listener.net.mu.Lock()
	defer s.listener.net.mu.Unlock()
	s.end()
}

// end ends the slot, and the sessions that came through it.
func (s *slot) end() {
	other := func(o *slot) bool { return o == s }
	s.relay.slots = slices.DeleteFunc(s.relay.slots, other)
	s.listener.slots = slices.DeleteFunc(s.listener.slots, other)
	for _, one := range slices.Clone(s.listener.net.sessions) {
		if one.listener == s.listener && one.path == transport.PathRelay {
			one.closeLocked()
		}
	}
}

// Holes says whether sessions through relays can become direct ones.
func (n *Network) Holes(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.holes = yes
}

// Punch takes a latency more than a dial.
func (s *session) Punch(ev transport.SessionEvents, done func(transport.Session, error)) (cancel func()) {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	a := &attempt{
		net: n, from: s.node, key: n.newIdentity(), ev: ev, done: done, path: transport.PathPunched,
		target: transport.Target{Server: grid.ServerID(s.remote), Connections: transport.DirectConnections},
	}
	if !n.holes || !s.punch || s.path != transport.PathRelay || s.listener != nil {
		n.at(n.delay(s.link), func() { a.fail(transport.ErrNoPunch) })
		return a.cancel
	}
	l := s.peer.listener
	n.at(n.delay(s.link)+n.delay(s.link), func() { a.reach(l, s.link) })
	return a.cancel
}
