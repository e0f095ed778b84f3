package lease

import (
	"errors"
	"fmt"
)

// Refusals of the Ledger that callers act on.
var (
	// ErrOverQuota is what every OverQuotaError is.
	ErrOverQuota = errors.New("over quota")
	// ErrServerFull means that the disk, less what is reserved, can't take it.
	ErrServerFull = errors.New("server is full")
	// ErrNoShare is a share that is not there, or is being deleted.
	ErrNoShare = errors.New("no such share")
	// ErrNoLease is a lease that is not there.
	ErrNoLease = errors.New("no such lease")
	// ErrComing means that this label is uploading this very share already.
	ErrComing = errors.New("share is being uploaded by this account already")
	// ErrWriteEnabler is a share that does not have the write enabler which was
	// given, or can't be changed at all.
	ErrWriteEnabler = errors.New("wrong write enabler")
	// ErrRaced means that a share was written after what is to be written now had
	// been made: whoever made it looks again.
	ErrRaced = errors.New("share was written meanwhile")
	// ErrOtherShare is a share that is here with another content, or another write
	// enabler.
	ErrOtherShare = errors.New("another share is here under this number")
	// ErrNoReservation is a share that is not being uploaded by this label.
	ErrNoReservation = errors.New("no such upload")
)

// OverQuotaError says whose quota or budget is used up. The numbers are for
// the operator, and for a client whose grant has OpReadUsage; no other may
// see them.
type OverQuotaError struct {
	Counter CounterKey // the root, pair or column that is full
	Limit   int64      // bytes
	Used    int64      // bytes, stored and reserved
	Needed  int64      // bytes more
}

// Error gives no number and no key: it may be shown to anyone.
func (e *OverQuotaError) Error() string {
	switch e.Counter.Kind {
	case PairCounter:
		return fmt.Sprintf("%v: the space of a certificate in the chain is used up", ErrOverQuota)
	case ColumnCounter:
		return fmt.Sprintf("%v: this server keeps nothing more for %v clients", ErrOverQuota, e.Counter.Of)
	default:
		return fmt.Sprintf("%v: the account's quota on this server is used up", ErrOverQuota)
	}
}

// Is makes every OverQuotaError an ErrOverQuota.
func (e *OverQuotaError) Is(target error) bool { return target == ErrOverQuota }
