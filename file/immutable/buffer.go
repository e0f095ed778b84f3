package immutable

import "sync"

// segmentBuffers are for segments in plaintext. They have the size that was
// asked for: the default segment is a few bytes larger than a power of two.
var segmentBuffers sync.Pool

// SegmentBuffer returns n bytes of undefined content and what gives them back,
// which is called at most once.
func SegmentBuffer(n int) (buf []byte, release func()) {
	p, ok := segmentBuffers.Get().(*[]byte)
	if !ok || cap(*p) < n {
		b := make([]byte, n)
		p = &b
	}
	return (*p)[:n], func() { segmentBuffers.Put(p) }
}
