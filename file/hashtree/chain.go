package hashtree

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tarn-grid/tarn/file/tagged"
)

// ChainEntry is the length of a node in a written hash chain, in bytes.
const ChainEntry = 2 + tagged.Size

// ErrChain means that bytes are not a hash chain.
var ErrChain = errors.New("not a hash chain")

// AppendChain writes the nodes with the given indexes, which fit 16 bits: each
// as its index, big endian, and its hash.
func (t Tree) AppendChain(dst []byte, indexes []int64) []byte {
	for _, i := range indexes {
		dst = binary.BigEndian.AppendUint16(dst, uint16(i))
		dst = append(dst, t[i][:]...)
	}
	return dst
}

// ParseChain reads a hash chain in any order, of at most so many nodes, none of
// them twice.
func ParseChain(b []byte, most int) (map[int64]Hash, error) {
	if len(b)%ChainEntry != 0 || len(b) > most*ChainEntry {
		return nil, fmt.Errorf("%w: %d bytes (want at most %d nodes of %d)", ErrChain, len(b), most, ChainEntry)
	}
	chain := make(map[int64]Hash, len(b)/ChainEntry)
	for ; len(b) > 0; b = b[ChainEntry:] {
		i := int64(binary.BigEndian.Uint16(b))
		if _, twice := chain[i]; twice {
			return nil, fmt.Errorf("%w: node %d twice", ErrChain, i)
		}
		chain[i] = Hash(b[2:ChainEntry])
	}
	return chain, nil
}
