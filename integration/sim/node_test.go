package sim_test

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/inbound"
	"github.com/tarn-grid/tarn/actors/introducer"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/fake"
)

// node is one machine: what survives a power failure, and the actors that run
// while it is up.
type node struct {
	world  *sim.World
	net    *fake.Network
	name   string
	config func() actors.Config // for the next start
	off    func()               // what the power failure does to its disk
	ended  func()               // who used it is told

	clock time.Duration // by how much its clock is wrong

	pid   *actor.PID
	dead  <-chan struct{}
	up    bool
	life  int
	fatal []error
}

func (n *node) start() {
	if n.up {
		return
	}
	n.life++
	life := n.life
	c := n.config()
	c.Fatal = func(err error) {
		n.fatal = append(n.fatal, err)
		// The process ends, and whoever looks after it starts it again.
		n.world.After(0, func() { n.bounce(life, time.Second) })
	}
	n.up = true
	e := *n.world.Env()
	e.Clock = wrongClock{e.Clock, n.clock}
	n.pid, n.dead = n.world.Sys.Root(n.name, actors.New(&e, c))
}

// crash is a power failure.
func (n *node) crash() {
	if !n.up {
		return
	}
	n.up = false
	n.world.Crash(n.name)
	n.net.Crash(n.name)
	if n.off != nil {
		n.off()
	}
	if n.ended != nil {
		n.ended()
	}
}

// bounce crashes the node, unless that life is over, and starts it later.
func (n *node) bounce(life int, after time.Duration) {
	if n.up && n.life == life {
		n.crash()
		n.world.After(after, n.start)
	}
}

// tend starts a node anew whose top failed.
func (n *node) tend() {
	if !n.up {
		return
	}
	select {
	case <-n.dead:
		n.bounce(n.life, time.Second)
	default:
	}
}

// listen accepts sessions at the node; wrap may change what the node sees of
// the network.
func (n *node) listen(key ed25519.PrivateKey, wrap func(transport.Session, fake.Accept) transport.SessionEvents) inbound.Listen {
	return func(accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
		if wrap == nil {
			return n.net.Listen(n.name, key, accept)
		}
		return n.net.Listen(n.name, key, func(s transport.Session) transport.SessionEvents { return wrap(s, accept) })
	}
}

// memory keeps announcements over restarts, for introducers.
type memory struct{ list [][]byte }

func (m *memory) Load() ([][]byte, error) { return m.list, nil }

func (m *memory) Save(list [][]byte) error {
	m.list = slices.Clone(list)
	return nil
}

// announcements keeps them over restarts, for clients.
type announcements struct{ list []client.Cached }

func (m *announcements) Load() ([]client.Cached, error) { return m.list, nil }

func (m *announcements) Save(list []client.Cached) error {
	m.list = slices.Clone(list)
	return nil
}

// references is a client.ReferenceCache.
type references map[string][]byte

func (r references) Load(id grid.ServerID, credential lease.CredentialID) ([]byte, error) {
	return r[string(id[:])+string(credential[:])], nil
}

func (r references) Save(id grid.ServerID, credential lease.CredentialID, reference []byte) error {
	r[string(id[:])+string(credential[:])] = reference
	return nil
}

// introducerNode, storageNode and clientNode are nodes of one role each.
type introducerNode struct {
	node
	key   ed25519.PrivateKey
	saved memory
}

func (n *introducerNode) target() transport.Target {
	return transport.Target{
		Server:      grid.ServerID(grid.PublicKeyOf(n.key)),
		Hints:       []grid.Hint{grid.Hint("/dns/" + n.name + "/tcp/1")},
		Connections: transport.DirectConnections,
	}
}

type storageNode struct {
	node
	key    ed25519.PrivateKey
	disk   *disk
	policy lease.LedgerPolicy
	lies   func(transport.Session, fake.Accept) transport.SessionEvents // nil is honest
	below  int64                                                        // free bytes under which it passes shares on; 0 is never
	fickle bool                                                         // its operator gives to others, or deletes, what it said it holds
}

func (n *storageNode) id() grid.ServerID { return grid.ServerID(grid.PublicKeyOf(n.key)) }

type clientNode struct {
	node
	account     lease.Account
	given       []lease.Holding // besides the account
	memberships []client.Membership
	references  references
	cache       announcements
	journal     *store.Journal
	subcontract bool   // its shares may be passed on
	jobs        []*job // under way
}

// newKey draws a key.
func newKey(w *sim.World) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = w.Rand().Read(seed) // never fails
	return ed25519.NewKeyFromSeed(seed)
}

func newIntroducer(w *sim.World, net *fake.Network) *introducerNode {
	n := &introducerNode{node: node{world: w, net: net, name: "introducer"}, key: newKey(w)}
	n.config = func() actors.Config {
		return actors.Config{Introducer: &introducer.Config{
			Listen: n.listen(n.key, nil), Store: &n.saved,
			Fatal: func(err error) { panic(fmt.Sprintf("the introducer can't go on: %v", err)) },
		}}
	}
	return n
}

func newStorage(w *sim.World, net *fake.Network, i int, in *introducerNode, policy lease.LedgerPolicy) *storageNode {
	n := &storageNode{node: node{world: w, net: net, name: fmt.Sprintf("server%d", i)}, key: newKey(w), disk: newDisk(), policy: policy}
	n.off = func() {
		if err := n.disk.crash(); err != nil {
			panic(err)
		}
	}
	var secret [32]byte
	_, _ = w.Rand().Read(secret[:]) // never fails
	n.config = func() actors.Config {
		life := n.life
		return actors.Config{Storage: &server.Config{
			Passing: n.passing(in),
			Key:     n.key, Nickname: n.name, Listen: n.listen(n.key, n.lies), Dialer: net.Dialer(n.name),
			Introducers: []transport.Target{in.target()}, Store: n.disk, Policy: n.policy,
			References: lease.ReferenceKeys{{ID: 1, Secret: secret}},
			Fatal: func(err error) {
				n.fatal = append(n.fatal, err)
				w.After(0, func() { n.bounce(life, time.Second) })
			},
		}}
	}
	return n
}

// passing is how it passes shares on, nil if it does not.
func (n *storageNode) passing(in *introducerNode) *server.Passing {
	if n.below == 0 {
		return nil
	}
	return &server.Passing{Below: n.below, Connections: client.Config{
		Dialer: n.net.Dialer(n.name), Rules: clause.Rules{Connections: transport.DirectConnections}, Introducers: []client.Introducer{{Target: in.target(), Cache: &announcements{}}},
		References: references{}, OnlyLent: true,
	}}
}

func newClient(w *sim.World, net *fake.Network, i int, in *introducerNode) *clientNode {
	var seed [32]byte
	_, _ = w.Rand().Read(seed[:]) // never fails
	n := &clientNode{
		node:    node{world: w, net: net, name: fmt.Sprintf("client%d", i)},
		account: lease.AccountOf(seed), references: references{}, journal: store.NewMemoryJournal(),
	}
	n.config = func() actors.Config {
		return actors.Config{Client: &client.Config{
			Dialer:      net.Dialer(n.name),
			Rules:       clause.Rules{Connections: transport.DirectConnections},
			Introducers: []client.Introducer{{Target: in.target(), Cache: &n.cache}},
			Authority:   lease.Authority{Holdings: append([]lease.Holding{{Account: n.account}}, n.given...)},
			Account:     n.account, Memberships: n.memberships,
			References: n.references, Journal: n.journal, Subcontract: n.subcontract,
		}}
	}
	n.off = func() {
		after, err := n.journal.AfterCrash()
		if err != nil {
			panic(err)
		}
		n.journal = after
	}
	n.ended = func() {
		for _, j := range slices.Clone(n.jobs) {
			j.end(errPowerFailure)
		}
	}
	return n
}
