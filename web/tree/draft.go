package tree

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"
)

// Draft is a file that is written in any order, and read meanwhile. It is spooled,
// and stored when it is closed. It is safe for concurrent use.
type Draft struct {
	mu     sync.Mutex
	upload *Upload
	base   *File // what was there
	spool  *spool
	closed bool
}

// Edit begins a draft of the file at a path: of what is there, or of an empty one
// where nothing is or where it is to be cut off. It ends with the context.
func (t *Tree) Edit(ctx context.Context, path string, mustBeNew, cutOff bool) (*Draft, error) {
	u, err := t.Create(ctx, path, mustBeNew)
	if err != nil {
		return nil, err
	}
	d := &Draft{upload: u}
	var before io.ReaderAt
	var size int64
	if u.place.there && !cutOff {
		if d.base, err = t.Open(ctx, path); err != nil {
			return nil, err
		}
		before, size = d.base, d.base.Info().Size()
	}
	if d.spool, err = newSpool(t.trees.temporary, before, size); err != nil {
		d.end()
		return nil, failed("write", path, err)
	}
	return d, nil
}

func (d *Draft) end() {
	d.closed = true
	if d.base != nil {
		_ = d.base.Close() // it was only read
	}
	if d.spool != nil {
		d.spool.close()
	}
}

// use does something with the spool.
func (d *Draft) use(do func(*spool) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return failed("write", d.upload.path, fs.ErrClosed)
	}
	return failed("write", d.upload.path, do(d.spool))
}

// WriteAt implements io.WriterAt.
func (d *Draft) WriteAt(p []byte, offset int64) (n int, err error) {
	err = d.use(func(s *spool) error {
		n, err = s.writeAt(p, offset)
		return err
	})
	return n, err
}

// ReadAt implements io.ReaderAt.
func (d *Draft) ReadAt(p []byte, offset int64) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0, failed("read", d.upload.path, fs.ErrClosed)
	}
	n, err = d.spool.ReadAt(p, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		err = failed("read", d.upload.path, err)
	}
	return n, err
}

// Truncate makes the file that long.
func (d *Draft) Truncate(size int64) error {
	return d.use(func(s *spool) error { return s.truncate(size) })
}

// SetModified says when the content changed.
func (d *Draft) SetModified(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.upload.SetModified(at)
}

// Info is what it is so far.
func (d *Draft) Info() Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := Info{name: d.upload.place.name, mode: 0o600, modified: d.upload.modified, size: d.spool.size}
	if i.modified.IsZero() {
		i.modified = time.Now()
	}
	return i
}

// Discard has Close change nothing: the rest did not come.
func (d *Draft) Discard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.upload.Discard()
}

// Close stores the file and puts it in its place.
func (d *Draft) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return failed("write", d.upload.path, fs.ErrClosed)
	}
	defer d.end()
	if d.upload.err == nil && (d.spool.touched || !d.upload.place.there || d.base == nil) {
		_, _ = d.upload.Store(io.NewSectionReader(d.spool, 0, d.spool.size), d.spool.size) // its error is kept
		return d.upload.Close()
	}
	return d.upload.closeUntouched()
}

// closeUntouched ends what was never written: all stays as it is, but for its time.
func (u *Upload) closeUntouched() error {
	if u.err != nil || u.modified.IsZero() {
		return u.err
	}
	return failed("write", u.path, u.trees.edit(u.ctx, u.place.parent, touch{u.place.name, u.modified}.set))
}
