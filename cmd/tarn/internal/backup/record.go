package backup

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// line is what a record says of one file or folder. Lines are in the order of
// the walk: names by their bytes, a folder after what is in it.
type line struct {
	Path string `json:"path"`
	stamp
	// Folder is the hash of a folder's text; empty for a file.
	Folder string `json:"folder,omitempty"`
	Cap    string `json:"cap"`
	// Checked is when it was stored, or found healthy.
	Checked time.Time `json:"checked"`
}

// header begins a record.
type header struct {
	Format int    `json:"format"`
	Root   string `json:"root"` // the folder, for people
}

const (
	root         = "." // the path of the whole
	recordFormat = 1
	recordSuffix = ".jsonl"
	// maxLine bounds a line: a path of 4 KiB, each byte escaped, and a capability.
	maxLine = 64 << 10
	// maxRecords is how many records of interrupted runs are kept.
	maxRecords = 3
	// flushEvery is how many lines may be lost by a crash: those are stored again.
	flushEvery = 64
)

// compare puts paths in the order of the walk: what is in a folder before it,
// and "." last.
func compare(a, b string) int {
	x, y := steps(a), steps(b)
	for i := range min(len(x), len(y)) {
		if c := cmp.Compare(x[i], y[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(y), len(x))
}

func steps(path string) []string {
	if path == root {
		return nil
	}
	return strings.Split(path, "/")
}

// records are the files with what earlier runs stored of one folder, and one
// that is being written. They are numbered; what lies beside the newest whole
// one is of interrupted runs.
type records struct {
	dir  string
	next int
	old  []*lines
	out  *os.File
	w    *bufio.Writer
	n    int // lines that were not flushed
}

// openRecords opens what there is in dir and begins a new record of a folder.
func openRecords(dir, folder string) (*records, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	numbers, err := recordNumbers(dir)
	if err != nil {
		return nil, err
	}
	r := &records{dir: dir, next: 1}
	if len(numbers) > 0 {
		r.next = numbers[len(numbers)-1] + 1
	}
	if err := r.open(numbers); err != nil {
		return nil, errors.Join(err, r.closeOld())
	}
	r.out, err = os.OpenFile(r.path(r.next), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, errors.Join(err, r.closeOld())
	}
	r.w = bufio.NewWriter(r.out)
	return r, r.write(header{recordFormat, folder})
}

func recordNumbers(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), recordSuffix)
		if n, err := strconv.Atoi(name); ok && err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func (r *records) path(n int) string { return filepath.Join(r.dir, strconv.Itoa(n)+recordSuffix) }

// open opens the newest records first, and removes those of too many
// interrupted runs, the shortest first: what a run found it wrote down again.
func (r *records) open(numbers []int) error {
	for _, n := range slices.Backward(numbers) {
		l, err := openLines(r.path(n))
		if err != nil {
			return err
		}
		r.old = append(r.old, l)
	}
	for len(r.old) > maxRecords {
		shortest := slices.IndexFunc(r.old, func(l *lines) bool {
			return !slices.ContainsFunc(r.old, func(m *lines) bool { return m.size < l.size })
		})
		l := r.old[shortest]
		r.old = slices.Delete(r.old, shortest, shortest+1)
		if err := errors.Join(l.file.Close(), os.Remove(l.file.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (r *records) closeOld() error {
	var err error
	for _, l := range r.old {
		err = errors.Join(err, l.file.Close())
	}
	return err
}

// find is what earlier runs say of a path, the newest that knows it first. Paths
// must be asked for in the order of the walk.
func (r *records) find(path string) (found line, ok bool) {
	for _, l := range r.old {
		if at, there := l.find(path); there && !ok {
			found, ok = at, true
		}
	}
	return found, ok
}

// add writes a line down. Lines must come in the order of the walk.
func (r *records) add(l line) error {
	if err := r.write(l); err != nil {
		return err
	}
	if r.n++; r.n < flushEvery {
		return nil
	}
	r.n = 0
	return r.w.Flush()
}

func (r *records) write(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = r.w.Write(append(b, '\n'))
	return err
}

// end closes all. A whole record takes the place of the older ones.
func (r *records) end(whole bool) error {
	err := errors.Join(r.w.Flush(), r.out.Close(), r.closeOld())
	if !whole || err != nil {
		return err
	}
	for _, l := range r.old {
		err = errors.Join(err, os.Remove(l.file.Name()))
	}
	return err
}

// lines reads a record from its beginning to its end, once. One that is damaged
// or was cut off ends there: what is beyond is stored again.
type lines struct {
	file *os.File
	size int64
	scan *bufio.Scanner
	next line
	more bool
}

func openLines(path string) (*lines, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l := &lines{file: f, size: info.Size(), scan: bufio.NewScanner(f)}
	l.scan.Buffer(nil, maxLine)
	var h header
	if l.scan.Scan() && json.Unmarshal(l.scan.Bytes(), &h) == nil && h.Format > recordFormat {
		return nil, errors.Join(fmt.Errorf("%s: its format is %d, and this program knows %d: a newer one wrote it", path, h.Format, recordFormat), f.Close())
	}
	if h.Format == recordFormat {
		l.read()
	}
	return l, nil
}

func (l *lines) read() {
	before, any := l.next.Path, l.more
	l.next, l.more = line{}, false
	if !l.scan.Scan() || json.Unmarshal(l.scan.Bytes(), &l.next) != nil {
		return
	}
	l.more = !any || compare(before, l.next.Path) < 0
}

func (l *lines) find(path string) (line, bool) {
	for l.more {
		switch c := compare(l.next.Path, path); {
		case c == 0:
			return l.next, true
		case c > 0:
			return line{}, false
		}
		l.read()
	}
	return line{}, false
}

// Forget removes what is known of a folder, so that all of it is read and
// stored again.
func Forget(dir string) error {
	numbers, err := recordNumbers(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, n := range numbers {
		err = errors.Join(err, os.Remove(filepath.Join(dir, strconv.Itoa(n)+recordSuffix)))
	}
	return err
}
