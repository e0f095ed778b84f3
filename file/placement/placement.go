// Package placement decides which server gets which share of a file.
//
// Permute orders servers for a file so that every client looks in the same
// places. NewPlan takes what those servers hold and whether they take more, and
// gives every share one place, on as many distinct servers as possible.
// Happiness counts distinct servers in any layout: the size of the largest set
// of pairs (server, share) in which no server and no share appears twice.
//
// The rules are Tahoe-LAFS's, docs/specifications/servers-of-happiness.rst;
// unlike its implementation, a plan always reaches the largest happiness that
// the servers allow, and no plan that does uploads fewer shares, unless there are
// some that a server can't be given.
//
// Everything here is a pure function: the same arguments give the same result,
// and arguments are never changed.
package placement

import (
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/grid"
)

// Server is a server that may get or keep shares of one file.
type Server struct {
	ID grid.ServerID
	// ReadOnly servers keep what they hold and take nothing more.
	ReadOnly bool
	// Shares is what the server holds or is getting, in any order. Numbers
	// of Total or more are not shares of this encoding and do not count.
	Shares []grid.ShareNum
	// Never are shares that the server can't be given.
	Never []grid.ShareNum
}

// Input is what a plan is made from.
type Input struct {
	// Total is N, the number of shares of the file, 1 to 256.
	Total int
	// Happy is the least happiness that will do, 0 to Total.
	Happy int
	// Servers in order of preference, each at most once.
	Servers []Server
}

// Assignment says that a share is to be, or to stay, on a server.
type Assignment struct {
	Share  grid.ShareNum
	Server grid.ServerID
}

// Plan is a place for every share.
type Plan struct {
	// Assignments, sorted by share, at most one for each. A share is left
	// out only if no server holds it and none can be given it; a happy plan is
	// good without it.
	Assignments []Assignment
	// Happiness of the assignments, which is their number of distinct
	// servers.
	Happiness int
}

// NewPlan finds places for all shares: as many servers as possible get one,
// shares that must be found there anyway come first, and what is left over
// stays where it is or goes to the servers with the fewest shares. It fails
// with a *TooFewServers when no plan can be happy, and otherwise only if the
// input is not valid.
func NewPlan(in Input) (Plan, error) {
	if err := in.validate(); err != nil {
		return Plan{}, err
	}
	p := newPlanner(in)
	p.keep()
	p.spread()
	p.settle()
	plan := p.plan()
	if plan.Happiness < in.Happy {
		return Plan{}, in.tooFew(plan.Happiness)
	}
	return plan, nil
}

func (in Input) validate() error {
	if in.Total < 1 || in.Total > grid.MaxShares {
		return fmt.Errorf("place shares: %d shares in total (want 1 to %d)", in.Total, grid.MaxShares)
	}
	if in.Happy < 0 || in.Happy > in.Total {
		return fmt.Errorf("place shares: happiness of %d wanted with %d shares in total", in.Happy, in.Total)
	}
	seen := make(map[grid.ServerID]bool, len(in.Servers))
	for _, s := range in.Servers {
		if seen[s.ID] {
			return fmt.Errorf("place shares: server %s is listed twice", s.ID.Short())
		}
		seen[s.ID] = true
	}
	return nil
}

// held is what a server holds of this encoding: sorted; a number there twice does no harm.
func (in Input) held(s Server) []grid.ShareNum {
	ours := slices.Clone(s.Shares)
	slices.Sort(ours)
	return slices.DeleteFunc(ours, func(n grid.ShareNum) bool { return int(n) >= in.Total })
}

func (in Input) tooFew(happiness int) *TooFewServers {
	e := &TooFewServers{Happy: in.Happy, Happiness: happiness, Reachable: len(in.Servers), Total: in.Total}
	for _, s := range in.Servers {
		if !s.ReadOnly {
			e.Writable++
		}
		if len(in.held(s)) > 0 {
			e.Holding++
		}
	}
	return e
}

// TooFewServers says that the shares of a file cannot be spread widely enough.
type TooFewServers struct {
	Happy     int // distinct servers needed
	Happiness int // distinct servers possible
	Reachable int // servers that were considered
	Writable  int // those of them that take more shares
	Holding   int // those of them that hold or are getting shares of the file
	Total     int // shares of the file
}

// Error is one sentence with all numbers.
func (e *TooFewServers) Error() string {
	return fmt.Sprintf("the file's shares (%d) could be placed on %s, %d needed to be happy; "+
		"of %s considered, %d can take a share and %d already hold one",
		e.Total, servers(e.Happiness, "distinct server"), e.Happy,
		servers(e.Reachable, "server"), e.Writable, e.Holding)
}

func servers(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
