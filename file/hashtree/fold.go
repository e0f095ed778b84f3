package hashtree

import (
	"crypto/sha256"
	"hash"
)

// Fold takes the leaves of a tree one by one and remembers, of each level,
// only a digest and what is needed for the next node. So it can say what the
// root is, and whether a written tree is the one over these leaves, without
// holding the tree.
type Fold struct {
	leaves int64
	levels []*foldLevel // leaves first
}

type foldLevel struct {
	digest hash.Hash // over all nodes so far, in order
	nodes  int64
	left   Hash // the last node, if their number is odd
}

// NewFold starts with no leaves.
func NewFold() *Fold { return &Fold{} }

// Add takes the next leaf.
func (f *Fold) Add(leaf Hash) {
	f.leaves++
	f.add(0, leaf)
}

func (f *Fold) add(level int, h Hash) {
	if level == len(f.levels) {
		f.levels = append(f.levels, &foldLevel{digest: sha256.New()})
	}
	l := f.levels[level]
	l.digest.Write(h[:])
	l.nodes++
	if l.nodes%2 == 1 {
		l.left = h
		return
	}
	f.add(level+1, Parent(l.left, h))
}

// Finish pads the leaves and returns the digest of the tree. Nothing can be
// added any more.
func (f *Fold) Finish() Digest {
	for i, padded := f.leaves, Padded(f.leaves); i < padded; i++ {
		f.add(0, EmptyLeaf(i))
	}
	d := Digest{Root: f.levels[len(f.levels)-1].left}
	for _, l := range f.levels {
		d.levels = append(d.levels, [sha256.Size]byte(l.digest.Sum(nil)))
	}
	return d
}

// Digest stands for a whole tree: its root and one digest per level.
type Digest struct {
	Root   Hash
	levels [][sha256.Size]byte // leaves first
}

// Equal reports whether both stand for the same nodes.
func (d Digest) Equal(other Digest) bool {
	if d.Root != other.Root || len(d.levels) != len(other.levels) {
		return false
	}
	for i := range d.levels {
		if d.levels[i] != other.levels[i] {
			return false
		}
	}
	return true
}

// Scan reads a written tree as it streams by. Besides the digest of what is
// written it gives that of the tree over the same leaves: if they are equal,
// the written tree is consistent.
type Scan struct {
	nodes   int64 // expected
	seen    int64
	written Digest
	level   hash.Hash
	fold    *Fold
	leaves  int64 // without padding
}

// NewScan expects the tree over the given number of leaves.
func NewScan(leaves int64) *Scan {
	return &Scan{nodes: Nodes(leaves), leaves: leaves, fold: NewFold(), level: sha256.New()}
}

// Add takes the next node, in the order in which they are written. Nodes past
// the end are ignored.
func (s *Scan) Add(h Hash) {
	if s.seen == s.nodes {
		return
	}
	if s.seen == 0 {
		s.written.Root = h
	}
	firstLeaf := s.nodes / 2
	if leaf := s.seen - firstLeaf; leaf >= 0 && leaf < s.leaves {
		s.fold.Add(h)
	}
	s.level.Write(h[:])
	s.seen++
	if levelStart(s.seen) == s.seen {
		s.written.levels = append(s.written.levels, [sha256.Size]byte(s.level.Sum(nil)))
		s.level.Reset()
	}
}

// Finish returns the digest of what was written and that of the tree over the
// written leaves.
func (s *Scan) Finish() (written, computed Digest) {
	levels := s.written.levels
	for a, b := 0, len(levels)-1; a < b; a, b = a+1, b-1 {
		levels[a], levels[b] = levels[b], levels[a]
	}
	return s.written, s.fold.Finish()
}
