package tarn

import (
	"sync"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/lease"
)

const (
	// warmReaders is how many closed files keep their download actor, with
	// what it knows of servers, hashes and the last segment: a few megabytes
	// each at most.
	warmReaders = 8
	// warmTime is for how long.
	warmTime = 30 * time.Second
)

// warmer keeps the download actors of files that were closed a moment ago, so
// that a next request for the same file need not find and prove everything
// again. Programs that read ranges over HTTP open a file for each.
type warmer struct {
	end func(*env.PID)

	mu   sync.Mutex
	idle []*idleReader // the latest last
}

type idleReader struct {
	key   warmKey
	actor *env.PID
	timer *time.Timer
}

// warmKey is a file, and the authority under which it is read.
type warmKey struct {
	cap       file.CHK
	authority lease.AuthorityID
}

// take returns an idle reader of the file, nil if there is none.
func (w *warmer) take(k warmKey) *env.PID {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.idle) - 1; i >= 0; i-- {
		if r := w.idle[i]; r.key == k && r.timer.Stop() {
			w.idle = append(w.idle[:i], w.idle[i+1:]...)
			return r.actor
		}
	}
	return nil
}

// put keeps a reader that nobody uses any more, in place of the oldest.
func (w *warmer) put(k warmKey, actor *env.PID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &idleReader{key: k, actor: actor}
	r.timer = time.AfterFunc(warmTime, func() { w.drop(r) })
	w.idle = append(w.idle, r)
	if len(w.idle) > warmReaders {
		oldest := w.idle[0]
		w.idle = append(w.idle[:0], w.idle[1:]...)
		if oldest.timer.Stop() {
			w.end(oldest.actor)
		}
	}
}

// drop ends a reader whose time is over.
func (w *warmer) drop(r *idleReader) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, other := range w.idle {
		if other == r {
			w.idle = append(w.idle[:i], w.idle[i+1:]...)
			break
		}
	}
	w.end(r.actor)
}

// close stops all timers; the actors end with the node.
func (w *warmer) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.idle {
		r.timer.Stop()
	}
	w.idle = nil
}

// newWarmer ends readers by telling them so.
func newWarmer(s *env.System) *warmer {
	return &warmer{end: func(pid *env.PID) { s.Send(pid, client.CloseFile{}) }}
}
