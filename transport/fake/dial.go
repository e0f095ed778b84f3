package fake

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// hintOf is the address of a node.
func hintOf(name string) grid.Hint { return grid.Hint("/dns/" + name + "/tcp/1") }

// listener implements transport.Listener.
type listener struct {
	net    *Network
	name   string
	key    grid.PublicKey
	accept Accept
	slots  []*slot
}

// Listen makes a node accept sessions under its key. It fails if the node
// listens already.
func (n *Network) Listen(name string, key ed25519.PrivateKey, accept Accept) (transport.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[hintOf(name)] != nil {
		return nil, fmt.Errorf("listen at %s: address in use", hintOf(name))
	}
	l := &listener{net: n, name: name, key: grid.PublicKeyOf(key), accept: accept}
	n.listeners[hintOf(name)] = l
	return l, nil
}

// Hints is the one address of the node.
func (l *listener) Hints() []grid.Hint { return []grid.Hint{hintOf(l.name)} }

// Close ends the listener and the sessions that it accepted.
func (l *listener) Close() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.net.listeners[hintOf(l.name)] == l {
		delete(l.net.listeners, hintOf(l.name))
	}
	for _, s := range slices.Clone(l.slots) {
		s.end()
	}
	for _, s := range slices.Clone(l.net.sessions) {
		if s.listener == l {
			s.closeLocked()
		}
	}
	return nil
}

// dialer implements transport.Dialer.
type dialer struct {
	net  *Network
	name string
}

// Dialer dials from the node of this name.
func (n *Network) Dialer(name string) transport.Dialer { return &dialer{net: n, name: name} }

// attempt is one Dial.
type attempt struct {
	net      *Network
	from     string
	target   transport.Target
	key      grid.PublicKey
	ev       transport.SessionEvents
	done     func(transport.Session, error)
	finished bool
	path     transport.Path
}

// Dial connects under a new identity; it takes two latencies, as TCP and TLS
// do at best.
func (d *dialer) Dial(t transport.Target, ev transport.SessionEvents, done func(transport.Session, error)) (cancel func()) {
	n := d.net
	n.mu.Lock()
	defer n.mu.Unlock()
	a := &attempt{net: n, from: d.name, target: t, key: n.newIdentity(), ev: ev, done: done}
	if a.target.Hints = t.Connections.Dialable(t.Hints); len(a.target.Hints) == 0 {
		n.at(0, func() { a.fail(transport.ErrNoAddress) })
		return a.cancel
	}
	a.start()
	return a.cancel
}

func (a *attempt) start() {
	l, path := a.net.find(a.target)
	if l == nil {
		a.net.at(0, func() { a.fail(transport.ErrUnreachable) })
		return
	}
	a.path = path
	way := a.net.link(a.from, l.name)
	if way.cut {
		a.net.at(DialTimeout, func() { a.fail(fmt.Errorf("%w: timed out", transport.ErrUnreachable)) })
		return
	}
	a.net.at(a.net.delay(way), func() { a.reach(l, way) })
}

// find returns who is reached by the first address by which anybody is.
func (n *Network) find(t transport.Target) (*listener, transport.Path) {
	for _, h := range t.Hints {
		if l := n.listeners[h]; l != nil {
			return l, transport.PathDirect
		}
		if l := n.behind(h, t.Server); l != nil {
			return l, transport.PathRelay
		}
	}
	return nil, ""
}

// reach is the listener's side of a dial.
func (a *attempt) reach(l *listener, way *link) {
	switch {
	case a.finished:
	case a.net.listeners[hintOf(l.name)] != l || a.net.node(l.name).refuses:
		a.net.at(a.net.delay(way), func() { a.fail(fmt.Errorf("%w: connection refused", transport.ErrUnreachable)) })
	case l.key != a.target.Server.Key():
		a.net.at(a.net.delay(way), func() { a.fail(transport.ErrWrongServer) })
	default:
		a.connect(l, way)
	}
}

func (a *attempt) connect(l *listener, way *link) {
	ours := &session{net: a.net, link: way, node: a.from, local: a.key, remote: l.key, address: string(hintOf(l.name)), path: a.path, punch: a.target.Connections.Punch, ev: a.ev, admitted: true}
	theirs := &session{net: a.net, link: way, node: l.name, local: l.key, remote: a.key, address: string(hintOf(a.from)), path: a.path, listener: l}
	ours.peer, theirs.peer = theirs, ours
	a.net.sessions = append(a.net.sessions, ours, theirs)
	a.net.call(func() {
		ev := l.accept(theirs)
		a.net.mu.Lock()
		theirs.ev = ev
		a.net.mu.Unlock()
	})
	a.net.send(ours, func() { a.succeed(ours) })
	ours.pending = a
}

func (a *attempt) succeed(s *session) {
	if a.finished {
		s.closeLocked()
		return
	}
	a.finished, s.pending = true, nil
	a.net.call(func() { a.done(s, nil) })
}

func (a *attempt) fail(err error) {
	if a.finished {
		return
	}
	a.finished = true
	a.net.call(func() { a.done(nil, fmt.Errorf("dial %s: %w", a.target.Server.Short(), err)) })
}

func (a *attempt) cancel() {
	a.net.mu.Lock()
	defer a.net.mu.Unlock()
	a.net.at(0, func() { a.fail(fmt.Errorf("%w: given up", transport.ErrClosed)) })
}
