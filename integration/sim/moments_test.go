package sim_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/privacy"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/fake"
	"github.com/tarn-grid/tarn/transport/wire"
)

// watch is a storage server that writes down when each connection does what.
type watch struct {
	now   func() time.Time
	notes map[grid.PublicKey][]moment // by the other side's key
}

// moment is when something happened.
type moment struct {
	what string
	at   time.Time
}

// hear notes what a session does and passes it on.
func (o *watch) hear(s transport.Session, accept fake.Accept) transport.SessionEvents {
	note := o.of(s.Remote())
	note("opened")
	ev := accept(s)
	incoming := ev.Incoming
	ev.Incoming = func(c transport.Conversation, p transport.Protocol) (transport.Handler, int) {
		h, credit := incoming(c, p)
		if h == nil {
			return nil, 0
		}
		return func(e transport.Event) {
			if r, ok := e.(transport.Received); ok {
				note(fmt.Sprintf("%T", r.Frame.Message)[len("*wire."):])
			}
			h(e)
		}, credit
	}
	return ev
}

// of notes moments of one connection.
func (o *watch) of(key grid.PublicKey) func(what string) {
	return func(what string) { o.notes[key] = append(o.notes[key], moment{what, o.now()}) }
}

// keyed is a dialer of which the test knows what keys it took, server by server.
type keyed struct {
	transport.Dialer
	keys map[grid.ServerID][]grid.PublicKey
}

func (k *keyed) Dial(t transport.Target, ev transport.SessionEvents, done func(transport.Session, error)) func() {
	return k.Dialer.Dial(t, ev, func(s transport.Session, err error) {
		if err == nil {
			k.keys[t.Server] = append(k.keys[t.Server], s.Local())
		}
		done(s, err)
	})
}

// crowd is two colluding servers and many clients, which do alike and start at one
// moment.
type crowd struct {
	rules clause.Rules
	// strange clients have never started before, the others know the servers.
	strange bool
	// restarts is over which time all clients restart, each at some moment of its
	// own; 0 is never.
	restarts time.Duration

	watches []*watch
	dialers []*keyed
}

// throughTor is how an anonymous node connects.
var throughTor = clause.Rules{Connections: transport.Connections{TCP: transport.Tor, Onion: transport.Tor, Relay: transport.Tor}, Anonymous: true}

// watched lets the crowd connect, lose one server and then both, and idle for
// longer than a login lasts. It returns what the servers noted.
func (c *crowd) watched(w *sim.World, clients int) (privacy.Population, error) {
	g, err := aGrid{servers: 2, clients: clients, prepare: c.prepare}.build(w)
	if err != nil {
		return nil, err
	}
	if c.restarts > 0 {
		for _, n := range g.clients {
			g.After(g.upTo(c.restarts), func() { n.bounce(n.life, time.Second) })
		}
	}
	for _, bounced := range [][]*storageNode{nil, g.servers[:1], g.servers} {
		for _, s := range bounced {
			s.bounce(s.life, time.Second)
		}
		if err := g.For(phaseTime); err != nil {
			return nil, err
		}
	}
	if err := g.For(26 * time.Hour); err != nil {
		return nil, err
	}
	var p privacy.Population
	for _, k := range c.dialers {
		p = append(p, privacy.Client{A: sighting(c.watches[0], k.keys[g.servers[0].id()]), B: sighting(c.watches[1], k.keys[g.servers[1].id()])})
	}
	return p, g.connected()
}

// prepare has the servers watch, and tells the clients of them where they know
// them from before.
func (c *crowd) prepare(g *simGrid) {
	var known []client.Cached
	other := c.otherIntroducer(g)
	for _, s := range g.servers {
		o := &watch{now: g.Now, notes: map[grid.PublicKey][]moment{}}
		s.lies = o.hear
		c.watches = append(c.watches, o)
		signed, err := wire.SignAnnouncement(s.key, grid.Announcement{
			Server: s.id(), Nickname: s.name, Hints: []grid.Hint{grid.Hint("/dns/" + s.name + "/tcp/1")}, PermutationSeed: []byte(s.name),
		})
		if err != nil {
			panic(err)
		}
		known = append(known, client.Cached{Signed: signed, Heard: g.Now()})
	}
	for i, n := range g.clients {
		if !c.strange {
			n.cache.list = known
		}
		k := &keyed{keys: map[grid.ServerID][]grid.PublicKey{}}
		c.dialers = append(c.dialers, k)
		config := n.config
		n.config = func() actors.Config {
			a := config()
			k.Dialer = a.Client.Dialer
			a.Client.Dialer, a.Client.Rules = k, c.rules
			if i%2 == 1 {
				a.Client.Introducers[0].Target = other.target()
			}
			return a
		}
	}
}

// otherIntroducer is that of every other client, so that none has more of them
// than places.
func (c *crowd) otherIntroducer(g *simGrid) *introducerNode {
	other := newIntroducer(g.World, g.net)
	other.name = "other introducer"
	other.start()
	for _, s := range g.servers {
		config := s.config
		s.config = func() actors.Config {
			a := config()
			a.Storage.Introducers = append(a.Storage.Introducers, other.target())
			return a
		}
	}
	return other
}

// phases is what happens to the crowd, phaseTime long each but the last, in which
// nothing does.
var phases = []string{"start", "restart of one server", "restart of both", "idle"}

const phaseTime = 5 * time.Minute

// sighting is what a server noted of one client: when it did what for the last
// time in each phase.
func sighting(o *watch, keys []grid.PublicKey) privacy.Sighting {
	s := privacy.NewSighting()
	for _, key := range keys {
		for _, n := range o.notes[key] {
			phase := phases[min(int(n.at.Sub(simStart)/phaseTime), len(phases)-1)]
			s.Numbers[phase+"."+n.what] = n.at.Sub(simStart).Seconds()
		}
	}
	return s
}

// TestMomentsOfAnonymousClients: clients that start together can't be told apart
// by when they do what, through the restart of one server, that of both, and
// renewals of logins.
func TestMomentsOfAnonymousClients(t *testing.T) { momentsOf(t, 200, &crowd{rules: throughTor}) }

// TestMomentsOfAFirstStart: nor can those that have to ask an introducer first for
// whom to connect to.
func TestMomentsOfAFirstStart(t *testing.T) {
	momentsOf(t, 200, &crowd{rules: throughTor, strange: true})
}

// momentsOf fails where anything links the moments of one client. With a thousand
// clients a guesser may reach 0.55, and with fewer what chance alone may reach
// then: four times what it deviates on average.
func momentsOf(t *testing.T, clients int, c *crowd) {
	p, err := c.watched(sim.New(1, nil), clients)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range p.Findings() {
		t.Error(f)
	}
	bound := 0.05 * math.Sqrt(1000/float64(clients))
	if auc := p.Guess(1); auc > 0.5+bound {
		t.Errorf("who guesses by the clock reaches %.3f", auc)
	} else {
		t.Logf("who guesses by the clock reaches %.3f", auc)
	}
}

// TestMomentsLinkOthers: without that, two connections that open at one moment
// are found.
func TestMomentsLinkOthers(t *testing.T) {
	p, err := (&crowd{rules: clause.Rules{Connections: transport.DirectConnections}, restarts: time.Minute}).watched(sim.New(1, nil), 60)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Findings(), func(f privacy.Finding) bool { return f.Field == "start.opened" }) {
		t.Errorf("dials at the same moment were not found, only %v", p.Findings())
	}
	if auc := p.Guess(1); auc < 0.9 {
		t.Errorf("who guesses by the clock reaches only %.3f", auc)
	}
}
