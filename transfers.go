package tarn

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
)

// TransferKind is which way a file goes.
type TransferKind int

// Upload and Download are of immutable files, Publish and Retrieve of mutable
// ones.
const (
	Upload TransferKind = iota
	Download
	Publish
	Retrieve
)

// String is what Tahoe-LAFS calls it.
func (k TransferKind) String() string {
	return [...]string{"upload", "download", "publish", "retrieve"}[k]
}

// Transfer is a file, or a part of one, on its way to the grid or from it, or
// one that was lately.
type Transfer struct {
	Kind TransferKind
	// Number counts those of its kind, from 0.
	Number int64
	// StorageIndex is zero for a mutable file that is being made.
	StorageIndex grid.StorageIndex
	// Size is how much is to go, in bytes, or -1 where that is not known; Done how
	// much has. Of what is published it is not known before the end.
	Size, Done int64
	Started    time.Time
	// Ended is zero while it goes on, Err why it failed.
	Ended time.Time
	Err   error
	// Placement says where the shares are of a file that was written, and
	// Happiness how well they are spread.
	Placement map[grid.ShareNum][]grid.ServerID
	Happiness int
}

// recentTransfers is how many of those that have ended are remembered.
const recentTransfers = 50

// transfers are those of a node.
type transfers struct {
	mu     sync.Mutex
	active map[*ongoingTransfer]bool
	recent []Transfer          // the last one ended last
	begun  [Retrieve + 1]int64 // how many there were, by kind
	well   [Retrieve + 1]int64 // how many of them ended without an error
}

// ongoingTransfer is one on its way.
type ongoingTransfer struct {
	of   *transfers
	told Transfer // its Done is not used
	done atomic.Int64
}

func (t *transfers) begin(kind TransferKind, si grid.StorageIndex, size int64) *ongoingTransfer {
	x := &ongoingTransfer{of: t, told: Transfer{Kind: kind, StorageIndex: si, Size: size, Started: time.Now()}}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.active == nil {
		t.active = map[*ongoingTransfer]bool{}
	}
	x.told.Number = t.begun[kind]
	t.begun[kind]++
	t.active[x] = true
	return x
}

// now is how it is.
func (x *ongoingTransfer) now() Transfer {
	told := x.told
	told.Done = x.done.Load()
	return told
}

// Write counts what comes by.
func (x *ongoingTransfer) Write(p []byte) (int, error) {
	x.done.Add(int64(len(p)))
	return len(p), nil
}

// progressing is a progress function that this one is told of, too.
func (x *ongoingTransfer) progressing(also func(done, total int64)) func(done, total int64) {
	return func(done, total int64) {
		x.done.Store(done)
		if also != nil {
			also(done, total)
		}
	}
}

// placed says where the shares are.
func (x *ongoingTransfer) placed(placement map[grid.ShareNum][]grid.ServerID, happiness int) {
	x.of.mu.Lock()
	defer x.of.mu.Unlock()
	x.told.Placement, x.told.Happiness = placement, happiness
}

// end says how it ended.
func (x *ongoingTransfer) end(err error) {
	told := x.now()
	told.Ended, told.Err = time.Now(), err
	if err == nil && told.Size >= 0 {
		told.Done = told.Size
	}
	t := x.of
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.active, x)
	if err == nil {
		t.well[told.Kind]++
	}
	if len(t.recent) == recentTransfers {
		t.recent = append(t.recent[:0], t.recent[1:]...)
	}
	t.recent = append(t.recent, told)
}

// endedWell is how many of a kind there were.
func (t *transfers) endedWell(kind TransferKind) float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return float64(t.well[kind])
}

// Transfers are the files that are on their way, the latest first, and the last
// ones that were.
func (n *Node) Transfers() (active, recent []Transfer) {
	t := &n.transfers
	t.mu.Lock()
	defer t.mu.Unlock()
	for x := range t.active {
		active = append(active, x.now())
	}
	slices.SortFunc(active, func(a, b Transfer) int {
		return cmp.Or(b.Started.Compare(a.Started), slices.Compare(a.StorageIndex[:], b.StorageIndex[:]))
	})
	recent = slices.Clone(t.recent)
	slices.Reverse(recent)
	return active, recent
}

// indexOf is the storage index of what has one.
func indexOf(c file.Capability) grid.StorageIndex {
	index, _ := file.StorageIndexOf(c)
	return index
}
