package server

import (
	"io"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Store is what the server needs of a lease table and its share bytes:
// lease/store, behind an adapter. Everything but Apply may be called by any
// goroutine.
type Store interface {
	lease.View
	// Apply writes a Change: reads see it at once, and it is durable when Wait
	// has returned nil.
	Apply(lease.Change) (wait func() error, err error)
	// Free is how many bytes the filesystem has left, or lease.NoLimit.
	Free() (int64, error)
	// Roots lists every root, by key.
	Roots() ([]lease.Root, error)
	// RevokedKeys lists every revoked key, CancellingRoots every root whose
	// leases are being cancelled, RootsWithLeases every key at which the chain of
	// a lease starts.
	RevokedKeys() ([]grid.PublicKey, error)
	CancellingRoots() ([]grid.PublicKey, error)
	RootsWithLeases() ([]grid.PublicKey, error)
	// Holders lists the leases on a share, by column.
	Holders(lease.ShareID) ([]lease.StoredLease, error)
	// ScanUnder looks at up to limit leases from a cursor on for those whose
	// chain starts at a root, the zero one being that of clients without a key.
	ScanUnder(root grid.PublicKey, from []byte, limit int) (found []lease.StoredLease, next []byte, err error)
	// TrafficSince yields the traffic of every counter from a day on, by day.
	TrafficSince(since lease.Day, yield func(lease.TrafficKey, lease.Traffic) error) error
	// ListShares lists the STABLE shares of a file, by number. Nobody may change the
	// list.
	ListShares(grid.StorageIndex) ([]lease.StoredShare, error)
	// HasMutable reports whether any share can be changed.
	HasMutable() (bool, error)
	// OpenShare opens a STABLE share; lease.ErrNoShare if there is none.
	OpenShare(lease.ShareID) (Body, error)
	// SmallShare is the size in bytes up to which a body goes into the table.
	SmallShare() int64
	// Incoming makes an empty file for a larger one.
	Incoming() (Incoming, error)
	// ScanExpired looks at up to limit leases from a cursor on, nil being the
	// beginning, for those that have expired. The cursor returned is nil at the
	// end.
	ScanExpired(now time.Time, from []byte, limit int) (expired []lease.LeaseID, next []byte, err error)
	// LeasesAfter lists up to limit leases of a column, in the order of their
	// shares, behind a share, nil being the beginning; and whether there are
	// more.
	LeasesAfter(c lease.Column, share *lease.ShareID, limit int) (leases []lease.StoredLease, more bool, err error)
	// Progress is where the scan for expired leases goes on after a restart, as
	// SaveProgress last said; nil is the beginning.
	Progress() ([]byte, error)
	SaveProgress(cursor []byte) error
	// CountersWithTraffic lists the counters that have traffic before a day.
	CountersWithTraffic(before lease.Day) ([]lease.CounterKey, error)
	// Adopting reports whether there may be files of shares of which the table
	// has never heard, until EndAdopting. LooseFolders lists where they may be,
	// LooseShares those in one folder, and strays, which are no shares by their
	// names. OpenLoose opens one, NumberLoose gives it a number for a lease.Body.
	Adopting() (bool, error)
	EndAdopting() error
	LooseFolders() ([]string, error)
	LooseShares(folder string) (loose []lease.ShareID, strays []string, err error)
	OpenLoose(lease.ShareID) (Body, error)
	NumberLoose() uint64
	// Going lists the shares whose bytes are still to be deleted.
	Going() ([]lease.GoingShare, error)
	// Delete deletes the bytes of such shares, and returns those of which they
	// are gone. It can be repeated.
	Delete(...lease.GoingShare) (gone []lease.GoingShare, err error)
}

// Body is the bytes of a share. Reading goes on undisturbed if the share goes.
type Body interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Incoming is a file for a share on its way. One goroutine at a time uses it.
type Incoming interface {
	io.WriterAt
	io.ReaderAt
	// Seal makes it durable; its number goes into a lease.Body.
	Seal() (file uint64, err error)
	// Discard deletes it, sealed or not, unless it has become a share's.
	Discard() error
}
