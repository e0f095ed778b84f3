package placement

import (
	"slices"

	"github.com/tarn-grid/tarn/grid"
)

// planner fills in places step by step. Servers are indexes into the input.
//
// Why the steps reach the largest happiness: let R be the size of the largest
// matching of read-only servers to what they hold, W the number of writable
// servers, N that of shares. No plan has more than min(R+W, N). keep matches R
// read-only servers and some writable ones, and spread adds pairs until the
// writable servers or the shares are used up. Where servers can't be given some
// shares, makeRoom lets others change places.
type planner struct {
	in    Input
	held  [][]grid.ShareNum
	load  []int               // shares placed, by server
	place [grid.MaxShares]int // server, by share
}

func newPlanner(in Input) *planner {
	p := &planner{in: in, load: make([]int, len(in.Servers))}
	for _, s := range in.Servers {
		p.held = append(p.held, in.held(s))
	}
	for n := range p.place {
		p.place[n] = nobody
	}
	return p
}

// keep matches servers to shares that they hold. Read-only servers are first
// because nothing else can make them count. A matched server stays matched
// while others are added, so the result has as many read-only servers and as
// many servers of either kind as any matching of held shares.
func (p *planner) keep() {
	m := newMatching(p.held)
	for _, readOnly := range []bool{true, false} {
		for i, s := range p.in.Servers {
			if s.ReadOnly == readOnly {
				m.add(i)
			}
		}
	}
	for n, server := range m.owner {
		if server != nobody {
			p.put(n, server)
		}
	}
}

// spread gives each writable server that has none one of the remaining shares,
// those first that no server holds: they have to be uploaded in any case.
func (p *planner) spread() {
	rest, left := p.unplaced(), false
	for i, s := range p.in.Servers {
		if len(rest) == 0 {
			return
		}
		if s.ReadOnly || p.load[i] > 0 {
			continue
		}
		at := slices.IndexFunc(rest, func(n int) bool { return p.takes(i, n) })
		if left = left || at < 0; at < 0 {
			continue
		}
		p.put(rest[at], i)
		rest = slices.Delete(rest, at, at+1)
	}
	if left {
		p.makeRoom()
	}
}

// takes reports whether a server can be given a share.
func (p *planner) takes(i, n int) bool {
	s := p.in.Servers[i]
	return !s.ReadOnly && !slices.Contains(s.Never, grid.ShareNum(n))
}

// makeRoom matches servers that can't be given what is left, by having others
// exchange what they have, which is one share each at most.
func (p *planner) makeRoom() {
	may := make([][]grid.ShareNum, len(p.held))
	for i, held := range p.held {
		may[i] = held
		for n := range p.in.Total {
			if p.takes(i, n) && !slices.Contains(held, grid.ShareNum(n)) {
				may[i] = append(may[i][:len(may[i]):len(may[i])], grid.ShareNum(n))
			}
		}
	}
	m := newMatching(may)
	m.owner = p.place
	for i, s := range p.in.Servers {
		if !s.ReadOnly && p.load[i] == 0 && m.add(i) {
			p.load[i]++
		}
	}
	p.place = m.owner
}

// unplaced lists the shares without a place, those that nobody holds first.
func (p *planner) unplaced() []int {
	holders := p.holders()
	var homeless, held []int
	for n := range p.in.Total {
		switch {
		case p.place[n] != nobody:
		case len(holders[n]) == 0:
			homeless = append(homeless, n)
		default:
			held = append(held, n)
		}
	}
	return append(homeless, held...)
}

// settle places what no further server can be made to count with: on a server
// that holds it, else on a writable one.
func (p *planner) settle() {
	holders, writable := p.holders(), p.writable()
	for n := range p.in.Total {
		if p.place[n] != nobody {
			continue
		}
		choice := holders[n]
		if len(choice) == 0 {
			choice = slices.DeleteFunc(slices.Clone(writable), func(i int) bool { return !p.takes(i, n) })
		}
		if len(choice) > 0 {
			p.put(n, p.leastLoaded(choice))
		}
	}
}

func (p *planner) holders() [grid.MaxShares][]int {
	var holders [grid.MaxShares][]int
	for i, shares := range p.held {
		for _, n := range shares {
			holders[n] = append(holders[n], i)
		}
	}
	return holders
}

func (p *planner) writable() []int {
	var out []int
	for i, s := range p.in.Servers {
		if !s.ReadOnly {
			out = append(out, i)
		}
	}
	return out
}

// leastLoaded is the first of the servers with the fewest shares.
func (p *planner) leastLoaded(choice []int) int {
	return slices.MinFunc(choice, func(a, b int) int { return p.load[a] - p.load[b] })
}

func (p *planner) put(share, server int) {
	p.place[share] = server
	p.load[server]++
}

func (p *planner) plan() Plan {
	var plan Plan
	for n, server := range p.place {
		if server != nobody {
			plan.Assignments = append(plan.Assignments, Assignment{grid.ShareNum(n), p.in.Servers[server].ID})
		}
	}
	for _, load := range p.load {
		if load > 0 {
			plan.Happiness++
		}
	}
	return plan
}
