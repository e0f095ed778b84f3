// Package health says how well a file is: which of its shares are where, which
// of them are damaged, whether it can be read, and whether it is spread as
// widely as it should be.
//
// Report is what a check found, of an immutable file or a mutable one. What
// follows from it, such as Healthy, Happiness and Summary, are its methods, so
// that everybody draws the same conclusions. JSON and RepairJSON write it as
// Tahoe-LAFS's web API does.
//
// The package is pure: it asks nobody and knows no clock.
package health

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
)

// Copy is a share at a server.
type Copy struct {
	Server grid.ServerID
	Num    grid.ShareNum
	// Version is that of a mutable file, as people name it:
	// seq5-k7qs, the sequence number and the beginning of the root hash. It is
	// empty for an immutable file.
	Version string
}

// Version is one of a mutable file that does not count, though shares of it are
// there.
type Version struct {
	Name          string // as in Copy
	Needed, Total int
	Shares        int // different ones
	// Newer says that it is newer than the one that counts, and can't be read.
	Newer bool
}

// Recoverable reports whether the version can be read.
func (v Version) Recoverable() bool { return v.Shares >= v.Needed }

// Fault is a share that does not count, and why.
type Fault struct {
	Copy
	Err error
}

// Silence is a server that said nothing, and why.
type Silence struct {
	Server grid.ServerID
	Err    error
}

// Report is what a check found of one file.
type Report struct {
	// Literal is a file that lies in its capability: there is nothing to check.
	Literal      bool
	StorageIndex grid.StorageIndex
	// Any Needed of Total shares give the file back. It is spread well when Happy
	// distinct servers hold distinct shares.
	Needed, Happy, Total int
	// Verified says that every share was read and proven; else servers were
	// believed.
	Verified bool
	// Good shares count: those of the version that a reader would get or, where
	// none can be read, of the newest.
	Good []Copy
	// Mutable says that the file has versions. Version is the one that counts,
	// empty where there is none; Others are those besides, the newest first, and
	// Wrong the shares of them.
	Mutable bool
	Version string
	Others  []Version
	Wrong   []Copy
	// Corrupt shares are proven not to be what they should be; Unread ones could
	// not be read to the end.
	Corrupt, Unread []Fault
	// Responding are the servers that said what they have, by the file's order.
	Responding []grid.ServerID
	// Silent ones could not be asked, or did not answer.
	Silent []Silence
}

// Shares is how many different good shares there are.
func (r Report) Shares() int { return len(r.byShare()) }

// Servers is how many servers have good shares.
func (r Report) Servers() int {
	seen := map[grid.ServerID]bool{}
	for _, c := range r.Good {
		seen[c.Server] = true
	}
	return len(seen)
}

// Happiness is how many distinct servers hold distinct shares: with any Needed
// of them the file can be read.
func (r Report) Happiness() int {
	edges := make([]placement.Edge, len(r.Good))
	for i, c := range r.Good {
		edges[i] = placement.Edge{Server: c.Server, Share: c.Num}
	}
	return placement.Happiness(edges)
}

// Happy reports whether the file is spread as widely as it should be.
func (r Report) happy() bool { return r.Happiness() >= min(r.Happy, r.Total) }

// Recoverable reports whether the file can be read.
func (r Report) Recoverable() bool { return r.Literal || r.Shares() >= r.Needed }

// Healthy reports whether all shares are there, on as many servers as they
// should be, and of one version. Damaged copies beside those do no harm.
func (r Report) Healthy() bool {
	return r.Literal || r.Shares() >= r.Total && r.happy() && len(r.Others) == 0
}

// Newer is how many versions are newer than the one that counts, and can't be
// read: who writes now, or repairs, gives them up.
func (r Report) Newer() int {
	n := 0
	for _, v := range r.Others {
		if v.Newer {
			n++
		}
	}
	return n
}

// Summary is one line for people, which begins as Tahoe-LAFS's does.
func (r Report) Summary() string {
	switch {
	case r.Literal:
		return "Healthy (LIT)"
	case r.Healthy():
		return "Healthy"
	}
	text := fmt.Sprintf("Not Healthy: %s (enc %d-of-%d)", count(r.Shares(), "share"), r.Needed, r.Total)
	var also []string
	newer := r.Newer()
	if newer > 0 {
		also = append(also, count(newer, "newer version")+" that can't be read")
	}
	if others := len(r.Others) - newer; others > 0 {
		also = append(also, count(others, "other version"))
	}
	switch {
	case !r.Recoverable():
		also = append(also, "unrecoverable")
	case !r.happy():
		also = append(also, fmt.Sprintf("happiness %d of %d", r.Happiness(), min(r.Happy, r.Total)))
	}
	return strings.Join(append([]string{text}, also...), ", ")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// byShare is the servers that have each good share, in order.
func (r Report) byShare() map[grid.ShareNum][]grid.ServerID {
	at := map[grid.ShareNum][]grid.ServerID{}
	for _, c := range r.Good {
		if !slices.Contains(at[c.Num], c.Server) {
			at[c.Num] = append(at[c.Num], c.Server)
		}
	}
	return at
}

// Missing is the shares of which there is no good copy, in order.
func (r Report) Missing() []grid.ShareNum {
	at := r.byShare()
	var missing []grid.ShareNum
	for n := range r.Total {
		if len(at[grid.ShareNum(n)]) == 0 {
			missing = append(missing, grid.ShareNum(n))
		}
	}
	return missing
}

// GoodAt is the good shares at each server, in order.
func (r Report) GoodAt() map[grid.ServerID][]grid.ShareNum {
	at := map[grid.ServerID][]grid.ShareNum{}
	for _, c := range r.Good {
		at[c.Server] = append(at[c.Server], c.Num)
	}
	for id := range maps.Keys(at) {
		slices.Sort(at[id])
	}
	return at
}
