package mutable

import (
	"bytes"
	"fmt"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/aesctr"
	"github.com/tarn-grid/tarn/file/erasure"
	"github.com/tarn-grid/tarn/grid"
)

// Decode gives back segment i from blocks of k or more shares, as they lie in
// them, which were checked. The result is in new memory. An ErrShare says that
// the blocks are genuine and yet don't belong together: whoever wrote the
// version made it so.
func Decode(p Prefix, key file.ReadKey, i int64, blocks map[grid.ShareNum][]byte) ([]byte, error) {
	if i < 0 || i >= p.NumSegments() {
		return nil, fmt.Errorf("%w: segment %d of %d", ErrSize, i, p.NumSegments())
	}
	salt, bare, err := p.cutSalts(i, blocks)
	if err != nil {
		return nil, err
	}
	coder, err := erasure.New(p.Needed, p.Total)
	if err != nil {
		return nil, fmt.Errorf("segment %d: %w", i, err)
	}
	size := int(p.blockLen(i))
	buf := make([]byte, size*p.Needed)
	data := make([][]byte, p.Needed)
	for j := range data {
		data[j] = buf[j*size : (j+1)*size : (j+1)*size]
	}
	if err := coder.Decode(data, bare); err != nil {
		return nil, fmt.Errorf("segment %d: %w", i, err)
	}
	text := buf[:p.SegmentLen(i)]
	aesctr.New(key.DataKey(salt)).XOR(text, text, 0)
	return text, nil
}

// cutSalts parts the blocks of MDMF shares from their salt, which all share.
func (p Prefix) cutSalts(i int64, blocks map[grid.ShareNum][]byte) (salt [SaltSize]byte, bare map[grid.ShareNum][]byte, err error) {
	if p.Format == SDMF {
		return p.Salt, blocks, nil
	}
	bare = make(map[grid.ShareNum][]byte, len(blocks))
	first := true
	for n, b := range blocks {
		if int64(len(b)) != p.BlockSize(i) {
			return salt, nil, fmt.Errorf("%w: block %d of share %d has %d bytes (want %d)", ErrShare, i, n, len(b), p.BlockSize(i))
		}
		if !first && !bytes.Equal(salt[:], b[:SaltSize]) {
			return salt, nil, fmt.Errorf("%w: block %d of share %d has another salt than those of the others", ErrShare, i, n)
		}
		first = false
		salt, bare[n] = [SaltSize]byte(b), b[SaltSize:]
	}
	return salt, bare, nil
}
