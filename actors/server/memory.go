package server

import "sync/atomic"

// memory bounds what all sessions of a server hold together: the answers that
// are not written to the network yet. The transport's callbacks give back, so
// it is not an actor's own.
type memory struct {
	most int64
	used atomic.Int64
}

// take reports whether there was room for n bytes, which are then taken.
func (m *memory) take(n int) bool {
	for {
		used := m.used.Load()
		if n > 0 && used+int64(n) > m.most {
			return false
		}
		if m.used.CompareAndSwap(used, used+int64(n)) {
			return true
		}
	}
}

func (m *memory) give(n int) { m.used.Add(-int64(n)) }
