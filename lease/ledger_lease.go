package lease

import (
	"fmt"
	"time"
)

// AddLease makes a lease on a share that is STABLE, or makes it again, which a
// full disk does not prevent: free is what the filesystem has left now. Another
// content than the one that is named, if one is, is no share that the account
// would pay for. Errors: those of a grant that does not permit it, ErrNoShare,
// ErrOverQuota, ErrServerFull.
func (l *Ledger) AddLease(now time.Time, g Grant, id ShareID, content *UEBHash, free int64) (Change, Committed, error) {
	t := newTx(l.view)
	if err := l.permit(t, now, g, OpAddLease, id); err != nil {
		return Change{}, Committed{}, err
	}
	share, err := l.leasable(t, g, OpAddLease, id)
	if err != nil {
		return Change{}, Committed{}, err
	}
	if content != nil && *content != share.UEBHash {
		return Change{}, Committed{}, fmt.Errorf("%w: another content is stored as share %d", ErrNoShare, id.Num)
	}
	if _, ok := t.leases.get(LeaseID{g.Column(), id}); ok {
		return l.close(t, l.renew(t, now, g, id, share), nil)
	}
	if err := l.fits(t, g, share.Size+LeaseOverhead+l.chainCostNow(t, g.chain())); err != nil {
		return Change{}, Committed{}, err
	}
	if !l.roomFor(LeaseOverhead, free) {
		return Change{}, Committed{}, ErrServerFull
	}
	var done Committed
	l.makeLease(t, now, g, id, share, &done)
	return l.close(t, done, nil)
}

// LeaseResult is what became of one lease of many. Err is nil, ErrNoShare,
// ErrNoLease or a NotPermittedError, and then nothing came of it.
type LeaseResult struct {
	Committed
	Err error
}

// RenewLeases makes the label's leases again, within quota or over it: expires
// moves, only later. A request signed by the label's own key also takes over
// chain, size and budget, where that budget has room. There is a result for
// each id, in order; the error is that of a grant which permits none of it.
func (l *Ledger) RenewLeases(now time.Time, g Grant, ids []ShareID) (Change, []LeaseResult, error) {
	t := newTx(l.view)
	if err := l.permitSome(t, now, g, OpRenewLease); err != nil {
		return Change{}, nil, err
	}
	t.fetchShares(g.Column(), ids)
	results := make([]LeaseResult, len(ids))
	for i, id := range ids {
		results[i].Committed, results[i].Err = l.renewOne(t, now, g, id)
	}
	change, _, err := l.close(t, Committed{}, nil)
	return change, results, err
}

func (l *Ledger) renewOne(t *tx, now time.Time, g Grant, id ShareID) (Committed, error) {
	share, err := l.leasable(t, g, OpRenewLease, id)
	if err != nil {
		return Committed{}, err
	}
	if _, ok := t.leases.get(LeaseID{g.Column(), id}); !ok {
		return Committed{}, ErrNoLease
	}
	return l.renew(t, now, g, id, share), nil
}

// permitSome checks what a grant may do to some share or other: which ones, it
// is asked for each.
func (l *Ledger) permitSome(t *tx, now time.Time, g Grant, op Operation) error {
	return l.allow(t, now, g, Ask{Operation: op, StorageIndex: g.Effective.StorageIndex, UEBHash: g.Effective.UEBHash})
}

// leasable finds a share that the grant may hold a lease on.
func (l *Ledger) leasable(t *tx, g Grant, op Operation, id ShareID) (Share, error) {
	share, ok := t.shares.get(id)
	if t.err != nil {
		return Share{}, t.err
	}
	if !ok || share.State != Stable {
		return Share{}, ErrNoShare
	}
	return share, permitContent(g, op, id, share.Size, share.UEBHash)
}

// makeLease writes a new lease, or moves the end of the label's old one.
func (l *Ledger) makeLease(t *tx, now time.Time, g Grant, id ShareID, s Share, done *Committed) {
	key := LeaseID{g.Column(), id}
	lease, ok := t.leases.get(key)
	if ok {
		done.Renewed = true
		l.prolong(now, &lease)
	} else {
		lease = Lease{Made: now.Unix(), Renewed: now.Unix(), Expires: l.expires(now), Size: s.Size}
		lease.Chain = t.charge(g.chain(), s.Size)
		s.Leases++
		t.shares.put(id, s)
	}
	t.leases.put(key, lease)
	done.Expires, done.UEBHash, done.Size = lease.Expires, s.UEBHash, s.Size
}

// prolong moves the end, only later.
func (l *Ledger) prolong(now time.Time, lease *Lease) {
	if e := l.expires(now); e > lease.Expires {
		lease.Expires, lease.Renewed = e, now.Unix()
	}
}

// renew makes an existing lease again, with a takeover if that is due and
// fits.
func (l *Ledger) renew(t *tx, now time.Time, g Grant, id ShareID, s Share) Committed {
	done := Committed{Renewed: true}
	done.TookOver = signedByLabel(g) && t.try(func() bool { return l.takeOver(t, g, id, s) })
	if chain, ok := t.chainIDs.get(g.chain().Key()); ok {
		t.keepCertificates(chain, g.Certificates)
	}
	l.makeLease(t, now, g, id, s, &done)
	return done
}

// signedByLabel: the key at the chain's end, which signed the request, is the
// label's own.
func signedByLabel(g Grant) bool {
	return len(g.Keys) > 0 && g.Keys[len(g.Keys)-1] == g.Label
}

// takeOver moves a lease to the grant's chain and the share's size. It is
// false, to be undone, if nothing would change or a budget has no room for
// what it would gain.
func (l *Ledger) takeOver(t *tx, g Grant, id ShareID, s Share) bool {
	key := LeaseID{g.Column(), id}
	lease, _ := t.leases.get(key)
	chain := g.chain()
	if sameID, ok := t.chainIDs.get(chain.Key()); ok && sameID == lease.Chain && lease.Size == s.Size {
		return false
	}
	budgets := l.budgets(t, g)
	before := t.stored(budgets)
	old := lease
	lease.Chain, lease.Size = t.charge(chain, s.Size), s.Size
	t.discharge(key.Column, old)
	t.leases.put(key, lease)
	for i, after := range t.stored(budgets) {
		b := budgets[i]
		if after > before[i] && after > b.limit-l.reserved[b.key].Bytes {
			return false
		}
	}
	return t.err == nil
}

// stored is how many bytes count against each budget, without reservations.
func (t *tx) stored(budgets []budget) []int64 {
	sums := make([]int64, len(budgets))
	for i, b := range budgets {
		c, _ := t.counters.get(b.key)
		sums[i] = c.Bytes
	}
	return sums
}

// GoingShare is a share whose bytes are to be deleted once the Change that
// says so is synced; then the owner reports Gone.
type GoingShare struct {
	ID   ShareID
	File uint64
}

// CancelLeases ends leases of the label's own. A share goes with its last
// lease. There is a result for each id, in order; the error is that of a grant
// which permits none of it.
func (l *Ledger) CancelLeases(now time.Time, g Grant, ids []ShareID) (Change, []LeaseResult, []GoingShare, error) {
	if g.Label.IsZero() {
		return Change{}, nil, nil, notPermitted(LimitOperation, "a client without a key owns no lease")
	}
	t := newTx(l.view)
	if err := l.permitSome(t, now, g, OpCancelLease); err != nil {
		return Change{}, nil, nil, err
	}
	t.fetchShares(g.Column(), ids)
	var going []GoingShare
	results := make([]LeaseResult, len(ids))
	for i, id := range ids {
		lease, err := cancellable(t, g, id)
		if results[i].Err = err; err == nil {
			going = t.dropLease(LeaseID{g.Column(), id}, lease, going)
		}
	}
	change, _, err := l.close(t, Committed{}, nil)
	if err != nil {
		return Change{}, nil, nil, err
	}
	return change, results, going, nil
}

func cancellable(t *tx, g Grant, id ShareID) (Lease, error) {
	lease, ok := t.leases.get(LeaseID{g.Column(), id})
	if !ok {
		return lease, ErrNoLease
	}
	share, _ := t.shares.get(id)
	return lease, permitContent(g, OpCancelLease, id, 0, share.UEBHash)
}

// Expire ends those of the leases that have expired by now; the others, made
// again since they were scanned, stay.
func (l *Ledger) Expire(now time.Time, scanned []LeaseID) (Change, []GoingShare, error) {
	return l.drop(scanned, func(_ *tx, _ LeaseID, lease Lease) bool { return lease.Expires <= now.Unix() })
}

// Drop ends leases whatever their end: the operator's will.
func (l *Ledger) Drop(ids []LeaseID) (Change, []GoingShare, error) {
	return l.drop(ids, func(*tx, LeaseID, Lease) bool { return true })
}

func (l *Ledger) drop(ids []LeaseID, which func(*tx, LeaseID, Lease) bool) (Change, []GoingShare, error) {
	t := newTx(l.view)
	t.fetchLeases(ids)
	var going []GoingShare
	for _, id := range ids {
		if lease, ok := t.leases.get(id); ok && which(t, id, lease) {
			going = t.dropLease(id, lease, going)
		}
	}
	change, _, err := l.close(t, Committed{}, nil)
	if err != nil {
		return Change{}, nil, err
	}
	return change, going, nil
}

func (t *tx) dropLease(id LeaseID, lease Lease, going []GoingShare) []GoingShare {
	t.leases.delete(id)
	t.discharge(id.Column, lease)
	share, ok := t.shares.get(id.Share)
	if !ok || share.Leases == 0 {
		t.corrupt("share %v has a lease that it does not count", id.Share)
		return going
	}
	share.Leases--
	if share.Leases == 0 {
		share.State = Going
		going = append(going, GoingShare{id.Share, share.File})
	}
	t.shares.put(id.Share, share)
	return going
}

// Gone forgets shares whose bytes were deleted. One that was uploaded anew in
// the meantime stays.
func (l *Ledger) Gone(all ...GoingShare) (Change, error) {
	t := newTx(l.view)
	ids := make([]ShareID, len(all))
	for i, g := range all {
		ids[i] = g.ID
	}
	t.shares.fetch(ids, t.view.Shares)
	for _, g := range all {
		if share, ok := t.shares.get(g.ID); ok && share.State == Going && share.File == g.File {
			t.shares.delete(g.ID)
			if share.File == 0 {
				t.inline.delete(g.ID)
			}
		}
	}
	return t.finish()
}
