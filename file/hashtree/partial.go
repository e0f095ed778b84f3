package hashtree

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
)

// Errors of Partial.
var (
	// ErrMismatch means that claimed nodes contradict the root.
	ErrMismatch = errors.New("hash tree mismatch")
	// ErrUnconnected means that claimed nodes cannot be checked, because
	// nodes between them and the root are missing.
	ErrUnconnected = errors.New("hash tree nodes without a connection to the root")
	// ErrNode means that there is no such node in the tree.
	ErrNode = errors.New("no such hash tree node")
)

// pageNodes is how many nodes are kept, and fetched, together. Node i lies in
// page (i+1)/64; so the first page holds the six levels at the top, and every
// other one a run of one level.
const pageNodes = 64

type page struct {
	known  uint64 // a bit per node
	hashes []Hash // pageNodes, or as many as there can be
}

// Partial is a tree of which only the root is known at first. Nodes are added
// as somebody claims them and kept only if they lead to the root; every known
// node is therefore genuine. Memory is used for what was added, not for what
// the tree could hold.
type Partial struct {
	leaves int64 // without padding
	pages  map[int64]*page
}

// NewPartial returns the tree over the given number of leaves (1 to
// MaxLeaves) with the given root, which the caller trusts.
func NewPartial(leaves int64, root Hash) *Partial {
	t := &Partial{leaves: leaves, pages: map[int64]*page{}}
	t.put(0, root)
	return t
}

// Leaf returns leaf number i if it is known.
func (t *Partial) Leaf(i int64) (Hash, bool) { return t.node(t.leafIndex(i)) }

func (t *Partial) leafIndex(i int64) int64 { return Padded(t.leaves) - 1 + i }

func (t *Partial) node(i int64) (Hash, bool) {
	p := t.pages[(i+1)/pageNodes]
	if p == nil || p.known>>uint((i+1)%pageNodes)&1 == 0 {
		return Hash{}, false
	}
	return p.hashes[(i+1)%pageNodes], true
}

func (t *Partial) put(i int64, h Hash) {
	p := t.pages[(i+1)/pageNodes]
	if p == nil {
		p = &page{hashes: make([]Hash, min(pageNodes, Nodes(t.leaves)+1))}
		t.pages[(i+1)/pageNodes] = p
	}
	p.hashes[(i+1)%pageNodes] = h
	p.known |= 1 << uint((i+1)%pageNodes)
}

// Span is a run of nodes [First, First+Count).
type Span struct{ First, Count int64 }

// Missing lists the nodes to fetch so that leaf number i becomes known,
// ascending. With the nodes that are needed come their neighbours, a page at
// each level, so that the leaves after this one cost nothing more. It is
// empty if the leaf is known.
func (t *Partial) Missing(i int64) []Span {
	if _, ok := t.Leaf(i); ok || i < 0 || i >= t.leaves {
		return nil
	}
	var spans []Span
	nodes := Nodes(t.leaves)
	for at := t.leafIndex(i); ; at = (at - 1) / 2 {
		if _, ok := t.node(at); ok {
			break
		}
		first := (at+1)/pageNodes*pageNodes - 1
		if first < 1 {
			spans = append(spans, Span{1, min(nodes, pageNodes-1) - 1})
			break
		}
		spans = append(spans, Span{first, min(nodes-first, pageNodes)})
	}
	slices.Reverse(spans)
	return spans
}

// Add takes claimed nodes if all of them, together with those that are known,
// lead to the root; otherwise it changes nothing. A claim may repeat what is
// known. It costs at most one hash per node on the way up.
func (t *Partial) Add(claimed map[int64]Hash) error {
	fresh, err := t.unknown(claimed)
	if err != nil {
		return err
	}
	proven, err := t.prove(fresh)
	if err != nil {
		return err
	}
	for i, h := range proven {
		t.put(i, h)
	}
	return nil
}

// AddLeaf adds one leaf whose path to the root is known.
func (t *Partial) AddLeaf(i int64, h Hash) error {
	if i < 0 || i >= t.leaves {
		return fmt.Errorf("%w: leaf %d of %d", ErrNode, i, t.leaves)
	}
	return t.Add(map[int64]Hash{t.leafIndex(i): h})
}

func (t *Partial) unknown(claimed map[int64]Hash) (map[int64]Hash, error) {
	fresh := make(map[int64]Hash, len(claimed))
	for _, i := range slices.Sorted(maps.Keys(claimed)) {
		h := claimed[i]
		if i < 0 || i >= Nodes(t.leaves) {
			return nil, fmt.Errorf("%w: node %d of %d", ErrNode, i, Nodes(t.leaves))
		}
		if known, ok := t.node(i); !ok {
			fresh[i] = h
		} else if known != h {
			return nil, fmt.Errorf("%w: node %d", ErrMismatch, i)
		}
	}
	return fresh, nil
}

// proof is the state of one Add: unproven nodes, claimed or computed from
// their children, and the parents that were compared with both children.
type proof struct {
	tree   *Partial
	nodes  map[int64]Hash
	joined map[int64]bool
}

// prove goes up, level by level, joining siblings to their parent, and then
// down again: a node is genuine if its parent is and was joined.
func (t *Partial) prove(fresh map[int64]Hash) (map[int64]Hash, error) {
	p := proof{t, maps.Clone(fresh), map[int64]bool{}}
	var order []int64 // all unproven nodes, deepest level first
	level := slices.Sorted(maps.Keys(fresh))
	for len(level) > 0 {
		first := levelStart(level[len(level)-1])
		cut, _ := slices.BinarySearch(level, first)
		parents, err := p.join(level[cut:])
		if err != nil {
			return nil, err
		}
		order = append(order, level[cut:]...)
		level = append(level[:cut:cut], parents...)
		slices.Sort(level)
	}
	return p.descend(order, fresh)
}

// levelStart is the index of the first node in the level of node i.
func levelStart(i int64) int64 { return 1<<(bits.Len64(uint64(i+1))-1) - 1 }

// join compares or computes the parents of the nodes of one level. It returns
// those that are new.
func (p *proof) join(level []int64) (parents []int64, err error) {
	for _, i := range level {
		parent := (i - 1) / 2
		left, okLeft := p.lookup(2*parent + 1)
		right, okRight := p.lookup(2*parent + 2)
		if !okLeft || !okRight || p.joined[parent] {
			continue
		}
		computed := Parent(left, right)
		expected, ok := p.lookup(parent)
		if ok && expected != computed {
			return nil, fmt.Errorf("%w: node %d", ErrMismatch, parent)
		}
		p.joined[parent] = true
		if !ok {
			p.nodes[parent] = computed
			parents = append(parents, parent)
		}
	}
	return parents, nil
}

func (p *proof) lookup(i int64) (Hash, bool) {
	if h, ok := p.tree.node(i); ok {
		return h, true
	}
	h, ok := p.nodes[i]
	return h, ok
}

func (p *proof) descend(order []int64, fresh map[int64]Hash) (map[int64]Hash, error) {
	proven := make(map[int64]Hash, len(order))
	for _, i := range slices.Backward(order) {
		parent := (i - 1) / 2
		_, genuine := p.tree.node(parent)
		if _, ok := proven[parent]; ok {
			genuine = true
		}
		if genuine && p.joined[parent] {
			proven[i] = p.nodes[i]
		} else if _, claimed := fresh[i]; claimed {
			return nil, fmt.Errorf("%w: node %d", ErrUnconnected, i)
		}
	}
	return proven, nil
}
