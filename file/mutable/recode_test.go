package mutable_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
)

// recoded makes all shares once more from some.
func recoded(t *testing.T, key *mutable.Key, from map[grid.ShareNum]mutable.Share) ([][]byte, error) {
	t.Helper()
	var p mutable.Prefix
	var signature []byte
	for _, s := range from {
		p, signature = s.Header.Prefix, s.Signature
	}
	e, err := mutable.NewEncoder(p.Layout, key)
	if err != nil {
		t.Fatal(err)
	}
	var segments []*mutable.Segment
	for i := range p.NumSegments() {
		blocks := map[grid.ShareNum][]byte{}
		for n, s := range from {
			blocks[n] = s.Block(i)
		}
		segment, err := e.Recode(p, i, blocks)
		if err != nil {
			return nil, err
		}
		if err := e.Add(segment); err != nil {
			t.Fatal(err)
		}
		segments = append(segments, segment)
	}
	if err := e.FinishAs(p, signature); err != nil {
		return nil, err
	}
	return e.Shares(segments)
}

// Shares that Tahoe-LAFS wrote are made once more, each byte of them, from any that
// are enough.
func TestRecode(t *testing.T) {
	key := goldenKey(t)
	for _, g := range goldens(t) {
		for _, first := range []int{0, g.layout.Total - g.layout.Needed} {
			from := map[grid.ShareNum]mutable.Share{}
			for n := first; n < first+g.layout.Needed; n++ {
				s, err := mutable.Cut(g.shares[n])
				if err != nil {
					t.Fatal(err)
				}
				from[grid.ShareNum(n)] = s
			}
			shares, err := recoded(t, key, from)
			if err != nil {
				t.Fatalf("%s: %v", g.name, err)
			}
			for n, share := range shares {
				if !bytes.Equal(share, g.shares[n]) {
					t.Errorf("%s: share %d, made from %d and those after it, is another one", g.name, n, first)
				}
			}
		}
	}
}

// What does not belong together makes no shares: a block, a root or a signature of
// something else.
func TestRecodeRefuses(t *testing.T) {
	key := goldenKey(t)
	for _, g := range goldens(t) {
		if g.layout.Size == 0 {
			continue
		}
		for name, spoil := range map[string]func(s *mutable.Share){
			"block":     func(s *mutable.Share) { s.Data[len(s.Data)-1] ^= 1 },
			"root":      func(s *mutable.Share) { s.Header.Root[0] ^= 1 },
			"number":    func(s *mutable.Share) { s.Header.Seqnum++ },
			"signature": func(s *mutable.Share) { s.Signature[7] ^= 1 },
		} {
			from := map[grid.ShareNum]mutable.Share{}
			for n := range g.layout.Needed {
				s, err := mutable.Cut(bytes.Clone(g.shares[n]))
				if err != nil {
					t.Fatal(err)
				}
				spoil(&s)
				from[grid.ShareNum(n)] = s
			}
			if _, err := recoded(t, key, from); !errors.Is(err, mutable.ErrShare) {
				t.Errorf("%s with another %s: %v", g.name, name, err)
			}
		}
	}
}
