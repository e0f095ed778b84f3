package client

import "sync"

// segmentBuffers are for segments in plaintext: unlike wire.Buffer's they have
// the size that was asked for, because the default segment is a few bytes
// larger than a power of two.
var segmentBuffers sync.Pool

// segmentBuffer returns n bytes of undefined content and what gives them back,
// which is called at most once.
func segmentBuffer(n int) (buf []byte, release func()) {
	p, ok := segmentBuffers.Get().(*[]byte)
	if !ok || cap(*p) < n {
		b := make([]byte, n)
		p = &b
	}
	return (*p)[:n], func() { segmentBuffers.Put(p) }
}
