package tarn_test

import (
	"io"
	"testing"

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
