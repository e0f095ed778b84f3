package clause_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/wire"
)

// cast are the servers of the scripts, by name.
var cast = []string{"alice", "bob", "carol", "dave"}

func keyOf(name string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append([]byte(name), make([]byte, ed25519.SeedSize-len(name))...))
}

func idOf(name string) grid.ServerID { return grid.ServerID(grid.PublicKeyOf(keyOf(name))) }

func announce(t testing.TB, name string, sequence uint64, hints ...grid.Hint) (grid.Announcement, string) {
	t.Helper()
	id := idOf(name)
	a := grid.Announcement{Server: id, Sequence: sequence, Nickname: name, NodeID: id.DefaultNodeID(), PermutationSeed: id[:], Hints: hints}
	signed, err := wire.SignAnnouncement(keyOf(name), a)
	if err != nil {
		t.Fatal(err)
	}
	return a, base64.StdEncoding.EncodeToString(signed)
}

// onion is an address, ^onion in scripts.
var onion = grid.Hint("/onion3/" + strings.Repeat("tarn", 14) + ":3457")

// expand puts ids for @name, and a signed announcement for %name.
func expand(t testing.TB, text string) string {
	text = strings.ReplaceAll(text, "^onion", string(onion))
	for _, name := range cast {
		_, signed := announce(t, name, 7, onion)
		text = strings.ReplaceAll(text, "@"+name, idOf(name).String())
		text = strings.ReplaceAll(text, "%"+name, signed)
	}
	return text
}

func contract(text string) string {
	text = strings.ReplaceAll(text, string(onion), "^onion")
	for _, name := range cast {
		text = strings.ReplaceAll(text, idOf(name).String(), "@"+name)
	}
	return text
}

func nameOf(id grid.ServerID) string {
	if id == (grid.ServerID{}) {
		return "?"
	}
	return contract(id.String())
}

// TestScripts runs the files in testdata. "file" gives the user's file a content
// and shows what is then in force; "merge" shows what comes of it for servers
// that announce themselves, under settings of the node.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var now clause.Overrides
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file":
				if d.HasArg("new") {
					now = clause.Overrides{}
				}
				var content []byte
				if !d.HasArg("gone") {
					content = append([]byte{}, expand(t, strings.ReplaceAll(d.Input, "~", ""))...)
				}
				now = now.Then(content)
				return contract(showOverrides(now))
			case "merge":
				return contract(showMerge(t, now, rulesOf(t, d), d.Input))
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func showOverrides(o clause.Overrides) string {
	var b strings.Builder
	for _, name := range cast {
		if c, ok := o.Clauses[idOf(name)]; ok {
			fmt.Fprintf(&b, "@%s: %s\n", name, showClause(c))
		}
		if m, ok := o.Held[idOf(name)]; ok {
			fmt.Fprintf(&b, "@%s: held, %v\n", name, m)
		}
	}
	for _, m := range o.Mistakes {
		fmt.Fprintf(&b, "%s %v\n", nameOf(m.Server), m)
	}
	return b.String()
}

func showClause(c clause.Clause) string {
	parts := []string{fmt.Sprintf("line %d", c.Line)}
	if c.Ignore {
		parts = append(parts, "ignored")
	}
	for _, kind := range transport.Kinds() {
		if way, ok := c.Connections[kind]; ok {
			parts = append(parts, fmt.Sprintf("%s: %s", kind, way))
		}
	}
	if c.Punch != nil {
		parts = append(parts, fmt.Sprintf("punch: %v", *c.Punch))
	}
	for _, name := range []string{c.Petname, c.Nickname} {
		if name != "" {
			parts = append(parts, fmt.Sprintf("%q", name))
		}
	}
	if c.Addresses != nil {
		parts = append(parts, fmt.Sprint(c.Addresses))
	}
	if c.Announcement != nil {
		parts = append(parts, fmt.Sprintf("announcement %d", c.Announcement.Sequence))
	}
	return strings.Join(parts, ", ")
}

func rulesOf(t *testing.T, d *datadriven.TestData) clause.Rules {
	r := clause.Rules{Connections: transport.Connections{TCP: transport.Direct, QUIC: transport.Disabled, Onion: transport.Disabled, Relay: transport.Disabled}}
	if d.HasArg("anonymous") {
		r = anonymous
	}
	return r
}

var anonymous = clause.Rules{
	Connections: transport.Connections{TCP: transport.Tor, QUIC: transport.Disabled, Onion: transport.Tor, Relay: transport.Tor}, Anonymous: true,
}

// showMerge merges for each line of input: a name, and addresses announced.
func showMerge(t *testing.T, o clause.Overrides, r clause.Rules, input string) string {
	var b strings.Builder
	for line := range strings.Lines(expand(t, input)) {
		words := strings.Fields(line)
		var announced *grid.Announcement
		if len(words) > 1 {
			var hints []grid.Hint
			for _, w := range words[1:] {
				hints = append(hints, grid.Hint(w))
			}
			a, _ := announce(t, words[0], 3, hints...)
			announced = &a
		}
		var own *clause.Clause
		if c, ok := o.Clauses[idOf(words[0])]; ok {
			own = &c
		}
		s, mistakes, ok := r.Merge(announced, own)
		fmt.Fprintf(&b, "%s: ok %v, ignored %v, own %v\n  %q at %v, sequence %d\n  %+v\n",
			words[0], ok, s.Ignored, s.Own, s.Name(), s.Announcement.Hints, s.Announcement.Sequence, s.Connections)
		for _, m := range mistakes {
			fmt.Fprintf(&b, "  %v\n", m)
		}
	}
	return b.String()
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	a, signed := announce(t, "alice", 7, onion, "/ip4/192.0.2.1/tcp/1", "/smoke/signals")
	a.Nickname = "alice"
	good, mistakes := clause.Parse([]byte(expand(t, "@alice: {announcement: {signed: "+signed+"}, local: {heard: 2026-01-02T03:04:05Z}}")))
	if len(good) != 1 || len(mistakes) != 0 {
		t.Fatal(good, mistakes)
	}
	text, err := clause.Format(good[0], anonymous.Connections)
	if err != nil {
		t.Fatal(err)
	}
	again, mistakes := clause.Parse(text)
	if len(again) != 1 || len(mistakes) != 0 {
		t.Fatalf("%s\n%v", text, mistakes)
	}
	c := again[0]
	if !c.Heard.Equal(good[0].Heard) || !slices.Equal(c.Signed, good[0].Signed) || c.Connections["tcp"] != transport.Tor || len(c.Addresses) != 2 {
		t.Errorf("%s", text)
	}
}

// A nickname that was chosen to be a nuisance costs nobody a clause.
func TestOddNicknames(t *testing.T) {
	id := idOf("bob")
	a := grid.Announcement{Server: id, Sequence: 1, Nickname: "bob\u202e: {", NodeID: id.DefaultNodeID(), PermutationSeed: id[:]}
	signed, err := wire.SignAnnouncement(keyOf("bob"), a)
	if err != nil {
		t.Fatal(err)
	}
	text, err := clause.Format(clause.Clause{Server: id, Signed: signed, Announcement: &a}, anonymous.Connections)
	if err != nil {
		t.Fatal(err)
	}
	if good, mistakes := clause.Parse(text); len(good) != 1 || len(mistakes) != 0 {
		t.Errorf("%s\n%v", text, mistakes)
	}
}
