package hashtree_test

import (
	"errors"
	"maps"
	"testing"

	"github.com/tarn-grid/tarn/file/hashtree"
)

func TestChainsAreReadInAnyOrder(t *testing.T) {
	tree := hashtree.Build([]hashtree.Hash{{1}, {2}, {3}, {4}, {5}})
	want := map[int64]hashtree.Hash{2: tree[2], 8: tree[8], 3: tree[3]}
	for _, order := range [][]int64{{2, 3, 8}, {8, 2, 3}} {
		b := tree.AppendChain(nil, order)
		if got, err := hashtree.ParseChain(b, 3); err != nil || !maps.Equal(got, want) {
			t.Errorf("%v reads as %v (%v)", order, got, err)
		}
		for name, bad := range map[string][]byte{"cut off": b[:len(b)-1], "twice": append(b, b[:hashtree.ChainEntry]...)} {
			if got, err := hashtree.ParseChain(bad, 9); !errors.Is(err, hashtree.ErrChain) {
				t.Errorf("%s: %v (%v)", name, got, err)
			}
		}
		if got, err := hashtree.ParseChain(b, 2); !errors.Is(err, hashtree.ErrChain) {
			t.Errorf("three nodes of at most two: %v (%v)", got, err)
		}
	}
}

func FuzzChain(f *testing.F) {
	tree := hashtree.Build([]hashtree.Hash{{1}, {2}, {3}})
	f.Add(tree.AppendChain(nil, []int64{2, 3}))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		chain, err := hashtree.ParseChain(b, 9)
		if err == nil && len(chain)*hashtree.ChainEntry != len(b) || err != nil && !errors.Is(err, hashtree.ErrChain) {
			t.Errorf("%x: %d nodes, %v", b, len(chain), err)
		}
	})
}
