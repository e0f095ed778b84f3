package sim_test

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/introducer"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/fake"
)

// aGrid says what grid a scenario is about.
type aGrid struct {
	servers, clients int
	quota            *int64 // of each client at each server
	policy           lease.LedgerPolicy
	prepare          func(*simGrid) // before anything starts
}

// simGrid is a whole grid of the real actors in one world, and the dumb model
// that it is held against.
type simGrid struct {
	*sim.World
	net     *fake.Network
	intro   *introducerNode
	servers []*storageNode
	clients []*clientNode
	helper  *helperNode           // nil if there is none
	how     func(*client.PutSpec) // changes how files are stored, if not nil
	quota   *int64

	files   []*storedFile // that were acknowledged
	jobs    int           // under way
	puts    []*job        // all that there were
	inboxes int
	errs    []error // what the model noticed
}

// build starts a grid and waits until every client is logged in everywhere.
func (a aGrid) build(w *sim.World) (*simGrid, error) {
	net := fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
	g := &simGrid{World: w, net: net, intro: newIntroducer(w, net), quota: a.quota}
	if a.policy.Duration == 0 {
		a.policy.Duration = lease.LeaseDuration
	}
	for i := range a.servers {
		s := newStorage(w, net, i, g.intro, a.policy)
		s.disk.applied = func() { g.checkQuota(s) }
		g.servers = append(g.servers, s)
	}
	for i := range a.clients {
		g.clients = append(g.clients, newClient(w, net, i, g.intro))
	}
	g.eachLink(func(x, y *node) { g.net.SetLatency(x.name, y.name, 30*time.Millisecond, 50*time.Millisecond) })
	if a.prepare != nil {
		a.prepare(g)
	}
	for _, n := range g.nodes() {
		n.start()
	}
	if err := g.addAccounts(); err != nil {
		return nil, err
	}
	return g, g.connected()
}

func (g *simGrid) addAccounts() error {
	for _, s := range g.servers {
		for _, c := range g.clients {
			root := lease.Root{Key: c.account.PublicKey(s.id()), Petname: c.name, Quota: g.quota}
			if _, err := ask[server.Changed](g, &s.node, actors.ToStorage{Message: server.PutRoot{Root: root}}); err != nil {
				return fmt.Errorf("add account: %w", err)
			}
		}
	}
	return nil
}

// nodes is all of them, who serves others first.
func (g *simGrid) nodes() []*node {
	all := []*node{&g.intro.node}
	for _, s := range g.servers {
		all = append(all, &s.node)
	}
	if g.helper != nil {
		all = append(all, &g.helper.node)
	}
	for _, c := range g.clients {
		all = append(all, &c.node)
	}
	return all
}

// eachLink visits the pairs of nodes that talk to each other.
func (g *simGrid) eachLink(visit func(a, b *node)) {
	for _, s := range g.servers {
		visit(&g.intro.node, &s.node)
	}
	for _, c := range g.clients {
		visit(&g.intro.node, &c.node)
		for _, s := range g.servers {
			visit(&s.node, &c.node)
		}
	}
	if g.helper != nil {
		for _, n := range g.nodes() {
			if n != &g.helper.node {
				visit(n, &g.helper.node)
			}
		}
	}
}

// inbox gives messages to fn until that says that it has heard enough.
func (g *simGrid) inbox(fn func(msg any) (enough bool)) *env.PID {
	g.inboxes++
	var pid *env.PID
	over := false
	pid = g.Inbox(fmt.Sprintf("inbox%d", g.inboxes), func(msg any) {
		if over {
			return
		}
		if over = fn(msg); over {
			g.Sys.End(pid)
		}
	})
	return pid
}

// send sends to the top of a node, as the root package does.
func (g *simGrid) send(n *node, msg any, sender *env.PID) {
	g.Sys.Send(n.pid, &actor.MessageEnvelope{Message: msg, Sender: sender})
}

// ask asks a node and waits for the answer.
func ask[R any](g *simGrid, n *node, msg any) (R, error) {
	var reply any
	var none R
	g.send(n, msg, g.inbox(func(m any) bool { reply = m; return true }))
	if err := g.Until(func() bool { return reply != nil }, time.Hour); err != nil {
		return none, err
	}
	switch r := reply.(type) {
	case R:
		return r, nil
	case error:
		return none, r
	}
	return none, fmt.Errorf("%T where %T was expected", reply, none)
}

// picture asks a client for its status.
func (g *simGrid) picture(c *clientNode) (client.Status, error) {
	var s client.Status
	got := false
	pid := g.inbox(func(m any) bool { s, got = m.(client.Status); return true })
	g.send(&c.node, actors.ToClient{Message: client.AskStatus{ReplyTo: pid}}, pid)
	return s, g.Until(func() bool { return got }, time.Hour)
}

func (g *simGrid) status(s *storageNode) (server.Status, error) {
	return ask[server.Status](g, &s.node, actors.ToStorage{Message: server.AskStatus{}})
}

// connected waits until every client is logged in at every server.
func (g *simGrid) connected() error {
	var missing string
	for end := g.Now().Add(time.Hour); g.Now().Before(end); {
		missing = ""
		for _, c := range g.clients {
			s, err := g.picture(c)
			if err != nil {
				return err
			}
			missing += g.without(c, s)
		}
		if missing == "" {
			return nil
		}
		if err := g.For(time.Second); err != nil {
			return err
		}
	}
	return fmt.Errorf("after an hour not every client is logged in at every server:%s", missing)
}

// without names the servers at which a client is not logged in.
func (g *simGrid) without(c *clientNode, s client.Status) string {
	missing := ""
	for _, server := range g.servers {
		state := client.State("unknown")
		for _, known := range s.Servers {
			if known.Announcement.Server == server.id() {
				state = known.State
			}
		}
		if state != client.LoggedIn {
			missing += fmt.Sprintf(" %s at %s is %s;", c.name, server.name, state)
		}
	}
	return missing
}

// heal makes everything work again: links, nodes, disks, actors.
func (g *simGrid) heal() {
	g.World.Inject = nil
	g.eachLink(func(a, b *node) {
		g.net.Heal(a.name, b.name)
		g.net.SetLatency(a.name, b.name, 2*time.Millisecond, 20*time.Millisecond)
	})
	for _, s := range g.servers {
		s.disk.fault, s.disk.full = nil, false
	}
	for _, n := range g.nodes() {
		g.net.Refuse(n.name, false)
		n.start()
		n.tend()
	}
}

// tend looks after nodes as a supervisor of processes does, until stop.
func (g *simGrid) tend(stop *bool) {
	g.After(time.Second, func() {
		for _, n := range g.nodes() {
			n.tend()
		}
		if !*stop {
			g.tend(stop)
		}
	})
}

// sessions is how many connections are open at servers and introducer.
func (g *simGrid) sessions() (int, error) {
	in, err := ask[introducer.Status](g, &g.intro.node, actors.ToIntroducer{Message: introducer.AskStatus{}})
	n := in.Sessions
	for _, s := range g.servers {
		if err != nil {
			return 0, err
		}
		var status server.Status
		status, err = g.status(s)
		n += status.Sessions
	}
	return n, err
}
