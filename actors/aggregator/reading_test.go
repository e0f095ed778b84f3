package aggregator_test

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

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

// padded is a page with a delegate and 40,000 bytes that nobody reads.
func padded(tb testing.TB, after, delegate grid.PublicKey) []byte {
	tb.Helper()
	server := key(1)
	id := grid.ServerID(grid.PublicKeyOf(server))
	row := []any{delegate, 1, 1, 0, 0, 0, false}
	encode := func(v any) []byte {
		b, err := cbor.Marshal(v)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	page := encode(map[int]any{1: id, 2: asker, 3: 1, 4: after, 5: []any{row}, 6: true, 99: make([]byte, 40_000)})
	signature := ed25519.Sign(server, append([]byte("tarn usage page v1:"), page...))
	return encode([]any{1, page, signature})
}

// A server that says little in many bytes, or that has more and more keys below
// each other, comes to an end before the memory does.
func TestPagesWithoutEnd(t *testing.T) {
	id := grid.ServerID(grid.PublicKeyOf(key(1)))
	var pages [][]byte
	after := grid.PublicKey{}
	for n := range 1000 {
		next := grid.PublicKey{3, byte(n >> 8), byte(n)}
		pages, after = append(pages, padded(t, after, next)), next
	}
	if _, err := aggregator.ReadReport(id, pages[:500]); !errors.Is(err, aggregator.ErrIncomplete) {
		t.Errorf("20 MB, with more to come: %v", err)
	}
	if _, err := aggregator.ReadReport(id, pages); !errors.Is(err, aggregator.ErrNonsense) || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("40 MB: %v", err)
	}

	pages = nil
	of := asker
	for n := range byte(20) {
		next := grid.PublicKey{3, n}
		b, err := wire.SignUsagePage(key(1), wire.UsagePage{Server: id, Of: of, At: 1, Delegates: []wire.DelegatedUsage{{Delegate: next, Below: true}}})
		if err != nil {
			t.Fatal(err)
		}
		pages, of = append(pages, b), next
	}
	if _, err := aggregator.ReadReport(id, pages); !errors.Is(err, aggregator.ErrNonsense) {
		t.Errorf("twenty keys below each other: %v", err)
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
