package lease

import (
	"errors"
	"fmt"
)

// Errors that callers act on. Everything that this package returns wraps one
// of them.
var (
	// ErrMalformed is input that can't be read: too large, too many, not
	// canonical, with unknown fields or impossible values.
	ErrMalformed = errors.New("malformed")
	// ErrForged is a signature, or the seal of a reference, that does not hold.
	ErrForged = errors.New("signature does not hold")
	// ErrNoSuchRoot is a chain that starts at a key which the server doesn't
	// accept, or accepts no longer.
	ErrNoSuchRoot = errors.New("server has no such account")
	// ErrAuthorityExpired means that an until has passed or that a reference
	// has ended. A client that used a reference logs in again, once.
	ErrAuthorityExpired = errors.New("authority expired")
	// ErrAuthorityRevoked means that the operator revoked a key of the chain or
	// disabled its root.
	ErrAuthorityRevoked = errors.New("authority revoked")
	// ErrNotPermitted is what every NotPermittedError is.
	ErrNotPermitted = errors.New("not permitted")
	// ErrWrongServer is a request or certificate made for another server.
	ErrWrongServer = errors.New("made for another server")
	// ErrWrongBeneficiary is a request that came over a connection other than
	// the one it was made for: a replay.
	ErrWrongBeneficiary = errors.New("made for another connection")
	// ErrLeaseLabel means that not exactly one element of chain and request
	// has signer-gets-lease.
	ErrLeaseLabel = errors.New("exactly one of the certificates and the request must have signer-gets-lease")
	// ErrNotSigner is a key that can't extend or use a chain, because the
	// chain ends at another one.
	ErrNotSigner = errors.New("chain does not end at this key")
)

// Limit names the restriction that stood in the way. The numbers go over the
// wire: they are never reused.
type Limit uint8

// The limits.
const (
	LimitRoot Limit = iota + 1
	LimitStorageIndex
	LimitUEBHash
	LimitOperation
	LimitMaxSize
)

var limitNames = map[Limit]string{
	LimitRoot:         "root",
	LimitStorageIndex: "storage-index",
	LimitUEBHash:      "ueb-hash",
	LimitOperation:    "operation",
	LimitMaxSize:      "max-size",
}

// String is the field's name in a certificate.
func (l Limit) String() string {
	if name, ok := limitNames[l]; ok {
		return name
	}
	return fmt.Sprintf("limit %d", uint8(l))
}

// NotPermittedError says which limit refused and why. errors.Is finds
// ErrNotPermitted in it.
type NotPermittedError struct {
	Limit  Limit
	Reason string // for a person, without secrets
}

// Error is "not permitted by max-size: …".
func (e *NotPermittedError) Error() string {
	return fmt.Sprintf("%v by %v: %s", ErrNotPermitted, e.Limit, e.Reason)
}

// Is makes every NotPermittedError an ErrNotPermitted.
func (e *NotPermittedError) Is(target error) bool { return target == ErrNotPermitted }

func notPermitted(limit Limit, format string, args ...any) error {
	return &NotPermittedError{Limit: limit, Reason: fmt.Sprintf(format, args...)}
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
