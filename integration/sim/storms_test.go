package sim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
)

// calm is how long nothing goes wrong in a storm, at most.
const calm = 3 * time.Second

// storm is a grid in which everything goes wrong that can, held against the
// model, and then the same grid in fine weather.
func storm(panics int) func(w *sim.World) error {
	return func(w *sim.World) error {
		g, err := aGrid{servers: 5, clients: 3}.build(w)
		if err != nil {
			return err
		}
		c := &chaos{simGrid: g, panics: panics, calm: calm}
		c.begin()
		if err := g.busy(25, 400_000); err != nil {
			return err
		}
		c.end()
		if err := g.abandon(); err != nil {
			return err
		}
		return g.fineWeather()
	}
}

// abandon has uploads that never end: one client changes its mind, another
// one's power fails.
func (g *simGrid) abandon() error {
	if err := g.connected(); err != nil {
		return err
	}
	for i, c := range g.clients[:2] {
		j := g.put(c, g.content(600_000), inFiles, nil)
		if err := g.Until(func() bool { return j.done || g.reserved() > 0 }, time.Minute); err != nil {
			return err
		}
		if i == 0 {
			g.cancel(j)
			continue
		}
		c.bounce(c.life, time.Minute)
	}
	return nil
}

// reserved is what uploads hold of the quotas, as far as the servers' disks
// show it: files that are no share's yet.
func (g *simGrid) reserved() int {
	n := 0
	for _, s := range g.servers {
		n += s.disk.coming
	}
	return n
}

// fineWeather lets what is under way end and looks at everything.
func (g *simGrid) fineWeather() error {
	if err := g.For(20 * time.Minute); err != nil {
		return err
	}
	if err := g.connected(); err != nil {
		return err
	}
	if err := g.settled(); err != nil {
		return err
	}
	if err := g.readable(); err != nil {
		return err
	}
	return g.readableFromFew()
}

// readableFromFew holds that just enough of the servers that hold a file give
// it back.
func (g *simGrid) readableFromFew() error {
	for range min(3, len(g.files)) {
		f := g.files[g.oneOf(len(g.files))]
		g.leaveFew(f)
		if err := g.For(time.Minute); err != nil {
			return err
		}
		if err := g.getNow(g.clients[g.oneOf(len(g.clients))], f); err != nil {
			g.violated("%d shares are there of a file that needs %d, and it can't be read: %w", g.sharesUp(f), f.params.Needed, err)
		}
		for _, s := range g.servers {
			s.start()
		}
		if err := g.connected(); err != nil {
			return err
		}
	}
	return g.verdict()
}

// leaveFew ends servers as long as enough of the file is left without them.
func (g *simGrid) leaveFew(f *storedFile) {
	first := g.oneOf(len(g.servers))
	for i := range g.servers {
		s := g.servers[(first+i)%len(g.servers)]
		if s.up = false; g.sharesUp(f) < f.params.Needed {
			s.up = true
			continue
		}
		s.up = true
		s.crash()
	}
}

// sharesUp is how many different shares of a file the servers hold that run. What
// a helper made of a ciphertext that a power failure had spoiled is none.
func (g *simGrid) sharesUp(f *storedFile) int {
	nums := map[grid.ShareNum]bool{}
	for _, s := range g.servers {
		list, err := s.disk.ListShares(f.cap.StorageIndex())
		if err != nil || !s.up {
			continue
		}
		for _, share := range list {
			if share.Share.UEBHash == lease.UEBHash(f.cap.UEBHash) {
				nums[share.ID.Num] = true
			}
		}
	}
	return len(nums)
}

// checkSeeds checks a scenario of a whole grid in its worlds.
func checkSeeds(t *testing.T, least int, scenario func(w *sim.World) error) {
	t.Helper()
	if err := checkEach(fewer(least), scenario); err != nil {
		t.Error(err)
	}
}

func checkEach(seeds []uint64, scenario func(w *sim.World) error) error {
	return sim.EachSeed(seeds, func(seed uint64) error { return check(seed, scenario) })
}

// check is sim.Check but in a short run, which is that under the race detector: a
// world is one goroutine, so there once is enough.
func check(seed uint64, scenario func(w *sim.World) error) error {
	if !testing.Short() {
		return sim.Check(seed, scenario)
	}
	if err := scenario(sim.New(seed, nil)); err != nil {
		return fmt.Errorf("seed %d: %w", seed, err)
	}
	return nil
}

// fewer is a quarter of sim.Seeds: a whole grid costs a second. In a short run it
// is one.
func fewer(least int) []uint64 {
	all := sim.Seeds(least)
	if testing.Short() {
		return all[:1]
	}
	return all[:max(least, len(all)/4)]
}

func TestStormSeeds(t *testing.T) { checkSeeds(t, 2, storm(0)) }

func TestStormWithFailuresSeeds(t *testing.T) { checkSeeds(t, 2, storm(400)) }
