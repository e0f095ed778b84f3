package immutable

import (
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/tarn-grid/tarn/file/hashtree"
	"github.com/tarn-grid/tarn/file/tagged"
)

// maxChain is the size of the longest share hash chain that is read: leaf and
// siblings in a tree of 256, which Tahoe-LAFS writes, and no more.
const maxChain = 9 * hashtree.ChainEntry

// parseChain reads a share hash chain in any order.
func parseChain(b []byte) (map[int64]tagged.Hash, error) {
	chain, err := hashtree.ParseChain(b, maxChain/hashtree.ChainEntry)
	if err != nil || len(chain) == 0 {
		return nil, fmt.Errorf("%w: share hash chain of %d bytes: %w", ErrShare, len(b), cmp.Or(err, hashtree.ErrChain))
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
