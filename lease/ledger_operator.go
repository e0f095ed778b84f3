package lease

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// Keys that can't be given what another one has, or an account.
var (
	// ErrKeyInUse is a key that has a place here.
	ErrKeyInUse = errors.New("the key is in use on this server already")
	// ErrKeyRevoked is a key that the operator refuses wherever it stands.
	ErrKeyRevoked = errors.New("the key is revoked on this server")
)

// PutRoots adds roots or changes what the operator decided about them, all of
// them or none. A root that comes back keeps what was not cancelled yet.
func (l *Ledger) PutRoots(roots ...Root) (Change, error) {
	t := newTx(l.view)
	for _, r := range roots {
		if _, ok := t.roots.get(r.Key); !ok {
			t.refKey(ColumnOf(r.Key), true)
		}
		t.roots.put(r.Key, r)
		t.endCancelling(r.Key)
	}
	return t.finish()
}

// RemoveRoots forgets roots, all of them or none: nothing new starts at them.
// Their leases stay until they lapse, unless cancel is set: then CancelUnder
// may end them, for as long as the root does not come back. The error is
// ErrNoSuchRoot if one is missing.
func (l *Ledger) RemoveRoots(cancel bool, keys ...grid.PublicKey) (Change, error) {
	t := newTx(l.view)
	for _, key := range keys {
		if _, err := t.root(key); err != nil {
			return Change{}, err
		}
		t.roots.delete(key)
		t.refKey(ColumnOf(key), false)
		if cancel {
			t.cancelling.put(key, true)
		}
	}
	return t.finish()
}

// root finds a root; ErrNoSuchRoot if there is none.
func (t *tx) root(key grid.PublicKey) (Root, error) {
	r, ok := t.roots.get(key)
	if t.err != nil {
		return Root{}, t.err
	}
	if !ok {
		return Root{}, fmt.Errorf("%w: %s", ErrNoSuchRoot, shortName(key))
	}
	return r, nil
}

func (t *tx) endCancelling(key grid.PublicKey) {
	if is, _ := t.cancelling.get(key); is {
		t.cancelling.delete(key)
	}
}

// Rekey puts another key in a root's place, for an owner who lost its secret:
// policy, column, counters, traffic and what was delegated below it are the new
// key's, whole and at once. The old key is then unknown. Uploads in progress
// under it are Barred. Errors: ErrNoSuchRoot; ErrKeyInUse for a key that is a
// root, or holds or uploads anything; ErrKeyRevoked for one that is refused
// here, with which its owner could do nothing.
func (l *Ledger) Rekey(from, to grid.PublicKey) (Change, error) {
	t := newTx(l.view)
	root, err := t.root(from)
	if err != nil {
		return Change{}, err
	}
	if from.IsZero() || to.IsZero() {
		return Change{}, malformed("clients without a key have none to change")
	}
	if err := l.unused(t, to); err != nil {
		return Change{}, err
	}
	root.Key = to
	t.roots.delete(from)
	t.roots.put(to, root)
	t.endCancelling(to)
	t.renames = append(t.renames, Rename{from, to})
	change, err := t.finish()
	if err == nil {
		l.renameTraffic(from, to)
	}
	return change, err
}

// unused refuses a key that can't take another one's place.
func (l *Ledger) unused(t *tx, key grid.PublicKey) error {
	_, known := t.keys.get(ColumnOf(key))
	_, coming := l.reserved[ColumnCounterKey(ColumnOf(key))]
	if root, is := t.roots.get(key); is {
		return fmt.Errorf("%w: %s is that of %s", ErrKeyInUse, key.Short(), root.Petname)
	}
	if known || coming {
		return fmt.Errorf("%w: %s holds something here", ErrKeyInUse, key.Short())
	}
	if revoked, _ := t.revoked.get(key); revoked {
		return fmt.Errorf("%w: %s", ErrKeyRevoked, key.Short())
	}
	return t.err
}

// SetRevoked refuses every chain and reference in which one of the keys stands,
// or accepts them again.
func (l *Ledger) SetRevoked(revoked bool, keys ...grid.PublicKey) (Change, error) {
	t := newTx(l.view)
	for _, key := range keys {
		was, _ := t.revoked.get(key)
		switch {
		case revoked && !was:
			t.revoked.put(key, true)
		case !revoked && was:
			t.revoked.delete(key)
		}
	}
	return t.finish()
}

// Barred is an upload in progress whose grant is not in good standing any
// more.
type Barred struct {
	ID  LeaseID
	Err error // why
}

// Barred lists the uploads in progress that the operator, or time, no longer
// lets go on. The owner ends them and calls Release for each.
func (l *Ledger) Barred(now time.Time) ([]Barred, error) {
	t := newTx(l.view)
	var all []Barred
	for _, id := range slices.SortedFunc(maps.Keys(l.coming), LeaseID.Compare) {
		err := l.permit(t, now, l.coming[id].grant, OpUpload, id.Share)
		if t.err != nil {
			return nil, t.err
		}
		if err != nil {
			all = append(all, Barred{id, err})
		}
	}
	return all, nil
}

// CancelUnder ends those of the leases whose chain starts at a root that was
// removed with cancel set. Once the root is back it ends none.
func (l *Ledger) CancelUnder(root grid.PublicKey, ids []LeaseID) (Change, []GoingShare, error) {
	going, err := l.view.Cancelling(root)
	if err != nil || !going {
		return Change{}, nil, err
	}
	return l.drop(ids, func(t *tx, id LeaseID, lease Lease) bool { return t.startsAt(root, id, lease) })
}

// startsAt reports whether a lease's chain starts at the root; the zero key is
// that of clients without one.
func (t *tx) startsAt(root grid.PublicKey, id LeaseID, lease Lease) bool {
	if lease.Chain == 0 {
		return root.IsZero() && id.Column == Anonymous
	}
	chain, ok := t.chains.get(lease.Chain)
	return ok && len(chain.Keys) > 0 && chain.Keys[0] == root
}

// EndCancelling forgets that a root's leases were to be cancelled: none is
// left.
func (l *Ledger) EndCancelling(root grid.PublicKey) (Change, error) {
	t := newTx(l.view)
	t.endCancelling(root)
	return t.finish()
}
