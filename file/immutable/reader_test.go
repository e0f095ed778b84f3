package immutable_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
)

// maxRounds is how often a share may be asked before a test calls it a hang:
// header, URI extension block, the rest, and one for a wrong guess.
const maxRounds = 5

// fetchBlock talks to one "server" until the block is there, and counts the
// round trips.
func fetchBlock(r *immutable.Reader, n grid.ShareNum, segment int64, share []byte) ([]byte, int, error) {
	for round := 0; ; round++ {
		want, err := r.Want(n, segment)
		if err != nil {
			return nil, round, err
		}
		if len(want) == 0 {
			b, ok := r.Block(n, segment)
			if !ok {
				return nil, round, errors.New("nothing is wanted and there is no block")
			}
			return b.Data, round, b.Verify()
		}
		if round == maxRounds {
			return nil, round, fmt.Errorf("still wanted after %d rounds: %v", round, want)
		}
		for _, w := range want {
			from, to := min(w.Off, int64(len(share))), min(w.End(), int64(len(share)))
			if err := r.Got(n, w, bytes.Clone(share[from:to])); err != nil {
				return nil, round, err
			}
		}
	}
}

// readSegment uses the shares in the given order until k blocks are good, and
// reports those that were bad.
func readSegment(r *immutable.Reader, segment int64, order []int, shares [][]byte, k int) ([]byte, []grid.ShareNum, error) {
	blocks := map[grid.ShareNum][]byte{}
	var bad []grid.ShareNum
	for _, i := range order {
		if len(blocks) == k {
			break
		}
		n := grid.ShareNum(i)
		b, _, err := fetchBlock(r, n, segment, shares[i])
		var shareErr *immutable.ShareError
		if errors.As(err, &shareErr) && shareErr.Share == n {
			bad = append(bad, n)
			continue
		}
		if err != nil {
			return nil, bad, err
		}
		blocks[n] = b
	}
	d, err := r.Decode(segment, blocks)
	if err != nil {
		return nil, bad, err
	}
	text, err := d.Run(make([]byte, 0, d.BufferSize()))
	return text, bad, err
}

func newReader(t failer, c file.CHK) *immutable.Reader {
	t.Helper()
	r, err := immutable.NewReader(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Any k shares give the file, segment by segment in any order, with one share
// damaged anywhere: what is read is right, and a damage that is in the way is
// reported for that share alone.
func TestAnyKSharesGiveTheFileDespiteDamage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		k := rapid.IntRange(1, n).Draw(t, "k")
		size := rapid.IntRange(1, 3000).Draw(t, "size")
		l := layoutOf(t, size, k, n, rapid.Int64Range(1, 3000).Draw(t, "segment"))
		if rapid.Bool().Draw(t, "v2") {
			l = l.WithVersion2()
		}
		data := plaintext(size)
		c, shares := encode(t, l, data)
		order := rapid.Permutation(numbers(n)).Draw(t, "order")
		damaged := order[0]
		at := rapid.IntRange(0, len(shares[damaged])-1).Draw(t, "at")
		if rapid.Bool().Draw(t, "cut") {
			shares[damaged] = shares[damaged][:at]
		} else {
			shares[damaged][at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		r := newReader(t, c)
		for _, seg := range rapid.Permutation(numbers(int(min(l.NumSegments, 40)))).Draw(t, "segments") {
			text, bad, err := readSegment(r, int64(seg), order, shares, k)
			if slices.ContainsFunc(bad, func(b grid.ShareNum) bool { return int(b) != damaged }) {
				t.Fatalf("share %d is damaged, blamed are %v", damaged, bad)
			}
			if n == k && len(bad) > 0 {
				continue // one too few
			}
			off := int64(seg) * l.SegmentSize
			if want := data[off : off+l.SegmentLen(int64(seg))]; err != nil || !bytes.Equal(text, want) {
				t.Fatalf("segment %d: %v (byte %d of share %d changed)", seg, err, at, damaged)
			}
		}
		if off := int64(at) - l.Data; off >= 0 && int64(at) < l.PlaintextTree {
			if _, _, err := fetchBlock(newReader(t, c), grid.ShareNum(damaged), off/l.BlockSize, shares[damaged]); !errors.Is(err, immutable.ErrShare) && !errors.Is(err, immutable.ErrHeader) {
				t.Fatalf("block %d has a damage at %d and is taken: %v", off/l.BlockSize, at, err)
			}
		}
	})
}

func numbers(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// Every byte that a reader uses is proven: each section is damaged in turn.
func TestReaderNamesTheBadShare(t *testing.T) {
	l := layoutOf(t, 1000, 2, 3, 400)
	c, shares := encode(t, l, plaintext(1000))
	for name, f := range map[string]struct {
		at   int64
		want error
	}{
		"version":        {3, immutable.ErrHeader},
		"data offset":    {12, immutable.ErrHeader},
		"block":          {l.Data, immutable.ErrShare},
		"crypttext tree": {l.CrypttextTree + 4*32, immutable.ErrShare},
		"block tree":     {l.BlockTree + 4*32, immutable.ErrShare},
		"chain index":    {l.ShareHashes + 1, immutable.ErrShare},
		"chain":          {l.ShareHashes + 9, immutable.ErrShare},
		"UEB length":     {l.UEB + 2, immutable.ErrUEB},
		"UEB":            {l.UEB + 30, immutable.ErrUEB},
	} {
		r := newReader(t, c)
		bad := bytes.Clone(shares[1])
		bad[f.at] ^= 8
		_, _, err := fetchBlock(r, 1, 0, bad)
		var shareErr *immutable.ShareError
		if !errors.As(err, &shareErr) || shareErr.Share != 1 || !errors.Is(err, f.want) {
			t.Errorf("%s: %v", name, err)
		}
		if f.at != l.Data { // a block is checked elsewhere, the Reader can't know
			if _, again := r.Want(1, 0); again == nil {
				t.Errorf("%s: the bad share is wanted again", name)
			}
		}
		r.Forget(1)
		for n, share := range shares {
			if _, _, err := fetchBlock(r, grid.ShareNum(n), 0, share); err != nil {
				t.Errorf("%s: then share %d: %v", name, n, err)
			}
		}
	}
}

// With default parameters one round trip brings a block, also the first one.
func TestFirstGuessIsRightForDefaultParameters(t *testing.T) {
	const size = 5<<20 + 77
	l := layoutOf(t, size, 3, 10, file.DefaultSegmentSize)
	data := plaintext(size)
	c, shares := encode(t, l, data)
	r := newReader(t, c)
	if _, proven := r.Layout(); proven {
		t.Error("a layout is proven before anything was read")
	}
	for _, n := range []grid.ShareNum{9, 0, 5} {
		for _, segment := range []int64{4, 0} {
			if _, rounds, err := fetchBlock(r, n, segment, shares[n]); err != nil || rounds != 1 {
				t.Errorf("share %d, segment %d: %d round trips, %v", n, segment, rounds, err)
			}
		}
	}
	if got, proven := r.Layout(); !proven || got != l {
		t.Errorf("layout is %+v, %v", got, proven)
	}
	text, _, err := readSegment(r, 5, []int{1, 8, 2}, shares, 3)
	if err != nil || !bytes.Equal(text, data[5*l.SegmentSize:]) {
		t.Errorf("the last segment: %v", err)
	}
}

// Other segment sizes take one round more, once.
func TestWrongGuessCostsOneRound(t *testing.T) {
	l := layoutOf(t, 3<<20, 3, 10, 128<<10)
	c, shares := encode(t, l, plaintext(3<<20))
	r := newReader(t, c)
	for i, want := range []int{2, 1, 1} {
		if _, rounds, err := fetchBlock(r, 4, int64(i), shares[4]); err != nil || rounds > want {
			t.Errorf("block %d: %d round trips, %v; want %d", i, rounds, err, want)
		}
	}
	if _, err := r.Want(4, l.NumSegments); !errors.Is(err, immutable.ErrSize) {
		t.Errorf("a segment past the end: %v", err)
	}
	if _, err := r.Want(10, 0); !errors.Is(err, immutable.ErrShare) {
		t.Errorf("share 10 of 10: %v", err)
	}
}

// Shares of another file, or under another number, are refused.
func TestSharesOfAnotherFile(t *testing.T) {
	l := layoutOf(t, 1000, 2, 3, 400)
	c, shares := encode(t, l, plaintext(1000))
	other := plaintext(1001)[1:]
	_, foreign := encode(t, l, other)
	r := newReader(t, c)
	if _, _, err := fetchBlock(r, 0, 0, foreign[0]); !errors.Is(err, immutable.ErrUEB) {
		t.Errorf("a share of another file: %v", err)
	}
	if _, _, err := fetchBlock(r, 1, 0, shares[0]); !errors.Is(err, immutable.ErrShare) {
		t.Errorf("share 0 as share 1: %v", err)
	}
	spliced := slices.Concat(foreign[2][:l.PlaintextTree], shares[2][l.PlaintextTree:])
	if _, _, err := fetchBlock(r, 2, 0, spliced); !errors.Is(err, immutable.ErrShare) {
		t.Errorf("another file's blocks: %v", err)
	}
}

// A capability whose numbers are changed meets a URI extension block that
// denies it, and no share is to blame.
func TestCapabilityThatTheUEBDenies(t *testing.T) {
	l := layoutOf(t, 1000, 2, 3, 400)
	c, shares := encode(t, l, plaintext(1000))
	for _, change := range []func(*file.CHK){
		func(c *file.CHK) { c.Size++ }, func(c *file.CHK) { c.Needed = 1 }, func(c *file.CHK) { c.Total = 4 },
	} {
		c := c
		change(&c)
		_, _, err := fetchBlock(newReader(t, c), 0, 0, shares[0])
		var shareErr *immutable.ShareError
		if !errors.Is(err, immutable.ErrCapability) || errors.As(err, &shareErr) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	c.Key[0] ^= 1
	text, _, err := readSegment(newReader(t, c), 0, []int{0, 1}, shares, 2)
	if err != nil || bytes.Equal(text, plaintext(1000)[:400]) {
		t.Errorf("another key gives the plaintext (%v)", err)
	}
}

// A maker whose shares disagree is found out by whoever uses the odd one.
func TestDishonestMaker(t *testing.T) {
	l := layoutOf(t, 300, 2, 3, 400)
	e, err := immutable.NewEncoder(l, file.Key{1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.EncodeSegment(0, plaintext(300))
	if err != nil {
		t.Fatal(err)
	}
	s.Forge(2)
	shares := make([][]byte, 3)
	for n := range shares {
		shares[n] = append(e.Head(), s.Blocks[n]...)
	}
	if err := e.Add(s); err != nil {
		t.Fatal(err)
	}
	c, shares := finish(t, e, file.Key{1}, shares)
	if _, _, err := readSegment(newReader(t, c), 0, []int{0, 1}, shares, 2); err != nil {
		t.Errorf("without the forged share: %v", err)
	}
	if _, bad, err := readSegment(newReader(t, c), 0, []int{0, 2}, shares, 2); !errors.Is(err, immutable.ErrCiphertext) {
		t.Errorf("with the forged share: %v, blamed %v", err, bad)
	}
}

func TestGotRefusesTooMuch(t *testing.T) {
	l := layoutOf(t, 1000, 2, 3, 400)
	c, shares := encode(t, l, plaintext(1000))
	r := newReader(t, c)
	if err := r.Got(0, immutable.Range{Off: 0, Len: 10}, shares[0][:11]); !errors.Is(err, immutable.ErrShare) {
		t.Errorf("11 bytes for 10: %v", err)
	}
	if err := r.Got(1, immutable.Range{Off: 100, Len: 10}, shares[1][100:105]); err != nil {
		t.Errorf("a short answer: %v", err)
	}
	if err := r.Got(1, immutable.Range{Off: 200, Len: 10}, shares[1][200:210]); !errors.Is(err, immutable.ErrShare) {
		t.Errorf("bytes past the end: %v", err)
	}
	// A server that never answers anything is not asked for ever.
	if _, rounds, err := fetchBlock(newReader(t, c), 2, 0, nil); !errors.Is(err, immutable.ErrShare) || rounds > 1 {
		t.Errorf("an empty share: %d rounds, %v", rounds, err)
	}
}
