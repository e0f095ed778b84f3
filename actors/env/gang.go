package env

import "sync"

// gang runs functions on goroutines that wait for the next one instead of
// ending, because a new goroutine has to grow its stack again: a twelfth of
// the CPU of small uploads.
type gang struct {
	most int // that wait

	mu     sync.Mutex
	idle   []chan func() // of those that wait, the latest last
	closed bool
}

// run calls fn on some goroutine, at once.
func (g *gang) run(fn func()) {
	g.mu.Lock()
	n := len(g.idle) - 1
	if n < 0 {
		g.mu.Unlock()
		go g.work(fn)
		return
	}
	next := g.idle[n]
	g.idle = g.idle[:n]
	g.mu.Unlock()
	next <- fn
}

func (g *gang) work(fn func()) {
	next := make(chan func(), 1)
	for fn != nil {
		fn()
		if !g.wait(next) {
			return
		}
		fn = <-next
	}
}

func (g *gang) wait(next chan func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || len(g.idle) >= g.most {
		return false
	}
	g.idle = append(g.idle, next)
	return true
}

// close lets those go that wait; what runs still ends.
func (g *gang) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, next := range g.idle {
		close(next)
	}
	g.idle = nil
}

// Schedule implements actor.Dispatcher.
func (d dispatcher) Schedule(fn func()) { d.gang.run(fn) }

// Throughput implements actor.Dispatcher.
func (dispatcher) Throughput() int { return throughput }

// dispatcher runs actors on a gang.
type dispatcher struct{ gang *gang }
