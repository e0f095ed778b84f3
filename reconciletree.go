package tarn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// ErrTreeUnread means that a directory could not be read, so that nothing that
// was not come to may be given up: it may be what is in there.
var ErrTreeUnread = errors.New("a directory can't be read, so nothing is given up")

// ReconcileTreeOptions say what is done about differences between the journal
// and what can be reached; by default nothing.
type ReconcileTreeOptions struct {
	// Fix has leases made on what can be reached and has none.
	Fix bool
	// CancelUnreachable gives up what can't be reached, at all servers that
	// answer; it needs Fix.
	CancelUnreachable bool
	// StoredBefore leaves out what was stored later, which may be on its way into
	// a directory; zero is the time of the call.
	StoredBefore time.Time
	// Found, if not nil, is told of each difference, after it was mended. An error
	// that it returns ends the reconciliation.
	Found func(TreeDifference) error
	// Unread, if not nil, is told of each directory that can't be read.
	Unread func(Visited, error) error
	// Progress, if not nil, is called with how many objects were come to so far.
	Progress func(objects int64)
}

// TreeDifferenceKind is how the journal and a tree differ about a file.
type TreeDifferenceKind int

const (
	// Unreachable is what the journal has and no path leads to.
	Unreachable TreeDifferenceKind = iota
	// Unleased is what can be reached, and the journal knows of no lease on it.
	Unleased
)

// String is one word.
func (k TreeDifferenceKind) String() string { return [...]string{"unreachable", "unleased"}[k] }

// TreeDifference is a file or directory about which the journal and a tree
// differ.
type TreeDifference struct {
	Kind         TreeDifferenceKind
	StorageIndex grid.StorageIndex
	// VerifyCap is empty where nothing but leases is known.
	VerifyCap string
	// Size is in bytes, 0 where it is not known; Stored is when the journal has it
	// from.
	Size   int64
	Stored time.Time
	// Path leads to it from one of the roots, and Root is which.
	Path []string
	Root int
	// Mended says what was done about it, empty for nothing; Err why nothing could
	// be.
	Mended string
	Err    error
}

// TreeReconciliation is how the journal and a tree compare.
type TreeReconciliation struct {
	// Reachable is how many files and directories with shares were come to, Listed
	// how many the journal has, Recent how many of those were left out.
	Reachable, Listed, Recent int64
	// The differences, how many bytes those that can't be reached have together,
	// and how many were mended.
	Unreachable, Unleased, UnreachableBytes, Mended int64
	// Unread is how many directories could not be read.
	Unread int64
}

// ReconcileTree compares the journal with all that can be reached from roots,
// which are capabilities: what nothing leads to any more, and what nobody here
// keeps alive. It holds 16 bytes for each object, besides what Walk does.
// Errors: ErrCap, ErrTreeUnread.
func (n *Node) ReconcileTree(ctx context.Context, roots []string, o ReconcileTreeOptions, how ...Option) (TreeReconciliation, error) {
	if n.config.Client == nil {
		return TreeReconciliation{}, ErrNoClient
	}
	if o.StoredBefore.IsZero() {
		o.StoredBefore = time.Now()
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	c := &treeReconciler{n: n, ctx: ctx, o: o, how: how}
	for i, root := range roots {
		if err := c.walk(i, root); err != nil {
			return c.result, n.cause(err)
		}
	}
	c.result.Reachable = int64(len(c.reached))
	if c.result.Unread > 0 && o.CancelUnreachable {
		return c.result, ErrTreeUnread
	}
	return c.result, n.cause(c.journal())
}

func compareIndexes(a, b grid.StorageIndex) int { return bytes.Compare(a[:], b[:]) }

// treeReconciler is a reconciliation on its way.
type treeReconciler struct {
	n   *Node
	ctx context.Context
	o   ReconcileTreeOptions
	how []Option
	// reached is from all roots; of those before the present one it is sorted.
	reached []grid.StorageIndex
	earlier int // how much of it that is
	result  TreeReconciliation
	mending *inOrder[TreeDifference]
}

// walk goes through all that can be reached from a root.
func (c *treeReconciler) walk(number int, root string) error {
	parsed, err := file.Parse(root)
	if err != nil {
		return kind{ErrCap, err}
	}
	c.mending = newInOrder(c.ctx, remakers, c.tell)
	c.earlier = len(c.reached)
	err = Walk(c.ctx, c.n, FoundOf(parsed), Walker{
		Visit: func(v Visited) error { return c.visit(number, v) },
		Unread: func(v Visited, err error) error {
			c.result.Unread++
			if c.o.Unread == nil {
				return nil
			}
			return c.o.Unread(v, err)
		},
	}, c.how...)
	slices.SortFunc(c.reached, compareIndexes)
	c.reached = slices.Compact(c.reached)
	return c.ended(err)
}

// visit notes an object, and looks for it in the journal.
func (c *treeReconciler) visit(root int, v Visited) error {
	index, shares := file.StorageIndexOf(v.Capability())
	if !shares || c.hasReached(index, c.earlier) {
		return nil
	}
	c.reached = append(c.reached, index)
	if c.o.Progress != nil {
		c.o.Progress(int64(len(c.reached)))
	}
	leased, err := c.leased(index)
	if err != nil || leased {
		return err
	}
	d := TreeDifference{Kind: Unleased, StorageIndex: index, Path: v.Path, Root: root}
	if verifier, err := file.Verifier(v.Capability()); err == nil {
		d.VerifyCap = verifier.String()
	}
	if chk, ok := v.Capability().(file.CHK); ok {
		d.Size = chk.Size
	}
	c.result.Unleased++
	_, err = c.mending.begin(func() TreeDifference { return c.adopt(d) })
	return err
}

// hasReached looks among the first ones, which are sorted.
func (c *treeReconciler) hasReached(index grid.StorageIndex, first int) bool {
	_, found := slices.BinarySearchFunc(c.reached[:first], index, compareIndexes)
	return found
}

// leased reports whether the journal knows of a lease.
func (c *treeReconciler) leased(index grid.StorageIndex) (bool, error) {
	leases, err := c.n.journal.Leases(index)
	return slices.ContainsFunc(leases, func(l lease.PlacedLease) bool { return l.Lapsed == 0 }), err
}

// adopt makes leases on what has none.
func (c *treeReconciler) adopt(d TreeDifference) TreeDifference {
	if !c.o.Fix {
		return d
	}
	var r CheckResult
	if r, d.Err = c.n.Check(c.ctx, d.VerifyCap, CheckOptions{AddLease: true}, c.how...); d.Err != nil {
		return d
	}
	switch {
	case r.Leased > 0:
		d.Mended = fmt.Sprintf("leases made on %d shares", r.Leased)
	case len(r.Good) == 0:
		d.Err = fmt.Errorf("%w: no server has a share of it", ErrNotEnoughShares)
	default:
		d.Err = errors.New("no server makes a lease on it")
	}
	return d
}

// journal goes through the files in the journal.
func (c *treeReconciler) journal() error {
	c.mending = newInOrder(c.ctx, remakers, c.tell)
	err := yieldFiles(c.ctx, c.n.journal, c.n.storedAfter, func(f LeasedFile) error {
		c.result.Listed++
		if c.hasReached(f.StorageIndex, len(c.reached)) {
			return nil
		}
		if f.Stored.After(c.o.StoredBefore) {
			c.result.Recent++
			return nil
		}
		c.result.Unreachable++
		c.result.UnreachableBytes += f.Size
		d := TreeDifference{Kind: Unreachable, StorageIndex: f.StorageIndex, VerifyCap: f.VerifyCap, Size: f.Size, Stored: f.Stored}
		_, err := c.mending.begin(func() TreeDifference { return c.cancel(d) })
		return err
	})
	return c.ended(err)
}

// cancel gives up what can't be reached. At servers that don't answer its leases
// end by themselves.
func (c *treeReconciler) cancel(d TreeDifference) TreeDifference {
	if !c.o.Fix || !c.o.CancelUnreachable {
		return d
	}
	given, err := c.n.onIndex(c.ctx, d.StorageIndex, nil, false, c.how...)
	if err != nil {
		d.Err = err
		return d
	}
	leases := 0
	for _, f := range given {
		leases += f.Leases
	}
	d.Mended = fmt.Sprintf("given up: %d leases", leases)
	return d
}

// ended waits for what is still being mended.
func (c *treeReconciler) ended(err error) error {
	if rest := c.mending.end(); err == nil {
		err = rest
	}
	return err
}

func (c *treeReconciler) tell(d TreeDifference) error {
	if d.Mended != "" {
		c.result.Mended++
	}
	if c.o.Found == nil {
		return nil
	}
	return c.o.Found(d)
}
