package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Sizes in bytes, chosen so that an idle server stays small: a memtable is the
// unit of writing, and 4 MiB are some 40,000 leases. Pebble takes what memtables
// may need out of the cache, so a cache of two of them caches nothing.
const (
	memTableSize = 4 << 20
	cacheSize    = 24 << 20
	maxOpenFiles = 200
)

// disk is the engine on Pebble.
type disk struct {
	db   *pebble.DB
	once sync.Once
	gone chan struct{} // closed at the first failure
	err  error         // why; set before gone is closed
}

func openDisk(fs vfs.FS, dir string) (*disk, error) {
	d := &disk{gone: make(chan struct{})}
	db, err := d.open(fs, dir)
	if err != nil {
		return nil, openError(err)
	}
	d.db = db
	return d, nil
}

// open gives up at the first write that fails. Pebble would try again until
// there is room on the disk, which who starts a server would take for a hang;
// when it comes to an end after all, or the process does, its locks go.
func (d *disk) open(fs vfs.FS, dir string) (*pebble.DB, error) {
	type opened struct {
		db  *pebble.DB
		err error
	}
	done, refused := make(chan opened, 1), make(chan error, 1)
	o := d.options(fs)
	o.EventListener.BackgroundError = func(err error) {
		select {
		case refused <- err:
		default: // only the first one matters, and while nobody has opened it
		}
	}
	go func() {
		db, err := pebble.Open(dir, o)
		done <- opened{db, err}
	}()
	giveUp := func(err error) (*pebble.DB, error) {
		go func() {
			if late := <-done; late.err == nil {
				_ = late.db.Close()
			}
		}()
		return nil, err
	}
	select {
	case o := <-done:
		return o.db, o.err
	case err := <-refused:
		return giveUp(err)
	case <-d.gone:
		return giveUp(d.err)
	}
}

// openError tells a table that makes no sense from a filesystem that refuses.
func openError(err error) error {
	var refused syscall.Errno
	switch {
	case errors.Is(err, ErrFailed):
		return err
	case errors.As(err, &refused) && refused != syscall.ENOENT:
		return err
	case strings.Contains(err.Error(), "format major version"):
		return fmt.Errorf("%w: %w", ErrNewer, err)
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// damaged says so of what a read found.
func damaged(err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

func (d *disk) options(fs vfs.FS) *pebble.Options {
	o := &pebble.Options{
		FS:                          fs,
		CacheSize:                   cacheSize,
		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                maxOpenFiles,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      pebbleLog{d},
		LoggerAndTracer:             pebbleLog{d},
		// Whoever reads what is damaged is told; by default Pebble ends the process.
		EventListener: &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	o.Experimental.CompactionScheduler = newScheduler()
	return o
}

func (d *disk) get(key []byte) ([]byte, bool, error) {
	v, closer, err := d.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, damaged(err)
	}
	defer closer.Close()
	return append([]byte{}, v...), true, nil
}

// getMany uses one iterator, which finds a key that is near the one before at
// less than half of a get's cost. To the default comparer a whole key is a
// prefix, so filters tell where to look.
func (d *disk) getMany(keys [][]byte, yield func(i int, value []byte) error) (err error) {
	it, err := d.db.NewIter(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, damaged(it.Close())) }()
	for i, key := range keys {
		if !it.SeekPrefixGE(key) {
			if err := it.Error(); err != nil {
				return damaged(err)
			}
			continue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return damaged(err)
		}
		if err := yield(i, v); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) scan(lower, upper []byte, yield func(key, value []byte) error) (err error) {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, damaged(it.Close())) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return damaged(err)
		}
		if err := yield(it.Key(), v); err != nil {
			return err
		}
	}
	return nil // Close reports the iterator's own error
}

// apply makes the batch visible and queues it for the log.
func (d *disk) apply(edits batch) (wait func() error, err error) {
	b, err := d.encode(edits)
	if err != nil {
		return nil, err
	}
	err = d.guard(func() error { return d.db.ApplyNoSyncWait(b, pebble.Sync) })
	return func() error { return d.synced(b) }, err
}

func (d *disk) applyLazily(edits batch) error {
	b, err := d.encode(edits)
	if err != nil {
		return err
	}
	if err := d.guard(func() error { return d.db.Apply(b, pebble.NoSync) }); err != nil {
		return err
	}
	return b.Close()
}

func (d *disk) encode(edits batch) (*pebble.Batch, error) {
	if err := d.failure(); err != nil {
		return nil, err
	}
	b := d.db.NewBatch()
	for _, e := range edits {
		var err error
		if e.delete {
			err = b.Delete(e.key, nil)
		} else {
			err = b.Set(e.key, e.value, nil)
		}
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	return b, nil
}

// guard writes. Pebble panics where it can't write at all; the engine is then
// of no more use, like its disk.
func (d *disk) guard(write func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = d.fail(fmt.Errorf("write the lease table: %v", p))
		}
	}()
	if err := write(); err != nil {
		return d.fail(err)
	}
	return d.failure()
}

func (d *disk) synced(b *pebble.Batch) error {
	err := b.SyncWait()
	if err != nil {
		return d.fail(err)
	}
	if err := b.Close(); err != nil {
		return d.fail(err)
	}
	return d.failure()
}

// fail remembers the first failure: nothing is acknowledged after it.
func (d *disk) fail(err error) error {
	d.once.Do(func() {
		d.err = fmt.Errorf("%w: %w", ErrFailed, err)
		close(d.gone)
	})
	return d.failure()
}

func (d *disk) failure() error {
	select {
	case <-d.gone:
		return d.err
	default:
		return nil
	}
}

// close leaves a failed database alone: its goroutines may wait for ever for a
// write that never comes.
func (d *disk) close() error {
	if err := d.failure(); err != nil {
		return err
	}
	return d.db.Close()
}

// pebbleLog passes on nothing but failures that Pebble considers fatal.
type pebbleLog struct{ d *disk }

func (pebbleLog) Infof(string, ...any)  {}
func (pebbleLog) Errorf(string, ...any) {}

func (l pebbleLog) Fatalf(format string, args ...any) {
	f := fatal{text: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if cause, ok := a.(error); ok {
			f.cause = cause
		}
	}
	_ = l.d.fail(f)
}

// fatal is what Pebble says of a failure, and what it was.
type fatal struct {
	text  string
	cause error
}

func (f fatal) Error() string { return f.text }
func (f fatal) Unwrap() error { return f.cause }

func (pebbleLog) Eventf(context.Context, string, ...any) {}

func (pebbleLog) IsTracingEnabled(context.Context) bool { return false }
