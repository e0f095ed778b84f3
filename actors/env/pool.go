package env

import (
	"context"
	"sync"
)

// pool runs functions on at most max goroutines, in the order in which they
// came. Its queue is unbounded: what an actor may have outstanding is bounded
// by the actor.
type pool struct {
	start   func(func()) // runs a function on a goroutine
	mu      sync.Mutex
	max     int
	running int
	queue   []func()
	closed  bool
	idle    chan struct{} // closed when closed and running is 0
}

func newPool(max int, start func(func())) *pool {
	return &pool{start: start, max: max, idle: make(chan struct{})}
}

// do runs fn soon. After drain it does nothing: every actor has stopped, so
// nobody is left to have asked.
func (p *pool) do(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
	case p.running < p.max:
		p.running++
		p.start(func() { p.work(fn) })
	default:
		p.queue = append(p.queue, fn)
	}
}

func (p *pool) work(fn func()) {
	for fn != nil {
		fn()
		fn = p.next()
	}
}

// next takes the oldest function from the queue; nil ends the goroutine.
func (p *pool) next() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.running--
		p.signal()
		return nil
	}
	fn := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return fn
}

func (p *pool) signal() {
	if !p.closed || p.running > 0 {
		return
	}
	select {
	case <-p.idle:
	default:
		close(p.idle)
	}
}

// drain lets nothing new in and waits for what is queued and running.
func (p *pool) drain(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.signal()
	p.mu.Unlock()
	select {
	case <-p.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
