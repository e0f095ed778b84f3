package fake

import (
	"fmt"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/transport"
)

// pair names a link; the smaller name first.
type pair struct{ a, b string }

func pairOf(a, b string) pair { return pair{min(a, b), max(a, b)} }

// link is what lies between two nodes. Both directions are alike.
type link struct {
	latency, jitter time.Duration
	cut             bool
	cuts            int // how often it was cut
}

func (n *Network) link(a, b string) *link {
	p := pairOf(a, b)
	if n.links[p] == nil {
		n.links[p] = &link{}
	}
	return n.links[p]
}

// delay of the next thing that is sent.
func (n *Network) delay(l *link) time.Duration {
	if l.jitter <= 0 {
		return l.latency
	}
	return l.latency + n.randBelow(l.jitter)
}

// SetLatency makes everything between two nodes take latency, and up to
// jitter more. Order within a session is kept.
func (n *Network) SetLatency(a, b string, latency, jitter time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(a, b)
	l.latency, l.jitter = latency, jitter
}

// Drop ends every session between two nodes, now, on both sides.
func (n *Network) Drop(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dropWhere(n.link(a, b), fmt.Errorf("%w: the link was dropped", transport.ErrClosed))
}

func (n *Network) dropWhere(l *link, err error) {
	for _, s := range n.sessions {
		if s.link == l {
			n.at(0, func() { s.end(err) })
		}
	}
}

// Partition makes everything between two nodes vanish from sight: what is
// under way waits, sessions are believed dead after DeadAfter, dials fail
// after DialTimeout.
func (n *Network) Partition(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(a, b)
	if l.cut {
		return
	}
	l.cut = true
	l.cuts++
	cut := l.cuts
	n.at(DeadAfter, func() {
		if l.cut && l.cuts == cut {
			n.dropWhere(l, fmt.Errorf("%w: the other side is silent", transport.ErrClosed))
		}
	})
}

// Heal ends a partition; what was under way arrives.
func (n *Network) Heal(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(a, b)
	l.cut = false
	for _, s := range n.sessions {
		if s.link != l {
			continue
		}
		for range s.held {
			n.at(n.delay(l), s.arrive)
		}
		s.held = 0
	}
}

// Refuse makes a node accept no sessions (or accept again).
func (n *Network) Refuse(name string, refuses bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.node(name).refuses = refuses
}

// Crash ends a node: it hears nothing any more, its listener is gone, and the
// other ends of its sessions find out. The name may be used again.
func (n *Network) Crash(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.listeners, hintOf(name))
	for _, s := range slices.Clone(n.sessions) {
		if s.node != name {
			continue
		}
		s.crash()
		peer := s.peer
		n.send(peer, func() { peer.end(fmt.Errorf("%w: the other side is gone", transport.ErrClosed)) })
	}
}
