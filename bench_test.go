package tarn_test

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
)

// The benchmarks run a whole grid in one process: a client and ten servers on
// loopback, 3 of 10. CPU and allocations are those of both sides.

func benchGrid(b *testing.B) *testGrid {
	b.Helper()
	return newGrid(b, 10, file.Params{Needed: 3, Happy: 7, Total: 10, SegmentSize: file.DefaultSegmentSize})
}

func benchSize(b *testing.B) int {
	if testing.Short() {
		return 2 << 20
	}
	return 100 << 20
}

func BenchmarkPut(b *testing.B) {
	g := benchGrid(b)
	for _, c := range []struct {
		name string
		size int
	}{{"4KiB", 4096}, {"1MiB", 1 << 20}, {"big", benchSize(b)}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				data := random(c.size)
				b.StartTimer()
				g.put(data)
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	g := benchGrid(b)
	for _, c := range []struct {
		name string
		size int
	}{{"4KiB", 4096}, {"1MiB", 1 << 20}, {"big", benchSize(b)}} {
		capability := g.put(random(c.size)).Cap
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			for b.Loop() {
				read(b, g.client, capability)
			}
		})
	}
}

func read(b *testing.B, n *tarn.Node, capability string) {
	f, err := n.Open(b.Context(), capability)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := f.WriteRange(io.Discard, 0, f.Size()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRange reads 4 KiB at changing offsets, each time as a program would
// that opens the file for every request.
func BenchmarkRange(b *testing.B) {
	g := benchGrid(b)
	size := int64(benchSize(b))
	capability := g.put(random(int(size))).Cap
	i := int64(0)
	for b.Loop() {
		f, err := g.client.Open(b.Context(), capability)
		if err != nil {
			b.Fatal(err)
		}
		i++
		if err := f.WriteRange(io.Discard, i*5_000_003%(size-4096), 4096); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

// BenchmarkConnect reports what one more server costs a client: time until
// the client is logged in there, CPU and memory of both ends together. The
// difference between a grid of many servers and one of few is divided by that
// of their numbers, so that what a node costs by itself is left out.
func BenchmarkConnect(b *testing.B) {
	const few = 1
	many := 41
	if testing.Short() {
		many = 5
	}
	p := file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: file.DefaultSegmentSize}
	small, large := newGrid(b, few, p), newGrid(b, many, p)
	var sum connectCost
	for b.Loop() {
		one, other := small.connect(few), large.connect(many)
		sum.add(other.less(one))
	}
	per := float64(b.N * (many - few))
	b.ReportMetric(float64(sum.wall.Microseconds())/1e3/per, "ms/server")
	b.ReportMetric(float64(sum.cpu.Microseconds())/1e3/per, "CPU-ms/server")
	b.ReportMetric(float64(sum.memory)/1024/per, "KiB/server")
	b.ReportMetric(float64(sum.goroutines)/per, "goroutines/server")
}

// connectCost is what it took to have a client logged in everywhere.
type connectCost struct {
	wall, cpu  time.Duration
	memory     int64 // heap and stacks, bytes
	goroutines int
}

func (c *connectCost) add(d connectCost) {
	c.wall, c.cpu, c.memory, c.goroutines = c.wall+d.wall, c.cpu+d.cpu, c.memory+d.memory, c.goroutines+d.goroutines
}

func (c connectCost) less(d connectCost) connectCost {
	return connectCost{c.wall - d.wall, c.cpu - d.cpu, c.memory - d.memory, c.goroutines - d.goroutines}
}

// spent is what the process has cost so far.
func spent(b testing.TB) (c connectCost) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return connectCost{0, time.Duration(u.Utime.Nano() + u.Stime.Nano()), int64(m.HeapInuse + m.StackInuse), runtime.NumGoroutine()}
}

// connect opens one more client of the grid and closes it.
func (g *testGrid) connect(servers int) connectCost {
	g.t.Helper()
	before, start := spent(g.t), time.Now()
	n, err := tarn.Open(g.t.Context(), tarn.Config{
		Dir: g.t.TempDir(), Introducers: []tarn.IntroducerRef{g.ref},
		Client: &tarn.ClientConfig{Params: file.DefaultParams(), Account: g.account, Convergence: bytes.Repeat([]byte("c"), 16)},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	for usage := 0; usage < servers; {
		all, _, err := n.OwnUsage(g.t.Context())
		if err != nil {
			g.t.Fatal(err)
		}
		usage = len(all)
	}
	wall := time.Since(start)
	cost := spent(g.t).less(before)
	cost.wall = wall
	if err := n.Close(context.WithoutCancel(g.t.Context())); err != nil {
		g.t.Fatal(err)
	}
	return cost
}
