// Package hashtree holds the Merkle trees of Tahoe-LAFS: over the blocks of a
// share, the shares of a file and the segments of its ciphertext.
//
// A Tree is complete and belongs to whoever writes a share. A Partial is the
// reader's: it starts from a root that is trusted and takes only nodes that
// are proven to belong to it. A Fold belongs to whoever checks a share as it
// streams by: it remembers O(log n) hashes, whatever the number of leaves.
//
// The leaves are padded to a power of two with hashes of their own number. A
// tree is written as an array, root first, level by level: the children of
// node i are 2i+1 and 2i+2; 2P-1 nodes of 32 bytes for P padded leaves. The
// format is that of allmydata/hashtree.py of Tahoe-LAFS 1.20.
//
// The package is pure. Trees are not safe for concurrent use, a built Tree is
// safe to read.
package hashtree

import (
	"math/bits"
	"strconv"

	"github.com/tarn-grid/tarn/file/tagged"
)

// Hash is a node.
type Hash = tagged.Hash

// MaxLeaves bounds the number of leaves, so that no count overflows.
const MaxLeaves = int64(1) << 52

// Padded is the number of leaves of a tree over n leaves, with those that
// fill it up: the next power of two, at least 1.
func Padded(n int64) int64 {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len64(uint64(n-1))
}

// Nodes is the number of nodes of a tree over n leaves.
func Nodes(n int64) int64 { return 2*Padded(n) - 1 }

// Size is the length in bytes of a tree over n leaves when written.
func Size(n int64) int64 { return Nodes(n) * tagged.Size }

// EmptyLeaf is the padding in place of leaf number i.
func EmptyLeaf(i int64) Hash {
	return tagged.Sum(tagged.MerkleEmptyLeaf, strconv.AppendInt(nil, i, 10))
}

// Parent is the node above left and right.
func Parent(left, right Hash) Hash {
	return tagged.Pair(tagged.MerkleInner, left[:], right[:])
}

// Tree is a complete tree, as it is written: root first, level by level.
type Tree []Hash

// Build makes the tree over leaves, of which it keeps a copy.
func Build(leaves []Hash) Tree {
	padded := int(Padded(int64(len(leaves))))
	t := make(Tree, 2*padded-1)
	copy(t[padded-1:], leaves)
	for i := len(leaves); i < padded; i++ {
		t[padded-1+i] = EmptyLeaf(int64(i))
	}
	for i := padded - 2; i >= 0; i-- {
		t[i] = Parent(t[2*i+1], t[2*i+2])
	}
	return t
}

// Root is the node that stands for all leaves.
func (t Tree) Root() Hash { return t[0] }

// LeafIndex is the index of leaf number i.
func (t Tree) LeafIndex(i int) int { return len(t)/2 + i }

// Append writes the tree to dst.
func (t Tree) Append(dst []byte) []byte {
	for i := range t {
		dst = append(dst, t[i][:]...)
	}
	return dst
}

// Path lists the indexes that prove leaf number i of a tree over n leaves:
// the leaf itself and the sibling of every node on its way up, ascending,
// without the root.
func Path(n, i int64) []int64 {
	node := Padded(n) - 1 + i
	path := []int64{node}
	for ; node > 0; node = (node - 1) / 2 {
		path = append(path, sibling(node))
	}
	for a, b := 0, len(path)-1; a < b; a, b = a+1, b-1 {
		path[a], path[b] = path[b], path[a]
	}
	// A leaf that is a right child stands after its sibling.
	if k := len(path); k > 1 && path[k-1] < path[k-2] {
		path[k-1], path[k-2] = path[k-2], path[k-1]
	}
	return path
}

// sibling of a node that is not the root: left children have odd indexes.
func sibling(node int64) int64 { return (node - 1) ^ 1 + 1 }
