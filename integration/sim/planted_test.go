package sim_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
)

// planted are bugs, each with what the model must say of it in one of some
// worlds; several such sayings, where it depends on who looks first, have bars
// between them.
var planted = map[string]struct {
	plant func(g *simGrid)
	says  string
}{
	"a reservation is never released": {
		func(g *simGrid) { g.Lose = func(msg any) bool { return fmt.Sprintf("%T", msg) == "server.release" } },
		"bytes are reserved by 0 uploads, and none is under way",
	},
	"a commit is acknowledged before it is durable": {
		func(g *simGrid) { g.servers[1].disk.forgetful = true },
		"is said to hold share",
	},
	"a lease is counted twice": {
		func(g *simGrid) { g.servers[0].disk.wrong = countTwice },
		"leases were counted",
	},
	"a lease is forgotten": {
		func(g *simGrid) { g.servers[0].disk.wrong = forgetLeases },
		"there is no lease of|leases were counted",
	},
	"bytes of shares rot as they are written": {
		func(g *simGrid) { g.servers[0].disk.wrong = spoilBodies },
		"is said to hold share",
	},
}

func countTwice(c lease.Change) lease.Change {
	c.Counters = slices.Clone(c.Counters)
	for i := range c.Counters {
		c.Counters[i].Value.Leases *= 2
	}
	return c
}

func forgetLeases(c lease.Change) lease.Change {
	c.Leases = nil
	return c
}

func spoilBodies(c lease.Change) lease.Change {
	c.Inline = slices.Clone(c.Inline)
	for i, e := range c.Inline {
		if len(e.Value) > 100 {
			c.Inline[i].Value = slices.Clone(e.Value)
			c.Inline[i].Value[len(e.Value)-60] ^= 1
		}
	}
	return c
}

// breeze is a storm that is over soon.
func breeze(plant func(*simGrid)) func(w *sim.World) error {
	return func(w *sim.World) error {
		g, err := aGrid{servers: 3, clients: 2}.build(w)
		if err != nil {
			return err
		}
		plant(g)
		c := &chaos{simGrid: g, calm: time.Second}
		c.begin()
		if err := g.busy(10, 400_000); err != nil {
			return err
		}
		c.end()
		if err := g.abandon(); err != nil {
			return err
		}
		return g.fineWeather()
	}
}

// maxWorlds is in how many worlds a planted bug must be found.
const maxWorlds = 40

func TestModelFindsPlantedBugs(t *testing.T) {
	for name, bug := range planted {
		if err := findBug(bug.plant, bug.says); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// findBug tries worlds until the model says what it must.
func findBug(plant func(*simGrid), says string) error {
	for seed := range uint64(maxWorlds) {
		err := breeze(plant)(sim.New(seed, nil))
		if err != nil && slices.ContainsFunc(strings.Split(says, "|"), func(s string) bool { return strings.Contains(err.Error(), s) }) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("seed %d: the model says something else: %w", seed, err)
		}
	}
	return fmt.Errorf("%d worlds, and nobody noticed", maxWorlds)
}

func TestModelFindsNothingElse(t *testing.T) {
	for _, seed := range sim.Seeds(4) {
		if err := breeze(func(*simGrid) {})(sim.New(seed, nil)); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
