package store

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// memory is an engine without disk or goroutine: the same calls give the same
// answers in the same order. It keeps how to undo what was not waited for, so
// that a crash can be played.
type memory struct {
	mu      sync.RWMutex
	keys    []string // sorted
	values  map[string][]byte
	undo    []undoLog // oldest first, each not waited for yet
	applied int
	failed  error
}

type undoLog struct {
	seq  int
	undo batch
}

func newMemory() *memory { return &memory{values: map[string][]byte{}} }

func (m *memory) get(key []byte) ([]byte, bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	v, ok := m.values[string(key)]
	return slices.Clone(v), ok, nil
}

func (m *memory) getMany(keys [][]byte, yield func(i int, value []byte) error) error {
	for i, key := range keys {
		v, ok, err := m.get(key)
		if err == nil && ok {
			err = yield(i, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// scan works on the keys there were when it began, as a snapshot would; yield
// may read and write the store.
func (m *memory) scan(lower, upper []byte, yield func(key, value []byte) error) error {
	m.mu.RLock()
	from, _ := slices.BinarySearch(m.keys, string(lower))
	to := len(m.keys)
	if upper != nil {
		to, _ = slices.BinarySearch(m.keys, string(upper))
	}
	var found batch
	for _, k := range m.keys[from:max(from, to)] {
		found.put([]byte(k), m.values[k])
	}
	m.mu.RUnlock()
	for _, e := range found {
		if err := yield(e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) apply(b batch) (func() error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed != nil {
		return nil, m.failed
	}
	m.applied++
	log := undoLog{seq: m.applied}
	for _, e := range b {
		log.undo = append(log.undo, m.edit(e))
	}
	m.undo = append(m.undo, log)
	seq := m.applied
	return func() error { m.synced(seq); return nil }, nil
}

func (m *memory) applyLazily(b batch) error {
	_, err := m.apply(b)
	return err
}

// edit returns its own reverse.
func (m *memory) edit(e edit) edit {
	k := string(e.key)
	old, had := m.values[k]
	back := edit{key: e.key, value: old, delete: !had}
	i, _ := slices.BinarySearchFunc(m.keys, k, strings.Compare)
	switch {
	case e.delete && had:
		m.keys = slices.Delete(m.keys, i, i+1)
		delete(m.values, k)
	case !e.delete:
		if !had {
			m.keys = slices.Insert(m.keys, i, k)
		}
		m.values[k] = slices.Clone(e.value)
	}
	return back
}

// synced: a log is written in order, so whatever came before is durable too.
func (m *memory) synced(seq int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for n < len(m.undo) && m.undo[n].seq <= seq {
		n++
	}
	m.undo = slices.Delete(m.undo, 0, n)
}

// crashed is what a restart after a power cut finds: all that was waited for
// and nothing else.
func (m *memory) crashed() *memory {
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := &memory{keys: slices.Clone(m.keys), values: make(map[string][]byte, len(m.values))}
	for k, v := range m.values {
		c.values[k] = v
	}
	for _, log := range slices.Backward(m.undo) {
		for _, e := range slices.Backward(log.undo) {
			c.edit(e)
		}
	}
	return c
}

func (m *memory) fail(err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed == nil {
		m.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return m.failed
}

func (m *memory) failure() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.failed
}

func (m *memory) close() error { return nil }
