package wire

import (
	"math/bits"
	"sync"
)

// Buffers for bodies come in powers of two from 4 KiB to MaxBody, one pool
// each, so that a steady flow of frames allocates nothing.
const (
	smallestClass = 12 // 1<<12 bytes
	largestClass  = 22 // 1<<22 = MaxBody
)

var pools [largestClass - smallestClass + 1]sync.Pool

// pooled is a buffer with its own release function, made once with it.
type pooled struct {
	bytes   []byte
	release func()
}

// Buffer returns n bytes of undefined content and what gives them back; that
// is called at most once, and the bytes are not touched afterwards. It serves
// received bodies and anybody who makes one to be sent.
func Buffer(n int) (buf []byte, release func()) {
	if n > 1<<largestClass {
		return make([]byte, n), func() {}
	}
	class := max(bits.Len(uint(max(n, 1)-1)), smallestClass) - smallestClass
	p, ok := pools[class].Get().(*pooled)
	if !ok {
		p = &pooled{bytes: make([]byte, 1<<(class+smallestClass))}
		p.release = func() { pools[class].Put(p) }
	}
	return p.bytes[:n:n], p.release
}
