package tarn_test

import (
	"bytes"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
)

// BenchmarkMutable overwrites and reads a file of 1 KiB, and makes directories of
// which the keys are there (the first 64) or not.
func BenchmarkMutable(b *testing.B) {
	p := file.Params{Needed: 2, Happy: 3, Total: 4, SegmentSize: 128 << 10}
	g := newGrid(b, 4, p)
	made := g.createMutable(someBytes(1, 1<<10), tarn.MutableOptions{})
	b.Run("overwrite", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := g.client.Overwrite(b.Context(), made.Cap, bytes.NewReader(someBytes(uint64(i), 1<<10))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := g.client.ReadMutable(b.Context(), made.ReadCap); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("mkdir", func(b *testing.B) {
		for b.Loop() {
			if _, err := g.client.MakeDirectory(b.Context(), tarn.MutableOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
