package immutable

import (
	"fmt"

	"github.com/tarn-grid/tarn/file/aesctr"
	"github.com/tarn-grid/tarn/file/erasure"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// BlockCheck is a block that was fetched and the hash that it must have,
// which is proven.
type BlockCheck struct {
	Share   grid.ShareNum
	Segment int64
	Data    []byte
	want    tagged.Hash
}

// Verify tells whether the block is genuine; a *ShareError if not. It hashes
// the block and can run anywhere.
func (b BlockCheck) Verify() error {
	if tagged.Sum(tagged.Block, b.Data) != b.want {
		return &ShareError{b.Share, fmt.Errorf("%w: block %d is damaged", ErrShare, b.Segment)}
	}
	return nil
}

// Block hands out the block of a share, once Want wants nothing more for it.
// The Reader lets go of it.
func (r *Reader) Block(n grid.ShareNum, segment int64) (BlockCheck, bool) {
	s := r.shares[n]
	if s == nil || s.blocks == nil || segment < 0 || segment >= r.layout.NumSegments {
		return BlockCheck{}, false
	}
	l := r.layout
	l.Offsets = s.header.Offsets
	data, ok := s.spans.get(l.BlockRange(segment))
	want, known := s.blocks.Leaf(segment)
	if !ok || !known {
		return BlockCheck{}, false
	}
	s.spans.drop(l.BlockRange(segment))
	return BlockCheck{n, segment, data, want}, true
}

// Decoding is the work that turns k genuine blocks of one segment into
// plaintext, or into ciphertext where that is wanted.
type Decoding struct {
	Segment int64

	layout Layout
	cipher *aesctr.Cipher // nil for ciphertext
	coder  *erasure.Coder
	blocks map[grid.ShareNum][]byte
	want   tagged.Hash // of the ciphertext
}

// Decode prepares the decoding of a segment from at least k blocks that were
// verified. The blocks are given away.
func (r *Reader) Decode(segment int64, blocks map[grid.ShareNum][]byte) (Decoding, error) {
	if !r.proven || segment < 0 || segment >= r.layout.NumSegments {
		return Decoding{}, fmt.Errorf("%w: segment %d of %d", ErrSize, segment, r.layout.NumSegments)
	}
	want, ok := r.cryptTree.Leaf(segment)
	if !ok || len(blocks) < r.layout.Needed {
		return Decoding{}, fmt.Errorf("%w: segment %d with %d blocks (want %d)",
			erasure.ErrBlocks, segment, len(blocks), r.layout.Needed)
	}
	return Decoding{segment, r.layout, r.cipher, r.coder, blocks, want}, nil
}

// BufferSize is the capacity in bytes that a buffer for Run needs: a segment
// and its padding.
func (d Decoding) BufferSize() int {
	return int(d.layout.BlockLen(d.Segment)) * d.layout.Needed
}

// Run decodes, checks the ciphertext against the capability and decrypts it.
// The plaintext lies at the start of buf if that has the capacity. An
// ErrCiphertext says that the file itself is broken. It can run anywhere.
func (d Decoding) Run(buf []byte) ([]byte, error) {
	size := d.BufferSize()
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	block := int(d.layout.BlockLen(d.Segment))
	data := make([][]byte, d.layout.Needed)
	for i := range data {
		data[i] = buf[i*block : (i+1)*block : (i+1)*block]
	}
	if err := d.coder.Decode(data, d.blocks); err != nil {
		return nil, fmt.Errorf("segment %d: %w", d.Segment, err)
	}
	text := buf[:d.layout.SegmentLen(d.Segment)]
	if tagged.Sum(tagged.CrypttextSegment, text) != d.want {
		return nil, fmt.Errorf("%w: segment %d", ErrCiphertext, d.Segment)
	}
	if d.cipher != nil {
		d.cipher.XOR(text, text, d.Segment*d.layout.SegmentSize)
	}
	return text, nil
}
