//go:build integration

package scale

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-grid/tarn/transport"
)

// TestServersComeAndGo: forty servers go all at once and come back, again and again,
// each connection over libp2p under an identity of its own. The node that is logged
// in to them then has as many goroutines as after the first time, and no more memory
// than some bytes of each connection; and none of them after its end.
func TestServersComeAndGo(t *testing.T) {
	defer goleak.VerifyNone(t)
	const servers, times = 40, 3
	var flock [servers]transport.Listener
	clauses := ""
	for n := range flock {
		flock[n] = mustServe(t, n, []string{ownAddress(n)})
		clauses += clauseOf(keyOf(n), flock[n].Hints())
	}
	node := client(t, folder(t, clauses), newAccount(t))
	awaitLogins(t, node, servers)
	comeAndGo := func() {
		var at [servers]string
		for n, l := range flock {
			at[n] = string(l.Hints()[0])
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		await(t, node, func(logins int) bool { return logins == 0 })
		for n := range flock {
			flock[n] = mustServe(t, n, []string{at[n]})
		}
		awaitLogins(t, node, servers)
	}
	comeAndGo()
	before := atRest(t)
	for range times {
		comeAndGo()
	}
	if grown := atRest(t).less(before); grown.goroutines > 0 || grown.live > servers*times*maxNodeLeft {
		t.Errorf("%d goroutines and %d bytes more than before", grown.goroutines, grown.live)
	}
	closeNode(t, node)
	for _, l := range flock {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// ownAddress is at an address that no connection begins at: so the port that a server
// had is still free when it comes back.
func ownAddress(n int) string { return fmt.Sprintf("/ip4/127.1.0.%d/tcp/0", n+1) }

// maxNodeLeft is maxLeft for a node, whose logs and caches grow to their size.
const maxNodeLeft = 2 << 10

func mustServe(t *testing.T, n int, addresses []string) transport.Listener {
	t.Helper()
	l, err := serve(keyOf(n), addresses)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
