package store

import (
	"encoding/binary"

	"github.com/tarn-grid/tarn/lease"
)

// Every record starts with recordVersion; numbers are Go's varints.

func appendUints(b []byte, values ...uint64) []byte {
	for _, v := range values {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

// A lease's times differ little from each other, so the differences are kept.
func encodeLease(l lease.Lease) []byte {
	b := binary.AppendVarint(append(make([]byte, 0, 20), recordVersion), l.Expires)
	b = binary.AppendVarint(b, l.Expires-l.Renewed)
	b = binary.AppendVarint(b, l.Renewed-l.Made)
	return appendUints(b, uint64(l.Size), uint64(l.Chain))
}

func decodeLease(b []byte) (lease.Lease, error) {
	f := record(b)
	var l lease.Lease
	l.Expires = f.int()
	l.Renewed = l.Expires - f.int()
	l.Made = l.Renewed - f.int()
	l.Size = int64(f.uint())
	l.Chain = uint32(f.uint())
	return l, f.end()
}

// shareMutable beside a share's state says that it can be changed: then its write
// enabler stands where others have their UEB hash, and how often it was written
// after that.
const shareMutable = 0x80

func encodeShare(s lease.Share) []byte {
	state, content := byte(s.State), [32]byte(s.UEBHash)
	if s.Mutable() {
		state, content = state|shareMutable, s.Enabler
	}
	b := appendUints([]byte{recordVersion, state}, uint64(s.Size), s.File, uint64(s.Leases))
	b = append(b, content[:]...)
	if s.Mutable() {
		b = appendUints(b, s.Writes)
	}
	return b
}

func decodeShare(b []byte) (lease.Share, error) {
	f := record(b)
	state := f.byte()
	s := lease.Share{State: lease.ShareState(state &^ shareMutable)}
	s.Size = int64(f.uint())
	s.File = f.uint()
	s.Leases = uint32(f.uint())
	content := f.take(32)
	if state&shareMutable == 0 {
		s.UEBHash = lease.UEBHash(content)
		return s, f.end()
	}
	s.Enabler, s.Writes = lease.WriteEnabler(content), f.uint()
	if !s.Mutable() {
		f.damaged()
	}
	return s, f.end()
}

func encodeCounter(c lease.Counter) []byte {
	return appendUints([]byte{recordVersion}, uint64(c.Bytes), uint64(c.Leases))
}

func decodeCounter(b []byte) (lease.Counter, error) {
	f := record(b)
	c := lease.Counter{Bytes: int64(f.uint())}
	c.Leases = int64(f.uint())
	return c, f.end()
}

func encodeTraffic(t lease.Traffic) []byte {
	return appendUints([]byte{recordVersion}, uint64(t.In), uint64(t.Out))
}

func decodeTraffic(b []byte) (lease.Traffic, error) {
	f := record(b)
	t := lease.Traffic{In: int64(f.uint())}
	t.Out = int64(f.uint())
	return t, f.end()
}

func encodeKey(e lease.KeyEntry) []byte {
	return appendUints([]byte{recordVersion}, uint64(e.ID), uint64(e.Refs))
}

func decodeKey(b []byte) (lease.KeyEntry, error) {
	f := record(b)
	e := lease.KeyEntry{ID: uint32(f.uint())}
	e.Refs = uint32(f.uint())
	return e, f.end()
}

func encodeNumber(n uint64) []byte { return appendUints([]byte{recordVersion}, n) }

func decodeNumber(b []byte) (uint64, error) {
	f := record(b)
	n := f.uint()
	return n, f.end()
}

func decodeNumber32(b []byte) (uint32, error) {
	n, err := decodeNumber(b)
	return uint32(n), err
}

// Bits that say which of a root's fields are set.
const (
	rootQuota = 1 << iota
	rootOperation
	rootUntil
	rootDisabled
	rootManager
	rootUsageOfAll
)

func encodeRoot(r lease.Root) []byte {
	var set byte
	var tail []byte
	if r.Quota != nil {
		set |= rootQuota
		tail = binary.AppendVarint(tail, *r.Quota)
	}
	if r.Operation != nil {
		set |= rootOperation
		tail = appendUints(tail, uint64(*r.Operation))
	}
	if r.Until != nil {
		set |= rootUntil
		tail = binary.AppendVarint(tail, *r.Until)
	}
	if r.Disabled {
		set |= rootDisabled
	}
	if r.Manager {
		set |= rootManager
	}
	if r.UsageOfAll {
		set |= rootUsageOfAll
	}
	b := append([]byte{recordVersion, set}, tail...)
	b = appendUints(b, uint64(len(r.Petname)))
	return append(b, r.Petname...)
}

func decodeRoot(b []byte) (lease.Root, error) {
	f := record(b)
	set := f.byte()
	r := lease.Root{Disabled: set&rootDisabled != 0, Manager: set&rootManager != 0, UsageOfAll: set&rootUsageOfAll != 0}
	if set&rootQuota != 0 {
		r.Quota = new(f.int())
	}
	if set&rootOperation != 0 {
		r.Operation = new(lease.Operation(f.uint()))
	}
	if set&rootUntil != 0 {
		r.Until = new(f.int())
	}
	r.Petname = string(f.take(f.length()))
	return r, f.end()
}

// chainRecord is a lease.ChainRecord with ids in place of keys.
type chainRecord struct {
	column uint32
	digest lease.Digest
	keys   []uint32
	pairs  [][2]uint32
}

func (c chainRecord) encode() []byte {
	b := appendUints([]byte{recordVersion}, uint64(c.column))
	b = append(b, c.digest[:]...)
	b = appendUints(b, uint64(len(c.keys)))
	for _, id := range c.keys {
		b = appendUints(b, uint64(id))
	}
	b = appendUints(b, uint64(len(c.pairs)))
	for _, p := range c.pairs {
		b = appendUints(b, uint64(p[0]), uint64(p[1]))
	}
	return b
}

func decodeChain(b []byte) (chainRecord, error) {
	f := record(b)
	c := chainRecord{column: uint32(f.uint())}
	c.digest = lease.Digest(f.take(32))
	for range f.length() {
		c.keys = append(c.keys, uint32(f.uint()))
	}
	for range f.length() {
		signer := uint32(f.uint())
		c.pairs = append(c.pairs, [2]uint32{signer, uint32(f.uint())})
	}
	return c, f.end()
}
