// Package tally adds up what storage servers say that the members of a grid
// hold: by member over all servers, by server, and by day.
//
// Main types: Tally has the last report of each server; Summary is what it
// comes to; Day is what is kept of a day.
//
// Promises: a report counts for the server alone that it came from; a key that
// no member has at that very server is put down to nobody; no number that a
// server makes up overflows a sum, and one that is more than the member may
// store there is marked; what a sum leaves out, since a server has not
// answered, or not lately, is said with it. The package knows no clock and no
// network.
package tally

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Row is what one key holds at a server, in bytes as charged.
type Row struct {
	Key             grid.PublicKey
	Bytes, Reserved int64
	Shares          int64
	// Under is the key by whose grant it is held, and in whose row it is counted,
	// too; zero where that is who asked.
	Under grid.PublicKey
}

// Report is everything that one server says.
type Report struct {
	Server   grid.ServerID
	Nickname string
	At       int64 // Unix seconds, by the clock of who asked
	// Said is when it was made by the server's own clock.
	Said int64
	// Of is the key of who asked, whose row is what he holds himself; zero where
	// he asked for all accounts of the server, and the row of the zero key is
	// that of clients without one.
	Of   grid.PublicKey
	Rows []Row
}

// The names of what is no member's.
const (
	OwnName       = "(this account)" // what who asks holds himself
	AnonymousName = "(without a key)"
)

// Owner is whose key it is, and how many bytes he may store at a server; nil is
// no limit.
type Owner struct {
	Name  string
	Quota *int64
}

// Names says whose each key at each server is.
type Names map[lease.ServerKey]Owner

// Tally has the last report of each server, and whether it still answers. It is
// not safe for concurrent use.
type Tally struct {
	reports map[grid.ServerID]Report
	tries   map[grid.ServerID]try
}

// try is the last time that a server was asked.
type try struct {
	nickname string
	err      string // empty when it answered
}

// New is a tally of reports that were kept.
func New(kept []Report) *Tally {
	t := &Tally{map[grid.ServerID]Report{}, map[grid.ServerID]try{}}
	for _, r := range kept {
		t.Take(r)
	}
	return t
}

// Take replaces what the server said before.
func (t *Tally) Take(r Report) {
	t.reports[r.Server] = r
	t.tries[r.Server] = try{nickname: r.Nickname}
}

// Fail notes why a server gave no report.
func (t *Tally) Fail(server grid.ServerID, nickname, why string) {
	t.tries[server] = try{nickname, why}
}

// Account is what one member holds over all servers.
type Account struct {
	Name            string // empty: keys that are nobody's
	Bytes, Reserved int64
	Shares          int64
	Keys            int
	At              []At // by server, in a detailed summary
	// Below is what is a part of it and held by others whom the member let, by
	// name, then key.
	Below []Part
}

// At is what a member holds at one server.
type At struct {
	Server grid.ServerID
	Row
	// Doubtful says that the server reports more than it may let the member
	// store.
	Doubtful bool
}

// State says whether a server's report can be relied on to be of now.
type State string

// The states.
const (
	Fresh   State = "fresh"
	Stale   State = "stale"   // it has not answered lately: its last report counts
	Missing State = "missing" // it never answered: nothing of it counts
)

// Server is what one server comes to.
type Server struct {
	ID       grid.ServerID
	Nickname string
	State    State
	// Answered is when its report was made, in Unix seconds; 0 for never.
	Answered int64
	// Ahead is by how many seconds the server's clock was ahead of that of who
	// asked, 0 within lease.ClockSkew.
	Ahead int64
	// Err is why it gave no report the last time.
	Err                           string
	Bytes, Shares                 int64
	Keys, UnknownKeys, DoubtfulOf int
}

// Summary is what a tally comes to.
type Summary struct {
	At       int64     // Unix seconds
	Accounts []Account // by name; that of nobody, if there is one, last
	Servers  []Server  // by id
	Bytes    int64
	Shares   int64
}

// Summary adds up. Servers of the grid that were never heard of are missing; a
// report older than staleAfter seconds is stale.
func (t *Tally) Summary(names Names, members []grid.ServerID, now, staleAfter int64) Summary {
	return t.sum(names, members, now, staleAfter, false)
}

// Detailed is Summary with what each member holds at each server, which for ten
// thousand members at a hundred servers takes most of the time and memory.
func (t *Tally) Detailed(names Names, members []grid.ServerID, now, staleAfter int64) Summary {
	return t.sum(names, members, now, staleAfter, true)
}

func (t *Tally) sum(names Names, members []grid.ServerID, now, staleAfter int64, detail bool) Summary {
	s := Summary{At: now}
	accounts, below := map[string]*Account{}, map[string]parts{}
	for _, id := range t.servers(members) {
		server := t.server(id, now, staleAfter)
		report := t.reports[id]
		for _, row := range report.Rows {
			if row.Under.IsZero() {
				server.add(accounts, names, report.Of, row, detail)
			}
		}
		report.addParts(below, names)
		s.Servers = append(s.Servers, server)
		s.Bytes, s.Shares = plus(s.Bytes, server.Bytes), plus(s.Shares, server.Shares)
	}
	for _, a := range accounts {
		a.Below = below[a.Name].sorted()
		s.Accounts = append(s.Accounts, *a)
	}
	slices.SortFunc(s.Accounts, func(a, b Account) int {
		if (a.Name == "") != (b.Name == "") {
			return len(b.Name) - len(a.Name)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return s
}

// servers are those that were asked, and those of the grid, by id.
func (t *Tally) servers(members []grid.ServerID) []grid.ServerID {
	all := slices.Clone(members)
	for id := range t.tries {
		all = append(all, id)
	}
	slices.SortFunc(all, func(a, b grid.ServerID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(all)
}

func (t *Tally) server(id grid.ServerID, now, staleAfter int64) Server {
	tried := t.tries[id]
	s := Server{ID: id, Nickname: tried.nickname, State: Missing, Err: tried.err}
	if r, ok := t.reports[id]; ok {
		s.Answered, s.State = r.At, Fresh
		if ahead := r.Said - r.At; max(ahead, -ahead) > int64(lease.ClockSkew/time.Second) {
			s.Ahead = ahead
		}
		if now-r.At > staleAfter {
			s.State = Stale
		}
	}
	return s
}

// add puts a row down to whose key it is at this server.
func (s *Server) add(accounts map[string]*Account, names Names, of grid.PublicKey, row Row, detail bool) {
	owner, known := names.at(s.ID, of, row.Key)
	at := At{Server: s.ID, Row: row}
	at.Doubtful = known && owner.Quota != nil && plus(row.Bytes, row.Reserved) > *owner.Quota
	s.Keys++
	if !known {
		s.UnknownKeys++
	}
	if at.Doubtful {
		s.DoubtfulOf++
	}
	s.Bytes, s.Shares = plus(s.Bytes, row.Bytes), plus(s.Shares, row.Shares)
	a := accounts[owner.Name]
	if a == nil {
		a = &Account{Name: owner.Name}
		accounts[owner.Name] = a
	}
	a.Keys++
	a.Bytes, a.Shares, a.Reserved = plus(a.Bytes, row.Bytes), plus(a.Shares, row.Shares), plus(a.Reserved, row.Reserved)
	if detail {
		a.At = append(a.At, at)
	}
}

// plus adds what is not negative, and stops at the largest number.
func plus(a, b int64) int64 {
	if b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}

// Day is what is kept of a UTC day: the sums as they were last.
type Day struct {
	Day      lease.Day    `json:"day"` // days since 1 January 1970
	Accounts []DayAccount `json:"accounts"`
	Servers  []DayServer  `json:"servers"`
}

// DayAccount is a member on a day. An empty name is keys of nobody.
type DayAccount struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	Shares int64  `json:"shares"`
}

// DayServer is a server on a day. Old says that its numbers are of an earlier
// day, or that there were none.
type DayServer struct {
	ID     string `json:"id"`
	Bytes  int64  `json:"bytes"`
	Shares int64  `json:"shares"`
	Old    bool   `json:"old,omitempty"`
}

// OfDay is what is kept of a summary.
func (s Summary) OfDay(day lease.Day) Day {
	d := Day{Day: day}
	for _, a := range s.Accounts {
		d.Accounts = append(d.Accounts, DayAccount{a.Name, a.Bytes, a.Shares})
	}
	for _, v := range s.Servers {
		d.Servers = append(d.Servers, DayServer{v.ID.String(), v.Bytes, v.Shares, v.State != Fresh})
	}
	return d
}
