package mutable

import (
	"fmt"

	"github.com/tarn-grid/tarn/file"
)

// Format is one of the two formats of shares; its number is the first byte of
// each.
type Format int

// The formats.
const (
	SDMF Format = 0 // small files: one segment
	MDMF Format = 1 // medium files: any number of segments
)

// String is the name of the format.
func (f Format) String() string {
	if f == MDMF {
		return "MDMF"
	}
	return "SDMF"
}

// Layout says how a mutable file of some size is cut. All sizes are in bytes.
type Layout struct {
	Format        Format
	Needed, Total int   // k and N
	Size          int64 // of the file, may be 0
	SegmentSize   int64 // of each segment but the last; a multiple of k, 0 in an empty SDMF file
}

// NewLayout cuts a file. Of the parameters, Happy is of no concern, and the
// segment size only for MDMF.
func NewLayout(f Format, size int64, p file.Params) (Layout, error) {
	segment := p.SegmentSize
	if f == SDMF {
		segment = size
	}
	if p.Needed < 1 || segment < 0 || segment > file.MaxSegmentSize {
		return Layout{}, fmt.Errorf("%w: a segment of %d bytes with %d shares needed (want at most %d bytes)",
			ErrSize, segment, p.Needed, file.MaxSegmentSize)
	}
	l := Layout{f, p.Needed, p.Total, size, roundUp(segment, int64(p.Needed))}
	return l, l.validate()
}

func roundUp(n, multiple int64) int64 { return (n + multiple - 1) / multiple * multiple }

func (l Layout) validate() error {
	if l.Needed < 1 || l.Needed > l.Total || l.Total > MaxTotal {
		return fmt.Errorf("%w: %d of %d shares (want 1 <= k <= N <= %d)", file.ErrParams, l.Needed, l.Total, MaxTotal)
	}
	if l.Size < 0 || l.Size > l.maxSize() {
		return fmt.Errorf("%w: %d bytes in %s (want 0 to %d)", ErrSize, l.Size, l.Format, l.maxSize())
	}
	most := roundUp(file.MaxSegmentSize, int64(l.Needed))
	if l.SegmentSize < 0 || l.SegmentSize > most || l.SegmentSize%int64(l.Needed) != 0 {
		return fmt.Errorf("%w: segments of %d bytes for %d shares needed", ErrSize, l.SegmentSize, l.Needed)
	}
	if l.Format == SDMF && l.SegmentSize != roundUp(l.Size, int64(l.Needed)) {
		return fmt.Errorf("%w: an SDMF file of %d bytes in segments of %d", ErrSize, l.Size, l.SegmentSize)
	}
	if l.Format == MDMF && l.SegmentSize == 0 {
		return fmt.Errorf("%w: segments of no bytes", ErrSize)
	}
	return nil
}

func (l Layout) maxSize() int64 {
	if l.Format == SDMF {
		return MaxSDMFSize
	}
	return file.MaxSize
}

// NumSegments is the number of segments, 0 in an empty file.
func (l Layout) NumSegments() int64 {
	if l.SegmentSize == 0 {
		return 0
	}
	return (l.Size + l.SegmentSize - 1) / l.SegmentSize
}

// SegmentLen is the length of segment i without padding.
func (l Layout) SegmentLen(i int64) int64 {
	return min(l.SegmentSize, l.Size-i*l.SegmentSize)
}

// blockLen is the length of a block of segment i without its salt.
func (l Layout) blockLen(i int64) int64 {
	return roundUp(l.SegmentLen(i), int64(l.Needed)) / int64(l.Needed)
}

// saltLen is the length of the salt that each block begins with.
func (l Layout) saltLen() int64 {
	if l.Format == MDMF {
		return SaltSize
	}
	return 0
}

// BlockSize is the length of a block of segment i as it lies in a share, in
// MDMF with the salt before it.
func (l Layout) BlockSize(i int64) int64 { return l.saltLen() + l.blockLen(i) }

// blockOffset is where the block of segment i begins, from the first block on.
func (l Layout) blockOffset(i int64) int64 {
	return i * (l.saltLen() + l.SegmentSize/int64(l.Needed))
}

// dataSize is the size of all blocks of one share.
func (l Layout) dataSize() int64 {
	n := l.NumSegments()
	if n == 0 {
		return 0
	}
	return l.blockOffset(n-1) + l.BlockSize(n-1)
}
