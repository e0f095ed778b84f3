package tarn_test

import (
	"bytes"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
)

var meshNodes = flag.Int("nodes", 100, "of a mesh")

// BenchmarkMesh reports how long it takes until a hundred nodes, each of them client
// and server, are logged in at each other, from the start of the first; all in this
// process. With -args -nodes N it is another number of them.
func BenchmarkMesh(b *testing.B) {
	many := *meshNodes
	if testing.Short() {
		many = 5
	}
	for b.Loop() {
		g := newGrid(b, 0, file.DefaultParams())
		before, start := spent(b), time.Now()
		nodes := make([]*tarn.Node, many)
		g.meanwhile(nodes, func(i int) { nodes[i] = g.openPeer(fmt.Sprintf("n%d", i)) })
		if b.Failed() {
			return
		}
		b.ReportMetric(time.Since(start).Seconds(), "s-until-open")
		for _, n := range nodes {
			awaitLogins(b, n, many)
		}
		b.ReportMetric(time.Since(start).Seconds(), "s")
		b.ReportMetric(spent(b).less(before).cpu.Seconds(), "CPU-s")
		g.meanwhile(nodes, func(i int) {
			if err := nodes[i].Close(b.Context()); err != nil {
				b.Error(err)
			}
		})
	}
}

// meanwhile does something for all nodes at a time.
func (g *testGrid) meanwhile(nodes []*tarn.Node, do func(i int)) {
	var all sync.WaitGroup
	for i := range nodes {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// openPeer starts a node that is client and server, with the grid's account.
func (g *testGrid) openPeer(name string) *tarn.Node {
	n, err := tarn.Open(g.t.Context(), tarn.Config{
		Dir: g.t.TempDir(), Nickname: name, Introducers: []tarn.IntroducerRef{g.ref},
		Storage: &tarn.StorageConfig{Key: newKey(g.t), Listen: []string{"/ip4/127.0.0.1/tcp/0"}},
		Client:  &tarn.ClientConfig{Params: file.DefaultParams(), Account: g.account, Convergence: bytes.Repeat([]byte("c"), 16)},
	})
	if err != nil {
		g.t.Error(err)
	}
	return n
}

// awaitLogins waits until a node is logged in at that many servers.
func awaitLogins(t testing.TB, n *tarn.Node, want int) {
	for in := 0; in < want; {
		s, err := n.Status(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		in = 0
		for _, server := range s.Servers {
			if server.State == "logged-in" {
				in++
			}
		}
		if in < want {
			<-time.After(50 * time.Millisecond) // a look costs as much as some logins
		}
	}
}

// BenchmarkRestart reports how long a client takes after a restart until it is logged
// in at a hundred servers again, which run in this process.
func BenchmarkRestart(b *testing.B) {
	many := 100
	if testing.Short() {
		many = 5
	}
	g := newGrid(b, many, file.DefaultParams())
	c := tarn.Config{
		Dir: b.TempDir(), Introducers: []tarn.IntroducerRef{g.ref},
		Client: &tarn.ClientConfig{Params: file.DefaultParams(), Account: g.account, Convergence: bytes.Repeat([]byte("c"), 16)},
	}
	life := func() time.Duration {
		start := time.Now()
		n, err := tarn.Open(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		awaitLogins(b, n, many)
		took := time.Since(start)
		if err := n.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		return took
	}
	life()
	var sum time.Duration
	before := spent(b)
	for b.Loop() {
		sum += life()
	}
	b.ReportMetric(sum.Seconds()/float64(b.N), "s")
	b.ReportMetric(spent(b).less(before).cpu.Seconds()/float64(b.N), "CPU-s")
}
