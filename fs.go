package tarn

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/grid"
)

// How much an FS remembers: that many directories, and of one that can change for
// that long what was in it.
const (
	fsKeep = 64
	fsLife = time.Second
)

// FS is all that is below a directory, as package io/fs has it: fs.WalkDir,
// fs.ReadFile, fs.Glob, http.FS, text/template and whatever else takes a fs.FS work
// with it. Files that it opens are io.ReaderAt, io.Seeker and io.WriterTo besides,
// and are read as a Reader does, in bounded memory.
//
// It only reads. Errors are *fs.PathError, around fs.ErrNotExist, fs.ErrInvalid,
// fs.ErrClosed or an error of this package. What a directory that can change
// holds counts for a second. A directory that is inside of itself is not entered
// (fs.ModeIrregular, ErrLoop), so that every walk ends; nor can what this version
// does not know, or may not read, be opened (ErrBadEntry). Names that can't stand
// in a path are left out.
//
// Sys of a fs.FileInfo is an Entry: the file's capabilities and metadata.
//
// An FS is safe for concurrent use, as long as its context has not ended.
type FS struct {
	node *Node
	ctx  context.Context
	how  []Option
	root Found

	mu    sync.Mutex
	known map[string]*fsListing // by capability
	reads uint64
}

var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
)

// fsListing is what a directory holds. It is never changed, but for used.
type fsListing struct {
	entries []Entry // by name
	until   time.Time
	used    uint64 // which one of all uses was the last
}

// FS shows a directory, with all below it, as a file system. All that is done with
// that ends with the context, and uses servers as how says. Nothing is fetched
// yet. Errors: ErrCap, ErrNotDirectory, ErrNoClient.
func (n *Node) FS(ctx context.Context, dir string, how ...Option) (*FS, error) {
	if n.config.Client == nil {
		return nil, ErrNoClient
	}
	c, err := directoryCap(dir)
	if err != nil {
		return nil, err
	}
	if !file.Readable(c) {
		return nil, fmt.Errorf("%w: %s is a kind that can't be read", ErrNotDirectory, c.Kind())
	}
	return &FS{node: n, ctx: ctx, how: how, root: FoundOf(c), known: map[string]*fsListing{}}, nil
}

// fsNode is what a name in an FS leads to.
type fsNode struct {
	name  string // the last part of it
	entry Entry
	above []grid.StorageIndex // of the directories on the way
	loop  bool
}

// dir is the directory that it is, if it is one and can be entered.
func (n fsNode) dir() (file.Directory, bool) {
	d, ok := n.entry.Capability().(file.Directory)
	return d, ok && !n.loop && file.Readable(d)
}

// err is why it can't be opened, nil if it can.
func (n fsNode) err() error {
	c := n.entry.Capability()
	switch {
	case n.loop:
		return ErrLoop
	case n.entry.Err != nil:
		return n.entry.Err
	case !file.Readable(c):
		return fmt.Errorf("%w: it is of a kind that can't be read", ErrBadEntry)
	}
	return nil
}

// child is what an entry of the directory n is.
func (n fsNode) child(e Entry) fsNode {
	c := fsNode{name: e.Name, entry: e, above: n.above}
	if own, ok := file.StorageIndexOf(n.entry.Capability()); ok {
		c.above = append(slices.Clip(n.above), own)
	}
	if d, ok := e.Capability().(file.Directory); ok {
		index, ok := file.StorageIndexOf(d)
		c.loop = ok && slices.Contains(c.above, index)
	}
	return c
}

// find follows a name.
func (f *FS) find(name string) (fsNode, error) {
	if !fs.ValidPath(name) {
		return fsNode{}, fs.ErrInvalid
	}
	if err := f.ctx.Err(); err != nil {
		return fsNode{}, err // what is remembered must not be an answer, nor one that was on its way
	}
	at := fsNode{name: ".", entry: f.root.Entry}
	if name == "." {
		return at, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		d, ok := at.dir()
		if !ok {
			return fsNode{}, fs.ErrNotExist
		}
		l, err := f.list(d)
		if err != nil {
			return fsNode{}, err
		}
		part = directory.NormalName(part)
		i, ok := slices.BinarySearchFunc(l.entries, part, func(e Entry, name string) int { return strings.Compare(e.Name, name) })
		if !ok {
			return fsNode{}, fs.ErrNotExist
		}
		at = at.child(l.entries[i])
	}
	return at, nil
}

// list is what a directory holds, or held a moment ago.
func (f *FS) list(d file.Directory) (*fsListing, error) {
	if err := f.node.prohibited.permit(d); err != nil {
		return nil, err
	}
	key := d.String()
	if l := f.remembered(key); l != nil {
		return l, nil
	}
	read, err := f.node.List(f.ctx, key, f.how...)
	if err != nil {
		return nil, err
	}
	l := &fsListing{entries: slices.DeleteFunc(read.Entries, func(e Entry) bool { return !inPath(e.Name) })}
	if read.Mutable {
		l.until = time.Now().Add(fsLife)
	}
	f.remember(key, l)
	return l, nil
}

// inPath tells the names that can stand in a path of an FS.
func inPath(name string) bool {
	return name != "." && fs.ValidPath(name) && !strings.Contains(name, "/")
}

func (f *FS) remembered(key string) *fsListing {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.known[key]
	if l == nil || !l.until.IsZero() && time.Now().After(l.until) {
		return nil
	}
	f.reads++
	l.used = f.reads
	return l
}

// remember forgets what was used longest ago.
func (f *FS) remember(key string, l *fsListing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	l.used = f.reads
	f.known[key] = l
	if len(f.known) <= fsKeep {
		return
	}
	oldest := key
	for k, other := range f.known {
		if other.used < f.known[oldest].used {
			oldest = k
		}
	}
	delete(f.known, oldest)
}

// fsError says what was to be done with what. An end of a file stays as it is.
func fsError(what, name string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &fs.PathError{Op: what, Path: name, Err: err}
}

// Open implements fs.FS.
func (f *FS) Open(name string) (fs.File, error) {
	n, err := f.find(name)
	if err != nil {
		return nil, fsError("open", name, err)
	}
	if d, ok := n.dir(); ok {
		l, err := f.list(d)
		if err != nil {
			return nil, fsError("open", name, err)
		}
		return &fsDirectory{path: name, info: infoOf(n, 0), left: f.entries(n, l)}, nil
	}
	r, err := f.open(n)
	if err != nil {
		return nil, fsError("open", name, err)
	}
	return &fsFile{reader: r, path: name, info: infoOf(n, r.Size())}, nil
}

// open opens a file.
func (f *FS) open(n fsNode) (*Reader, error) {
	if err := n.err(); err != nil {
		return nil, err
	}
	content, err := f.node.Open(f.ctx, n.entry.Capability().String(), f.how...)
	if err != nil {
		return nil, err
	}
	return NewReader(content), nil
}

// Stat implements fs.StatFS. A mutable file is asked for its size.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.find(name)
	if err != nil {
		return nil, fsError("stat", name, err)
	}
	return f.stat(name, n)
}

func (f *FS) stat(path string, n fsNode) (fs.FileInfo, error) {
	switch c := n.entry.Capability().(type) {
	case file.CHK:
		return infoOf(n, c.Size), nil
	case file.LIT:
		return infoOf(n, int64(len(c.Data))), nil
	case file.Mutable:
		if n.err() != nil {
			break
		}
		r, err := f.open(n)
		if err != nil {
			return nil, fsError("stat", path, err)
		}
		return infoOf(n, r.Size()), r.Close()
	}
	return infoOf(n, 0), nil
}

// ReadDir implements fs.ReadDirFS.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.find(name)
	if err != nil {
		return nil, fsError("readdir", name, err)
	}
	d, ok := n.dir()
	if !ok {
		return nil, fsError("readdir", name, cmp.Or(n.err(), ErrNotDirectory))
	}
	l, err := f.list(d)
	if err != nil {
		return nil, fsError("readdir", name, err)
	}
	return f.entries(n, l), nil
}

func (f *FS) entries(n fsNode, l *fsListing) []fs.DirEntry {
	list := make([]fs.DirEntry, len(l.entries))
	for i, e := range l.entries {
		list[i] = &fsEntry{f, n.child(e)}
	}
	return list
}

// ReadFile implements fs.ReadFileFS.
func (f *FS) ReadFile(name string) ([]byte, error) {
	n, err := f.find(name)
	if err == nil {
		if _, ok := n.dir(); ok {
			err = errIsDirectory
		}
	}
	if err != nil {
		return nil, fsError("read", name, err)
	}
	r, err := f.open(n)
	if err != nil {
		return nil, fsError("read", name, err)
	}
	defer r.Close() //nolint:errcheck // it was only read
	var content bytes.Buffer
	content.Grow(int(min(r.Size(), firstStretch))) // what a capability says of a size may not be so
	_, err = r.WriteTo(&content)
	return content.Bytes(), fsError("read", name, err)
}

var errIsDirectory = errors.New("it is a directory")
