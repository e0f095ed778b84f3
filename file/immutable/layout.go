package immutable

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/hashtree"
)

// Versions of a share body. Version 2 has 64-bit fields and is used only
// where version 1, with 32 bits, cannot hold a number.
const (
	version1 = 1
	version2 = 2
)

// Lengths of a header in bytes.
const (
	headerSize1 = 0x24
	headerSize2 = 0x44
	// MaxHeaderSize is the longest header of a share.
	MaxHeaderSize = headerSize2
)

// Layout says how a file of some size is cut into segments and blocks, and
// where everything lies in each of its shares. All sizes and offsets are in
// bytes; offsets count from the start of the share body. It is the same for
// all shares of a file.
type Layout struct {
	Needed, Total int   // k and N
	Size          int64 // of the file

	SegmentSize   int64 // of each segment but the last; a multiple of k
	NumSegments   int64
	TailSize      int64 // of the last segment, without padding
	BlockSize     int64 // of each block but the last
	TailBlockSize int64 // of the last block

	Version int // of the share body, 1 or 2
	Offsets
	UEBSize   int64 // of the URI extension block, without its length field
	ShareSize int64 // of the whole share body
}

// Offsets are where the sections of a share body begin.
type Offsets struct {
	Data, PlaintextTree, CrypttextTree, BlockTree, ShareHashes, UEB int64
}

// NewLayout computes the layout of a file of the given size, at least 1 byte.
// Of the parameters, Happy is of no concern.
func NewLayout(size int64, p file.Params) (Layout, error) {
	p.Happy = 1
	if err := p.Validate(); err != nil {
		return Layout{}, err
	}
	if size < 1 || size > file.MaxSize {
		return Layout{}, fmt.Errorf("%w: %d bytes (want 1 to %d)", ErrSize, size, file.MaxSize)
	}
	k := int64(p.Needed)
	l := Layout{Needed: p.Needed, Total: p.Total, Size: size}
	l.SegmentSize = roundUp(min(p.SegmentSize, size), k)
	l.NumSegments = ceilDiv(size, l.SegmentSize)
	l.TailSize = size - (l.NumSegments-1)*l.SegmentSize
	l.BlockSize = l.SegmentSize / k
	l.TailBlockSize = ceilDiv(l.TailSize, k)
	l.UEBSize = int64(len(l.newUEB().Encode()))
	l.place(version1)
	if !l.fitsVersion1() {
		l.place(version2)
	}
	return l, nil
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

func roundUp(a, b int64) int64 { return ceilDiv(a, b) * b }

// place computes the offsets for a version of the header.
func (l *Layout) place(version int) {
	l.Version = version
	tree := hashtree.Size(l.NumSegments)
	l.Data = headerSize(version)
	l.PlaintextTree = l.Data + l.DataSize()
	l.CrypttextTree = l.PlaintextTree + tree
	l.BlockTree = l.CrypttextTree + tree
	l.ShareHashes = l.BlockTree + tree
	l.Offsets.UEB = l.ShareHashes + chainSize(l.Total)
	l.ShareSize = l.Offsets.UEB + uebLengthSize(version) + l.UEBSize
}

// fitsVersion1 is Tahoe's rule: block size, data size and every offset must
// fit 32 bits; the end of the share need not.
func (l *Layout) fitsVersion1() bool {
	return l.BlockSize <= math.MaxUint32 && l.DataSize() <= math.MaxUint32 && l.Offsets.UEB <= math.MaxUint32
}

func headerSize(version int) int64 {
	if version == version1 {
		return headerSize1
	}
	return headerSize2
}

// uebLengthSize is the size of the number before the URI extension block.
func uebLengthSize(version int) int64 {
	if version == version1 {
		return 4
	}
	return 8
}

// chainSize is the size of the share hash chain: a leaf and its siblings up
// to the root.
func chainSize(total int) int64 {
	return int64(bits.Len64(uint64(hashtree.Padded(int64(total))))) * hashtree.ChainEntry
}

// DataSize is the size of all blocks of one share.
func (l Layout) DataSize() int64 {
	return (l.NumSegments-1)*l.BlockSize + l.TailBlockSize
}

// LargestShare is the longest body that a share of the file can have: Tahoe can
// be made to use the longer header where it is not needed.
func (l Layout) LargestShare() int64 {
	l.place(version2)
	return l.ShareSize
}

// SegmentLen is the length of segment i without padding.
func (l Layout) SegmentLen(i int64) int64 {
	if i == l.NumSegments-1 {
		return l.TailSize
	}
	return l.SegmentSize
}

// BlockLen is the length of each block of segment i.
func (l Layout) BlockLen(i int64) int64 {
	if i == l.NumSegments-1 {
		return l.TailBlockSize
	}
	return l.BlockSize
}

// BlockRange is where the block of segment i lies in a share with these
// offsets.
func (l Layout) BlockRange(i int64) Range {
	return Range{l.Data + i*l.BlockSize, l.BlockLen(i)}
}

// SegmentOf is the number of the segment that holds the file's byte at off.
func (l Layout) SegmentOf(off int64) int64 { return off / l.SegmentSize }

// Range is a run of bytes [Off, Off+Len) of a share body.
type Range struct{ Off, Len int64 }

// End is the offset after the last byte.
func (r Range) End() int64 { return r.Off + r.Len }
