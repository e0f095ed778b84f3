package tree

import (
	"context"
	"errors"
	"io"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
)

// File is an open file. ReadAt may be called by several at a time, Read and Seek
// by one.
type File struct {
	info   Info
	path   string
	cap    file.Capability
	reader *tarn.Reader
}

// Open opens the file at a path. Nothing is fetched before it is read. Reading ends
// with the context.
func (t *Tree) Open(ctx context.Context, path string) (*File, error) {
	f, err := t.open(ctx, path)
	if err != nil {
		return nil, failed("open", path, err)
	}
	return f, nil
}

func (t *Tree) open(ctx context.Context, path string) (*File, error) {
	p, err := t.found(ctx, path)
	if err != nil {
		return nil, err
	}
	if _, ok := p.dir(); ok {
		return nil, ErrDirectory
	}
	if p.entry.Err != nil {
		return nil, p.entry.Err
	}
	c := p.entry.Capability()
	if !file.Readable(c) {
		return nil, ErrUnknown
	}
	content, err := t.trees.node.Open(ctx, c.String())
	if err != nil {
		return nil, err
	}
	if m, ok := c.(file.Mutable); ok {
		t.trees.keepState(m.ReadOnly().String(), content.Size(), versionOf(content))
	}
	return &File{info: t.trees.info(ctx, p.entry), path: path, cap: c, reader: tarn.NewReader(content)}, nil
}

// Info is what the file was when it was opened.
func (f *File) Info() Info { return f.info }

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.reader.ReadAt(p, offset)
	return n, f.failed("read", err)
}

// Read implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	n, err := f.reader.Read(p)
	return n, f.failed("read", err)
}

// failed leaves the end of the file as it is.
func (f *File) failed(what string, err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	return failed(what, f.path, err)
}

// Seek implements io.Seeker.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	at, err := f.reader.Seek(offset, whence)
	return at, f.failed("seek", err)
}

// Close ends reading.
func (f *File) Close() error { return f.reader.Close() }

// whole is the capability of all that will be read, if it is that of a file that
// never changes.
func (f *File) whole() (file.Capability, bool) {
	_, changes := f.cap.(file.Mutable)
	at, err := f.reader.Seek(0, io.SeekCurrent)
	return f.cap, !changes && err == nil && at == 0
}
