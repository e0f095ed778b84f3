package sim_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/helper"
	"github.com/tarn-grid/tarn/actors/helper/spooltest"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/fake"
)

// helperNode is a node with the helper role.
type helperNode struct {
	node
	key   ed25519.PrivateKey
	cache announcements
	spool *spooltest.Memory
}

func newHelper(w *sim.World, net *fake.Network, in *introducerNode) *helperNode {
	n := &helperNode{node: node{world: w, net: net, name: "helper"}, key: newKey(w), spool: spooltest.NewMemory(w.Now)}
	n.config = func() actors.Config {
		life := n.life
		return actors.Config{Helper: &helper.Config{
			Key: n.key, Listen: n.listen(n.key, nil), Spool: n.spool, Space: 10 << 20,
			Connections: client.Config{
				Dialer: net.Dialer(n.name), Rules: clause.Rules{Connections: transport.DirectConnections}, References: references{}, OnlyLent: true,
				Introducers: []client.Introducer{{Target: in.target(), Cache: &n.cache}},
			},
			Fatal: func(err error) {
				n.fatal = append(n.fatal, err)
				w.After(0, func() { n.bounce(life, time.Second) })
			},
		}}
	}
	n.off = func() { n.spool = n.spool.AfterCrash(func(b []byte) []byte { return unsynced(w, b) }) }
	return n
}

// unsynced is what a power failure leaves of a file that nobody synced: now and
// then its end is gone, or was never written.
func unsynced(w *sim.World, b []byte) []byte {
	left := append([]byte{}, b...)
	if len(b) == 0 {
		return left
	}
	from := int(w.Rand().Int64N(int64(len(b))))
	switch w.Rand().Int64N(4) {
	case 0:
		return left[:from]
	case 1:
		clear(left[from:])
	}
	return left
}

func (n *helperNode) target() *transport.Target {
	return &transport.Target{
		Server:      grid.ServerID(grid.PublicKeyOf(n.key)),
		Hints:       []grid.Hint{grid.Hint("/dns/" + n.name + "/tcp/1")},
		Connections: transport.DirectConnections,
	}
}

// helpedGrid is a grid whose clients store through a helper, sometimes with
// leave to do without it.
func helpedGrid(w *sim.World) (*simGrid, error) {
	return aGrid{servers: 4, clients: 2, prepare: func(g *simGrid) {
		g.helper = newHelper(w, g.net, g.intro)
		g.how = func(spec *client.PutSpec) {
			spec.Helper, spec.OrDirectly = g.helper.target(), g.oneOf(4) == 0
		}
		g.eachLink(func(x, y *node) { g.net.SetLatency(x.name, y.name, 30*time.Millisecond, 50*time.Millisecond) })
	}}.build(w)
}

// helpedStorm: everything goes wrong, and the helper's power fails again and
// again, whatever it does just then. Then nothing of it is left in its spool,
// and no lease is anybody's but who stored.
func helpedStorm(panics int) func(w *sim.World) error {
	return func(w *sim.World) error {
		g, err := helpedGrid(w)
		if err != nil {
			return err
		}
		c := &chaos{simGrid: g, panics: panics, calm: 2 * calm}
		c.begin()
		c.failHelper()
		if err := g.busy(20, 400_000); err != nil {
			return err
		}
		c.end()
		if err := errors.Join(g.fineWeather(), g.leasesAreTheClients()); err != nil {
			return err
		}
		return g.spoolIsEmpty()
	}
}

func (c *chaos) failHelper() {
	c.After(c.upTo(20*time.Second), func() {
		if !c.over {
			c.helper.bounce(c.helper.life, c.upTo(10*time.Second))
			c.failHelper()
		}
	})
}

// leasesAreTheClients holds that what was stored through a helper is leased as
// if it had been stored directly: by the client, under its own login.
func (g *simGrid) leasesAreTheClients() error {
	for _, f := range g.files {
		for n := range f.params.Total {
			num := grid.ShareNum(n)
			for _, s := range g.servers {
				g.leasesAreOurs(s, lease.ShareID{StorageIndex: f.cap.StorageIndex(), Num: num})
			}
			for _, id := range f.stored.Placement[num] {
				g.ownLogin(g.honest(id), f, num)
			}
		}
	}
	return g.verdict()
}

func (g *simGrid) leasesAreOurs(s *storageNode, id lease.ShareID) {
	holders, err := s.disk.Store.Holders(id)
	if err != nil {
		g.violated("%s: %w", s.name, err)
	}
	for _, h := range holders {
		ours := false
		for _, c := range g.clients {
			ours = ours || h.ID.Column == column(s, c)
		}
		if !ours {
			g.violated("%s: share %d has a lease of somebody else", s.name, id.Num)
		}
	}
}

func (g *simGrid) ownLogin(s *storageNode, f *storedFile, num grid.ShareNum) {
	id := lease.LeaseID{Column: column(s, f.client), Share: lease.ShareID{StorageIndex: f.cap.StorageIndex(), Num: num}}
	l, ok, err := s.disk.Lease(id)
	if err != nil || !ok {
		g.violated("%s: no lease on share %d (%w)", s.name, num, orNil(err))
		return
	}
	chain, ok, err := s.disk.Chain(l.Chain)
	if err != nil || !ok || chain.Digest != (lease.Digest{}) {
		g.violated("%s: the lease on share %d is by a chain of certificates (%w)", s.name, num, orNil(err))
	}
}

// spoolIsEmpty holds that nothing is under way, and that after a day nothing is
// left.
func (g *simGrid) spoolIsEmpty() error {
	status := func() (helper.Status, error) {
		return ask[helper.Status](g, &g.helper.node, actors.ToHelper{Message: helper.AskStatus{}})
	}
	if err := g.For(time.Hour); err != nil { // as long as it waits for a client
		return err
	}
	s, err := status()
	if err != nil {
		return err
	}
	if s.Jobs != 0 || g.helper.spool.Files != 0 {
		g.violated("the helper has %d jobs and %d open files", s.Jobs, g.helper.spool.Files)
	}
	if err := g.For(26 * time.Hour); err != nil {
		return err
	}
	if s, err = status(); err != nil {
		return err
	}
	if n := len(g.helper.spool.Ciphertexts()); s.Spooled != 0 || n != 0 {
		g.violated("%d bytes are said to be spooled, %d ciphertexts are", s.Spooled, n)
	}
	return g.verdict()
}

func TestHelpedStormSeeds(t *testing.T) { checkSeeds(t, 2, helpedStorm(0)) }

func TestHelpedStormWithFailuresSeeds(t *testing.T) { checkSeeds(t, 1, helpedStorm(400)) }

// What goes through a helper in fine weather is stored, all of it, and by the
// helper.
func helpedCalm(w *sim.World) error {
	g, err := helpedGrid(w)
	if err != nil {
		return err
	}
	for _, c := range g.clients {
		for range 3 {
			data, p := g.aFile(400_000, len(g.servers))
			f, err := g.putNow(c, data, p)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if f.stored.NotHelped != nil || f.stored.Pushed == 0 {
				g.violated("%s was not helped: %+v", c.name, f.stored)
			}
		}
	}
	return errors.Join(g.settled(), g.readable(), g.leasesAreTheClients(), g.spoolIsEmpty())
}

func TestHelpedCalmSeeds(t *testing.T) { checkSeeds(t, 1, helpedCalm) }
