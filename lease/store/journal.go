package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Journal is the list of what a client stored (see lease.JournalFile): files, and for each server the
// leases that keep their shares there, in the order in which a server lists
// its own. It is a table like a server's, in a folder of its own, and holds
// nothing that lets anybody read a file.
//
// What changes a Journal is atomic. Add, Adopt and Drop are durable when they
// return; SetLeases is when one of them does, or the Journal is closed: what a
// crash loses of it the servers say again. All methods are safe from any goroutine.
type Journal struct {
	eng    engine
	mu     sync.Mutex  // of whoever changes something
	names  *keyNumbers // known to those, under mu
	closed atomic.Bool
}

// OpenJournal opens or creates the journal in a folder, whose parent must
// exist. Errors: ErrLocked, ErrNewer, ErrDamaged, and those of the filesystem.
func OpenJournal(dir string, opts Options) (*Journal, error) {
	fs := opts.FS
	if fs == nil {
		fs = vfs.Default
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the journal in %s: %w", dir, err)
	}
	eng, err := openDisk(fs, dir)
	if err != nil {
		return nil, fmt.Errorf("open the journal in %s: %w", dir, lockError(err))
	}
	j := &Journal{eng: eng, names: newKeyNumbers()}
	if err := j.start(); err != nil {
		return nil, fmt.Errorf("open the journal in %s: %w", dir, errors.Join(err, j.Close()))
	}
	return j, nil
}

// NewMemoryJournal is a journal without a disk.
func NewMemoryJournal() *Journal {
	j := &Journal{eng: newMemory(), names: newKeyNumbers()}
	if err := j.start(); err != nil {
		panic("open a journal in memory: " + err.Error()) // nothing in it can fail
	}
	return j
}

// AfterCrash is what a restart finds after a power cut now. It is for journals
// of NewMemoryJournal; j is of no more use.
func (j *Journal) AfterCrash() (*Journal, error) {
	m, ok := j.eng.(*memory)
	if !ok {
		return nil, errors.New("only a journal in memory can play a crash")
	}
	after := &Journal{eng: m.crashed(), names: newKeyNumbers()}
	return after, after.start()
}

// Close ends the use of the folder, when nothing else uses the Journal; a
// second time does nothing.
func (j *Journal) Close() error {
	if j.closed.Swap(true) {
		return nil
	}
	return j.eng.close()
}

// start refuses a journal that it does not know.
func (j *Journal) start() error {
	found, err := formatOf(j.eng)
	switch {
	case err != nil:
		return err
	case found == 0:
		return write(j.eng, batch{{key: formatKey, value: encodeNumber(journalFormat)}})
	case found > journalFormat:
		return fmt.Errorf("%w: format %d, this one knows %d; use the newer one", ErrNewer, found, journalFormat)
	}
	return nil
}

// Add notes a file and leases on its shares. A file that is there already
// keeps what the new one does not say; leases of it that had lapsed are
// forgotten unless they are among the new ones.
func (j *Journal) Add(f lease.JournalFile, leases []lease.PlacedLease) error {
	return j.change(func(c *journalChange) error {
		old, known, err := c.file(f.StorageIndex)
		if err != nil {
			return err
		}
		if known && f.VerifyCap == "" {
			f.VerifyCap, f.Size, f.Stored = old.VerifyCap, old.Size, old.Stored
		}
		f.Shares, err = c.stillHeld(old)
		for _, l := range leases {
			f.Shares = append(f.Shares, lease.JournalShare{Server: l.Server, Num: l.Share.Num})
			err = errors.Join(err, c.putLease(l.Server, l.JournalLease))
		}
		slices.SortFunc(f.Shares, lease.JournalShare.Compare)
		f.Shares = slices.Compact(f.Shares)
		return errors.Join(err, c.putFile(f, known))
	})
}

// stillHeld deletes the leases of a file that have lapsed and returns where
// the others are.
func (c *journalChange) stillHeld(f lease.JournalFile) ([]lease.JournalShare, error) {
	var held []lease.JournalShare
	for _, s := range f.Shares {
		l, ok, err := c.lease(s.Server, lease.ShareID{StorageIndex: f.StorageIndex, Num: s.Num})
		switch {
		case err != nil:
			return nil, err
		case ok && l.Lapsed != 0:
			if err := c.deleteLease(s.Server, l); err != nil {
				return nil, err
			}
		case ok:
			held = append(held, s)
		}
	}
	return held, nil
}

// Adopt notes leases at a server of which nothing more is known, each as one of
// its file's; the others of that file stay. It is one change.
func (j *Journal) Adopt(server grid.ServerID, leases []lease.JournalLease) error {
	return j.change(func(c *journalChange) error {
		for _, l := range leases {
			if err := c.adopt(server, l); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *journalChange) adopt(server grid.ServerID, l lease.JournalLease) error {
	f, known, err := c.file(l.Share.StorageIndex)
	if err != nil {
		return err
	}
	if !known {
		f = lease.JournalFile{StorageIndex: l.Share.StorageIndex, Stored: l.Renewed}
	}
	f.Shares = append(f.Shares, lease.JournalShare{Server: server, Num: l.Share.Num})
	slices.SortFunc(f.Shares, lease.JournalShare.Compare)
	f.Shares = slices.Compact(f.Shares)
	if err := c.putLease(server, l); err != nil {
		return err
	}
	return c.putFile(f, known)
}

// Drop forgets files and the leases on them; those that are not there are no
// matter.
func (j *Journal) Drop(files ...grid.StorageIndex) error {
	return j.change(func(c *journalChange) error {
		for _, si := range files {
			if err := c.drop(si); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *journalChange) drop(si grid.StorageIndex) error {
	f, ok, err := c.file(si)
	if err != nil || !ok {
		return err
	}
	for _, s := range f.Shares {
		l, ok, err := c.lease(s.Server, lease.ShareID{StorageIndex: si, Num: s.Num})
		if err == nil && ok {
			err = c.deleteLease(s.Server, l)
		}
		if err != nil {
			return err
		}
	}
	return c.deleteFile(si)
}

// SetLeases notes what a server said of leases. One that was dropped in the
// meantime stays so.
func (j *Journal) SetLeases(server grid.ServerID, leases []lease.JournalLease) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := newJournalChange(j)
	for _, l := range leases {
		_, ok, err := c.lease(server, l.Share)
		if err == nil && ok {
			err = c.putLease(server, l)
		}
		if err != nil {
			return fmt.Errorf("write into the journal: %w", err)
		}
	}
	if err := j.eng.applyLazily(c.finish()); err != nil {
		return fmt.Errorf("write into the journal: %w", err)
	}
	return nil
}

// change makes one change durable.
func (j *Journal) change(do func(*journalChange) error) error {
	wait, err := j.apply(do)
	if err == nil {
		err = wait()
	}
	if err != nil {
		return fmt.Errorf("write into the journal: %w", err)
	}
	return nil
}

// apply makes it visible; many may wait for the disk at a time.
func (j *Journal) apply(do func(*journalChange) error) (wait func() error, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := newJournalChange(j)
	c.names = j.names
	wait, err = j.carryOut(c, do)
	if err != nil {
		j.names = newKeyNumbers() // there may be numbers in it that are given to nobody
	}
	return wait, err
}

func (j *Journal) carryOut(c *journalChange, do func(*journalChange) error) (wait func() error, err error) {
	if err := do(c); err != nil {
		return nil, err
	}
	return j.eng.apply(c.finish())
}

// File finds a file.
func (j *Journal) File(si grid.StorageIndex) (lease.JournalFile, bool, error) {
	return newJournalChange(j).file(si)
}

// FilesAfter lists up to limit files by storage index, behind one; from the
// first on where that is nil. It says whether there are more.
func (j *Journal) FilesAfter(si *grid.StorageIndex, limit int) (all []lease.JournalFile, more bool, err error) {
	c := newJournalChange(j)
	prefix, from := []byte{tagFile}, []byte{tagFile}
	if si != nil {
		from = append(fileKey(*si), 0)
	}
	more, err = j.list(prefix, from, limit, func(key, value []byte) error {
		f, err := c.decodeFile(grid.StorageIndex(key[1:]), value)
		all = append(all, f)
		return err
	})
	return all, more, err
}

// LeasesAfter lists up to limit leases at a server in the order of their
// shares, behind one; from the first on where that is nil. It says whether
// there are more.
func (j *Journal) LeasesAfter(server grid.ServerID, share *lease.ShareID, limit int) (all []lease.JournalLease, more bool, err error) {
	c := newJournalChange(j)
	n, ok, err := c.known(server)
	if err != nil || !ok {
		return nil, false, err
	}
	prefix := withID(tagJournalLease, n)
	from := prefix
	if share != nil {
		from = append(journalLeaseKey(n, *share), 0)
	}
	more, err = j.list(prefix, from, limit, func(key, value []byte) error {
		l, err := c.decodeLease(shareOf(key[5:]), value)
		all = append(all, l)
		return err
	})
	return all, more, err
}

// LapsedAfter lists up to limit files of which leases have lapsed, by storage
// index, behind one; from the first on where that is nil. It says whether
// there are more.
func (j *Journal) LapsedAfter(si *grid.StorageIndex, limit int) (files []grid.StorageIndex, more bool, err error) {
	from := []byte{tagLapsed}
	if si != nil {
		from = after(append([]byte{tagLapsed}, si[:]...))
	}
	err = j.eng.scan(from, after([]byte{tagLapsed}), func(key, _ []byte) error {
		si := grid.StorageIndex(key[1:])
		switch n := len(files); {
		case n > 0 && files[n-1] == si:
		case n == limit:
			more = true
			return errStop
		default:
			files = append(files, si)
		}
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return files, more, err
}

// Leases lists the leases on one file, by server, then number.
func (j *Journal) Leases(si grid.StorageIndex) ([]lease.PlacedLease, error) {
	c := newJournalChange(j)
	f, ok, err := c.file(si)
	if err != nil || !ok {
		return nil, err
	}
	var all []lease.PlacedLease
	for _, s := range f.Shares {
		l, ok, err := c.lease(s.Server, lease.ShareID{StorageIndex: si, Num: s.Num})
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, lease.PlacedLease{Server: s.Server, JournalLease: l})
		}
	}
	return all, nil
}

// Servers lists where there are leases, by server.
func (j *Journal) Servers() ([]lease.JournalServer, error) {
	c := newJournalChange(j)
	var all []lease.JournalServer
	err := j.eng.scan([]byte{tagCounter}, after([]byte{tagCounter}), func(key, value []byte) error {
		s, err := decodeJournalCounter(value)
		if err != nil {
			return err
		}
		id, err := c.key(be32(key[1:]))
		all = append(all, lease.JournalServer{Server: id, Leases: s.leases, Lapsed: s.lapsed})
		return err
	})
	slices.SortFunc(all, func(a, b lease.JournalServer) int { return bytes.Compare(a.Server[:], b.Server[:]) })
	return all, err
}

// Files is how many files there are.
func (j *Journal) Files() (int64, error) { return newJournalChange(j).countFiles() }

// list yields up to limit records and says whether there are more.
func (j *Journal) list(prefix, from []byte, limit int, yield func(key, value []byte) error) (more bool, err error) {
	err = j.eng.scan(from, after(prefix), func(key, value []byte) error {
		if limit == 0 {
			more = true
			return errStop
		}
		limit--
		return yield(key, value)
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return more, err
}
