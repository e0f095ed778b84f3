package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Incoming is the body of a large share on its way. Its owner ends it with
// Seal or Discard; else the next Open wipes it.
type Incoming struct {
	s      *Store
	file   vfs.File
	number uint64
	sealed bool
	end    int64 // of what was written
	begun  int64 // bytes from the start that are on their way to the disk, or there
}

// writeBehind is after how many bytes the system is told to begin writing, so
// that Seal waits for the last of them only. Before the next ones it waits for
// those, which holds the upload to the disk's pace, and lets them go from its
// cache: shares are seldom read soon after they were stored, and memory is
// better used for what is.
const writeBehind = 4 << 20

// Incoming makes an empty file in incoming/.
func (s *Store) Incoming() (*Incoming, error) {
	s.files.mu.Lock()
	s.files.last++
	number := s.files.last
	s.files.mu.Unlock()
	f, err := s.fs.Create(s.incomingPath(number), shareFile)
	if err != nil {
		return nil, fmt.Errorf("take in a share: %w", err)
	}
	return &Incoming{s: s, file: f, number: number}, nil
}

// WriteAt writes part of the body.
func (in *Incoming) WriteAt(p []byte, off int64) (int, error) {
	n, err := in.file.WriteAt(p, off)
	in.end = max(in.end, off+int64(n))
	if err == nil && in.end-in.begun >= writeBehind {
		err = in.writeOut()
	}
	if err != nil {
		err = fmt.Errorf("write a share: %w", err)
	}
	return n, err
}

// writeOut waits for what the last call began, and begins the rest.
func (in *Incoming) writeOut() error {
	if _, err := in.file.SyncTo(in.end); err != nil {
		return err
	}
	dropFromCache(in.file, in.begun)
	in.begun = in.end
	return nil
}

// ReadAt reads back what was written, for its hashes to be checked.
func (in *Incoming) ReadAt(p []byte, off int64) (int, error) { return in.file.ReadAt(p, off) }

// Seal makes the file durable under its number, which goes into a lease.Body.
// It is the share's when the Change that says so is applied.
func (in *Incoming) Seal() (uint64, error) {
	err := in.file.Sync()
	if in.begun > 0 { // a small one may stay
		dropFromCache(in.file, in.end)
	}
	err = errors.Join(err, in.file.Close())
	in.file = nil
	if err == nil {
		err = in.s.syncIncoming()
	}
	if err != nil {
		return 0, fmt.Errorf("seal a share: %w", errors.Join(err, in.Discard()))
	}
	in.s.files.mu.Lock()
	defer in.s.files.mu.Unlock()
	in.s.files.sealed[in.number] = struct{}{}
	in.sealed = true
	return in.number, nil
}

// syncIncoming waits for moves that are half done, and does nothing after one
// that failed: its file may have no other durable name than the one here.
func (s *Store) syncIncoming() error {
	s.files.moves.Lock()
	defer s.files.moves.Unlock()
	if err := s.eng.failure(); err != nil {
		return err
	}
	return s.syncDir(s.incomingDir())
}

// Discard deletes the file, sealed or not, unless it has become a share's. It
// can be repeated.
func (in *Incoming) Discard() error {
	var err error
	if in.file != nil {
		err = in.file.Close()
		in.file = nil
	}
	if in.sealed && !in.s.files.unseal(in.number) {
		return err
	}
	return errors.Join(err, in.s.removeIfThere(in.s.incomingPath(in.number)))
}

// unseal reports whether the file was sealed and nobody's.
func (f *files) unseal(file uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.sealed[file]
	delete(f.sealed, file)
	return ok
}
