// Package spooltest is a helper.Spool in memory, for tests and the simulation,
// and the suite that it passes as the one on the disk does.
//
// Main types: Memory, Suite.
package spooltest

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/tarn-grid/tarn/actors/helper"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Memory implements helper.Spool. It is not safe for concurrent use.
type Memory struct {
	// Now tells when something is written.
	Now func() time.Time
	// Room, if not 0, is how many bytes of ciphertext there is room for.
	Room int64
	// Fault, if not nil, is asked before each write.
	Fault func() error
	// Files is how many are open.
	Files int

	parts   map[wire.Secret]*part
	results map[wire.Secret]result
}

type part struct {
	data     []byte
	accounts []grid.PublicKey
	at       time.Time
}

type result struct {
	helper.Result
	at time.Time
}

// NewMemory is an empty spool.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{Now: now, parts: map[wire.Secret]*part{}, results: map[wire.Secret]result{}}
}

// Ciphertexts are those that are there; whoever changes one spoils it.
func (m *Memory) Ciphertexts() map[wire.Secret][]byte {
	all := map[wire.Secret][]byte{}
	for job, p := range m.parts {
		all[job] = p.data
	}
	return all
}

// AfterCrash is what a restart finds; spoil changes each ciphertext, of which
// nothing was synced.
func (m *Memory) AfterCrash(spoil func([]byte) []byte) *Memory {
	after := NewMemory(m.Now)
	after.Room, after.Fault = m.Room, m.Fault
	maps.Copy(after.results, m.results)
	inOrder := func(a, b wire.Secret) int { return bytes.Compare(a[:], b[:]) }
	for _, job := range slices.SortedFunc(maps.Keys(m.parts), inOrder) {
		p := m.parts[job]
		after.parts[job] = &part{spoil(p.data), p.accounts, p.at}
	}
	return after
}

// Age makes what there is of a job older.
func (m *Memory) Age(job wire.Secret, by time.Duration) {
	if p := m.parts[job]; p != nil {
		p.at = p.at.Add(-by)
	}
	if r, ok := m.results[job]; ok {
		r.at = r.at.Add(-by)
		m.results[job] = r
	}
}

// Sweep implements helper.Spool.
func (m *Memory) Sweep(before time.Time, spare map[wire.Secret]bool) (helper.Spooled, error) {
	maps.DeleteFunc(m.parts, func(job wire.Secret, p *part) bool { return p.at.Before(before) && !spare[job] })
	maps.DeleteFunc(m.results, func(job wire.Secret, r result) bool { return r.at.Before(before) && !spare[job] })
	s := helper.Spooled{Parts: map[wire.Secret]helper.Part{}, Finished: map[wire.Secret]helper.Result{}}
	for job, p := range m.parts {
		s.Parts[job] = helper.Part{Size: int64(len(p.data)), Accounts: p.accounts}
	}
	for job, r := range m.results {
		s.Finished[job] = r.Result
	}
	return s, nil
}

// Open implements helper.Spool.
func (m *Memory) Open(job wire.Secret, accounts []grid.PublicKey) (helper.File, error) {
	if m.Fault != nil {
		if err := m.Fault(); err != nil {
			return nil, err
		}
	}
	p := m.parts[job]
	if p == nil {
		p = &part{}
		m.parts[job] = p
	}
	p.accounts, p.at = accounts, m.Now()
	m.Files++
	return &file{m, p, false}, nil
}

// Finish implements helper.Spool.
func (m *Memory) Finish(job wire.Secret, r helper.Result) error {
	m.results[job] = result{r, m.Now()}
	delete(m.parts, job)
	return nil
}

// Remove implements helper.Spool.
func (m *Memory) Remove(job wire.Secret) error {
	delete(m.parts, job)
	delete(m.results, job)
	return nil
}

// file implements helper.File.
type file struct {
	spool  *Memory
	part   *part
	closed bool
}

func (f *file) Size() (int64, error) { return int64(len(f.part.data)), nil }

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	if f.closed {
		panic("spooltest: a file is read that was closed")
	}
	if off >= int64(len(f.part.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.part.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes what there is room for.
func (f *file) WriteAt(b []byte, off int64) (int, error) {
	if fault := f.spool.Fault; fault != nil {
		if err := fault(); err != nil {
			return 0, err
		}
	}
	var err error
	if free := f.spool.free(); f.spool.Room > 0 && int64(len(b)) > free {
		b, err = b[:free], syscall.ENOSPC
	}
	if more := int(off) + len(b) - len(f.part.data); more > 0 {
		f.part.data = append(f.part.data, make([]byte, more)...)
	}
	f.part.at = f.spool.Now()
	return copy(f.part.data[off:], b), err
}

func (m *Memory) free() int64 {
	free := m.Room
	for _, p := range m.parts {
		free -= int64(len(p.data))
	}
	return max(0, free)
}

func (f *file) Close() error {
	if !f.closed {
		f.closed = true
		f.spool.Files--
	}
	return nil
}
