package placement_test

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
)

func drawInput(t *rapid.T, maxServers, maxTotal int) placement.Input {
	total := rapid.IntRange(1, maxTotal).Draw(t, "total")
	in := placement.Input{Total: total}
	for i, shares := range drawLayout(t, maxServers, maxTotal) {
		readOnly := rapid.Bool().Draw(t, "read-only")
		in.Servers = append(in.Servers, placement.Server{ID: id(i), ReadOnly: readOnly, Shares: shares})
	}
	return in
}

func holds(s placement.Server, n grid.ShareNum) bool { return slices.Contains(s.Shares, n) }

// takes reports whether a server can be given a share.
func takes(s placement.Server, n grid.ShareNum) bool {
	return !s.ReadOnly && !slices.Contains(s.Never, n)
}

// outcome is what counts of a way to place all shares that have a place.
type outcome struct{ happiness, uploads int }

// best tries every place for every share from n on.
func best(in placement.Input, n int, used []int, uploads int) outcome {
	if n == in.Total {
		happiness := len(used) - len(slices.DeleteFunc(slices.Clone(used), func(c int) bool { return c > 0 }))
		return outcome{happiness, uploads}
	}
	found, any := outcome{}, false
	try := func(o outcome) {
		if !any || o.happiness > found.happiness || o.happiness == found.happiness && o.uploads < found.uploads {
			found, any = o, true
		}
	}
	for i, s := range in.Servers {
		here := holds(s, grid.ShareNum(n))
		if !here && !takes(s, grid.ShareNum(n)) {
			continue
		}
		cost := 1
		if here {
			cost = 0
		}
		used[i]++
		try(best(in, n+1, used, uploads+cost))
		used[i]--
	}
	if !any {
		try(best(in, n+1, used, uploads))
	}
	return found
}

// judge checks that a plan is allowed and says what it comes to.
func judge(t rapid.TB, in placement.Input, plan placement.Plan) outcome {
	o, distinct := outcome{happiness: plan.Happiness}, map[grid.ServerID]bool{}
	var edges []placement.Edge
	for i, a := range plan.Assignments {
		if i > 0 && a.Share <= plan.Assignments[i-1].Share || int(a.Share) >= in.Total {
			t.Fatalf("share %d out of order or of range", a.Share)
		}
		at := slices.IndexFunc(in.Servers, func(s placement.Server) bool { return s.ID == a.Server })
		if at < 0 || !takes(in.Servers[at], a.Share) && !holds(in.Servers[at], a.Share) {
			t.Fatalf("share %d cannot be at %s", a.Share, a.Server.Short())
		}
		if !holds(in.Servers[at], a.Share) {
			o.uploads++
		}
		distinct[a.Server] = true
		edges = append(edges, placement.Edge{Server: a.Server, Share: a.Share})
	}
	if len(distinct) != plan.Happiness || placement.Happiness(edges) != plan.Happiness {
		t.Fatalf("happiness is said to be %d, but is %d at %d servers", plan.Happiness, placement.Happiness(edges), len(distinct))
	}
	return o
}

func placeable(in placement.Input) int {
	count := 0
	for n := range in.Total {
		if slices.ContainsFunc(in.Servers, func(s placement.Server) bool { return takes(s, grid.ShareNum(n)) || holds(s, grid.ShareNum(n)) }) {
			count++
		}
	}
	return count
}

// checkBest holds a plan against every other.
func checkBest(t rapid.TB, in placement.Input) {
	want := best(in, 0, make([]int, len(in.Servers)), 0)
	in.Happy = want.happiness
	plan, err := placement.NewPlan(in)
	if err != nil {
		t.Fatalf("%+v: a happiness of %d can be reached: %v", in, want.happiness, err)
	}
	if got := judge(t, in, plan); got != want {
		t.Fatalf("%+v: %+v, best is %+v", in, got, want)
	}
	if len(plan.Assignments) != placeable(in) {
		t.Fatalf("%+v: %d shares placed of %d", in, len(plan.Assignments), placeable(in))
	}
	if in.Happy++; in.Happy > in.Total {
		return
	}
	if _, err := placement.NewPlan(in); err == nil {
		t.Fatalf("%+v: a happiness of %d was promised", in, in.Happy)
	}
}

func TestNoPlanIsHappierNorAsHappyWithFewerUploads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkBest(t, drawInput(t, 5, 5)) })
}

// Where servers can't be given some shares, no plan is happier either, and all
// that can be placed are.
func TestNoPlanIsHappierWhereSharesAreRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, 5, 5)
		for i, s := range in.Servers {
			in.Servers[i].Never = slices.DeleteFunc(drawShares(t, in.Total), func(n grid.ShareNum) bool { return holds(s, n) })
		}
		want := best(in, 0, make([]int, len(in.Servers)), 0)
		in.Happy = want.happiness
		plan, err := placement.NewPlan(in)
		if err != nil {
			t.Fatalf("%+v: a happiness of %d can be reached: %v", in, want.happiness, err)
		}
		if got := judge(t, in, plan); got.happiness != want.happiness || len(plan.Assignments) != placeable(in) {
			t.Fatalf("%+v: %+v with %d shares, best is %+v with %d", in, got, len(plan.Assignments), want, placeable(in))
		}
	})
}

func drawShares(t *rapid.T, total int) []grid.ShareNum {
	return rapid.SliceOfDistinct(rapid.Map(rapid.IntRange(0, total-1), func(n int) grid.ShareNum { return grid.ShareNum(n) }), rapid.ID[grid.ShareNum]).Draw(t, "never")
}

// All inputs with three servers and three shares: each server has a bit for
// each share it holds, and one for whether it is read-only.
func TestEverySmallPlanIsBest(t *testing.T) {
	for bits := range 1 << 12 {
		in := placement.Input{Total: 3}
		for i := range 3 {
			mine := bits >> (4 * i)
			s := placement.Server{ID: id(i), ReadOnly: mine&8 != 0}
			for n := range 3 {
				if mine>>n&1 == 1 {
					s.Shares = append(s.Shares, grid.ShareNum(n))
				}
			}
			in.Servers = append(in.Servers, s)
		}
		checkBest(t, in)
	}
}

// Left-over shares must not pile up: on a new file no server gets two more
// than another.
func TestANewFileIsSpreadEvenly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := placement.Input{Total: rapid.IntRange(1, 256).Draw(t, "total")}
		count := rapid.IntRange(1, 300).Draw(t, "servers")
		for i := range count {
			in.Servers = append(in.Servers, placement.Server{ID: id(i)})
		}
		plan, err := placement.NewPlan(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range plan.Assignments {
			if want := id(int(a.Share) % count); a.Server != want {
				t.Fatalf("share %d is at %s, want %s", a.Share, a.Server.Short(), want.Short())
			}
		}
		judge(t, in, plan)
	})
}

func TestPlanDependsOnNoOrderOfShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, 10, 12)
		first, err := placement.NewPlan(in)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range in.Servers {
			in.Servers[i].Shares = rapid.Permutation(s.Shares).Draw(t, "shuffled")
		}
		again, err := placement.NewPlan(in)
		if err != nil || !reflect.DeepEqual(first, again) {
			t.Fatalf("%v, then %v (%v)", first, again, err)
		}
	})
}

// A plan that was carried out is not changed by planning again.
func TestPlanningAgainMovesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, 8, 10)
		first, err := placement.NewPlan(in)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range in.Servers {
			for _, a := range first.Assignments {
				if a.Server == s.ID {
					in.Servers[i].Shares = append(slices.Clone(in.Servers[i].Shares), a.Share)
				}
			}
		}
		again, err := placement.NewPlan(in)
		if err != nil {
			t.Fatal(err)
		}
		if o := judge(t, in, again); o.uploads != 0 || o.happiness != first.Happiness {
			t.Fatalf("%d more uploads, happiness %d after %d", o.uploads, again.Happiness, first.Happiness)
		}
	})
}
