package mutable_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// apply makes the next version of some shares as a writer does who has all of
// them: it reads and encodes only what the update says.
func apply(t *rapid.T, key *mutable.Key, shares [][]byte, off int64, data []byte) [][]byte {
	cut := make([]mutable.Share, len(shares))
	for n := range shares {
		cut[n] = must(mutable.Cut(shares[n]))(t)
	}
	p := cut[0].Header.Prefix
	u := must(mutable.NewUpdate(p.Layout, off, int64(len(data))))(t)
	e := must(mutable.NewEncoder(u.New, key))(t)
	blocks := map[int64][][]byte{}
	for _, i := range u.Kept() {
		var hashes []tagged.Hash
		for n := range cut {
			h, ok := must(cut[n].Blocks(grid.ShareNum(n)))(t).Hash(i)
			if !ok {
				t.Fatalf("no hash of block %d", i)
			}
			hashes = append(hashes, h)
			blocks[i] = append(blocks[i], cut[n].Block(i))
		}
		if err := e.Keep(i, hashes); err != nil {
			t.Fatal(err)
		}
	}
	for i := u.First; i <= u.Last; i++ {
		var old []byte
		if u.NeedsOld(i) {
			some := map[grid.ShareNum][]byte{}
			for n := range p.Needed {
				some[grid.ShareNum(n)] = cut[n].Block(i)
			}
			old = must(mutable.Decode(p, key.WriteKey().ReadKey(), i, some))(t)
		}
		content := must(u.Content(i, old, data))(t)
		var salt [mutable.SaltSize]byte
		rand.Read(salt[:])
		s := must(e.EncodeSegment(i, content, salt))(t)
		if err := e.Add(s); err != nil {
			t.Fatal(err)
		}
		blocks[i] = s.Blocks
	}
	must(e.Finish(p.Seqnum+1, rand.Reader))(t)
	var next [][]byte
	for n := range shares {
		b := must(e.Head(grid.ShareNum(n)))(t)
		for i := range u.New.NumSegments() {
			b = append(b, blocks[i][n]...)
		}
		next = append(next, append(b, must(e.Tail(grid.ShareNum(n)))(t)...))
	}
	return next
}

// must fails the test on an error.
func must[T any](v T, err error) func(*rapid.T) T {
	return func(t *rapid.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// Writes anywhere give the file that they would give on a disk.
func TestUpdatesAreThoseOfAFile(t *testing.T) {
	key := goldenKey(t)
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom([]mutable.Format{mutable.SDMF, mutable.MDMF}).Draw(t, "format")
		k := rapid.IntRange(1, 4).Draw(t, "k")
		p := file.Params{Needed: k, Total: k + rapid.IntRange(0, 3).Draw(t, "more"), SegmentSize: rapid.Int64Range(1, 20).Draw(t, "segment")}
		content := rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "content")
		l := must(mutable.NewLayout(f, int64(len(content)), p))(t)
		_, shares, err := mutable.Encode(l, key, 1, content, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 3).Draw(t, "writes") {
			off := rapid.Int64Range(0, 120).Draw(t, "offset")
			data := rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "data")
			shares = apply(t, key, shares, off, data)
			end := int(off) + len(data)
			content = append(content, make([]byte, max(0, end-len(content)))...)
			copy(content[off:], data)
			got, err := read(key.Capability(f), last(shares, k))
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("%d bytes at %d: %x (%v), want %x", len(data), off, got, err, content)
			}
		}
	})
}

func TestUpdateTouchesOnlyWhatChanges(t *testing.T) {
	old := layoutOf(t, mutable.MDMF, 100, 2, 3, 10)
	for name, c := range map[string]struct {
		off, n, first, last int64
		needs               []int64
	}{
		"inside one segment":       {13, 2, 1, 1, []int64{1}},
		"a whole segment":          {10, 10, 1, 1, nil},
		"over a bound":             {19, 2, 1, 2, []int64{1, 2}},
		"whole ones and a part":    {10, 25, 1, 3, []int64{3}},
		"the last byte":            {99, 1, 9, 9, []int64{9}},
		"append to a full segment": {100, 5, 10, 10, nil},
		"past the end":             {125, 1, 10, 12, nil},
	} {
		u, err := mutable.NewUpdate(old, c.off, c.n)
		if err != nil || u.First != c.first || u.Last != c.last {
			t.Errorf("%s: %+v (%v)", name, u, err)
		}
		var needs []int64
		for i := u.First; i <= u.Last; i++ {
			if u.NeedsOld(i) {
				needs = append(needs, i)
			}
		}
		if len(needs) != len(c.needs) || len(needs) > 0 && (needs[0] != c.needs[0] || needs[len(needs)-1] != c.needs[len(needs)-1]) {
			t.Errorf("%s: needs the old segments %v (want %v)", name, needs, c.needs)
		}
	}
	for _, c := range [][2]int64{{-1, 1}, {0, 0}, {0, -1}, {file.MaxSize, 1}, {1 << 62, 1 << 62}} {
		if u, err := mutable.NewUpdate(old, c[0], c[1]); !errors.Is(err, mutable.ErrSize) {
			t.Errorf("%d bytes at %d: %+v (%v)", c[1], c[0], u, err)
		}
	}
}
