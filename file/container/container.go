// Package container reads and writes the files in which a storage server of
// Tahoe-LAFS keeps shares: the share's body, which is that of Tarn byte for
// byte, between a header and the leases on it.
//
// Reader takes such a file from its first byte to its last, whatever its size,
// in little memory; Write makes one. A file of a share that can be changed also
// has the write enabler and the id of the server for which that was made.
//
// The package is pure. Formats: allmydata/storage/immutable.py, mutable.py and
// their schemas, of Tahoe-LAFS 1.20.
package container

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/tarn-grid/tarn/grid"
)

// ErrContainer means that a file is none in which Tahoe-LAFS keeps a share.
var ErrContainer = errors.New("no share file of Tahoe-LAFS")

// EnablerSize is the length of a write enabler, in bytes.
const EnablerSize = 32

// Share is what a file says of the share in it.
type Share struct {
	// Size is that of the body, in bytes.
	Size int64
	// Mutable shares have a write enabler, which was made for the server of that
	// id.
	Mutable bool
	Enabler [EnablerSize]byte
	NodeID  grid.NodeID
}

// Sizes of the parts, in bytes.
const (
	immutableHeader = 12
	immutableLease  = 72

	mutableHeader = 100
	mutableLease  = 92
	mutableSlots  = 4
	mutableData   = mutableHeader + mutableSlots*mutableLease
	extraCount    = 4
)

// Where the end of a lease stands in it.
const (
	immutableEnd = 68
	mutableEnd   = 4
)

// The file of a share that can be changed begins with one of these, by version.
const (
	magic1    = "Tahoe mutable container v1\n\x75\x09\x44\x03\x8e"
	magic2    = "Tahoe mutable container v2\n\xc3\x55\x21\x99\x25"
	magicSize = len(magic2)
)

// maxBodySize keeps sums of sizes far from overflow.
const maxBodySize = math.MaxInt64 / 2

// Reader reads a file. What it reads itself is the body; Ends then reads the
// rest.
type Reader struct {
	Share
	r    io.Reader
	left int64 // of the body
	gap  int64 // between the body and what follows it

	leases int64 // that follow, each of that size, with the end there
	size   int64
	at     int
	extra  bool // their number stands before them
	last   uint32
}

// NewReader reads the header of a file of that size. The error is ErrContainer,
// or that of r.
func NewReader(r io.Reader, size int64) (*Reader, error) {
	var head [mutableData]byte
	c := &Reader{r: r}
	if size < immutableHeader {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrContainer, size)
	}
	if _, err := io.ReadFull(r, head[:immutableHeader]); err != nil {
		return nil, ended(err)
	}
	if version := binary.BigEndian.Uint32(head[:]); version == 1 || version == 2 {
		return c, c.immutable(head[:immutableHeader], size)
	}
	if size < mutableData+extraCount {
		return nil, fmt.Errorf("%w: it begins with no number of a version, and has %d bytes", ErrContainer, size)
	}
	if _, err := io.ReadFull(r, head[immutableHeader:]); err != nil {
		return nil, ended(err)
	}
	return c, c.mutable(head[:], size)
}

// ended tells a file that is too short from one that can't be read.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends early", ErrContainer)
	}
	return err
}

func (c *Reader) immutable(head []byte, size int64) error {
	c.leases, c.size, c.at = int64(binary.BigEndian.Uint32(head[8:])), immutableLease, immutableEnd
	if c.Size = size - immutableHeader - c.leases*immutableLease; c.Size < 0 {
		return fmt.Errorf("%w: %d bytes have no room for %d leases", ErrContainer, size, c.leases)
	}
	c.left = c.Size
	return nil
}

func (c *Reader) mutable(head []byte, size int64) error {
	if magic := string(head[:magicSize]); magic != magic1 && magic != magic2 {
		return fmt.Errorf("%w: it begins as no version does that is known here", ErrContainer)
	}
	c.Mutable = true
	c.NodeID, c.Enabler = grid.NodeID(head[32:52]), [EnablerSize]byte(head[52:84])
	length, extra := binary.BigEndian.Uint64(head[84:]), binary.BigEndian.Uint64(head[92:])
	if extra < mutableData || extra > uint64(size-extraCount) || length > extra-mutableData {
		return fmt.Errorf("%w: %d bytes of data, and leases from %d on, in %d bytes", ErrContainer, length, extra, size)
	}
	c.Size, c.size, c.at, c.extra = int64(length), mutableLease, mutableEnd, true
	c.left, c.gap = c.Size, int64(extra)-mutableData-c.Size
	for slot := head[mutableHeader:]; len(slot) > 0; slot = slot[mutableLease:] {
		if binary.BigEndian.Uint32(slot) != 0 { // else it is free
			c.lease(slot)
		}
	}
	if c.Enabler == ([EnablerSize]byte{}) {
		return fmt.Errorf("%w: it has no write enabler", ErrContainer)
	}
	return nil
}

func (c *Reader) lease(b []byte) { c.last = max(c.last, binary.BigEndian.Uint32(b[c.at:])) }

// Read reads the body.
func (c *Reader) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err != nil && c.left > 0 {
		return n, ended(err)
	}
	return n, nil
}

// skip goes on behind n bytes, which it need not read where r is an io.Seeker.
func (c *Reader) skip(n int64) error {
	if s, ok := c.r.(io.Seeker); ok {
		_, err := s.Seek(n, io.SeekCurrent)
		return err
	}
	_, err := io.CopyN(io.Discard, c.r, n)
	return ended(err)
}

// Ends reads what follows the body, the rest of which it passes over, and is
// when the last lease ends, Unix seconds; 0 is that there is none.
func (c *Reader) Ends() (int64, error) {
	if err := c.skip(c.left + c.gap); err != nil {
		return 0, err
	}
	c.left, c.gap = 0, 0
	var b [mutableLease]byte
	if c.extra {
		if _, err := io.ReadFull(c.r, b[:extraCount]); err != nil {
			return 0, ended(err)
		}
		c.leases, c.extra = int64(binary.BigEndian.Uint32(b[:])), false
	}
	for ; c.leases > 0; c.leases-- {
		if _, err := io.ReadFull(c.r, b[:c.size]); err != nil {
			return 0, ended(err)
		}
		if !c.Mutable || binary.BigEndian.Uint32(b[:]) != 0 {
			c.lease(b[:])
		}
	}
	return int64(c.last), nil
}

// Write writes a file with the body that r has, and one lease on it that ends at
// that time, Unix seconds; without one it would be deleted where leases count.
// Its secrets are hashes of nothing that anybody knows, so nobody can renew or
// cancel it, as nobody could here. The body must have the size that s says.
func Write(w io.Writer, s Share, r io.Reader, ends int64) error {
	end := uint32(min(max(ends, 0), math.MaxUint32))
	if s.Size < 0 || s.Size > maxBodySize {
		return fmt.Errorf("%w: a share of %d bytes", ErrContainer, s.Size)
	}
	before, after := immutableParts(s, end)
	if s.Mutable {
		before, after = mutableParts(s, end)
	}
	if _, err := w.Write(before); err != nil {
		return err
	}
	if n, err := io.Copy(w, io.LimitReader(r, s.Size)); err != nil || n < s.Size {
		return fmt.Errorf("the share ends after %d bytes of %d: %w", n, s.Size, errors.Join(err, io.ErrUnexpectedEOF))
	}
	_, err := w.Write(after)
	return err
}

func immutableParts(s Share, end uint32) (before, after []byte) {
	before = binary.BigEndian.AppendUint32(nil, 2)
	before = binary.BigEndian.AppendUint32(before, uint32(min(s.Size, math.MaxUint32))) // nobody reads it
	before = binary.BigEndian.AppendUint32(before, 1)
	after = make([]byte, immutableLease)
	binary.BigEndian.PutUint32(after[immutableEnd:], end)
	return before, after
}

func mutableParts(s Share, end uint32) (before, after []byte) {
	before = append(before, magic2...)
	before = append(before, s.NodeID[:]...)
	before = append(before, s.Enabler[:]...)
	before = binary.BigEndian.AppendUint64(before, uint64(s.Size))
	before = binary.BigEndian.AppendUint64(before, uint64(mutableData+s.Size))
	slots := make([]byte, mutableSlots*mutableLease)
	binary.BigEndian.PutUint32(slots, 1) // the owner that Tahoe's own have
	binary.BigEndian.PutUint32(slots[mutableEnd:], end)
	copy(slots[mutableLease-len(s.NodeID):mutableLease], s.NodeID[:])
	return append(before, slots...), make([]byte, extraCount)
}
