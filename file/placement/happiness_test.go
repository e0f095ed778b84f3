package placement_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
)

// layout lists what each server holds.
type layout [][]grid.ShareNum

func (l layout) edges() []placement.Edge {
	var out []placement.Edge
	for i, shares := range l {
		for _, n := range shares {
			out = append(out, placement.Edge{Server: id(i), Share: n})
		}
	}
	return out
}

func id(i int) grid.ServerID { return grid.ServerID{byte(i >> 8), byte(i)} }

func all(n int) []grid.ShareNum {
	var out []grid.ShareNum
	for i := range n {
		out = append(out, grid.ShareNum(i))
	}
	return out
}

// Most cases are those of Tahoe's test_happiness.py and happinessutil.py.
func TestHappiness(t *testing.T) {
	for name, c := range map[string]struct {
		holds layout
		want  int
	}{
		"nothing":                           {nil, 0},
		"one share at many servers":         {layout{{3}, {3}, {3}}, 1},
		"many shares at one server":         {layout{{1, 2, 3}}, 1},
		"all at their own":                  {layout{{1}, {2}, {3}, {4}}, 4},
		"two at one server":                 {layout{{1, 4}, {2}, {3}}, 3},
		"two at one server, four others":    {layout{{1, 4}, {2}, {3}, {5}, {6}, {7}, {8}}, 7},
		"more substantial overlap":          {layout{{1}, {2}, {3}, {4}, {4}, {3, 5}}, 5},
		"Zooko's first puzzle":              {layout{{0, 1}, {1, 2}, {2}}, 3},
		"Zooko's second puzzle":             {layout{{0, 1}, {1}}, 2},
		"the example of happinessutil":      {layout{{1, 2, 3, 4}, {6}, {3}, {4}, {2}}, 5},
		"the example of the specification":  {layout{all(3), all(3), all(3), all(3), all(3)}, 3},
		"the same edge twice":               {layout{{5, 5}, {5}}, 1},
		"a chain in which each makes room":  {layout{{0, 1}, {0, 2}, {0, 3}, {0}}, 4},
		"the last share number":             {layout{{255}, {0}}, 2},
		"more servers than there is to win": {layout{{0, 1}, {0, 1}, {0, 1}, {2}}, 3},
	} {
		if got := placement.Happiness(c.holds.edges()); got != c.want {
			t.Errorf("%s: happiness %d, want %d", name, got, c.want)
		}
	}
}

// bruteHappiness tries every share, and none, for the first server.
func bruteHappiness(l layout, used map[grid.ShareNum]bool) int {
	if len(l) == 0 {
		return 0
	}
	best := bruteHappiness(l[1:], used)
	for _, n := range l[0] {
		if !used[n] {
			used[n] = true
			best = max(best, 1+bruteHappiness(l[1:], used))
			delete(used, n)
		}
	}
	return best
}

// drawLayout draws each edge by itself: rapid's slices are mostly too short to
// make servers compete.
func drawLayout(t *rapid.T, maxServers, maxShares int) layout {
	l := make(layout, rapid.IntRange(0, maxServers).Draw(t, "servers"))
	for i := range l {
		for n := range maxShares {
			if rapid.Bool().Draw(t, "wanted") && rapid.Bool().Draw(t, "held") {
				l[i] = append(l[i], grid.ShareNum(n))
			}
		}
	}
	return l
}

func TestHappinessIsAMaximumMatching(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLayout(t, 6, 6)
		edges := rapid.Permutation(l.edges()).Draw(t, "edges")
		if got, want := placement.Happiness(edges), bruteHappiness(l, map[grid.ShareNum]bool{}); got != want {
			t.Fatalf("happiness %d, want %d", got, want)
		}
	})
}

// Each server but the last competes for shares that are all needed, so that
// paths get long and the last 300 searches fail.
func TestHappinessOfTheLargestFile(t *testing.T) {
	var l layout
	for i := range 500 {
		l = append(l, all(1+(i*i)%256))
	}
	l = append(l, all(256))
	if got := placement.Happiness(l.edges()); got != bestPrefixHappiness(l) {
		t.Errorf("happiness %d, want %d", got, bestPrefixHappiness(l))
	}
}

// bestPrefixHappiness is for servers that each hold all shares below some
// number: serving the least demanding first is then best.
func bestPrefixHappiness(l layout) int {
	var servers [257]int
	for _, shares := range l {
		servers[len(shares)]++
	}
	size := 0
	for below, n := range servers {
		size = min(size+n, below)
	}
	return size
}
