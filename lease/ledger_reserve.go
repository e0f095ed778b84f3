package lease

import (
	"fmt"
	"math"
	"time"
)

// maxShareSize keeps sums of sizes far from overflow. In bytes: 4 PiB.
const maxShareSize = 1 << 52

// reservation is a COMING share: bytes promised to an upload, or to a write of
// a share that can be changed.
type reservation struct {
	grant  Grant
	size   int64
	writes bool
}

// pin keeps a chain's cost reserved while uploads under it are in progress
// and the chain is not stored, so that neither the end of its last lease nor
// the order of two commits can overshoot a budget.
type pin struct {
	chain ChainRecord
	count int
	held  bool // its cost is in reserved
}

// Reservation is the answer to Reserve.
type Reservation struct {
	// AlreadyHave: the share is STABLE and nothing was reserved. The caller
	// goes on with AddLease if its user wants this content.
	AlreadyHave bool
	UEBHash     UEBHash // of the share that is there
	Size        int64   // of the share that is there, in bytes
}

// Reserve promises size bytes for an upload (COMING), against every budget of
// the grant and the disk: free is what the filesystem has left now. The
// reservation ends with Commit or Release. Errors: those of a grant that does
// not permit it, ErrOverQuota, ErrServerFull, ErrComing.
func (l *Ledger) Reserve(now time.Time, g Grant, id ShareID, size, free int64) (Reservation, error) {
	t := newTx(l.view)
	if size < 0 || size > maxShareSize {
		return Reservation{}, malformed("a share of %d bytes", size)
	}
	if err := l.permit(t, now, g, OpUpload, id); err != nil {
		return Reservation{}, err
	}
	share, ok := t.shares.get(id)
	if t.err != nil {
		return Reservation{}, t.err
	}
	if ok && share.State == Stable {
		return Reservation{AlreadyHave: true, UEBHash: share.UEBHash, Size: share.Size}, nil
	}
	if err := l.reservable(t, g, id, size, free); err != nil {
		return Reservation{}, err
	}
	l.hold(t, LeaseID{g.Column(), id}, reservation{grant: g, size: size})
	return Reservation{}, t.err
}

// reservable checks room: in the grant's limits, its budgets, on the disk.
func (l *Ledger) reservable(t *tx, g Grant, id ShareID, size, free int64) error {
	if _, coming := l.coming[LeaseID{g.Column(), id}]; coming {
		return ErrComing
	}
	if err := permitSize(g, size); err != nil {
		return err
	}
	cost := size + LeaseOverhead
	if err := l.fits(t, g, cost+l.chainCostNow(t, g.chain())); err != nil {
		return err
	}
	if !l.roomFor(cost, free) {
		return ErrServerFull
	}
	return nil
}

func permitSize(g Grant, size int64) error {
	if limit := g.Effective.MaxSize; limit != nil && size > *limit {
		return notPermitted(LimitMaxSize, "share of %d bytes, at most %d", size, *limit)
	}
	return nil
}

// roomFor reports whether so many bytes of the disk may be given away.
func (l *Ledger) roomFor(cost, free int64) bool { return cost <= free-l.policy.ReservedSpace-l.total }

// hold books a reservation.
func (l *Ledger) hold(t *tx, id LeaseID, r reservation) {
	l.coming[id] = r
	chain := r.grant.chain()
	l.book(chain.Charges(), r.size+LeaseOverhead, 1)
	l.total += r.size + LeaseOverhead
	p := l.pins[chain.Key()]
	p.chain = chain
	p.count++
	l.pins[chain.Key()] = p
	l.settlePin(t, chain.Key())
}

// Release ends a reservation without a share: its bytes are free again. It
// reports whether there was one.
func (l *Ledger) Release(column Column, id ShareID) bool {
	r, ok := l.coming[LeaseID{column, id}]
	if ok {
		l.release(newTx(l.view), LeaseID{column, id}, r)
	}
	return ok
}

func (l *Ledger) release(t *tx, id LeaseID, r reservation) {
	delete(l.coming, id)
	chain := r.grant.chain()
	l.book(chain.Charges(), -r.size-LeaseOverhead, -1)
	l.total -= r.size + LeaseOverhead
	p := l.pins[chain.Key()]
	p.count--
	l.pins[chain.Key()] = p
	l.settlePin(t, chain.Key())
}

// settlePin makes the reserved cost of a chain what it must be now: held while
// uploads use it and the table does not.
func (l *Ledger) settlePin(t *tx, k ChainKey) {
	p, ok := l.pins[k]
	if !ok {
		return
	}
	_, stored := t.chainIDs.get(k)
	hold := p.count > 0 && !stored
	if hold != p.held {
		sign := int64(-1)
		if hold {
			sign = 1
		}
		l.book(p.chain.Charges(), sign*p.chain.Cost(), 0)
		p.held = hold
	}
	l.pins[k] = p
	if p.count == 0 {
		delete(l.pins, k)
	}
}

// settlePins follows the chains that a step stored or dropped.
func (l *Ledger) settlePins(t *tx) {
	for k := range t.chainIDs.m {
		l.settlePin(t, k)
	}
}

// book moves reserved sums; those at zero are forgotten.
func (l *Ledger) book(keys []CounterKey, bytes, shares int64) {
	for _, k := range keys {
		c := l.reserved[k]
		c.Bytes += bytes
		c.Leases += shares
		if c == (Counter{}) {
			delete(l.reserved, k)
		} else {
			l.reserved[k] = c
		}
	}
}

// Body is a share's verified content, where it lies until the Change is
// applied: small ones inline, large ones in a file that the store sealed.
type Body struct {
	UEBHash UEBHash
	Size    int64
	Inline  []byte // Size bytes, if File is 0; given away
	File    uint64
}

// Committed is the answer to Commit, AddLease and, for each lease, RenewLeases.
type Committed struct {
	Expires int64 // of the lease, Unix seconds
	// UEBHash of the share that is there: not the uploaded one's if another
	// upload was STABLE first and had another content. Then there is no lease.
	UEBHash UEBHash
	Size    int64 // of that share
	// Dropped: another upload of the share was STABLE first, so the Body given
	// is not used; the caller deletes its file.
	Dropped bool
	// Renewed: the label had a lease already, so only its end moved.
	Renewed bool
	// TookOver: the lease now stands under the renewing request's chain.
	TookOver bool
}

// Commit makes a COMING share STABLE, with a lease, and ends the reservation.
// Where another upload was STABLE first, the lease is on that if its content is
// the same, and there is none if not: nobody pays for what he did not upload.
// The grant is the one that reserved; it must still be in good standing. After
// an error the reservation is still there: the caller drops the body and calls
// Release.
func (l *Ledger) Commit(now time.Time, column Column, id ShareID, b Body) (Change, Committed, error) {
	r, ok := l.coming[LeaseID{column, id}]
	if !ok || r.writes {
		return Change{}, Committed{}, ErrNoReservation
	}
	t := newTx(l.view)
	if err := l.committable(t, now, r, id, b); err != nil {
		return Change{}, Committed{}, err
	}
	share, done := l.settleShare(t, id, b)
	release := func() { l.release(t, LeaseID{column, id}, r) }
	if done.Dropped && share.UEBHash != b.UEBHash {
		return l.close(t, droppedFor(share), release)
	}
	if done.Dropped {
		if err := l.joinable(t, r, id, share); err != nil {
			return Change{}, Committed{}, err
		}
	}
	l.makeLease(t, now, r.grant, id, share, &done)
	return l.close(t, done, release)
}

// droppedFor is what came of a body where a share was there already.
func droppedFor(s Share) Committed {
	return Committed{UEBHash: s.UEBHash, Size: s.Size, Dropped: true}
}

func (l *Ledger) committable(t *tx, now time.Time, r reservation, id ShareID, b Body) error {
	if err := l.permit(t, now, r.grant, OpUpload, id); err != nil {
		return err
	}
	if b.Size < 0 || b.Size > r.size {
		return fmt.Errorf("%w: %d bytes were reserved and %d came", ErrMalformed, r.size, b.Size)
	}
	if b.File == 0 && int64(len(b.Inline)) != b.Size {
		return fmt.Errorf("%w: a body of %d bytes that should have %d", ErrMalformed, len(b.Inline), b.Size)
	}
	return permitContent(r.grant, OpUpload, id, b.Size, b.UEBHash)
}

// joinable checks that an upload which came second may have its lease on the
// share that came first: the same content, perhaps in a larger form than was
// reserved.
func (l *Ledger) joinable(t *tx, r reservation, id ShareID, s Share) error {
	if err := permitContent(r.grant, OpUpload, id, s.Size, s.UEBHash); err != nil {
		return err
	}
	if _, renewed := t.leases.get(LeaseID{r.grant.Column(), id}); renewed || s.Size <= r.size {
		return t.err
	}
	return l.fits(t, r.grant, s.Size-r.size)
}

// Put is Reserve and Commit in one step, for a share whose verified bytes are
// all here: STABLE with a lease; or Dropped, without one, because a share was
// there first: the caller goes on with AddLease if its user wants that content.
// Nothing stays reserved. Errors: those of both, but for
// ErrNoReservation.
func (l *Ledger) Put(now time.Time, g Grant, id ShareID, b Body, free int64) (Change, Committed, error) {
	t := newTx(l.view)
	r := reservation{grant: g, size: b.Size}
	if err := l.committable(t, now, r, id, b); err != nil {
		return Change{}, Committed{}, err
	}
	share, ok := t.shares.get(id)
	if ok && share.State == Stable {
		return Change{}, droppedFor(share), t.err
	}
	if err := l.reservable(t, g, id, b.Size, free); err != nil {
		return Change{}, Committed{}, err
	}
	share, done := l.settleShare(t, id, b)
	l.makeLease(t, now, g, id, share, &done)
	return l.close(t, done, nil)
}

// settleShare makes the body STABLE unless another was first. A share that is
// GOING is replaced: its old bytes are of no use to anyone.
func (l *Ledger) settleShare(t *tx, id ShareID, b Body) (Share, Committed) {
	old, ok := t.shares.get(id)
	if ok && old.State == Stable {
		return old, Committed{Dropped: true}
	}
	share := Share{State: Stable, Size: b.Size, UEBHash: b.UEBHash, File: b.File}
	t.shares.put(id, share)
	if b.File == 0 {
		t.inline.put(id, b.Inline)
	} else if ok && old.File == 0 {
		t.inline.delete(id)
	}
	return share, Committed{}
}

// close finishes a step: memory follows only if the table could be read.
func (l *Ledger) close(t *tx, done Committed, follow func()) (Change, Committed, error) {
	change, err := t.finish()
	if err != nil {
		return Change{}, Committed{}, err
	}
	if follow != nil {
		follow()
	}
	l.settlePins(t)
	return change, done, nil
}

// Reserved is the sum of all reservations: bytes that will be written though
// the disk does not show them yet, and how many uploads they are.
func (l *Ledger) Reserved() Counter {
	return Counter{Bytes: l.total, Leases: int64(len(l.coming))}
}

// NoLimit is free space for a server that does not ask its disk.
const NoLimit = math.MaxInt64
