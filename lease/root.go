package lease

import (
	"fmt"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// Root is a key that a server accepts, and what its operator decided beside
// it. It may change at any time and holds from the next operation on,
// references that are out included. The root with the zero key is that of
// clients without a key: where there is none, they store nothing.
type Root struct {
	Key     grid.PublicKey
	Petname string // the operator's name for the key; several keys may share one
	// Quota is the most bytes of leases whose chains start here; nil is no limit.
	Quota *int64
	// Operation is what may be done under this root; nil means AllOperations.
	Operation *Operation
	// Until is in Unix seconds by the server's own clock, so without ClockSkew;
	// nil is for ever.
	Until *int64
	// Disabled refuses everything, without forgetting the rest.
	Disabled bool
	// Manager says that the key signs for others: the server announces to all
	// that its certificates are good here. Keys of friends are never announced.
	Manager bool
	// UsageOfAll lets the key read what all accounts of the server hold, and
	// what is below each.
	UsageOfAll bool
}

// Standing is how a server knows keys: looked up at each use, so that a change
// takes effect at once.
type Standing struct {
	// Roots finds the policy of a key that the operator accepts.
	Roots func(grid.PublicKey) (Root, bool)
	// Revoked reports whether the operator refuses a key wherever it stands.
	Revoked func(grid.PublicKey) bool
}

// check finds the root of keys and refuses it if it is gone, disabled or past
// its until, and every chain in which a revoked key stands.
func (s Standing) check(keys []grid.PublicKey, now time.Time) (Root, error) {
	root, ok := s.Roots(keys[0])
	if !ok {
		return Root{}, fmt.Errorf("%w: %s", ErrNoSuchRoot, shortName(keys[0]))
	}
	if root.Disabled {
		return Root{}, fmt.Errorf("%w: account %s is disabled", ErrAuthorityRevoked, shortName(root.Key))
	}
	if root.Until != nil && *root.Until < now.Unix() {
		return Root{}, fmt.Errorf("%w: account %s had ended", ErrAuthorityExpired, shortName(root.Key))
	}
	for _, key := range keys {
		if s.Revoked(key) {
			return Root{}, fmt.Errorf("%w: key %s", ErrAuthorityRevoked, key.Short())
		}
	}
	return root, nil
}

// shortName is a key for a sentence.
func shortName(k grid.PublicKey) string {
	if k.IsZero() {
		return Anonymous.String()
	}
	return k.Short()
}

// Counter counts what stands against the root's quota.
func (r Root) Counter() CounterKey {
	if r.Key.IsZero() {
		return ColumnCounterKey(Anonymous)
	}
	return RootCounterKey(r.Key)
}

// operations is the set that the policy allows.
func (r Root) operations() Operation {
	return Restrictions{Operation: r.Operation}.Operations()
}
