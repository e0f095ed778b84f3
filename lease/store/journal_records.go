package store

import (
	"encoding/binary"
	"fmt"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// journalFormat is the number of the key schema that this code writes:
//
//	M "format"            -> u format
//	M "last-id"           -> u newest number given to a key
//	M "files"             -> u how many there are
//	K key32               -> u number: of a server, or of an account
//	k number4             -> key32 (no version byte)
//	F SI16                -> s stored, u size, u length and verify cap, then u server and num1 each
//	L server4 SI16 num1   -> u label (0 is not known), s renewed, s expires, s lapsed
//	X SI16 server4 num1   -> (empty) the lease has lapsed
//	C server4             -> u leases, u lapsed ones
const journalFormat = 1

// Tags of a journal; those that a server's table has too mean the like.
const (
	tagFile         = 'F'
	tagJournalLease = tagLease
	tagLapsed       = 'X'
)

var (
	lastNumberKey = metaKey("last-id")
	filesKey      = metaKey("files")
)

func fileKey(si grid.StorageIndex) []byte { return append([]byte{tagFile}, si[:]...) }

func journalLeaseKey(server uint32, id lease.ShareID) []byte { return leaseKey(server, id) }

func lapsedKey(server uint32, id lease.ShareID) []byte {
	k := append([]byte{tagLapsed}, id.StorageIndex[:]...)
	return append(appendID(k, server), byte(id.Num))
}

// journalCounter is how many leases there are at a server.
type journalCounter struct{ leases, lapsed int64 }

func (c journalCounter) encode() []byte {
	return appendUints([]byte{recordVersion}, uint64(c.leases), uint64(c.lapsed))
}

func decodeJournalCounter(b []byte) (journalCounter, error) {
	f := record(b)
	c := journalCounter{leases: int64(f.uint())}
	c.lapsed = int64(f.uint())
	return c, f.end()
}

// journalChange is one change in the making: it reads what it has written.
type journalChange struct {
	eng     engine
	b       batch
	written map[string][]byte // nil where deleted
	names   *keyNumbers
}

// keyNumbers is which number each key has, as far as it was looked up: those
// of servers, and of accounts there. A number is never given to another key.
type keyNumbers struct {
	numbers map[[32]byte]uint32
	keys    map[uint32][32]byte
}

func newKeyNumbers() *keyNumbers {
	return &keyNumbers{map[[32]byte]uint32{}, map[uint32][32]byte{}}
}

func newJournalChange(j *Journal) *journalChange {
	return &journalChange{eng: j.eng, written: map[string][]byte{}, names: newKeyNumbers()}
}

func (c *journalChange) get(key []byte) ([]byte, bool, error) {
	if v, ok := c.written[string(key)]; ok {
		return v, v != nil, nil
	}
	return c.eng.get(key)
}

func (c *journalChange) put(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	c.written[string(key)] = value
	c.b.put(key, value)
}

func (c *journalChange) delete(key []byte) {
	c.written[string(key)] = nil
	c.b.delete(key)
}

func (c *journalChange) finish() batch { return c.b }

// counter reads a number, 0 where there is none.
func (c *journalChange) counter(key []byte) (uint64, error) {
	b, ok, err := c.get(key)
	if err != nil || !ok {
		return 0, err
	}
	return decodeNumber(b)
}

// known is the number of a key; false for one that has none.
func (c *journalChange) known(key [32]byte) (uint32, bool, error) {
	if n, ok := c.names.numbers[key]; ok {
		return n, true, nil
	}
	n, err := c.counter(append([]byte{tagKey}, key[:]...))
	if err != nil || n == 0 {
		return 0, false, err
	}
	c.names.numbers[key], c.names.keys[uint32(n)] = uint32(n), key
	return uint32(n), true, nil
}

// number is the number of a key, a new one if it has none.
func (c *journalChange) number(key [32]byte) (uint32, error) {
	if n, ok, err := c.known(key); ok || err != nil {
		return n, err
	}
	last, err := c.counter(lastNumberKey)
	if err != nil {
		return 0, err
	}
	if last == 1<<32-1 {
		return 0, fmt.Errorf("%w: all numbers of keys are used up", ErrDamaged)
	}
	n := uint32(last) + 1
	c.put(lastNumberKey, encodeNumber(uint64(n)))
	c.put(append([]byte{tagKey}, key[:]...), encodeNumber(uint64(n)))
	c.put(withID(tagKeyID, n), key[:])
	c.names.numbers[key], c.names.keys[n] = n, key
	return n, nil
}

// key is the key of a number; that of 0 is zero.
func (c *journalChange) key(n uint32) ([32]byte, error) {
	if k, ok := c.names.keys[n]; ok || n == 0 {
		return k, nil
	}
	b, ok, err := c.get(withID(tagKeyID, n))
	if err != nil {
		return [32]byte{}, err
	}
	if !ok || len(b) != 32 {
		return [32]byte{}, fmt.Errorf("%w: key %d is missing", ErrDamaged, n)
	}
	c.names.keys[n] = [32]byte(b)
	return c.names.keys[n], nil
}

func (c *journalChange) file(si grid.StorageIndex) (lease.JournalFile, bool, error) {
	b, ok, err := c.get(fileKey(si))
	if err != nil || !ok {
		return lease.JournalFile{}, false, err
	}
	f, err := c.decodeFile(si, b)
	return f, err == nil, err
}

func (c *journalChange) decodeFile(si grid.StorageIndex, b []byte) (lease.JournalFile, error) {
	r := record(b)
	f := lease.JournalFile{StorageIndex: si, Stored: r.int()}
	f.Size = int64(r.uint())
	f.VerifyCap = string(r.take(r.length()))
	for len(r.b) > 0 {
		id, err := c.key(uint32(r.uint()))
		if err != nil {
			return f, err
		}
		f.Shares = append(f.Shares, lease.JournalShare{Server: id, Num: grid.ShareNum(r.byte())})
	}
	return f, r.end()
}

func (c *journalChange) putFile(f lease.JournalFile, known bool) error {
	b := binary.AppendVarint([]byte{recordVersion}, f.Stored)
	b = appendUints(b, uint64(f.Size), uint64(len(f.VerifyCap)))
	b = append(b, f.VerifyCap...)
	for _, s := range f.Shares {
		n, err := c.number(s.Server)
		if err != nil {
			return err
		}
		b = append(appendUints(b, uint64(n)), byte(s.Num))
	}
	c.put(fileKey(f.StorageIndex), b)
	if known {
		return nil
	}
	return c.addFiles(1)
}

func (c *journalChange) deleteFile(si grid.StorageIndex) error {
	c.delete(fileKey(si))
	return c.addFiles(-1)
}

func (c *journalChange) addFiles(n int64) error {
	files, err := c.countFiles()
	c.put(filesKey, encodeNumber(uint64(files+n)))
	return err
}

func (c *journalChange) countFiles() (int64, error) {
	n, err := c.counter(filesKey)
	return int64(n), err
}

func (c *journalChange) lease(server grid.ServerID, id lease.ShareID) (lease.JournalLease, bool, error) {
	n, ok, err := c.known(server)
	if err != nil || !ok {
		return lease.JournalLease{}, false, err
	}
	b, ok, err := c.get(journalLeaseKey(n, id))
	if err != nil || !ok {
		return lease.JournalLease{}, false, err
	}
	l, err := c.decodeLease(id, b)
	return l, err == nil, err
}

func (c *journalChange) decodeLease(id lease.ShareID, b []byte) (lease.JournalLease, error) {
	r := record(b)
	l := lease.JournalLease{Share: id}
	label, err := c.key(uint32(r.uint()))
	if err != nil {
		return l, err
	}
	l.Label = label
	l.Renewed, l.Expires, l.Lapsed = r.int(), r.int(), r.int()
	return l, r.end()
}

// putLease writes a lease and counts it.
func (c *journalChange) putLease(server grid.ServerID, l lease.JournalLease) error {
	n, err := c.number(server)
	if err != nil {
		return err
	}
	old, existed, err := c.lease(server, l.Share)
	if err != nil {
		return err
	}
	label := uint32(0)
	if !l.Label.IsZero() {
		if label, err = c.number(l.Label); err != nil {
			return err
		}
	}
	b := appendUints([]byte{recordVersion}, uint64(label))
	for _, t := range []int64{l.Renewed, l.Expires, l.Lapsed} {
		b = binary.AppendVarint(b, t)
	}
	c.put(journalLeaseKey(n, l.Share), b)
	return c.recount(n, old, existed, l, true)
}

func (c *journalChange) deleteLease(server grid.ServerID, l lease.JournalLease) error {
	n, ok, err := c.known(server)
	if err != nil || !ok {
		return err
	}
	c.delete(journalLeaseKey(n, l.Share))
	return c.recount(n, l, true, lease.JournalLease{Share: l.Share}, false)
}

// recount keeps the sums, and the list of what has lapsed, as a lease comes,
// changes or goes.
func (c *journalChange) recount(server uint32, old lease.JournalLease, existed bool, l lease.JournalLease, exists bool) error {
	was, is := existed && old.Lapsed != 0, exists && l.Lapsed != 0
	if was != is && is {
		c.put(lapsedKey(server, l.Share), nil)
	} else if was != is {
		c.delete(lapsedKey(server, l.Share))
	}
	if was == is && existed == exists {
		return nil
	}
	key, sum := withID(tagCounter, server), journalCounter{}
	b, ok, err := c.get(key)
	if ok && err == nil {
		sum, err = decodeJournalCounter(b)
	}
	if err != nil {
		return err
	}
	sum.leases += one(exists) - one(existed)
	sum.lapsed += one(is) - one(was)
	if sum == (journalCounter{}) {
		c.delete(key)
	} else {
		c.put(key, sum.encode())
	}
	return nil
}

func one(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
