package hashtree_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/file/hashtree"
	"github.com/tarn-grid/tarn/file/tagged"
)

func leaf(i int) hashtree.Hash {
	return tagged.Sum("test leaf", binary.BigEndian.AppendUint64(nil, uint64(i)))
}

func leaves(n int) []hashtree.Hash {
	l := make([]hashtree.Hash, n)
	for i := range l {
		l[i] = leaf(i)
	}
	return l
}

// Printed by allmydata.hashtree.HashTree of Tahoe-LAFS 1.20.0 over leaves
// tagged_hash(b"test leaf", struct.pack(">Q", i)).
func TestRootsAreTahoes(t *testing.T) {
	for n, want := range map[int]string{
		1:   "sr2l4736qpv3ye3blrvtxmfxixxogxyxagmthbrwvpxesegkutda",
		2:   "gv7z6ipscmjreyfkj5dsb2vr3yyjaodezs22rdcetw4vlytowpbq",
		3:   "vbmkyvwikilbu63jwjenvcctln6vrau44frgffixsdc6owg4pmqa",
		5:   "czw64wtsvwdj6tm573q2tuurwc2vmtudobesqvxjd4qx242x3vua",
		8:   "smttqqh6ochp7nurpwl57imwegs56einbtdje2bnb2h2g7qx56va",
		255: "irnxvlyiqaq6vi37qvofkw6a4imkzh7ztaq57owkshnqqu6rwupq",
		256: "uv5nh3562zjwpa2yttufvfc433qjejpniz4sb4q5fwpr4o7wtr7a",
	} {
		if got := hashtree.Build(leaves(n)).Root().String(); got != want {
			t.Errorf("%d leaves: root %s, want %s", n, got, want)
		}
	}
}

// Printed by HashTree.needed_hashes(leaf, include_leaf=True), sorted.
func TestPathsAreTahoes(t *testing.T) {
	for _, c := range []struct {
		n, i int64
		want []int64
	}{
		{1, 0, []int64{0}},
		{2, 0, []int64{1, 2}},
		{2, 1, []int64{1, 2}},
		{3, 2, []int64{1, 5, 6}},
		{10, 0, []int64{2, 4, 8, 15, 16}},
		{10, 9, []int64{1, 6, 12, 23, 24}},
		{256, 255, []int64{1, 5, 13, 29, 61, 125, 253, 509, 510}},
		{5, 3, []int64{2, 3, 9, 10}},
	} {
		if got := hashtree.Path(c.n, c.i); !slices.Equal(got, c.want) {
			t.Errorf("leaf %d of %d: %v, want %v", c.i, c.n, got, c.want)
		}
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int64]int64{0: 1, 1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 255: 256, 256: 256, 257: 512, 1 << 40: 1 << 40, 1<<40 + 1: 1 << 41} {
		if got := hashtree.Padded(n); got != want {
			t.Errorf("Padded(%d) = %d, want %d", n, got, want)
		}
	}
	if got := hashtree.Size(5); got != 15*32 {
		t.Errorf("Size(5) = %d", got)
	}
	if tree := hashtree.Build(leaves(5)); len(tree.Append(nil)) != 15*32 || tree[tree.LeafIndex(4)] != leaf(4) {
		t.Error("the array isn't 15 nodes with leaf 4 in its place")
	}
}

func nodes(tree hashtree.Tree, indexes []int64) map[int64]hashtree.Hash {
	m := map[int64]hashtree.Hash{}
	for _, i := range indexes {
		m[i] = tree[i]
	}
	return m
}

// Any leaf's path convinces a Partial, with what it had before, and any
// change to any claimed node is refused and changes nothing.
func TestPartialTakesPathsAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "leaves")
		tree := hashtree.Build(leaves(n))
		p := hashtree.NewPartial(int64(n), tree.Root())
		for range rapid.IntRange(1, 5).Draw(t, "rounds") {
			i := rapid.IntRange(0, n-1).Draw(t, "leaf")
			_, had := p.Leaf(int64(i))
			claim := nodes(tree, hashtree.Path(int64(n), int64(i)))
			bad := rapid.SampledFrom(hashtree.Path(int64(n), int64(i))).Draw(t, "flipped")
			forged := nodes(tree, hashtree.Path(int64(n), int64(i)))
			h := forged[bad]
			h[rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			forged[bad] = h
			if err := p.Add(forged); !errors.Is(err, hashtree.ErrMismatch) {
				t.Fatalf("node %d changed: %v", bad, err)
			}
			if _, has := p.Leaf(int64(i)); has != had {
				t.Fatal("a refused claim left a leaf behind")
			}
			if err := p.Add(claim); err != nil {
				t.Fatal(err)
			}
			if got, ok := p.Leaf(int64(i)); !ok || got != leaf(i) {
				t.Fatalf("leaf %d is %s, %v", i, got, ok)
			}
			if len(p.Missing(int64(i))) != 0 {
				t.Fatal("a known leaf needs more nodes")
			}
		}
	})
}

// What Missing asks for is enough, asks for nothing that isn't there, and
// makes the neighbours known.
func TestMissingIsEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 2000).Draw(t, "leaves")
		tree := hashtree.Build(leaves(n))
		p := hashtree.NewPartial(int64(n), tree.Root())
		for range 4 {
			i := int64(rapid.IntRange(0, n-1).Draw(t, "leaf"))
			var want []int64
			for _, s := range p.Missing(i) {
				for j := range s.Count {
					want = append(want, s.First+j)
				}
			}
			if !slices.IsSorted(want) {
				t.Fatalf("not ascending: %v", want)
			}
			if err := p.Add(nodes(tree, want)); err != nil {
				t.Fatalf("leaf %d of %d with %v: %v", i, n, want, err)
			}
			for j := i / 32 * 32; j < min(i/32*32+32, int64(n)); j++ {
				if _, ok := p.Leaf(j); !ok {
					t.Fatalf("leaf %d is not known after leaf %d of %d", j, i, n)
				}
			}
		}
	})
}

func TestPartialRefusesWhatItCannotCheck(t *testing.T) {
	tree := hashtree.Build(leaves(8))
	p := hashtree.NewPartial(8, tree.Root())
	for name, c := range map[string]struct {
		claim map[int64]hashtree.Hash
		want  error
	}{
		"a lonely leaf":     {nodes(tree, []int64{7}), hashtree.ErrUnconnected},
		"a lonely pair":     {nodes(tree, []int64{7, 8}), hashtree.ErrUnconnected},
		"a gap in the path": {nodes(tree, []int64{7, 8, 2}), hashtree.ErrUnconnected},
		"half of the top":   {nodes(tree, []int64{1}), hashtree.ErrUnconnected},
		"another root":      {map[int64]hashtree.Hash{0: leaf(0)}, hashtree.ErrMismatch},
		"beyond the end":    {map[int64]hashtree.Hash{15: leaf(0)}, hashtree.ErrNode},
		"below the start":   {map[int64]hashtree.Hash{-1: leaf(0)}, hashtree.ErrNode},
		"one too many":      {nodes(tree, []int64{7, 8, 4, 2, 13}), hashtree.ErrUnconnected},
	} {
		if err := p.Add(c.claim); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, ok := p.Leaf(0); ok {
		t.Error("a refused claim was kept")
	}
	if err := p.Add(nodes(tree, []int64{7, 8, 4, 2})); err != nil {
		t.Errorf("the whole path: %v", err)
	}
	if err := p.AddLeaf(1, leaf(2)); !errors.Is(err, hashtree.ErrMismatch) {
		t.Errorf("a wrong leaf: %v", err)
	}
	if err := p.AddLeaf(8, leaf(2)); !errors.Is(err, hashtree.ErrNode) {
		t.Errorf("leaf 8 of 8: %v", err)
	}
}

// A Partial over a tree that no memory could hold costs what was added.
func TestPartialOfAHugeTree(t *testing.T) {
	const n = int64(1) << 45
	p := hashtree.NewPartial(n, leaf(0))
	spans := p.Missing(n - 1)
	var count int64
	for _, s := range spans {
		count += s.Count
	}
	if len(spans) != 41 || count > 64*41 {
		t.Errorf("%d nodes in %d runs are asked for", count, len(spans))
	}
}

func TestFoldAndScanAgreeWithBuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "leaves")
		tree := hashtree.Build(leaves(n))
		fold, scan, forged := hashtree.NewFold(), hashtree.NewScan(int64(n)), hashtree.NewScan(int64(n))
		for i := range n {
			fold.Add(leaf(i))
		}
		bad := rapid.IntRange(0, len(tree)-1).Draw(t, "flipped")
		for i, h := range tree {
			scan.Add(h)
			if i == bad {
				h[rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1
			}
			forged.Add(h)
		}
		want := fold.Finish()
		if want.Root != tree.Root() {
			t.Fatalf("root %s, want %s", want.Root, tree.Root())
		}
		if written, computed := scan.Finish(); !written.Equal(want) || !computed.Equal(want) {
			t.Fatal("a good tree is refused")
		}
		written, computed := forged.Finish()
		if written.Equal(want) || n > 1 && written.Equal(computed) {
			t.Fatalf("node %d of the tree over %d leaves was changed unnoticed", bad, n)
		}
	})
}

func TestBuildKeepsNoReference(t *testing.T) {
	l := leaves(3)
	tree := hashtree.Build(l)
	before := tree.Append(nil)
	l[0] = leaf(rand.IntN(100) + 9)
	if !bytes.Equal(before, tree.Append(nil)) {
		t.Error("the tree changed with the caller's slice")
	}
}
