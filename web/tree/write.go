package tree

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
)

// Upload is a file on its way in. It belongs to one goroutine.
type Upload struct {
	trees    *Trees
	ctx      context.Context
	place    place
	path     string
	new      bool // it must not take the place of anything
	modified time.Time

	stored bool
	result Info
	to     file.Capability // what was stored; nil for a mutable file
	err    error           // why it is not to be linked
}

// Create begins a file at a path, which takes the place of the file that is there
// when it is closed, and not before; if it must be new, there must be none. It ends
// with the context.
func (t *Tree) Create(ctx context.Context, path string, mustBeNew bool) (*Upload, error) {
	p, err := t.find(ctx, path)
	if err == nil {
		err = p.writable(mustBeNew)
	}
	if err != nil {
		return nil, failed("write", path, err)
	}
	return &Upload{trees: t.trees, ctx: ctx, place: p, path: path, new: mustBeNew}, nil
}

// writable says why no file can be written there.
func (p place) writable(mustBeNew bool) error {
	if _, ok := p.dir(); ok && p.there {
		return ErrDirectory
	}
	if !p.there {
		if !p.parent.Writable() {
			return tarn.ErrReadOnly
		}
		return nil
	}
	if mustBeNew {
		return fs.ErrExist
	}
	if p.entry.Err != nil || !file.Readable(p.entry.Capability()) {
		return ErrUnknown
	}
	if _, ok := p.entry.Capability().(file.Mutable); ok {
		if !p.entry.Capability().Writable() {
			return tarn.ErrReadOnly
		}
		return nil
	}
	if !p.parent.Writable() {
		return tarn.ErrReadOnly
	}
	return nil
}

// mutable is the file that is written in place.
func (u *Upload) mutable() (file.Mutable, bool) {
	if !u.place.there {
		return file.Mutable{}, false
	}
	c, ok := u.place.entry.Capability().(file.Mutable)
	return c, ok
}

// SetModified says when the content changed.
func (u *Upload) SetModified(at time.Time) { u.modified = at }

// ReadFrom stores what it reads. If that fails, Close changes nothing.
func (u *Upload) ReadFrom(r io.Reader) (int64, error) { return u.Store(r, -1) }

// Store is ReadFrom for what has that many bytes; -1 if that is not known.
func (u *Upload) Store(r io.Reader, size int64) (int64, error) {
	u.stored = true
	u.err = failed("write", u.path, u.store(r, size))
	return u.result.size, u.err
}

// same is a reader of something that is stored already.
type same interface {
	whole() (file.Capability, bool)
}

func (u *Upload) store(r io.Reader, size int64) error {
	u.result = Info{name: u.place.name, mode: 0o600, modified: u.modified}
	if u.modified.IsZero() {
		u.result.modified = time.Now()
	}
	if c, ok := u.mutable(); ok {
		w, err := u.trees.node.Overwrite(u.ctx, c.String(), r)
		if err != nil {
			return err
		}
		s := u.trees.keepState(c.ReadOnly().String(), w.Size, w.Version.String())
		u.result.size, u.result.tag = s.size, tagOf(c.ReadOnly(), s.version)
		return nil
	}
	if s, ok := r.(same); ok {
		if c, ok := s.whole(); ok {
			return u.set(c)
		}
	}
	put, err := u.trees.node.Put(u.ctx, r, tarn.PutOptions{Size: size})
	if err != nil {
		return err
	}
	c, err := file.Parse(put.Cap)
	if err != nil {
		return err
	}
	return u.set(c)
}

func (u *Upload) set(c file.Capability) error {
	switch c := c.(type) {
	case file.LIT:
		u.result.size = int64(len(c.Data))
	case file.CHK:
		u.result.size = c.Size
	}
	u.to, u.result.tag = c, tagOf(c, "")
	return nil
}

// Info is what will be at the path; an empty file if nothing was stored yet.
func (u *Upload) Info() (Info, error) {
	if !u.stored {
		_, _ = u.Store(bytes.NewReader(nil), 0) // its error is kept
	}
	return u.result, u.err
}

// Discard has Close change nothing.
func (u *Upload) Discard() {
	if u.err == nil {
		u.err = failed("write", u.path, ErrBrokenOff)
	}
}

// Close puts the file in its place, if all of it was stored.
func (u *Upload) Close() error {
	if u.err == nil && !u.stored {
		_, _ = u.Info() // its error is kept
	}
	if u.err != nil || u.to == nil {
		return u.err
	}
	l := link{name: u.place.name, to: u.to, modified: u.modified, replace: tarn.ReplaceFiles}
	if u.new {
		l.replace = tarn.ReplaceNone
	}
	return failed("write", u.path, u.trees.edit(u.ctx, u.place.parent, l.set))
}

// SetModified says when what is at a path changed. The top has no time of its own.
func (t *Tree) SetModified(ctx context.Context, path string, at time.Time) error {
	p, err := t.found(ctx, path)
	switch {
	case err != nil:
	case p.isRoot():
	case !p.parent.Writable():
		err = tarn.ErrReadOnly
	default:
		err = t.trees.edit(ctx, p.parent, touch{p.name, at}.set)
	}
	return failed("set the time of", path, err)
}
