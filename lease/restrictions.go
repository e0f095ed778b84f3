package lease

import (
	"cmp"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// UEBHash is the hash of a file's URI extension block (32 bytes): it fixes the
// content of every share.
type UEBHash [32]byte

// Restrictions are the limits that a certificate or a request sets. A nil
// field is no limit, except that a nil Operation means AllOperations. What the
// pointers point to is never changed.
type Restrictions struct {
	// Root is the key at which the chain must start, so that a delegate can't
	// combine this grant with another one to the same key.
	Root *grid.PublicKey `cbor:"root,omitempty"`
	// Until is in Unix seconds; nothing works after it.
	Until *int64 `cbor:"until,omitempty"`
	// StorageIndex is the only file.
	StorageIndex *grid.StorageIndex `cbor:"storage-index,omitempty"`
	// UEBHash is the only content.
	UEBHash *UEBHash `cbor:"ueb-hash,omitempty"`
	// Server is the only storage server.
	Server *grid.ServerID `cbor:"server,omitempty"`
	// Operation is what may be done.
	Operation *Operation `cbor:"operation,omitempty"`
	// MaxSize is the largest share, in bytes.
	MaxSize *int64 `cbor:"max-size,omitempty"`
	// Space is the most bytes of leases, per server, whose chains contain the
	// pair of the certificate's signer and delegate. It is a budget of that
	// pair: in a request, which has no delegate, it is refused.
	Space *int64 `cbor:"space,omitempty"`
}

// Operations is the set that Operation means.
func (r Restrictions) Operations() Operation {
	if r.Operation == nil {
		return AllOperations
	}
	return *r.Operation
}

// Narrow is the intersection of r and s: the least until, max-size and space,
// the operations in both; root, storage-index, ueb-hash and server must agree
// where both name one, else the error is a NotPermittedError or
// ErrWrongServer.
func (r Restrictions) Narrow(s Restrictions) (Restrictions, error) {
	var both Restrictions
	var ok bool
	if both.Root, ok = agree(r.Root, s.Root); !ok {
		return Restrictions{}, notPermitted(LimitRoot, "certificates name two different roots")
	}
	if both.StorageIndex, ok = agree(r.StorageIndex, s.StorageIndex); !ok {
		return Restrictions{}, notPermitted(LimitStorageIndex, "limited to two different storage indexes, so to none")
	}
	if both.UEBHash, ok = agree(r.UEBHash, s.UEBHash); !ok {
		return Restrictions{}, notPermitted(LimitUEBHash, "limited to two different contents, so to none")
	}
	if both.Server, ok = agree(r.Server, s.Server); !ok {
		return Restrictions{}, ErrWrongServer
	}
	both.Until, both.MaxSize, both.Space = least(r.Until, s.Until), least(r.MaxSize, s.MaxSize), least(r.Space, s.Space)
	if r.Operation != nil || s.Operation != nil {
		both.Operation = new(r.Operations() & s.Operations())
	}
	return both, nil
}

// expired reports whether until has passed, with ClockSkew allowed.
func (r Restrictions) expired(now time.Time) bool {
	return r.Until != nil && *r.Until < now.Add(-ClockSkew).Unix()
}

// validate refuses values that mean nothing.
func (r Restrictions) validate() error {
	for _, f := range []struct {
		name  string
		value *int64
	}{{"until", r.Until}, {"max-size", r.MaxSize}, {"space", r.Space}} {
		if f.value != nil && *f.value < 0 {
			return malformed("%s is negative", f.name)
		}
	}
	if unknown := r.Operations() &^ AllOperations; unknown != 0 {
		return malformed("unknown operation (bits %#x): signed for a newer version?", uint16(unknown))
	}
	if r.Root != nil && r.Root.IsZero() {
		return malformed("root is the zero key")
	}
	return nil
}

// agree is the one that is set; where both are, they must be equal.
func agree[T comparable](a, b *T) (*T, bool) {
	if a == nil {
		return b, true
	}
	return a, b == nil || *a == *b
}

// least is the smaller of those that are set.
func least[T cmp.Ordered](a, b *T) *T {
	if a == nil || (b != nil && *b < *a) {
		return b
	}
	return a
}

// unfit is the operations that make no sense under a limit to one file or
// content: usage and lists are about a whole column, and a mutable share has
// no fixed content.
func (r Restrictions) unfit() Operation {
	var unfit Operation
	if r.StorageIndex != nil || r.UEBHash != nil {
		unfit |= OpEnumerate | OpReadUsage
	}
	if r.UEBHash != nil {
		unfit |= OpMutate
	}
	return unfit
}
