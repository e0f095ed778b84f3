package tarn

import (
	"io"
	"io/fs"
	"time"
)

// fsInfo implements fs.FileInfo.
type fsInfo struct {
	node fsNode
	size int64
}

func infoOf(n fsNode, size int64) fsInfo { return fsInfo{n, size} }

func (i fsInfo) Name() string       { return i.node.name }
func (i fsInfo) Size() int64        { return i.size }
func (i fsInfo) IsDir() bool        { return i.Mode().IsDir() }
func (i fsInfo) ModTime() time.Time { return i.node.entry.Metadata.ModTime() }
func (i fsInfo) Sys() any           { return i.node.entry }
func (i fsInfo) String() string     { return fs.FormatFileInfo(i) }

// Mode says what can be done here: reading.
func (i fsInfo) Mode() fs.FileMode {
	if _, ok := i.node.dir(); ok {
		return fs.ModeDir | 0o555
	}
	if i.node.err() != nil {
		return fs.ModeIrregular
	}
	return 0o444
}

// fsEntry implements fs.DirEntry.
type fsEntry struct {
	fs   *FS
	node fsNode
}

func (e *fsEntry) Name() string      { return e.node.name }
func (e *fsEntry) IsDir() bool       { return e.Type().IsDir() }
func (e *fsEntry) Type() fs.FileMode { return infoOf(e.node, 0).Mode().Type() }
func (e *fsEntry) String() string    { return fs.FormatDirEntry(e) }

// Info asks a mutable file for its size.
func (e *fsEntry) Info() (fs.FileInfo, error) { return e.fs.stat(e.node.name, e.node) }

// fsDirectory is a directory that is open.
type fsDirectory struct {
	path   string
	info   fsInfo
	left   []fs.DirEntry
	closed bool
}

var _ fs.ReadDirFile = (*fsDirectory)(nil)

// Stat implements fs.File.
func (d *fsDirectory) Stat() (fs.FileInfo, error) {
	if d.closed {
		return nil, fsError("stat", d.path, fs.ErrClosed)
	}
	return d.info, nil
}

// Read implements fs.File: it fails.
func (d *fsDirectory) Read([]byte) (int, error) { return 0, fsError("read", d.path, errIsDirectory) }

// Close implements fs.File.
func (d *fsDirectory) Close() error {
	if d.closed {
		return fsError("close", d.path, fs.ErrClosed)
	}
	d.closed = true
	return nil
}

// ReadDir implements fs.ReadDirFile.
func (d *fsDirectory) ReadDir(most int) ([]fs.DirEntry, error) {
	if d.closed {
		return nil, fsError("readdir", d.path, fs.ErrClosed)
	}
	if most > 0 && len(d.left) == 0 {
		return nil, io.EOF
	}
	n := len(d.left)
	if most > 0 {
		n = min(n, most)
	}
	list := d.left[:n:n]
	d.left = d.left[n:]
	return list, nil
}

// fsFile is a file that is open.
type fsFile struct {
	reader *Reader
	path   string
	info   fsInfo
}

var (
	_ fs.File           = (*fsFile)(nil)
	_ io.ReadSeekCloser = (*fsFile)(nil)
	_ io.ReaderAt       = (*fsFile)(nil)
	_ io.WriterTo       = (*fsFile)(nil)
)

// Stat implements fs.File: what the file was when it was opened.
func (f *fsFile) Stat() (fs.FileInfo, error) { return f.info, nil }

// Read implements fs.File.
func (f *fsFile) Read(p []byte) (int, error) {
	n, err := f.reader.Read(p)
	return n, fsError("read", f.path, err)
}

// ReadAt implements io.ReaderAt.
func (f *fsFile) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.reader.ReadAt(p, offset)
	return n, fsError("read", f.path, err)
}

// Seek implements io.Seeker.
func (f *fsFile) Seek(offset int64, whence int) (int64, error) {
	at, err := f.reader.Seek(offset, whence)
	return at, fsError("seek", f.path, err)
}

// WriteTo implements io.WriterTo.
func (f *fsFile) WriteTo(w io.Writer) (int64, error) {
	n, err := f.reader.WriteTo(w)
	return n, fsError("read", f.path, err)
}

// Close implements fs.File.
func (f *fsFile) Close() error { return fsError("close", f.path, f.reader.Close()) }
