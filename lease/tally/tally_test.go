package tally_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/tally"
)

func server(n byte) grid.ServerID { return grid.ServerID{n} }
func key(n byte) grid.PublicKey   { return grid.PublicKey{n} }

// at is the name of a key at a server.
func at(s, k byte) lease.ServerKey { return lease.ServerKey{Server: server(s), Key: key(k)} }

func row(k byte, bytes, shares int64) tally.Row {
	return tally.Row{Key: key(k), Bytes: bytes, Shares: shares}
}

func report(s byte, when int64, rows ...tally.Row) tally.Report {
	return tally.Report{Server: server(s), Nickname: fmt.Sprint("s", s), At: when, Rows: rows}
}

// account finds one by name.
func account(t *testing.T, s tally.Summary, name string) tally.Account {
	t.Helper()
	for _, a := range s.Accounts {
		if a.Name == name {
			return a
		}
	}
	t.Fatalf("no account %q in %+v", name, s.Accounts)
	return tally.Account{}
}

var names = tally.Names{
	at(1, 11): {Name: "alice", Quota: new(int64(1000))}, at(2, 12): {Name: "alice", Quota: new(int64(1000))},
	at(1, 21): {Name: "bob"}, at(2, 22): {Name: "bob"},
}

func TestSums(t *testing.T) {
	y := tally.New([]tally.Report{report(1, 100, row(11, 10, 1), row(21, 200, 2))})
	y.Take(report(2, 110, row(12, 5, 1), row(22, 300, 3)))
	s := y.Detailed(names, []grid.ServerID{server(1), server(2)}, 120, 60)
	if a := account(t, s, "alice"); a.Bytes != 15 || a.Shares != 2 || a.Keys != 2 || len(a.At) != 2 || a.At[1].Server != server(2) {
		t.Errorf("alice %+v", a)
	}
	if b := account(t, s, "bob"); b.Bytes != 500 || b.Shares != 5 {
		t.Errorf("bob %+v", b)
	}
	if s.Bytes != 515 || s.Shares != 7 || len(s.Accounts) != 2 || s.Accounts[0].Name != "alice" {
		t.Errorf("summary %+v", s)
	}
	y.Take(report(1, 130, row(11, 1, 1))) // replaces what it said before
	s = y.Detailed(names, nil, 140, 60)
	if a, b := account(t, s, "alice"), account(t, s, "bob"); a.Bytes != 6 || b.Bytes != 300 {
		t.Errorf("alice %d, bob %d", a.Bytes, b.Bytes)
	}
}

// A server that reports keys of other servers, or of nobody, burdens no member.
func TestAnothersUsageCountsForNobody(t *testing.T) {
	y := tally.New(nil)
	y.Take(report(1, 100, row(11, 10, 1), row(12, 500, 1), row(99, 7, 1)))
	s := y.Detailed(names, nil, 100, 60)
	if a := account(t, s, "alice"); a.Bytes != 10 || a.Keys != 1 {
		t.Errorf("alice pays for what server 1 says of her key at server 2: %+v", a)
	}
	nobody := account(t, s, "")
	if nobody.Bytes != 507 || s.Servers[0].UnknownKeys != 2 || s.Accounts[len(s.Accounts)-1].Name != "" {
		t.Errorf("nobody's %+v, server %+v", nobody, s.Servers[0])
	}
	for _, at := range nobody.At {
		if at.Server != server(1) {
			t.Errorf("the sum does not name the server that said so: %+v", at)
		}
	}
}

func TestMadeUpNumbers(t *testing.T) {
	y := tally.New(nil)
	y.Take(report(1, 100, tally.Row{Key: key(11), Bytes: 900, Reserved: 101, Shares: 1}, row(21, math.MaxInt64, math.MaxInt64)))
	y.Take(report(2, 100, row(12, 1000, 1), row(22, math.MaxInt64, math.MaxInt64)))
	s := y.Detailed(names, nil, 100, 60)
	a := account(t, s, "alice")
	if !a.At[0].Doubtful || a.At[1].Doubtful || s.Servers[0].DoubtfulOf != 1 || s.Servers[1].DoubtfulOf != 0 {
		t.Errorf("more than the quota allows: %+v", a.At)
	}
	if b := account(t, s, "bob"); b.Bytes != math.MaxInt64 || b.Shares != math.MaxInt64 || s.Bytes != math.MaxInt64 {
		t.Errorf("overflow: %+v", b)
	}
}

func TestMissingAndStale(t *testing.T) {
	y := tally.New([]tally.Report{report(1, 100, row(11, 10, 1))})
	y.Fail(server(1), "s1", "connection refused")
	y.Fail(server(3), "s3", "not accepted")
	states := func(now int64) map[grid.ServerID]tally.State {
		m := map[grid.ServerID]tally.State{}
		for _, v := range y.Summary(names, []grid.ServerID{server(1), server(2)}, now, 60).Servers {
			m[v.ID] = v.State
		}
		return m
	}
	if got, want := states(160), map[grid.ServerID]tally.State{server(1): tally.Fresh, server(2): tally.Missing, server(3): tally.Missing}; !reflect.DeepEqual(got, want) {
		t.Errorf("after 60 s: %v", got)
	}
	if got := states(161); got[server(1)] != tally.Stale {
		t.Errorf("after 61 s: %v", got)
	}
	s := y.Summary(names, []grid.ServerID{server(1), server(2)}, 161, 60)
	if account(t, s, "alice").Bytes != 10 || s.Servers[0].Err != "connection refused" || s.Servers[0].Answered != 100 || s.Servers[2].Nickname != "s3" {
		t.Errorf("%+v", s)
	}
	d := s.OfDay(7)
	if d.Day != 7 || len(d.Accounts) != 1 || d.Accounts[0] != (tally.DayAccount{Name: "alice", Bytes: 10, Shares: 1}) || !d.Servers[0].Old || !d.Servers[1].Old {
		t.Errorf("day %+v", d)
	}
}

// BenchmarkSummary adds up ten thousand members at a hundred servers.
func BenchmarkSummary(b *testing.B) {
	const members, servers = 10_000, 100
	y, names := tally.New(nil), tally.Names{}
	for s := range byte(servers) {
		r := tally.Report{Server: server(s), At: 100}
		for m := range members {
			k := grid.PublicKey{s, byte(m >> 8), byte(m), 1}
			r.Rows = append(r.Rows, tally.Row{Key: k, Bytes: 1000, Shares: 1})
			names[lease.ServerKey{Server: server(s), Key: k}] = tally.Owner{Name: fmt.Sprint("member", m)}
		}
		y.Take(r)
	}
	for name, sum := range map[string]func(tally.Names, []grid.ServerID, int64, int64) tally.Summary{"sums": y.Summary, "detail": y.Detailed} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if s := sum(names, nil, 100, 60); s.Shares != members*servers || len(s.Accounts) != members {
					b.Fatalf("%d shares of %d accounts", s.Shares, len(s.Accounts))
				}
			}
		})
	}
}
