package tarn

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Reader reads a File as Go programs read files. A stream of the file runs a
// megabyte ahead of who reads it, and as much stays behind him, so that little is
// held in memory however long the file is, and readers that are close to each
// other share what is fetched. ReadAt may be called by several at a time, all else
// by one.
type Reader struct {
	window *window
	at     int64
}

var (
	_ io.ReadSeekCloser = (*Reader)(nil)
	_ io.ReaderAt       = (*Reader)(nil)
	_ io.WriterTo       = (*Reader)(nil)
)

// NewReader reads an open file from its beginning. Closing it closes the file.
// Nothing is fetched before it is read.
func NewReader(f File) *Reader { return &Reader{window: newWindow(f)} }

// Size is that of the file, in bytes.
func (r *Reader) Size() int64 { return r.window.size }

// ReadAt implements io.ReaderAt. Errors: fs.ErrClosed after Close, and those of
// the file.
func (r *Reader) ReadAt(p []byte, offset int64) (int, error) { return r.window.readAt(p, offset) }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.ReadAt(p, r.at)
	r.at += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// Seek implements io.Seeker. It may go beyond the end, where there is nothing to
// read.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.window.size
	default:
		return 0, fmt.Errorf("%w: seek from %d", fs.ErrInvalid, whence)
	}
	if offset < 0 {
		return 0, fmt.Errorf("%w: seek to %d", fs.ErrInvalid, offset)
	}
	r.at = offset
	return offset, nil
}

// WriteTo implements io.WriterTo: the rest of the file goes to w as it comes.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	if r.window.isClosed() {
		return 0, fs.ErrClosed
	}
	counted := &counter{Writer: w}
	err := r.window.file.WriteRange(counted, min(r.at, r.Size()), max(r.Size()-r.at, 0))
	r.at += counted.written
	return counted.written, err
}

// Close ends reading.
func (r *Reader) Close() error { return r.window.close() }

// counter counts what was written.
type counter struct {
	io.Writer
	written int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.written += int64(n)
	return n, err
}
