package immutable_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// secret is the convergence secret of all files here.
var secret = []byte("tarn golden secr")

// plaintext is what the golden shares were made of.
func plaintext(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*i*7 + i/251*3 + 11)
	}
	return b
}

// failer is what *testing.T and *rapid.T have in common.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func layoutOf(t failer, size, k, n int, segment int64) immutable.Layout {
	t.Helper()
	l, err := immutable.NewLayout(int64(size), file.Params{Needed: k, Total: n, SegmentSize: segment})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// encode makes all shares of data. The segments are encoded last to first, as
// their order must not matter.
func encode(t failer, l immutable.Layout, data []byte) (file.CHK, [][]byte) {
	t.Helper()
	h := immutable.NewKeyHasher(l, secret)
	h.Write(data)
	key, err := h.Key()
	if err != nil {
		t.Fatal(err)
	}
	e, err := immutable.NewEncoder(l, key)
	if err != nil {
		t.Fatal(err)
	}
	segments := make([]*immutable.Segment, l.NumSegments)
	for i := l.NumSegments - 1; i >= 0; i-- {
		off := i * l.SegmentSize
		if segments[i], err = e.EncodeSegment(i, data[off:off+l.SegmentLen(i)]); err != nil {
			t.Fatal(err)
		}
	}
	shares := make([][]byte, l.Total)
	for n := range shares {
		shares[n] = e.Head()
	}
	for _, s := range segments {
		for n, b := range s.Blocks {
			shares[n] = append(shares[n], b...)
		}
		if err := e.Add(s); err != nil {
			t.Fatal(err)
		}
		s.Release()
	}
	return finish(t, e, key, shares)
}

func finish(t failer, e *immutable.Encoder, key file.Key, shares [][]byte) (file.CHK, [][]byte) {
	t.Helper()
	c, err := e.Finish()
	if err != nil {
		t.Fatal(err)
	}
	for n := range shares {
		tail, err := e.Tail(grid.ShareNum(n))
		if err != nil {
			t.Fatal(err)
		}
		shares[n] = append(shares[n], tail...)
		if int64(len(shares[n])) != e.Layout().ShareSize {
			t.Fatalf("share %d has %d bytes, the layout says %d", n, len(shares[n]), e.Layout().ShareSize)
		}
	}
	return c.WithKey(key), shares
}

// golden is one line of testdata/tahoe/cases.txt.
type golden struct {
	name                         string
	size, k, n, segment, version int
	cap, shares                  string
}

func (g golden) layout(t failer) immutable.Layout {
	l := layoutOf(t, g.size, g.k, g.n, int64(g.segment))
	if g.version == 2 {
		l = l.WithVersion2()
	}
	return l
}

func goldens(t *testing.T) []golden {
	t.Helper()
	b, err := os.ReadFile("testdata/tahoe/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	for line := range strings.Lines(string(b)) {
		var g golden
		_, err := fmt.Sscan(line, &g.name, &g.size, &g.k, &g.n, &g.segment, &g.version, &g.cap, &g.shares)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, g)
	}
	if len(all) < 11 {
		t.Fatalf("only %d golden cases", len(all))
	}
	return all
}

// All shares of each case, those in testdata byte by byte, the rest by the
// hash of all of them.
func TestSharesAreTahoes(t *testing.T) {
	compared := 0
	for _, g := range goldens(t) {
		c, shares := encode(t, g.layout(t), plaintext(g.size))
		if c.String() != g.cap {
			t.Errorf("%s: %s, want %s", g.name, c, g.cap)
		}
		for n, share := range shares {
			want, err := os.ReadFile(fmt.Sprintf("testdata/tahoe/%s.%d.share", g.name, n))
			if err != nil {
				continue // only a few are kept
			}
			compared++
			if !bytes.Equal(share, want) {
				t.Errorf("%s: share %d differs", g.name, n)
			}
		}
		if got := tagged.Sum("shares", bytes.Join(shares, nil)).String(); got != g.shares {
			t.Errorf("%s: all shares hash to %s, want %s", g.name, got, g.shares)
		}
	}
	if compared != 11 {
		t.Errorf("%d shares were compared byte by byte (want 11)", compared)
	}
}
