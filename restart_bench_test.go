package tarn_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
)

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
