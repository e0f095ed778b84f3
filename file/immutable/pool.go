package immutable

import "sync"

// Pool keeps buffers of released segments for the next ones. It is safe for
// concurrent use and can serve several encoders; the zero value keeps
// nothing.
type Pool struct {
	keep int

	mu   sync.Mutex
	free [][]byte
}

// NewPool keeps at most the given number of buffers, each as large as all
// blocks of a segment.
func NewPool(keep int) *Pool { return &Pool{keep: keep} }

func (p *Pool) get(size int) []byte {
	if b := p.take(); cap(b) >= size {
		return b[:size]
	}
	return make([]byte, size)
}

func (p *Pool) take() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return nil
	}
	b := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	return b
}

func (p *Pool) put(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < p.keep {
		p.free = append(p.free, b)
	}
}
