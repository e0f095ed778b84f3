package backup

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
)

// Reader is where copies come back from. Its methods are called from several
// goroutines.
type Reader interface {
	ReadDirectory(ctx context.Context, d file.Directory) (*directory.Directory, error)
	// Fetch writes the whole content of a file.
	Fetch(ctx context.Context, c file.Capability, to io.Writer) error
}

// RestoreOptions say where it goes.
type RestoreOptions struct {
	// Folder is what the directory becomes; it is made if it isn't there.
	Folder string
	// Overwrite replaces files that are there and differ.
	Overwrite bool
	// Saw, if not nil, is told of each file and folder when it is done, by one
	// goroutine at a time.
	Saw func(Saw)
}

// Restored is what came back.
type Restored struct {
	// Files and Folders are how many there are now, Written how many of the
	// files were not there before, Bytes how much was written.
	Files, Folders, Written int
	Bytes                   int64
	// Problems are what did not come back; of very many, the first.
	Problems []Problem
	Missing  int
}

const (
	// maxFetches is how many files are fetched at a time.
	maxFetches = 16
	// readAhead is how many directories are read ahead of each one.
	readAhead = 4
	// maxDepth ends directories that are in each other.
	maxDepth = 512
	// partial begins the name of what is not whole yet.
	partial = ".tarn-partial-"
)

// Restore makes a folder of what a directory holds. A file that is there, as
// large and as old as it should be, is taken to be the same, so an interrupted
// Restore goes on when it is made again. It fails if the folder can't be made,
// the directory itself can't be read, the disk is full, or ctx ends; other
// problems are in the result.
func Restore(ctx context.Context, r Reader, d file.Directory, o RestoreOptions) (Restored, error) {
	content, err := r.ReadDirectory(ctx, d)
	if err != nil {
		return Restored{}, err
	}
	if err := os.MkdirAll(o.Folder, 0o777); err != nil {
		return Restored{}, err
	}
	to, err := os.OpenRoot(o.Folder)
	if err != nil {
		return Restored{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	res := &restoring{ctx: ctx, cancel: cancel, reader: r, options: o, to: to, turns: make(chan struct{}, maxFetches)}
	res.folder(root, content, []file.Directory{d}, directory.Metadata(""))
	res.going.Wait()
	return res.restored, errors.Join(context.Cause(ctx), to.Close())
}

// restoring is a Restore under way.
type restoring struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	reader  Reader
	options RestoreOptions
	to      *os.Root
	turns   chan struct{} // one for each file that is fetched
	going   sync.WaitGroup

	mu       sync.Mutex
	restored Restored
}

// saw counts what is done.
func (r *restoring) saw(s Saw) {
	if s.Err != nil && r.ctx.Err() != nil {
		return
	}
	if errors.Is(s.Err, syscall.ENOSPC) {
		r.cancel(s.Err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := &r.restored
	switch {
	case s.Err != nil:
		if sum.Missing++; len(sum.Problems) < maxProblems {
			sum.Problems = append(sum.Problems, Problem{s.Path, s.Err})
		}
	case s.Folder:
		sum.Folders++
	default:
		sum.Files++
		if !s.Reused {
			sum.Written++
			sum.Bytes += s.Size
		}
	}
	if r.options.Saw != nil {
		r.options.Saw(s)
	}
}

// listing is a directory that is being read.
type listing struct {
	content *directory.Directory
	err     error
	done    chan struct{}
}

func (r *restoring) list(d file.Directory) *listing {
	l := &listing{done: make(chan struct{})}
	r.going.Go(func() {
		defer close(l.done)
		l.content, l.err = r.reader.ReadDirectory(r.ctx, d)
	})
	return l
}

// folder fills a folder that is there: files at once and many at a time, then
// the folders in it, one after the other. above are the directories on the way
// to it, itself the last.
func (r *restoring) folder(p string, content *directory.Directory, above []file.Directory, m directory.Metadata) {
	var files sync.WaitGroup
	var below []directory.Entry
	for _, name := range content.Names() {
		e, _ := content.Entry(name)
		at := path.Join(p, name)
		switch err := restorable(e, above); {
		case r.ctx.Err() != nil:
			return
		case err != nil:
			r.saw(Saw{Path: at, Err: err})
		case isDirectory(e):
			below = append(below, e)
		default:
			r.turns <- struct{}{}
			files.Add(1)
			r.going.Go(func() {
				defer files.Done()
				r.saw(r.file(at, e))
				<-r.turns
			})
		}
	}
	r.folders(p, below, above)
	r.going.Go(func() {
		files.Wait()
		if at, ok := timeOf(m); ok && p != root && r.ctx.Err() == nil {
			_ = r.to.Chtimes(filepath.FromSlash(p), time.Time{}, at) // it only looks younger than it is
		}
	})
	r.saw(Saw{Path: p, Folder: true})
}

// folders makes the folders in one, and reads a few directories ahead.
func (r *restoring) folders(p string, entries []directory.Entry, above []file.Directory) {
	reading := make([]*listing, len(entries))
	for i, e := range entries {
		for j := i; j < min(i+readAhead, len(entries)); j++ {
			if reading[j] == nil {
				reading[j] = r.list(entries[j].Capability().(file.Directory))
			}
		}
		l := reading[i]
		reading[i] = nil
		<-l.done
		at := path.Join(p, e.Name)
		err := l.err
		if err == nil {
			err = r.makeFolder(at)
		}
		switch {
		case r.ctx.Err() != nil:
			return
		case err != nil:
			r.saw(Saw{Path: at, Folder: true, Err: err})
		default:
			r.folder(at, l.content, append(slices.Clip(above), e.Capability().(file.Directory)), e.Metadata)
		}
	}
}

func (r *restoring) makeFolder(p string) error {
	err := r.to.Mkdir(filepath.FromSlash(p), 0o777)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := r.to.Lstat(filepath.FromSlash(p))
	if err == nil && !info.IsDir() {
		err = ErrInTheWay
	}
	return err
}

func isDirectory(e directory.Entry) bool {
	_, ok := e.Capability().(file.Directory)
	return ok
}

// restorable tells whether an entry can be made here at all.
func restorable(e directory.Entry, above []file.Directory) error {
	switch {
	case e.Err != nil:
		return e.Err
	case e.Name == "" || strings.ContainsAny(e.Name, "/\x00") || !filepath.IsLocal(e.Name) || e.Name == ".":
		return ErrName
	case strings.HasPrefix(e.Name, partial):
		return fmt.Errorf("%w: names that begin with %s are used on the way", ErrName, partial)
	}
	switch c := e.Capability().(type) {
	case file.Directory:
		if len(above) >= maxDepth || slices.Contains(above, c) {
			return errors.New("the directory is in itself")
		}
		return nil
	case file.CHK, file.LIT, file.Mutable:
		return nil
	}
	return ErrNotFile
}

// file brings one file back.
func (r *restoring) file(p string, e directory.Entry) Saw {
	saw := Saw{Path: p}
	name := filepath.FromSlash(p)
	size, known := sizeOf(e.Capability())
	at, dated := timeOf(e.Metadata)
	info, err := r.to.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		saw.Err = err
		return saw
	case info.Mode().IsRegular() && known && info.Size() == size && dated && info.ModTime().Equal(at):
		saw.Size, saw.Reused = size, true
		return saw
	case !r.options.Overwrite || !info.Mode().IsRegular():
		saw.Err = ErrInTheWay
		return saw
	}
	saw.Size, saw.Err = r.fetch(name, e, at)
	return saw
}

// fetch writes a file under another name first, so that what has its name is
// whole.
func (r *restoring) fetch(name string, e directory.Entry, at time.Time) (size int64, err error) {
	temporary := filepath.Join(filepath.Dir(name), partialName(e.Name))
	f, err := r.to.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.to.Remove(temporary))
		}
	}()
	count := &counting{w: f}
	if err := errors.Join(r.reader.Fetch(r.ctx, e.Capability(), count), f.Close()); err != nil {
		return 0, err
	}
	if !at.IsZero() {
		if err := r.to.Chtimes(temporary, time.Time{}, at); err != nil {
			return 0, err
		}
	}
	return count.n, r.to.Rename(temporary, name)
}

// partialName is short, whatever the name.
func partialName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return partial + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

type counting struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// sizeOf is a file's size where its capability tells.
func sizeOf(c file.Capability) (int64, bool) {
	switch c := c.(type) {
	case file.CHK:
		return c.Size, true
	case file.LIT:
		return int64(len(c.Data)), true
	}
	return 0, false
}

// timeOf is when a file last changed, as its directory says.
func timeOf(m directory.Metadata) (time.Time, bool) {
	var t times
	if m == "" || json.Unmarshal([]byte(m), &t) != nil {
		return time.Time{}, false
	}
	if t.Mtime > 0 && t.Mtime < 9e9 {
		return time.Unix(0, int64(t.Mtime*1e9)), true
	}
	_, changed, ok := m.Linked()
	return changed, ok
}
