package immutable

import (
	"encoding/binary"
	"fmt"

	"github.com/tarn-grid/tarn/file/hashtree"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// maxChain is the size of the longest share hash chain that is read: leaf and
// siblings in a tree of 256, which Tahoe-LAFS writes, and no more.
const maxChain = 9 * chainEntry

// appendChain writes the nodes that prove share n to belong to the file, each
// as its index (16 bits) and its hash.
func appendChain(b []byte, tree hashtree.Tree, total int, n grid.ShareNum) []byte {
	for _, i := range chainOrder(total, int64(n)) {
		b = binary.BigEndian.AppendUint16(b, uint16(i))
		b = append(b, tree[i][:]...)
	}
	return b
}

// parseChain reads a share hash chain in any order.
func parseChain(b []byte) (map[int64]tagged.Hash, error) {
	if len(b) == 0 || len(b)%chainEntry != 0 || len(b) > maxChain {
		return nil, fmt.Errorf("%w: share hash chain of %d bytes", ErrShare, len(b))
	}
	chain := map[int64]tagged.Hash{}
	for ; len(b) > 0; b = b[chainEntry:] {
		i := int64(binary.BigEndian.Uint16(b))
		if _, twice := chain[i]; twice {
			return nil, fmt.Errorf("%w: node %d twice in the share hash chain", ErrShare, i)
		}
		chain[i] = tagged.Hash(b[2:chainEntry])
	}
	return chain, nil
}

// appendLength writes the number before the URI extension block.
func appendLength(b []byte, version, n int) []byte {
	if version == version1 {
		return binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return binary.BigEndian.AppendUint64(b, uint64(n))
}
