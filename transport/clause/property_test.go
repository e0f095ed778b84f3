package clause_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
)

func drawWay(t *rapid.T, kind transport.Kind) transport.Way {
	return rapid.SampledFrom(kind.Ways()).Draw(t, string(kind))
}

func drawConnections(t *rapid.T) (c transport.Connections) {
	for _, kind := range transport.Kinds() {
		c = c.With(kind, drawWay(t, kind))
	}
	c.Punch = c.Relay == transport.Direct && rapid.Bool().Draw(t, "punch")
	return c
}

var someHints = rapid.SliceOfN(rapid.SampledFrom([]grid.Hint{"/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/udp/1/quic-v1", onion}), 1, 3)

func drawClause(t *rapid.T) *clause.Clause {
	c := &clause.Clause{Server: idOf("alice"), Ignore: rapid.Bool().Draw(t, "ignore"), Connections: map[transport.Kind]transport.Way{}}
	for _, kind := range transport.Kinds() {
		if rapid.Bool().Draw(t, "says "+string(kind)) {
			c.Connections[kind] = drawWay(t, kind)
		}
	}
	if rapid.Bool().Draw(t, "says punch") {
		c.Punch = new(rapid.Bool().Draw(t, "own punch"))
	}
	if rapid.Bool().Draw(t, "says addresses") {
		c.Addresses = someHints.Draw(t, "own addresses")
	}
	return c
}

// TestNothingIsLooser: what is dialled directly is what the node dials so, or
// what the user wrote; under anonymous he has to have written the address, too.
func TestNothingIsLooser(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := clause.Rules{Connections: drawConnections(t), Anonymous: rapid.Bool().Draw(t, "anonymous")}
		if rules.Anonymous {
			rules = anonymous
		}
		announced := &grid.Announcement{Server: idOf("alice"), Hints: someHints.Draw(t, "announced")}
		before := slices.Clone(announced.Hints)
		var own *clause.Clause
		if rapid.Bool().Draw(t, "clause") {
			own = drawClause(t)
		}
		s, _, ok := rules.Merge(announced, own)
		if !ok || !slices.Equal(before, announced.Hints) {
			t.Fatal("an announced server can't be used, or its announcement was changed")
		}
		if own == nil {
			if s.Connections != rules.Connections || s.Ignored || len(s.Own) > 0 {
				t.Fatalf("without a clause: %+v", s)
			}
			return
		}
		for _, kind := range transport.Kinds() {
			way, said := own.Connections[kind]
			written := said && (way != transport.Direct || !rules.Anonymous || own.Addresses != nil)
			if got := s.Connections.Of(kind); written && got != way || !written && got != rules.Connections.Of(kind) {
				t.Fatalf("%s: %s, of the node's %s and the user's %s (%v)", kind, got, rules.Connections.Of(kind), way, written)
			}
		}
		if err := s.Connections.Validate(); err != nil || rules.Anonymous && s.Connections.Punch {
			t.Fatal("holes are punched", err)
		}
		if own.Addresses != nil != s.OwnAddresses() || s.OwnAddresses() && !slices.Equal(s.Announcement.Hints, own.Addresses) {
			t.Fatalf("addresses %v", s.Announcement.Hints)
		}
	})
}

// FuzzOverrides: no file makes anything fail, a mistake has a line that there
// is, and nothing that was in force is lost to one.
func FuzzOverrides(f *testing.F) {
	for _, seed := range []string{
		"", "@alice: {ignore: true}", "@alice:\n  local:\n    connections: {tcp: tor}\n@bob: {local: {petname: b}}\n", "@alice: [&a {b: *a}]\n---\n@bob: {}",
		"@alice: {announcement: {signed: \"%alice\", addresses: [^onion]}}", "  @alice: {ignore: true}", "? @alice\n: {ignore: true}", "\ufeff@bob: {ignore: false}\r\n",
	} {
		f.Add([]byte(expand(f, seed)))
	}
	before := clause.Overrides{}.Then([]byte(expand(f, "@alice: {local: {petname: a}}\n@bob: {ignore: yes}\n@carol: {ignore: true}")))
	f.Fuzz(func(t *testing.T, content []byte) {
		now := before.Then(content)
		nameless := false
		wrong := map[grid.ServerID]bool{}
		for _, m := range now.Mistakes {
			if m.Line < 0 || m.Line > strings.Count(string(content), "\n")+1 || m.Reason == "" {
				t.Errorf("mistake %+v", m)
			}
			nameless = nameless || m.Server == grid.ServerID{}
			wrong[m.Server] = true
		}
		for id, c := range before.Clauses {
			if _, ok := now.Clauses[id]; !ok && (nameless || wrong[id]) {
				t.Errorf("the clause of line %d is lost", c.Line)
			}
		}
		for id := range wrong {
			_, in := now.Clauses[id]
			if _, held := now.Held[id]; id != (grid.ServerID{}) && in == held {
				t.Errorf("%s is connected to by no clause", id)
			}
		}
		if again := now.Then(content); !reflect.DeepEqual(again.Clauses, now.Clauses) {
			t.Error("read again it is another")
		}
	})
}
