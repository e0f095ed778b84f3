package lease

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/tarn-grid/tarn/grid"
)

// TestChains runs the scripts in testdata/chains: each draws a login and shows
// what the server makes of it. A failing line shows which sentinel, and the
// sentence that a person would read.
func TestChains(t *testing.T) {
	datadriven.Walk(t, "testdata/chains", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "login" {
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			s := parseScript(t, d.Input)
			grant, _, err := Verify(s.chain(), s.request.encode(), s.in)
			if err != nil {
				return castNames(sentinelOf(t, err) + "\n" + err.Error() + "\n")
			}
			return castNames(showGrant(grant))
		})
	})
}

var sentinels = []struct {
	name string
	err  error
}{
	{"ErrMalformed", ErrMalformed}, {"ErrForged", ErrForged}, {"ErrNoSuchRoot", ErrNoSuchRoot},
	{"ErrAuthorityExpired", ErrAuthorityExpired}, {"ErrAuthorityRevoked", ErrAuthorityRevoked},
	{"ErrNotPermitted", ErrNotPermitted}, {"ErrWrongServer", ErrWrongServer},
	{"ErrWrongBeneficiary", ErrWrongBeneficiary}, {"ErrLeaseLabel", ErrLeaseLabel},
}

// sentinelOf is the one sentinel that err is; each error has exactly one.
func sentinelOf(t *testing.T, err error) string {
	t.Helper()
	var found []string
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			found = append(found, s.name)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%v is %d sentinels: %v", err, len(found), found)
	}
	return found[0]
}

var cast = []string{"alice", "bob", "carol", "dave", "mallory", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9"}

// castNames writes the names of the cast for their keys.
func castNames(s string) string {
	for _, name := range cast {
		s = strings.ReplaceAll(s, pub(name).String(), name)
		s = strings.ReplaceAll(s, pub(name).Short(), name)
	}
	return s
}

func showGrant(g Grant) string {
	var b strings.Builder
	fmt.Fprintf(&b, "root %v, label %v\nkeys", g.Root, g.Label)
	for _, k := range g.Keys {
		fmt.Fprintf(&b, " %v", k)
	}
	b.WriteString("\n")
	for _, p := range g.Pairs {
		fmt.Fprintf(&b, "pair %v>%v%s\n", p.Signer, p.Delegate, number(" space", p.Space))
	}
	e := g.Effective
	fmt.Fprintf(&b, "may %v%s%s", e.Operation, number(", max-size", e.MaxSize), since(e.Until))
	b.WriteString(word(", root", e.Root) + pinned(e) + "\n")
	return b.String()
}

func number(name string, v *int64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%s %d", name, *v)
}

func since(until *int64) string {
	if until == nil {
		return ""
	}
	return fmt.Sprintf(", until noon%+ds", *until-noon.Unix())
}

func word(name string, k *grid.PublicKey) string {
	if k == nil {
		return ""
	}
	return name + " " + k.String()
}

func pinned(r Restrictions) string {
	var s string
	if r.StorageIndex != nil {
		s += ", si " + strings.TrimRight(string(r.StorageIndex[:]), "\x00")
	}
	if r.UEBHash != nil {
		s += ", ueb " + strings.TrimRight(string(r.UEBHash[:]), "\x00")
	}
	return s
}
