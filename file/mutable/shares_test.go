package mutable_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
)

// vector is one case of Tahoe-LAFS's integration/vectors/test_vectors.yaml.
type vector struct {
	Expected string
	Format   struct{ Params struct{ Format, Key string } }
}

func vectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("../testdata/tahoe_caps.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Vector []vector }
	if err := yaml.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	var mutables []vector
	for _, v := range all.Vector {
		if v.Format.Params.Key != "" {
			mutables = append(mutables, v)
		}
	}
	return mutables
}

// goldenKey is the key of all shares here.
func goldenKey(t testing.TB) *mutable.Key {
	t.Helper()
	return keyOf(t, vectors(t)[0])
}

func keyOf(t testing.TB, v vector) *mutable.Key {
	t.Helper()
	k, err := mutable.ParsePEM([]byte(v.Format.Params.Key))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func plaintext(size int64) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*i*7 + i/251*3 + 11)
	}
	return b
}

// golden is one line of testdata/tahoe/cases.txt.
type golden struct {
	name   string
	layout mutable.Layout
	shares [][]byte
}

func goldens(t testing.TB) []golden {
	t.Helper()
	b, err := os.ReadFile("testdata/tahoe/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	for line := range strings.Lines(string(b)) {
		var g golden
		var size, segment int64
		var k, n int
		if _, err := fmt.Sscan(line, &g.name, &size, &k, &n, &segment); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		g.layout = layoutOf(t, formatOf(g.name), size, k, n, segment)
		for i := range n {
			share, err := os.ReadFile(fmt.Sprintf("testdata/tahoe/%s.%d.share", g.name, i))
			if err != nil {
				t.Fatal(err)
			}
			g.shares = append(g.shares, share)
		}
		all = append(all, g)
	}
	if len(all) != 6 {
		t.Fatalf("%d golden cases (want 6)", len(all))
	}
	return all
}

func formatOf(name string) mutable.Format {
	if strings.HasPrefix(name, "mdmf") {
		return mutable.MDMF
	}
	return mutable.SDMF
}

func layoutOf(t testing.TB, f mutable.Format, size int64, k, n int, segment int64) mutable.Layout {
	t.Helper()
	if segment == 0 {
		segment = mutable.DefaultSegmentSize
	}
	l, err := mutable.NewLayout(f, size, file.Params{Needed: k, Total: n, SegmentSize: segment})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// read gives back a file from some of its shares, each of which is verified.
func read(c file.Mutable, shares map[grid.ShareNum][]byte) ([]byte, error) {
	cut := map[grid.ShareNum]mutable.Share{}
	var p mutable.Prefix
	for n, b := range shares {
		s, err := mutable.Cut(b)
		if err != nil {
			return nil, err
		}
		if err := s.Verify(c, n); err != nil {
			return nil, err
		}
		cut[n], p = s, s.Header.Prefix
	}
	key, _ := c.ReadKey()
	var content []byte
	for i := range p.NumSegments() {
		blocks := map[grid.ShareNum][]byte{}
		for n, s := range cut {
			blocks[n] = s.Block(i)
		}
		segment, err := mutable.Decode(p, key, i, blocks)
		if err != nil {
			return nil, err
		}
		content = append(content, segment...)
	}
	return content, nil
}

// last are the last k of some shares.
func last(shares [][]byte, k int) map[grid.ShareNum][]byte {
	some := map[grid.ShareNum][]byte{}
	for n := len(shares) - k; n < len(shares); n++ {
		some[grid.ShareNum(n)] = shares[n]
	}
	return some
}

func TestTahoesSharesAreRead(t *testing.T) {
	key := goldenKey(t)
	for _, g := range goldens(t) {
		c := key.Capability(g.layout.Format)
		for _, c := range []file.Mutable{c, c.ReadOnly()} {
			got, err := read(c, last(g.shares, g.layout.Needed))
			if err != nil || !bytes.Equal(got, plaintext(g.layout.Size)) {
				t.Errorf("%s with %s: %x (%v)", g.name, c.Kind(), got, err)
			}
		}
		for n, b := range g.shares {
			s, err := mutable.Cut(b)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(c.Verifier(), grid.ShareNum(n)); err != nil {
				t.Errorf("%s: share %d: %v", g.name, n, err)
			}
			if s.Header.Layout != g.layout || s.Header.Seqnum != 1 || s.Header.Size() != int64(len(b)) {
				t.Errorf("%s: share %d of %d bytes has %+v, want %+v", g.name, n, len(b), s.Header, g.layout)
			}
		}
	}
}

// Only the signature, which is drawn by lot, differs from Tahoe's shares when
// the same salts are used.
func TestSharesAreTahoes(t *testing.T) {
	key := goldenKey(t)
	for _, g := range goldens(t) {
		salts := saltsOf(t, g)
		p, shares, err := mutable.Encode(g.layout, key, 1, plaintext(g.layout.Size), bytes.NewReader(append(salts, make([]byte, 32)...)))
		if err != nil {
			t.Fatal(err)
		}
		for n, b := range shares {
			s, err := mutable.Cut(b)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(key.Capability(g.layout.Format), grid.ShareNum(n)); err != nil {
				t.Errorf("%s: share %d: %v", g.name, n, err)
			}
			if s.Header.Prefix != p {
				t.Errorf("%s: share %d is of version %+v, want %+v", g.name, n, s.Header.Prefix, p)
			}
			want := bytes.Clone(g.shares[n])
			copy(want[s.Header.Signature.Off:], s.Signature)
			if !bytes.Equal(b, want) {
				t.Errorf("%s: share %d differs:\n%x\n%x", g.name, n, b, want)
			}
		}
	}
}

// saltsOf are the salts that Tahoe drew, one after the other.
func saltsOf(t *testing.T, g golden) []byte {
	t.Helper()
	s, err := mutable.Cut(g.shares[0])
	if err != nil {
		t.Fatal(err)
	}
	if g.layout.Format == mutable.SDMF {
		return s.Header.Salt[:]
	}
	var salts []byte
	for i := range g.layout.NumSegments() {
		salts = append(salts, s.Block(i)[:mutable.SaltSize]...)
	}
	return salts
}

// Each bit of a share counts, but for the gap before MDMF's blocks. What a
// share doesn't sign is proven by what it signs.
func TestDamageIsFound(t *testing.T) {
	key := goldenKey(t)
	for _, g := range goldens(t) {
		c := key.Capability(g.layout.Format)
		whole, err := mutable.Cut(g.shares[0])
		if err != nil {
			t.Fatal(err)
		}
		h := whole.Header
		for at := range g.shares[0] {
			if h.Format == mutable.MDMF && int64(at) >= h.PublicKey.End && int64(at) < h.Data.Off {
				continue
			}
			b := bytes.Clone(g.shares[0])
			b[at] ^= 1 << (at % 8)
			s, err := mutable.Cut(b)
			if err == nil {
				err = s.Verify(c, 0)
			}
			if !errors.Is(err, mutable.ErrShare) {
				t.Errorf("%s: bit %d of byte %d is wrong: %v", g.name, at%8, at, err)
			}
		}
	}
}

func TestCutOffSharesAreRefused(t *testing.T) {
	key := goldenKey(t)
	for _, g := range goldens(t) {
		for size := range g.shares[0] {
			s, err := mutable.Cut(g.shares[0][:size])
			if err == nil {
				err = s.Verify(key.Capability(g.layout.Format), 0)
			}
			if !errors.Is(err, mutable.ErrShare) {
				t.Errorf("%s: %d bytes: %v", g.name, size, err)
			}
		}
	}
}

func TestShareOfAnotherFileOrNumberIsRefused(t *testing.T) {
	key, other := goldenKey(t), keyOf(t, vectors(t)[1])
	for _, g := range goldens(t) {
		s, err := mutable.Cut(g.shares[0])
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]file.Mutable{
			"another key":    other.Capability(g.layout.Format),
			"another format": key.Capability(1 - g.layout.Format),
		} {
			if err := s.Verify(c, 0); !errors.Is(err, mutable.ErrShare) {
				t.Errorf("%s under %s: %v", g.name, name, err)
			}
		}
		for _, n := range []grid.ShareNum{1, 2, 200, 255} {
			if err := s.Verify(key.Capability(g.layout.Format), n); !errors.Is(err, mutable.ErrShare) {
				t.Errorf("%s: share 0 passes for share %d: %v", g.name, n, err)
			}
		}
	}
}

// Where blocks lie, and how long a share is, is known before it is finished.
func TestPlacesAreKnownBeforehand(t *testing.T) {
	for _, size := range []int64{1, 1000, 5 * 128 << 10} {
		l, err := mutable.NewLayout(mutable.MDMF, size, file.Params{Needed: 3, Total: 5, SegmentSize: mutable.DefaultSegmentSize})
		if err != nil {
			t.Fatal(err)
		}
		e, err := mutable.NewEncoder(l, goldenKey(t))
		if err != nil {
			t.Fatal(err)
		}
		_, shares, err := mutable.Encode(l, goldenKey(t), 1, make([]byte, size), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		h, err := mutable.ParseHeader(shares[2])
		if err != nil {
			t.Fatal(err)
		}
		if e.Size() != int64(len(shares[2])) || e.Size() != h.Size() {
			t.Errorf("%d bytes, want %d", e.Size(), len(shares[2]))
		}
		for i := range l.NumSegments() {
			if e.Block(i) != h.Block(i) {
				t.Errorf("block %d at %v, want %v", i, e.Block(i), h.Block(i))
			}
		}
	}
}
