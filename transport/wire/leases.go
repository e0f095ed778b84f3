package wire

import (
	"encoding/binary"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// RenewShares moves the end of this account's leases, thousands at a time.
// Body: Count shares, as AppendShare writes them. Answered by SharesDone, or
// by Error if the login may renew nothing.
type RenewShares struct {
	Count uint `cbor:"1,keyasint"`
}

// CancelShares ends leases of this account; what no lease keeps is deleted at
// once. Body and answers are those of RenewShares.
type CancelShares struct {
	Count uint `cbor:"1,keyasint"`
}

// SharesDone says what became of each lease. Body: a ShareOutcome (1 byte) for
// each share that was asked about, in that order.
type SharesDone struct {
	Count uint `cbor:"1,keyasint"`
	// Expires is the earliest end among the leases that were renewed, Unix
	// seconds; 0 if none was.
	Expires int64 `cbor:"2,keyasint,omitempty"`
}

// ShareOutcome is what became of the lease on one share.
type ShareOutcome byte

// The outcomes. An unknown one means that nothing came of it.
const (
	ShareDone    ShareOutcome = 0 // renewed, or ended, as was asked
	ShareNoLease ShareOutcome = 1 // this account has no lease on it
	ShareRefused ShareOutcome = 2 // the login's limits don't reach this share
)

// Enumerate lists this account's leases in the order of their shares.
// Answered by Enumerated.
type Enumerate struct {
	// After is the share behind which the list goes on, as AppendShare writes
	// it; empty for the beginning.
	After []byte `cbor:"1,keyasint,omitempty"`
	// Most is how many leases the answer may have.
	Most uint `cbor:"2,keyasint"`
}

// Enumerated is a part of the list. Body: Count leases, as AppendLease writes
// them.
type Enumerated struct {
	Count uint `cbor:"1,keyasint"`
	// More says that the list goes on behind the last of them.
	More bool `cbor:"2,keyasint,omitempty"`
}

// ShareSize is how many bytes a share's name takes, LeaseSize a lease.
const (
	ShareSize = 16 + 1
	LeaseSize = ShareSize + 3*8
)

// AppendShare writes storage index (16 bytes) and number (1).
func AppendShare(b []byte, s lease.ShareID) []byte {
	return append(append(b, s.StorageIndex[:]...), byte(s.Num))
}

// Shares reads the body of a RenewShares or CancelShares.
func Shares(body []byte) ([]lease.ShareID, error) {
	if len(body)%ShareSize != 0 {
		return nil, malformed("shares in %d bytes, each has %d", len(body), ShareSize)
	}
	list := make([]lease.ShareID, 0, len(body)/ShareSize)
	for ; len(body) > 0; body = body[ShareSize:] {
		list = append(list, share(body))
	}
	return list, nil
}

func share(b []byte) lease.ShareID {
	return lease.ShareID{StorageIndex: grid.StorageIndex(b[:16]), Num: grid.ShareNum(b[16])}
}

// AppendLease writes the share, then size, renewed and expires as 8 bytes
// each, big-endian.
func AppendLease(b []byte, l lease.HeldLease) []byte {
	b = AppendShare(b, l.Share)
	for _, n := range []int64{l.Size, l.Renewed, l.Expires} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

// Leases reads the body of an Enumerated. Shares that don't ascend are
// refused: a list that went round in circles would never end.
func Leases(body []byte) ([]lease.HeldLease, error) {
	if len(body)%LeaseSize != 0 {
		return nil, malformed("leases in %d bytes, each has %d", len(body), LeaseSize)
	}
	list := make([]lease.HeldLease, 0, len(body)/LeaseSize)
	for ; len(body) > 0; body = body[LeaseSize:] {
		l := lease.HeldLease{Share: share(body)}
		for i, to := range []*int64{&l.Size, &l.Renewed, &l.Expires} {
			*to = int64(binary.BigEndian.Uint64(body[ShareSize+8*i:]))
		}
		if l.Size < 0 || l.Renewed < 0 || l.Expires < 0 {
			return nil, malformed("a lease with a negative number")
		}
		if n := len(list); n > 0 && list[n-1].Share.Compare(l.Share) >= 0 {
			return nil, malformed("leases not in ascending order")
		}
		list = append(list, l)
	}
	return list, nil
}

// Behind is where an Enumerate goes on; false for the beginning.
func (m *Enumerate) Behind() (lease.ShareID, bool) {
	if len(m.After) == 0 {
		return lease.ShareID{}, false
	}
	return share(m.After), true
}

// Validate bounds the number of shares, of which there must be one.
func (m *RenewShares) Validate() error { return checkCount("shares", m.Count, 1, MaxShares) }

// Validate bounds the number of shares, of which there must be one.
func (m *CancelShares) Validate() error { return checkCount("shares", m.Count, 1, MaxShares) }

// Validate bounds the number of outcomes.
func (m *SharesDone) Validate() error { return checkCount("outcomes", m.Count, 0, MaxShares) }

// Validate bounds the answer, and wants a share or nothing to go on from.
func (m *Enumerate) Validate() error {
	if n := len(m.After); n != 0 && n != ShareSize {
		return malformed("a share of %d bytes, want %d", n, ShareSize)
	}
	return checkCount("leases", m.Most, 1, MaxEnumerated)
}

// Validate bounds the number of leases; where there are more there is one.
func (m *Enumerated) Validate() error {
	if m.More && m.Count == 0 {
		return malformed("a list that goes on behind nothing")
	}
	return checkCount("leases", m.Count, 0, MaxEnumerated)
}

func checkCount(what string, n, least, most uint) error {
	if n < least || n > most {
		return malformed("%d %s, want %d to %d", n, what, least, most)
	}
	return nil
}

// bodySize is how long the body of the same frame must be.
func (m *RenewShares) bodySize() (uint64, error) { return uint64(m.Count) * ShareSize, nil }

// bodySize is how long the body of the same frame must be.
func (m *CancelShares) bodySize() (uint64, error) { return uint64(m.Count) * ShareSize, nil }

// bodySize is how long the body of the same frame must be.
func (m *SharesDone) bodySize() (uint64, error) { return uint64(m.Count), nil }

// bodySize is how long the body of the same frame must be.
func (m *Enumerated) bodySize() (uint64, error) { return uint64(m.Count) * LeaseSize, nil }
