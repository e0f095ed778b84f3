package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
)

// SaveOptions say what is kept.
type SaveOptions struct {
	// Folder is what is kept.
	Folder string
	// Records is where the record of this folder is, and of no other one.
	Records string
	// Exclude, if not nil, tells what is left out, by its path from Folder, with
	// slashes. It is called by one goroutine.
	Exclude func(path string, folder bool) bool
	// ReadAll reads every file, whatever its times say.
	ReadAll bool
	// Saw, if not nil, is told of each file and folder when it is done, in the
	// order of the walk, by one goroutine.
	Saw func(Saw)
	// Now is the time; time.Now if nil.
	Now func() time.Time
}

// Saw is what became of a file or folder.
type Saw struct {
	Path   string
	Folder bool
	Size   int64 // of a file, in bytes
	// Reused says that it was neither read nor stored: it was kept before.
	Reused bool
	// Err says why it is not kept; of a folder, nothing in it is.
	Err error
}

// Saved is a copy.
type Saved struct {
	Directory file.Directory
	// Files and Folders are how many it holds, Stored and StoredFolders how many
	// of them were not kept before, Bytes how much was read.
	Files, Folders, Stored, StoredFolders int
	Bytes                                 int64
	// Problems are what is left out; of very many, the first.
	Problems []Problem
	// Missing is how many things are left out.
	Missing int
}

// maxProblems is how many problems are named.
const maxProblems = 1000

// Whatever was stored is taken for granted for a month; from then on it is
// asked for more and more often, and always after two.
const (
	freshTime = 30 * 24 * time.Hour
	staleTime = 2 * freshTime
)

// Save keeps a copy of a folder. It fails only if the folder itself can't be
// kept, the record can't be written, or ctx ends; what can't be kept of it is
// in the result.
func Save(ctx context.Context, g Grid, o SaveOptions) (Saved, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	info, err := os.Stat(o.Folder)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "back up", Path: o.Folder, Err: errors.New("not a folder")}
	}
	if err != nil {
		return Saved{}, err
	}
	records, err := openRecords(o.Records, o.Folder)
	if err != nil {
		return Saved{}, fmt.Errorf("open the record of earlier backups: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &saving{
		ctx: ctx, grid: g, options: o, records: records, turns: make(chan struct{}, maxPuts), order: make(chan *item, window),
	}
	noted := make(chan error, 1)
	go func() { noted <- s.note(cancel) }()
	whole := s.folder(root, info)
	close(s.order)
	err = <-noted
	<-whole.done
	if err == nil {
		err = errors.Join(context.Cause(ctx), whole.err)
	}
	if failed := records.end(err == nil); failed != nil {
		err = errors.Join(err, fmt.Errorf("write the record of this backup: %w", failed))
	}
	s.saved.Directory, _ = whole.cap.(file.Directory)
	return s.saved, err
}

// saving is a Save under way.
type saving struct {
	ctx     context.Context
	grid    Grid
	options SaveOptions
	records *records
	turns   chan struct{} // one for each thing that is being stored
	order   chan *item    // as the walk found them

	saved Saved // of note, until it ends
}

// item is a file or folder. All but done belongs to whoever works on it, until
// done is closed.
type item struct {
	path   string
	folder bool
	done   chan struct{}

	stamp
	info    fs.FileInfo
	cap     file.Capability
	hash    string // of a folder's text
	checked time.Time
	reused  bool
	racy    bool // its stamp may stay the same although it changes
	err     error
}

func (s *saving) item(p string, info fs.FileInfo) *item {
	return &item{path: p, folder: info.IsDir(), info: info, stamp: stampOf(info), done: make(chan struct{})}
}

// note writes down what is done, in the order of the walk, and counts.
func (s *saving) note(cancel context.CancelCauseFunc) error {
	var failed error
	for it := range s.order {
		<-it.done
		if it.err != nil && s.ctx.Err() != nil {
			continue
		}
		s.count(it)
		if s.options.Saw != nil {
			s.options.Saw(Saw{it.path, it.folder, it.Size, it.reused, it.err})
		}
		if it.err != nil || it.racy {
			continue
		}
		if err := s.records.add(line{it.path, it.stamp, it.hash, it.cap.String(), it.checked}); err != nil {
			failed = fmt.Errorf("write the record of this backup: %w", err)
			cancel(failed)
		}
	}
	return failed
}

func (s *saving) count(it *item) {
	sum := &s.saved
	switch {
	case it.err != nil:
		if sum.Missing++; len(sum.Problems) < maxProblems {
			sum.Problems = append(sum.Problems, Problem{it.path, it.err})
		}
	case it.folder:
		sum.Folders++
		if !it.reused {
			sum.StoredFolders++
		}
	default:
		sum.Files++
		if !it.reused {
			sum.Stored++
			sum.Bytes += it.Size
		}
	}
}

// folder walks through a folder; the item is done once all that is in it is.
func (s *saving) folder(p string, info fs.FileInfo) *item {
	f := s.item(p, info)
	entries, err := os.ReadDir(s.local(p))
	if err != nil {
		return s.fail(f, err)
	}
	var children []*item
	names := map[string]bool{}
	for _, e := range entries { // sorted by name
		if s.ctx.Err() != nil {
			break
		}
		child := path.Join(p, e.Name())
		if s.options.Exclude != nil && s.options.Exclude(child, e.IsDir()) {
			continue
		}
		name := norm.NFC.String(e.Name())
		children = append(children, s.entry(child, e, names[name]))
		names[name] = true
	}
	was, known := s.records.find(p)
	s.start(f, func() error { return s.storeFolder(f, children, was, known) })
	return f
}

func (s *saving) local(p string) string {
	return filepath.Join(s.options.Folder, filepath.FromSlash(p))
}

// entry is what a folder has by a name. Directories know names in one form, so
// of two that look the same one is left out.
func (s *saving) entry(p string, e fs.DirEntry, twice bool) *item {
	info, err := e.Info()
	switch {
	case err != nil:
		return s.fail(&item{path: p, folder: e.IsDir(), done: make(chan struct{})}, err)
	case !utf8.ValidString(e.Name()):
		return s.fail(s.item(p, info), fmt.Errorf("%w: it is not UTF-8", ErrName))
	case twice:
		return s.fail(s.item(p, info), fmt.Errorf("%w: another one differs from it in the form of its Unicode alone", ErrName))
	case info.IsDir():
		return s.folder(p, info)
	case !info.Mode().IsRegular():
		return s.fail(s.item(p, info), ErrKind)
	}
	f := s.item(p, info)
	was, known := s.records.find(p)
	if err := s.turn(); err != nil { // in order, so that the record is not far behind
		return s.fail(f, err)
	}
	s.start(f, func() error {
		defer func() { <-s.turns }()
		return s.storeFile(f, was, known)
	})
	return f
}

func (s *saving) fail(it *item, err error) *item {
	it.err = err
	close(it.done)
	s.order <- it
	return it
}

// start works on an item, which comes next in the order.
func (s *saving) start(it *item, work func() error) {
	go func() {
		defer close(it.done)
		it.err = work()
	}()
	s.order <- it
}

// turn waits until something may be stored.
func (s *saving) turn() error {
	select {
	case s.turns <- struct{}{}:
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

func (s *saving) storeFile(f *item, was line, known bool) error {
	if known && was.Folder == "" && was.stamp == f.stamp && !s.options.ReadAll && s.reuse(f, was) {
		return nil
	}
	return s.readFile(f)
}

// reuse takes what was stored before, if it is likely to be there yet.
func (s *saving) reuse(it *item, was line) bool {
	c, err := file.Parse(was.Cap)
	if err != nil {
		return false
	}
	it.cap, it.checked, it.reused = c, was.Checked, true
	now := s.options.Now()
	age := now.Sub(was.Checked)
	if age >= 0 && age < freshTime+rand.N(staleTime-freshTime) {
		return true
	}
	it.checked = now
	healthy, err := s.grid.Healthy(s.ctx, c)
	it.reused = err == nil && healthy
	return it.reused
}

func (s *saving) readFile(it *item) error {
	now := s.options.Now()
	f, err := os.Open(s.local(it.path))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it is only read
	before, err := f.Stat()
	if err != nil {
		return err
	}
	if !before.Mode().IsRegular() {
		return ErrKind
	}
	it.info, it.stamp, it.checked = before, stampOf(before), now
	it.racy = !it.settled(now)
	read := &measured{r: f, want: before.Size()}
	c, err := s.grid.PutFile(s.ctx, read, before.Size())
	if err != nil {
		return errors.Join(err, read.err)
	}
	after, err := f.Stat()
	if err != nil {
		return err
	}
	if stampOf(after) != it.stamp {
		it.racy = true
	}
	it.cap = c
	return nil
}

// measured yields as many bytes as there were at first, or fails.
type measured struct {
	r    io.Reader
	want int64
	err  error
}

// Read implements io.Reader.
func (m *measured) Read(b []byte) (int, error) {
	if m.want == 0 {
		return 0, io.EOF
	}
	n, err := m.r.Read(b[:min(int64(len(b)), m.want)])
	m.want -= int64(n)
	switch {
	case err == io.EOF && m.want > 0:
		m.err = ErrChanged
		return n, m.err
	case err != nil && err != io.EOF:
		m.err = err
	}
	return n, err
}

// storeFolder stores a folder once everything in it is stored, unless a
// directory of the same text is there.
func (s *saving) storeFolder(f *item, children []*item, was line, known bool) error {
	for _, c := range children {
		<-c.done
	}
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	d, err := directoryOf(children)
	if err != nil {
		return err
	}
	text, err := d.Encode()
	if err != nil {
		return err
	}
	hash := sha256.Sum256(text)
	f.hash = hex.EncodeToString(hash[:])
	if err := s.turn(); err != nil {
		return err
	}
	defer func() { <-s.turns }()
	if known && was.Folder == f.hash && s.reuse(f, was) {
		return nil
	}
	f.checked = s.options.Now()
	f.cap, err = s.grid.PutDirectory(s.ctx, d)
	return err
}

// directoryOf is the directory of what was kept.
func directoryOf(children []*item) (*directory.Directory, error) {
	d, err := directory.New(file.Directory{})
	if err != nil {
		return nil, err
	}
	for _, c := range children {
		if c.err != nil {
			continue
		}
		m, err := metadataOf(c)
		if err != nil {
			return nil, err
		}
		if err := d.Set(directory.Entry{Name: path.Base(c.path), Read: c.cap, Metadata: m}); err != nil {
			return nil, fmt.Errorf("%s: %w", c.path, err)
		}
	}
	return d, nil
}

// times are what a directory says of a file, as Tahoe's own backups: in seconds.
type times struct {
	Ctime float64 `json:"ctime,omitempty"`
	Mtime float64 `json:"mtime"`
}

func metadataOf(it *item) (directory.Metadata, error) {
	t := times{Ctime: float64(it.Ctime) / 1e9, Mtime: float64(it.Mtime) / 1e9}
	if it.folder { // it changes with what is in it, and the copy is to be the same
		t.Ctime = 0
	}
	b, err := json.Marshal(t)
	return directory.Metadata(b), err
}
