package mutable_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
)

func TestLayoutsOutOfBoundsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		format mutable.Format
		size   int64
		p      file.Params
		want   error
	}{
		"no shares needed":  {mutable.SDMF, 1, file.Params{Total: 1}, mutable.ErrSize},
		"more than there":   {mutable.SDMF, 1, file.Params{Needed: 2, Total: 1}, file.ErrParams},
		"256 shares":        {mutable.SDMF, 1, file.Params{Needed: 2, Total: 256}, file.ErrParams},
		"SDMF too long":     {mutable.SDMF, mutable.MaxSDMFSize + 1, file.Params{Needed: 1, Total: 1}, mutable.ErrSize},
		"MDMF too long":     {mutable.MDMF, file.MaxSize + 1, file.Params{Needed: 1, Total: 1, SegmentSize: 1}, mutable.ErrSize},
		"MDMF without size": {mutable.MDMF, 1, file.Params{Needed: 1, Total: 1}, mutable.ErrSize},
		"long segment":      {mutable.MDMF, 1, file.Params{Needed: 1, Total: 1, SegmentSize: file.MaxSegmentSize + 1}, mutable.ErrSize},
		"negative":          {mutable.MDMF, -1, file.Params{Needed: 1, Total: 1, SegmentSize: 1}, mutable.ErrSize},
	} {
		if l, err := mutable.NewLayout(c.format, c.size, c.p); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v (%v)", name, l, err)
		}
	}
}

func TestEncoderRefusesDisorder(t *testing.T) {
	key := goldenKey(t)
	e, err := mutable.NewEncoder(layoutOf(t, mutable.MDMF, 25, 2, 3, 10), key)
	if err != nil {
		t.Fatal(err)
	}
	var salt [mutable.SaltSize]byte
	if _, err := e.Head(0); !errors.Is(err, mutable.ErrOrder) {
		t.Errorf("head before the end: %v", err)
	}
	if _, err := e.Finish(1, bytes.NewReader(make([]byte, 64))); !errors.Is(err, mutable.ErrOrder) {
		t.Errorf("finished without segments: %v", err)
	}
	for i, size := range map[int64]int{0: 9, 2: 10, 3: 10, -1: 10} {
		if _, err := e.EncodeSegment(i, make([]byte, size), salt); !errors.Is(err, mutable.ErrSize) {
			t.Errorf("%d bytes as segment %d: %v", size, i, err)
		}
	}
	s, err := e.EncodeSegment(0, make([]byte, 10), salt)
	if err != nil || e.Add(s) != nil {
		t.Fatal(err)
	}
	if err := e.Add(s); !errors.Is(err, mutable.ErrOrder) {
		t.Errorf("added twice: %v", err)
	}
	if err := e.Keep(1, nil); !errors.Is(err, mutable.ErrOrder) {
		t.Errorf("kept without hashes: %v", err)
	}
}

// Genuine blocks whose salts differ are no segment.
func TestBlocksOfDifferentSaltsAreRefused(t *testing.T) {
	l := layoutOf(t, mutable.MDMF, 10, 2, 3, 10)
	p := mutable.Prefix{Layout: l}
	a, b := make([]byte, 21), make([]byte, 21)
	if _, err := mutable.Decode(p, file.ReadKey{}, 0, map[grid.ShareNum][]byte{0: a, 1: b}); err != nil {
		t.Error(err)
	}
	b[3] = 1
	if _, err := mutable.Decode(p, file.ReadKey{}, 0, map[grid.ShareNum][]byte{0: a, 1: b}); !errors.Is(err, mutable.ErrShare) {
		t.Errorf("decoded: %v", err)
	}
	if _, err := mutable.Decode(p, file.ReadKey{}, 0, map[grid.ShareNum][]byte{0: a, 1: b[:5]}); !errors.Is(err, mutable.ErrShare) {
		t.Errorf("decoded from a short block: %v", err)
	}
	if _, err := mutable.Decode(p, file.ReadKey{}, 1, nil); !errors.Is(err, mutable.ErrSize) {
		t.Errorf("decoded a segment that there is not: %v", err)
	}
}

// The blocks of a long file are proven by a few hashes each.
func TestBlocksAreProvenOneByOne(t *testing.T) {
	key := goldenKey(t)
	l := layoutOf(t, mutable.MDMF, 1000, 2, 3, 2)
	_, shares, err := mutable.Encode(l, key, 1, plaintext(l.Size), bytes.NewReader(make([]byte, 10_000)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := mutable.Cut(shares[2])
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := mutable.NewBlocks(s.Header, 2, s.ShareHashes, [32]byte(s.BlockTree))
	if err != nil {
		t.Fatal(err)
	}
	if err := blocks.Check(300, s.Block(300)); !errors.Is(err, mutable.ErrShare) {
		t.Errorf("block 300 without its hashes: %v", err)
	}
	fetched := int64(0)
	missing := blocks.Missing(300)
	for _, at := range missing {
		fetched += at.Len()
		bad := bytes.Clone(shares[2][at.Off:at.End])
		bad[0] ^= 1
		if err := blocks.Add(at, bad); !errors.Is(err, mutable.ErrShare) {
			t.Errorf("a wrong hash at %d: %v", at.Off, err)
		}
	}
	for _, at := range missing {
		if err := blocks.Add(at, shares[2][at.Off:at.End]); err != nil {
			t.Fatal(err)
		}
	}
	if err := blocks.Check(300, s.Block(300)); err != nil {
		t.Error(err)
	}
	if err := blocks.Check(300, s.Block(301)); !errors.Is(err, mutable.ErrShare) {
		t.Errorf("another block passes: %v", err)
	}
	if fetched == 0 || fetched > s.Header.BlockTree.Len()/2 {
		t.Errorf("%d bytes of hashes were fetched, of %d", fetched, s.Header.BlockTree.Len())
	}
}
