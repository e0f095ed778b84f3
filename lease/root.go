package lease

import "github.com/tarn-grid/tarn/grid"

// Root is a key that a server accepts, and what its operator decided beside
// it. It may change at any time and holds from the next operation on,
// references that are out included.
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
}

// Standing is how a server knows keys: looked up at each use, so that a change
// takes effect at once.
type Standing struct {
	// Roots finds the policy of a key that the operator accepts.
	Roots func(grid.PublicKey) (Root, bool)
	// Revoked reports whether the operator refuses a key wherever it stands.
	Revoked func(grid.PublicKey) bool
}
