package store

import (
	"errors"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Cursor is where a scan goes on; nil is the beginning, and the end.
type Cursor = []byte

// errStop ends a scan early.
var errStop = errors.New("stop")

// ScanExpired looks at up to limit leases from a cursor on and returns those
// that have expired by now, with the cursor for the next call, nil at the end.
// It sees 10 million leases a second, so nobody keeps an index.
func (s *Store) ScanExpired(now time.Time, from Cursor, limit int) ([]lease.LeaseID, Cursor, error) {
	var expired []lease.LeaseID
	next, err := s.scanLeases([]byte{tagLease}, from, limit, func(id lease.LeaseID, l lease.Lease) {
		if l.Expires <= now.Unix() {
			expired = append(expired, id)
		}
	})
	return expired, next, err
}

var progressKey = metaKey("collector")

// Progress is the cursor that SaveProgress was given last, nil for the
// beginning. It may be an older one after a crash.
func (s *Store) Progress() (Cursor, error) {
	b, _, err := s.get(progressKey)
	if len(b) == 0 {
		return nil, err
	}
	return b, err
}

// SaveProgress remembers where a scan goes on. Nothing waits for the disk.
func (s *Store) SaveProgress(c Cursor) error {
	b := batch{{key: progressKey, value: c, delete: c == nil}}
	if err := s.eng.applyLazily(b); err != nil {
		return err
	}
	s.follow(b)
	return nil
}

// LeasesOf lists up to limit leases of a column, by share, from a cursor on,
// with the cursor for the next call, nil at the end.
func (s *Store) LeasesOf(c lease.Column, from Cursor, limit int) ([]lease.StoredLease, Cursor, error) {
	column, ok, err := s.columnID(c)
	if err != nil || !ok {
		return nil, nil, err
	}
	var all []lease.StoredLease
	next, err := s.scanLeases(withID(tagLease, column), from, limit, func(id lease.LeaseID, l lease.Lease) {
		all = append(all, lease.StoredLease{ID: id, Lease: l})
	})
	return all, next, err
}

// LeasesAfter lists up to limit leases of a column, in the order of their
// shares, behind a share; from the first on where that is nil. It says whether
// there are more.
func (s *Store) LeasesAfter(c lease.Column, share *lease.ShareID, limit int) ([]lease.StoredLease, bool, error) {
	var from Cursor
	if share != nil {
		column, ok, err := s.columnID(c)
		if err != nil || !ok {
			return nil, false, err
		}
		from = append(leaseKey(column, *share), 0)
	}
	all, next, err := s.LeasesOf(c, from, limit)
	return all, next != nil, err
}

// ScanUnder looks at up to limit leases from a cursor on and returns those
// whose chain starts at a root, with the cursor for the next call, nil at the
// end. The zero root is that of clients without a key.
func (s *Store) ScanUnder(root grid.PublicKey, from Cursor, limit int) ([]lease.StoredLease, Cursor, error) {
	prefix := []byte{tagLease}
	if root.IsZero() {
		prefix = withID(tagLease, lease.AnonymousID)
	}
	var all []lease.StoredLease
	starts := map[uint32]bool{0: root.IsZero()}
	var failed error
	next, err := s.scanLeases(prefix, from, limit, func(id lease.LeaseID, l lease.Lease) {
		under, known := starts[l.Chain]
		if !known {
			chain, _, err := s.Chain(l.Chain)
			failed = errors.Join(failed, err)
			under = len(chain.Keys) > 0 && chain.Keys[0] == root
			starts[l.Chain] = under
		}
		if under {
			all = append(all, lease.StoredLease{ID: id, Lease: l})
		}
	})
	return all, next, errors.Join(err, failed)
}

func (s *Store) scanLeases(prefix []byte, from Cursor, limit int, yield func(lease.LeaseID, lease.Lease)) (Cursor, error) {
	return s.scanSome(prefix, from, limit, func(key, value []byte) error {
		id, l, err := s.leaseEntry(key, value)
		if err == nil {
			yield(id, l)
		}
		return err
	})
}

// scanSome yields up to limit records under a prefix from a cursor on.
func (s *Store) scanSome(prefix []byte, from Cursor, limit int, yield func(key, value []byte) error) (Cursor, error) {
	lower := prefix
	if from != nil {
		lower = from
	}
	var next Cursor
	err := s.scan(lower, after(prefix), func(key, value []byte) error {
		if limit <= 0 {
			next = append(Cursor{}, key...)
			return errStop
		}
		limit--
		return yield(key, value)
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return next, err
}

func (s *Store) leaseEntry(key, value []byte) (lease.LeaseID, lease.Lease, error) {
	if len(key) != leaseKeySize {
		return lease.LeaseID{}, lease.Lease{}, ErrDamaged
	}
	column, err := s.columnOf(be32(key[1:]))
	if err != nil {
		return lease.LeaseID{}, lease.Lease{}, err
	}
	l, err := decodeLease(value)
	return lease.LeaseID{Column: column, Share: shareOf(key[5:])}, l, err
}

// ListShares lists the STABLE shares of a file, by number. Nobody may change the
// list.
func (s *Store) ListShares(si grid.StorageIndex) ([]lease.StoredShare, error) {
	all, ok, changes := s.lists.get(si)
	if ok {
		return all, nil
	}
	all, err := s.scanShares(si)
	if err == nil {
		s.lists.put(si, all, changes)
	}
	return all, err
}

func (s *Store) scanShares(si grid.StorageIndex) ([]lease.StoredShare, error) {
	var all []lease.StoredShare
	err := s.scanAll(append([]byte{tagShare}, si[:]...), func(key, value []byte) error {
		if len(key) != shareKeySize {
			return nil // who holds it
		}
		share, err := decodeShare(value)
		if err == nil && share.State == lease.Stable {
			all = append(all, lease.StoredShare{ID: shareOf(key[1:]), Share: share})
		}
		return err
	})
	return all, err
}

// HasMutable reports whether any STABLE share can be changed. It may look at all
// of them.
func (s *Store) HasMutable() (bool, error) {
	err := s.scanAll([]byte{tagShare}, func(key, value []byte) error {
		if len(key) != shareKeySize {
			return nil // who holds it
		}
		share, err := decodeShare(value)
		if err == nil && share.State == lease.Stable && share.Mutable() {
			return errFound
		}
		return err
	})
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

// errFound ends a scan early.
var errFound = errors.New("found")

// Holders lists the leases on a share, by column.
func (s *Store) Holders(id lease.ShareID) ([]lease.StoredLease, error) {
	var columns []uint32
	err := s.scanAll(withShare(tagShare, id), func(key, _ []byte) error {
		if len(key) == holderKeySize {
			columns = append(columns, be32(key[shareKeySize:]))
		}
		return nil
	})
	var all []lease.StoredLease
	for _, column := range columns {
		c, colErr := s.columnOf(column)
		l, _, readErr := read(s, leaseKey(column, id), decodeLease)
		if err = errors.Join(err, colErr, readErr); err != nil {
			return nil, err
		}
		all = append(all, lease.StoredLease{ID: lease.LeaseID{Column: c, Share: id}, Lease: l})
	}
	return all, err
}
