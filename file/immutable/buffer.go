package immutable

import (
	"math/bits"
	"sync"
)

// Buffers for segments and their blocks, from 4 KiB to a gigabyte, in classes
// that are an eighth of an octave wide: the default segment is a few bytes
// larger than a power of two. Each class has a pool, so that a steady flow of
// files allocates nothing, and one that ends keeps nothing for long.
const (
	smallestClass = 12
	largestClass  = 30
	steps         = 8 // an octave
)

var pools [(largestClass - smallestClass) * steps]sync.Pool

// pooled is a buffer with its own release function, made once with it.
type pooled struct {
	bytes   []byte
	release func()
}

// SegmentBuffer returns n bytes of undefined content and what gives them back,
// which is called at most once.
func SegmentBuffer(n int) (buf []byte, release func()) {
	class, size := classOf(n)
	if class >= len(pools) {
		return make([]byte, n), func() {}
	}
	p, ok := pools[class].Get().(*pooled)
	if !ok {
		p = &pooled{bytes: make([]byte, size)}
		p.release = func() { pools[class].Put(p) }
	}
	return p.bytes[:n:n], p.release
}

// classOf is the first class whose buffers have n bytes, and how many they
// have.
func classOf(n int) (class, size int) {
	n = max(n, 1<<smallestClass+1) - 1
	octave := bits.Len(uint(n)) - 1
	step := n>>(octave-3) - steps // which eighth of the octave n lies in
	return (octave-smallestClass)*steps + step, (steps + step + 1) << (octave - 3)
}
