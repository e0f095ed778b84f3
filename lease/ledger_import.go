package lease

import "time"

// Imported is a share that another server kept, in this table's words.
type Imported struct {
	// Body says at least the UEB hash and the size. Bare is without its bytes.
	Body Body
	Bare bool
	// Enabler is the write enabler of a share that can be changed, whose UEB hash
	// is zero; it is zero for any other.
	Enabler WriteEnabler
	// Expires is when the last lease on it ends, Unix seconds; 0 is that there was
	// none.
	Expires int64
}

// Importing is what came of Import.
type Importing int

// What may come of it.
const (
	ImportStored Importing = iota + 1 // the share is here now
	ImportKnown                       // it was here already
	ImportWanted                      // it is not here, and came without its bytes
)

// Import takes in a share with a starter lease, which ends when the last lease
// on it does; one on which no lease runs any more is kept for as long as if it had
// been found. A share that is here already stays as it is, and has its starter
// lease for at least as long. Errors: ErrOtherShare, ErrServerFull.
func (l *Ledger) Import(now time.Time, id ShareID, s Imported, free int64) (Change, Importing, error) {
	t := newTx(l.view)
	share, ok := t.shares.get(id)
	if ok && share.State == Stable {
		if t.err == nil && (share.UEBHash != s.Body.UEBHash || !share.Enabler.Equal(s.Enabler)) {
			return Change{}, 0, ErrOtherShare
		}
		if s.Expires > now.Unix() {
			t.starter(now, id, share, s.Expires)
		}
		change, err := t.finish()
		return change, ImportKnown, err
	}
	switch {
	case t.err != nil:
		return Change{}, 0, t.err
	case s.Bare:
		return Change{}, ImportWanted, nil
	case s.Body.Size < 0 || s.Body.Size > maxShareSize || s.Body.File == 0 && int64(len(s.Body.Inline)) != s.Body.Size:
		return Change{}, 0, malformed("a body of %d bytes that should have %d", len(s.Body.Inline), s.Body.Size)
	case !l.roomFor(s.Body.Size+LeaseOverhead, free):
		return Change{}, 0, ErrServerFull
	}
	share, _ = l.settleShare(t, id, s.Body)
	if s.Enabler != (WriteEnabler{}) {
		share.Enabler, share.Writes = s.Enabler, 1
	}
	ends := s.Expires
	if ends <= now.Unix() {
		ends = l.expires(now)
	}
	t.starter(now, id, share, ends)
	change, err := t.finish()
	return change, ImportStored, err
}

// starter makes the starter lease on a share, or moves its end, only later.
func (t *tx) starter(now time.Time, id ShareID, share Share, ends int64) {
	key := LeaseID{Starter, id}
	lease, ok := t.leases.get(key)
	switch {
	case !ok:
		share.Leases++
		t.charge(ChainRecord{Column: Starter}, share.Size)
		lease = Lease{Made: now.Unix(), Size: share.Size}
	case lease.Expires >= ends:
		return
	}
	lease.Renewed, lease.Expires = now.Unix(), ends
	t.shares.put(id, share)
	t.leases.put(key, lease)
}

// Adopt gives a share that was found on disk a starter lease. A share that the
// table has already is left alone.
func (l *Ledger) Adopt(now time.Time, id ShareID, b Body) (Change, error) {
	t := newTx(l.view)
	if _, ok := t.shares.get(id); ok {
		return Change{}, t.err
	}
	share, _ := l.settleShare(t, id, b)
	t.starter(now, id, share, l.expires(now))
	return t.finish()
}
