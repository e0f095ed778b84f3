// Package erasure turns k blocks into n, any k of which give the first k
// back. The bytes are those of zfec, which Tahoe-LAFS uses: blocks 0 to k-1
// are the data itself, the others are sums over GF(2^8).
//
// A Coder does one (k, n); New keeps the last ones made, since their matrix
// takes time. It is safe for concurrent use, starts no goroutines, and works
// in its caller's buffers.
package erasure

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/reedsolomon"

	"github.com/tarn-grid/tarn/grid"
)

// Errors of this package.
var (
	// ErrShape means that k and n are not 1 <= k <= n <= 256.
	ErrShape = errors.New("no such erasure code")
	// ErrBlocks means that blocks are missing or of different lengths.
	ErrBlocks = errors.New("blocks that cannot be coded")
)

// maxCached bounds the coders that are kept; one of 128 of 256 takes some
// 100 KB.
const maxCached = 16

type shape struct{ k, n int }

var cache = struct {
	sync.Mutex
	coders map[shape]*Coder
}{coders: map[shape]*Coder{}}

// Coder is the code that makes n blocks of k.
type Coder struct {
	k, n int
	rs   reedsolomon.Encoder // nil if there is no parity
}

// New returns the code of k of n blocks.
func New(k, n int) (*Coder, error) {
	if k < 1 || k > n || n > grid.MaxShares {
		return nil, fmt.Errorf("%w: %d of %d blocks", ErrShape, k, n)
	}
	cache.Lock()
	defer cache.Unlock()
	if c, ok := cache.coders[shape{k, n}]; ok {
		return c, nil
	}
	c, err := build(k, n)
	if err != nil {
		return nil, err
	}
	if len(cache.coders) == maxCached {
		clear(cache.coders)
	}
	cache.coders[shape{k, n}] = c
	return c, nil
}

func build(k, n int) (*Coder, error) {
	c := &Coder{k: k, n: n}
	if n == k {
		return c, nil
	}
	var err error
	c.rs, err = reedsolomon.New(k, n-k,
		reedsolomon.WithCustomMatrix(parityRows(k, n)), reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		return nil, fmt.Errorf("prepare the code of %d of %d blocks: %w", k, n, err)
	}
	return c, nil
}

// Encode fills blocks[k:] from blocks[:k]. All n are of one length, at least
// one byte, and belong to the caller.
func (c *Coder) Encode(blocks [][]byte) error {
	if len(blocks) != c.n || !sameLength(blocks, len(blocks[0])) {
		return fmt.Errorf("%w: want %d of one length", ErrBlocks, c.n)
	}
	if c.rs == nil {
		return nil
	}
	if err := c.rs.Encode(blocks); err != nil {
		return fmt.Errorf("encode blocks: %w", err)
	}
	return nil
}

func sameLength(blocks [][]byte, size int) bool {
	for _, b := range blocks {
		if len(b) != size {
			return false
		}
	}
	return size > 0
}

// Decode writes the k data blocks into data, whose elements are of one length
// and don't overlap the given blocks. Any k of the n blocks will do; they are
// only read.
func (c *Coder) Decode(data [][]byte, blocks map[grid.ShareNum][]byte) error {
	if len(data) != c.k || !sameLength(data, len(data[0])) {
		return fmt.Errorf("%w: want %d buffers of one length", ErrBlocks, c.k)
	}
	if err := c.checkGiven(blocks, len(data[0])); err != nil {
		return err
	}
	work := make([][]byte, c.n)
	missing := 0
	for i := range data {
		if b, ok := blocks[grid.ShareNum(i)]; ok {
			copy(data[i], b)
			work[i] = data[i]
			continue
		}
		work[i] = data[i][:0] // no length, but room: rebuilt in place
		missing++
	}
	if missing == 0 {
		return nil
	}
	for num, b := range blocks {
		if int(num) >= c.k {
			work[num] = b
		}
	}
	if err := c.rs.ReconstructData(work); err != nil {
		return fmt.Errorf("decode blocks: %w", err)
	}
	return nil
}

func (c *Coder) checkGiven(blocks map[grid.ShareNum][]byte, size int) error {
	if len(blocks) < c.k {
		return fmt.Errorf("%w: %d of the %d that are needed", ErrBlocks, len(blocks), c.k)
	}
	for num, b := range blocks {
		if int(num) >= c.n {
			return fmt.Errorf("%w: block %d of %d", ErrBlocks, num, c.n)
		}
		if len(b) != size {
			return fmt.Errorf("%w: block %d has %d bytes (want %d)", ErrBlocks, num, len(b), size)
		}
	}
	return nil
}
