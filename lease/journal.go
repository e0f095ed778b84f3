package lease

import (
	"bytes"
	"cmp"

	"github.com/tarn-grid/tarn/grid"
)

// JournalFile is a file in a client's journal: the list of what it stored, and
// so of what it has to renew.
type JournalFile struct {
	StorageIndex grid.StorageIndex
	VerifyCap    string // empty where only the leases are known
	Size         int64  // bytes; 0 where VerifyCap is empty
	Stored       int64  // when, Unix seconds
	Shares       []JournalShare
}

// JournalShare says where a share of a file is, by server, then number.
type JournalShare struct {
	Server grid.ServerID
	Num    grid.ShareNum
}

// Compare orders by server, then number.
func (s JournalShare) Compare(t JournalShare) int {
	return cmp.Or(bytes.Compare(s.Server[:], t.Server[:]), cmp.Compare(s.Num, t.Num))
}

// JournalLease is a lease as the client knows it. Times are Unix seconds.
type JournalLease struct {
	Share   ShareID
	Label   grid.PublicKey // whose it is; zero is not known
	Renewed int64          // when it was made, or made again
	Expires int64          // as the server said then; 0 is not known
	Lapsed  int64          // when the server had it no more; 0 is held
}

// PlacedLease is a lease and where it is.
type PlacedLease struct {
	Server grid.ServerID
	JournalLease
}

// JournalServer is how many leases a journal has at a server.
type JournalServer struct {
	Server         grid.ServerID
	Leases, Lapsed int64 // the second are among the first
}

// DueAt is when the lease should be made again (Unix seconds): when half of
// its time is over, or up to an eighth of its time earlier. How much earlier,
// its storage index says, so that what was stored on one day is not all renewed
// on one day. A lease of which nobody knows when it ends is due at once.
func (l JournalLease) DueAt() int64 {
	if l.Expires == 0 {
		return 0
	}
	whole := l.Expires - l.Renewed
	early := whole / 8 * int64(l.Share.StorageIndex[15]) / 256
	return l.Renewed + whole/2 - early
}

// Due reports whether DueAt is over by now. One that has lapsed is never due.
func (l JournalLease) Due(now int64) bool { return l.Lapsed == 0 && now >= l.DueAt() }
