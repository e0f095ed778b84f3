package store

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// scheduler grants Pebble as many compactions as it allows itself, without the
// ticker of Pebble's own scheduler: that one wakes ten times a second for ever,
// which costs an idle server its sleep and a simulation most of its time.
// Pebble says when more may run: when one is done, and after a flush.
type scheduler struct {
	mu       sync.Mutex
	idle     sync.Cond // no grant in progress
	db       pebble.DBForCompaction
	running  int
	granting bool
	again    bool // something changed during a grant
	closed   bool
}

func newScheduler() *scheduler {
	s := &scheduler{}
	s.idle.L = &s.mu
	return s
}

// Register implements pebble.CompactionScheduler.
func (s *scheduler) Register(_ int, db pebble.DBForCompaction) { s.db = db }

// Unregister returns when no call to the database is in progress.
func (s *scheduler) Unregister() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for s.granting {
		s.idle.Wait()
	}
}

// TrySchedule implements pebble.CompactionScheduler.
func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.running >= s.db.GetAllowedWithoutPermission() {
		return false, nil
	}
	s.running++
	return true, s
}

// UpdateGetAllowedWithoutPermission is called with Pebble's locks held, so the
// granting happens elsewhere.
func (s *scheduler) UpdateGetAllowedWithoutPermission() { go s.grant() }

// Done ends a compaction and may start the next.
func (s *scheduler) Done() {
	s.mu.Lock()
	s.running--
	s.mu.Unlock()
	s.grant()
}

// Started implements pebble.CompactionGrantHandle.
func (s *scheduler) Started() {}

// MeasureCPU implements pebble.CompactionGrantHandle.
func (s *scheduler) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements pebble.CompactionGrantHandle.
func (s *scheduler) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// grant starts waiting compactions. One grant runs at a time; another that is
// wanted meanwhile makes it look once more.
func (s *scheduler) grant() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.granting {
		s.again = true
		return
	}
	s.granting = true
	for more := true; more && !s.closed; {
		s.again = false
		more = s.grantOne() || s.again
	}
	s.granting = false
	s.idle.Broadcast()
}

// grantOne reports whether a compaction was started. It lets go of the lock
// while it calls the database, whose locks come first.
func (s *scheduler) grantOne() bool {
	if s.running >= s.db.GetAllowedWithoutPermission() {
		return false
	}
	s.running++
	s.mu.Unlock()
	waiting, _ := s.db.GetWaitingCompaction()
	accepted := waiting && s.db.Schedule(s)
	s.mu.Lock()
	if !accepted {
		s.running--
	}
	return accepted
}
