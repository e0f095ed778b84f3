package store

import (
	"encoding/binary"
	"fmt"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// The first byte of every key. Never reused.
const (
	tagMeta     = 'M' // name -> value
	tagKey      = 'K' // public key 32 -> id, uses
	tagKeyID    = 'k' // id 4 -> public key 32
	tagCounter  = 'C' // kind 1, id 4, delegate's id 4 if a pair -> bytes, leases
	tagRoot     = 'R' // public key 32 -> the operator's policy
	tagRevoked  = 'V' // public key 32 -> nothing
	tagCancel   = 'X' // public key 32 -> nothing
	tagChain    = 'H' // chain id 4 -> label, digest, keys, pairs
	tagShown    = 'E' // chain id 4 -> the chain as a login showed it
	tagChainID  = 'D' // label's id 4, root's id 4, digest 32 -> chain id
	tagChainRef = 'h' // chain id 4 -> leases under it
	tagLease    = 'L' // label's id 4, storage index 16, number 1 -> lease
	tagShare    = 'S' // storage index 16, number 1 -> share; and with label's id 4 -> nothing: who holds it
	tagBody     = 'B' // storage index 16, number 1 -> the share's bytes
	tagGoing    = 'G' // storage index 16, number 1 -> file that is to be deleted
	tagPending  = 'P' // storage index 16, number 1, file 8 -> nothing: sealed, not yet at its place
	tagTraffic  = 'T' // id 4, day 4 -> in, out
	tagMoved    = 't' // kind 1, id 4, delegate's id 4 if a pair, day 4 -> in, out
)

const (
	shareKeySize  = 1 + 16 + 1
	holderKeySize = shareKeySize + 4
	leaseKeySize  = 1 + 4 + 16 + 1
)

var formatKey = metaKey("format")

func metaKey(name string) []byte { return append([]byte{tagMeta}, name...) }

func sequenceKey(s lease.Sequence) []byte { return append(metaKey("last-id-"), byte(s)) }

func withID(tag byte, id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{tag}, id) }

func withPublicKey(tag byte, k grid.PublicKey) []byte { return append([]byte{tag}, k[:]...) }

func appendID(b []byte, id uint32) []byte { return binary.BigEndian.AppendUint32(b, id) }

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

func withShare(tag byte, id lease.ShareID) []byte {
	k := make([]byte, 0, leaseKeySize+8)
	k = append(k, tag)
	k = append(k, id.StorageIndex[:]...)
	return append(k, byte(id.Num))
}

func holderKey(id lease.ShareID, column uint32) []byte {
	return binary.BigEndian.AppendUint32(withShare(tagShare, id), column)
}

func pendingKey(id lease.ShareID, file uint64) []byte {
	return binary.BigEndian.AppendUint64(withShare(tagPending, id), file)
}

func leaseKey(column uint32, id lease.ShareID) []byte {
	k := withID(tagLease, column)
	k = append(k, id.StorageIndex[:]...)
	return append(k, byte(id.Num))
}

func chainIDKey(column, root uint32, digest lease.Digest) []byte {
	k := binary.BigEndian.AppendUint32(withID(tagChainID, column), root)
	return append(k, digest[:]...)
}

// shareOf reads storage index and number from where they stand in a key.
func shareOf(b []byte) lease.ShareID {
	return lease.ShareID{StorageIndex: grid.StorageIndex(b[:16]), Num: grid.ShareNum(b[16])}
}

// after is the first key beyond all that start with prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] != 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// recordVersion starts every record that may come to change.
const recordVersion = 1

// fields reads a record; the first damage sticks.
type fields struct {
	b   []byte
	err error
}

func record(b []byte) *fields {
	f := &fields{b: b}
	if v := f.byte(); f.err == nil && v != recordVersion {
		f.err = fmt.Errorf("%w: record of version %d", ErrNewer, v)
	}
	return f
}

func (f *fields) damaged() {
	if f.err == nil {
		f.err = fmt.Errorf("%w: a record is too short or too long", ErrDamaged)
	}
	f.b = nil
}

func (f *fields) take(n int) []byte {
	if len(f.b) < n {
		f.damaged()
		return make([]byte, n)
	}
	b := f.b[:n]
	f.b = f.b[n:]
	return b
}

func (f *fields) byte() byte { return f.take(1)[0] }

func (f *fields) uint() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.damaged()
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) int() int64 {
	v, n := binary.Varint(f.b)
	if n <= 0 {
		f.damaged()
		return 0
	}
	f.b = f.b[n:]
	return v
}

// length reads a count of things that take at least one byte each.
func (f *fields) length() int {
	n := f.uint()
	if n > uint64(len(f.b)) {
		f.damaged()
		return 0
	}
	return int(n)
}

func (f *fields) end() error {
	if len(f.b) != 0 {
		f.damaged()
	}
	return f.err
}
