package aggregator_test

import (
	"testing"

	"github.com/tarn-grid/tarn/actors/aggregator"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// pagesOf are a server's pages about so many members.
func pagesOf(tb testing.TB, members int) (grid.ServerID, [][]byte) {
	tb.Helper()
	server := key(1)
	id := grid.ServerID(grid.PublicKeyOf(server))
	p := wire.UsagePage{Server: id, Of: asker, At: 1}
	var pages [][]byte
	sign := func() {
		b, err := wire.SignUsagePage(server, p)
		if err != nil {
			tb.Fatal(err)
		}
		pages = append(pages, b)
		p.After, p.Delegates = p.Last(), nil
	}
	for n := range members {
		p.Delegates = append(p.Delegates, wire.DelegatedUsage{Delegate: grid.PublicKey{2, byte(n >> 8), byte(n)}, Bytes: 1000, Shares: 1})
		if p.More = n+1 < members; len(p.Delegates) == wire.MaxBelow || !p.More {
			sign()
		}
	}
	return id, pages
}

// A server's ten thousand members come in twenty pages.
func TestReadsManyPages(t *testing.T) {
	id, pages := pagesOf(t, 10_000)
	r, err := aggregator.ReadReport(id, pages)
	if err != nil || len(r.Rows) != 10_000 || len(pages) != 20 {
		t.Errorf("%d rows in %d pages, %v", len(r.Rows), len(pages), err)
	}
}

// BenchmarkReadReport is what one server's report of ten thousand members costs,
// signatures included.
func BenchmarkReadReport(b *testing.B) {
	id, pages := pagesOf(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := aggregator.ReadReport(id, pages); err != nil {
			b.Fatal(err)
		}
	}
}
