package lease

import (
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// Usage is what a column, root or pair holds on this server.
type Usage struct {
	Stored   Counter // bytes with overheads, and leases
	Reserved Counter // of uploads in progress
}

// Bytes is what counts against a quota.
func (u Usage) Bytes() int64 { return u.Stored.Bytes + u.Reserved.Bytes }

// Usage answers from one counter, whatever it counts: ColumnCounterKey for an
// account's own leases, RootCounterKey for all below a root, PairCounterKey
// for what one delegate of a signer holds, himself and below.
func (l *Ledger) Usage(k CounterKey) (Usage, error) {
	stored, _, err := l.view.Counter(k)
	return Usage{Stored: stored, Reserved: l.reserved[k]}, err
}

// Delegated is what was made under one certificate's pair.
type Delegated struct {
	Delegate grid.PublicKey
	Usage    Usage
}

// Below lists what was made below a key, by those to whom it delegated: up to
// limit of them from a cursor on, with the cursor for the next call; nil is the
// beginning, and the end. A key may delegate to as many as it likes. A pair that
// holds nothing, but may have reserved, is not listed.
func (l *Ledger) Below(signer grid.PublicKey, from []byte, limit int) (some []Delegated, next []byte, err error) {
	next, err = l.view.PairsOf(signer, from, limit, func(delegate grid.PublicKey, c Counter) {
		reserved := l.reserved[PairCounterKey(signer, delegate)]
		some = append(some, Delegated{delegate, Usage{Stored: c, Reserved: reserved}})
	})
	return some, next, err
}

// MayReadUsage checks that a grant has OpReadUsage and is in good standing.
func (l *Ledger) MayReadUsage(now time.Time, g Grant) error {
	if g.Label.IsZero() {
		return notPermitted(LimitOperation, "a client without a key has no usage to read")
	}
	return l.allow(newTx(l.view), now, g, Ask{Operation: OpReadUsage})
}

// Standing is the operator's mind about keys, for Verify and references. An
// unreadable table accepts nobody.
func (l *Ledger) Standing() Standing {
	return Standing{
		Roots: func(k grid.PublicKey) (Root, bool) {
			root, ok, err := l.view.Root(k)
			return root, ok && err == nil
		},
		Revoked: func(k grid.PublicKey) bool {
			revoked, err := l.view.Revoked(k)
			return revoked || err != nil
		},
	}
}
