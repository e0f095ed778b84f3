package sim_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/fake"
	"github.com/tarn-grid/tarn/transport/wire"
)

// subcontracting has half of the servers short of room, and clients that let
// them pass shares on.
func subcontracting(g *simGrid) {
	for i, s := range g.servers {
		if i%2 == 0 {
			s.below = 2 << 40
		}
	}
	for _, c := range g.clients {
		c.subcontract = true
	}
}

// passings counts shares that one server took from another.
func passings(w *sim.World) *int {
	n := new(int)
	w.Lose = func(msg any) bool {
		if _, ok := msg.(client.Passed); ok {
			*n++
		}
		return false
	}
	return n
}

// passedOn: what servers pass on is stored where the client was told, under
// its own lease there, and happiness stays true.
func passedOn(w *sim.World) error {
	passed := passings(w)
	g, err := aGrid{servers: 8, clients: 2, prepare: subcontracting}.build(w)
	if err != nil {
		return err
	}
	for range 4 {
		for _, c := range g.clients {
			f, err := g.putNow(c, g.content(100_000), inFiles)
			if err != nil {
				return err
			}
			if err := g.getNow(c, f); err != nil {
				return err
			}
		}
	}
	if *passed == 0 {
		return errors.New("nothing was passed on")
	}
	return errors.Join(g.settled(), g.readable())
}

func TestPassedOnSeeds(t *testing.T) { checkSeeds(t, 2, passedOn) }

// passedOnInAStorm: the same while servers crash at any moment.
func passedOnInAStorm(w *sim.World) error {
	passed := passings(w)
	g, err := aGrid{servers: 8, clients: 2, prepare: subcontracting}.build(w)
	if err != nil {
		return err
	}
	over := false
	var storm func()
	storm = func() {
		if over {
			return
		}
		s := g.servers[g.oneOf(len(g.servers))]
		s.bounce(s.life, g.upTo(3*time.Second))
		w.After(g.upTo(2*time.Second), storm)
	}
	w.After(0, storm)
	for range 10 {
		for _, c := range g.clients {
			g.put(c, g.content(100_000), inFiles, nil) // it may fail
		}
		if err := g.wait(time.Hour); err != nil {
			return err
		}
	}
	over = true
	g.heal()
	if err := g.connected(); err != nil {
		return err
	}
	if *passed == 0 {
		return errors.New("nothing was passed on")
	}
	return errors.Join(g.settled(), g.readable())
}

func TestPassedOnInAStormSeeds(t *testing.T) { checkSeeds(t, 2, passedOnInAStorm) }

// passLies are what a server can say that was allowed to pass a share on.
var passLies = map[string]func(g *simGrid, s *storageNode, m *wire.Allocate) wire.Message{
	"to one that was not told": func(_ *simGrid, _ *storageNode, m *wire.Allocate) wire.Message {
		return &wire.PassedOn{Server: m.Others[0].Server}
	},
	"to itself": func(_ *simGrid, s *storageNode, _ *wire.Allocate) wire.Message {
		return &wire.PassedOn{Server: s.id()}
	},
	"to one that was not named": func(g *simGrid, _ *storageNode, m *wire.Allocate) wire.Message {
		for _, other := range g.servers {
			if !slices.ContainsFunc(m.Others, func(o wire.Other) bool { return o.Server == other.id() }) {
				return &wire.PassedOn{Server: other.id()}
			}
		}
		return nil
	},
	"to nobody that there is": func(*simGrid, *storageNode, *wire.Allocate) wire.Message {
		return &wire.PassedOn{Server: grid.ServerID{1, 2, 3}}
	},
}

// TestLiesOfWhoPassesOn: the client places the share itself.
func TestLiesOfWhoPassesOn(t *testing.T) {
	for name, lie := range passLies {
		t.Run(name, func(t *testing.T) {
			checkSeeds(t, 1, func(w *sim.World) error {
				told := 0
				g, err := aGrid{servers: 8, clients: 1, prepare: func(g *simGrid) {
					g.clients[0].subcontract = true
					for _, s := range g.servers[:3] {
						l := &liar{g: g, hears: func(f wire.Frame) []wire.Frame {
							m, ok := f.Message.(*wire.Allocate)
							if !ok || len(m.Others) == 0 {
								return nil
							}
							told++
							return []wire.Frame{{ID: f.ID, Answer: true, Message: lie(g, s, m)}}
						}}
						s.lies = l.wrap
					}
				}}.build(w)
				if err != nil {
					return err
				}
				for range 4 {
					f, err := g.putNow(g.clients[0], g.content(100_000), inFiles)
					if err != nil {
						return err
					}
					if err := g.getNow(g.clients[0], f); err != nil {
						return err
					}
				}
				if told == 0 {
					return errors.New("no liar was asked")
				}
				return g.verdict()
			})
		})
	}
}

// TestLiesOfWhoTakesOver: a server that says it takes a share, and does not.
func TestLiesOfWhoTakesOver(t *testing.T) {
	checkSeeds(t, 1, func(w *sim.World) error {
		told := 0
		g, err := aGrid{servers: 9, clients: 1, prepare: func(g *simGrid) {
			subcontracting(g)
			for _, s := range g.servers[5:] {
				l := &liar{g: g, hears: func(f wire.Frame) []wire.Frame {
					if _, ok := f.Message.(*wire.PassOn); !ok {
						return nil
					}
					told++
					return []wire.Frame{{ID: f.ID, Answer: true, Message: &wire.Done{}}}
				}}
				s.lies = l.wrap
			}
		}}.build(w)
		if err != nil {
			return err
		}
		for told == 0 {
			f, err := g.putNow(g.clients[0], g.content(100_000), inFiles)
			if err != nil {
				return err
			}
			if err := g.getNow(g.clients[0], f); err != nil {
				return err
			}
		}
		return g.verdict()
	})
}

// overheard is what a server hears in sessions in which it is asked to take a
// share over.
type overheard struct {
	keys   []grid.PublicKey
	frames map[transport.Session][]wire.Frame
}

func (o *overheard) wrap(s transport.Session, accept fake.Accept) transport.SessionEvents {
	l := &liar{hears: func(f wire.Frame) []wire.Frame {
		o.frames[s] = append(o.frames[s], f)
		if _, ok := f.Message.(*wire.PassOn); ok {
			o.keys = append(o.keys, s.Remote())
		}
		return nil
	}}
	return l.wrap(s, accept)
}

// TestWhoTakesOverLearnsNothing: what a server hears from the one that passes a
// share on is the same for every client and server, but for the secret and a
// key that is used for nothing else.
func TestWhoTakesOverLearnsNothing(t *testing.T) {
	checkSeeds(t, 1, func(w *sim.World) error {
		heard := &overheard{frames: map[transport.Session][]wire.Frame{}}
		g, err := aGrid{servers: 8, clients: 2, prepare: func(g *simGrid) {
			subcontracting(g)
			for _, s := range g.servers {
				s.lies = heard.wrap
			}
		}}.build(w)
		if err != nil {
			return err
		}
		for range 4 {
			for _, c := range g.clients {
				if _, err := g.putNow(c, g.content(100_000), inFiles); err != nil {
					return err
				}
			}
		}
		if len(heard.keys) == 0 {
			return errors.New("nothing was passed on")
		}
		return g.tellsNothing(heard)
	})
}

func (g *simGrid) tellsNothing(heard *overheard) error {
	known := map[grid.PublicKey]string{}
	for _, s := range g.servers {
		known[s.id().Key()] = s.name
	}
	for _, k := range heard.keys {
		if who := known[k]; who != "" {
			return fmt.Errorf("a share was passed on under the key of %s", who)
		}
		known[k] = "another passing"
	}
	for s, frames := range heard.frames {
		if !slices.ContainsFunc(frames, func(f wire.Frame) bool { return f.Message.Kind() == wire.KindPassOn }) {
			continue
		}
		for _, f := range frames {
			switch m := f.Message.(type) {
			case *wire.PassOn, *wire.LoginWithoutKey:
			case *wire.Hello:
				if m.Version != wire.Version || len(m.Features) > 0 {
					return fmt.Errorf("the hello is special: %+v", m)
				}
			default:
				return fmt.Errorf("who passes on says %T over %s", m, s.Remote())
			}
		}
	}
	return nil
}
