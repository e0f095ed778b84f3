// Package fake is the network in memory, for tests and simulation. A Network
// has named nodes; a node may listen, and dials others. Frames are really
// encoded and decoded, so that the same limits hold as over libp2p, and the
// suite in transport/transporttest passes.
//
// It has no goroutine and no clock: whatever happens, happens in functions
// given to the scheduler. With a seeded random source and a scheduler that
// calls them one at a time, the same calls give the same events in the same
// order; no map is ever iterated. With a scheduler that calls from several
// goroutines it is safe too, and callbacks are still made one at a time.
//
// Every node has one address, of TCP, whichever way it is dialled.
//
// Links between nodes have a latency, and faults: Drop, Partition, Refuse,
// Crash.
package fake

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// After calls fn once d has passed. It must not call it before it returns.
type After func(d time.Duration, fn func())

// How the network behaves where a test has no opinion.
const (
	// DialTimeout is how long a dial into a partition takes to fail.
	DialTimeout = 15 * time.Second
	// DeadAfter is how long both ends believe in a partitioned session.
	DeadAfter = 30 * time.Second
	// Window is how many bytes of a conversation may be under way or unread.
	Window = 256 << 10
	// MaxConversations is how many the other side may have open in a session.
	MaxConversations = 128
)

// Accept is called for each session that a listener accepts; it returns who
// hears of it.
type Accept func(transport.Session) transport.SessionEvents

// Network connects nodes. Its methods may be called from callbacks.
type Network struct {
	after After
	rand  io.Reader

	mu        sync.Mutex
	links     map[pair]*link
	nodes     map[string]*node
	listeners map[grid.Hint]*listener
	relays    map[grid.Hint]*relay
	holes     bool       // punching succeeds
	sessions  []*session // live, in the order of their making

	running bool
	inbox   []func() // to be run with mu held
	calls   []func() // callbacks to be made without it
}

// node is what is known of a name.
type node struct {
	name    string
	refuses bool
}

// New makes a network without nodes. All randomness (identities, jitter) is
// read from rand, which must not fail.
func New(after After, rand io.Reader) *Network {
	return &Network{
		after: after, rand: rand,
		links: map[pair]*link{}, nodes: map[string]*node{}, listeners: map[grid.Hint]*listener{}, relays: map[grid.Hint]*relay{},
	}
}

// at runs fn with mu held once d has passed, and then the callbacks that it
// asked for. Whoever comes while that goes on leaves its work to them.
func (n *Network) at(d time.Duration, fn func()) {
	n.after(d, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.inbox = append(n.inbox, fn)
		if n.running {
			return
		}
		n.running = true
		defer func() { n.running = false }()
		for len(n.inbox) > 0 {
			next := n.inbox[0]
			n.inbox = n.inbox[1:]
			next()
			n.makeCalls()
		}
	})
}

func (n *Network) makeCalls() {
	for len(n.calls) > 0 {
		call := n.calls[0]
		n.calls = n.calls[1:]
		n.unlocked(call)
	}
}

// unlocked makes one callback; mu is held again even after a panic.
func (n *Network) unlocked(call func()) {
	n.mu.Unlock()
	defer n.mu.Lock()
	call()
}

// call makes a callback after what is going on now.
func (n *Network) call(fn func()) { n.calls = append(n.calls, fn) }

func (n *Network) node(name string) *node {
	if n.nodes[name] == nil {
		n.nodes[name] = &node{name: name}
	}
	return n.nodes[name]
}

// newIdentity is the key of who dials. It is of no pair: nothing is signed here,
// and a pair for each dial is what simulations would spend most of their time on.
func (n *Network) newIdentity() (key grid.PublicKey) {
	n.read(key[:])
	return key
}

func (n *Network) read(b []byte) {
	if _, err := io.ReadFull(n.rand, b); err != nil {
		panic(fmt.Sprintf("fake network: random source: %v", err))
	}
}

func (n *Network) randBelow(d time.Duration) time.Duration {
	var b [8]byte
	n.read(b[:])
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(d))
}
