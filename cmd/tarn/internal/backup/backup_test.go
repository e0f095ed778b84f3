package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/file/tagged"
)

// shelf is a grid in memory that counts. before, if set, is called at each
// PutFile, and its error returned.
type shelf struct {
	mu      sync.Mutex
	files   map[string]string // by capability
	folders map[string]string // texts, by the capability's file
	puts    int
	made    int
	asked   int
	sick    bool
	before  func(put int) error
	fetches int
	broken  func(fetch int) error
}

func newShelf() *shelf { return &shelf{files: map[string]string{}, folders: map[string]string{}} }

func capOf(text string) file.CHK {
	hash := tagged.Hash(tagged.Sum("test", []byte(text)))
	return file.CHK{Key: file.Key(hash[:16]), UEBHash: hash, Needed: 1, Total: 1, Size: int64(len(text))}
}

func (s *shelf) PutFile(_ context.Context, r io.Reader, size int64) (file.Capability, error) {
	s.mu.Lock()
	s.puts++
	put, before := s.puts, s.before
	s.mu.Unlock()
	if before != nil {
		if err := before(put); err != nil {
			return nil, err
		}
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != size {
		return nil, fmt.Errorf("%d bytes came and %d were said", len(b), size)
	}
	if len(b) == 0 {
		return file.LIT{}, nil
	}
	c := capOf(string(b))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[c.String()] = string(b)
	return c, nil
}

func (s *shelf) PutDirectory(_ context.Context, d *directory.Directory) (file.Capability, error) {
	text, err := d.Encode()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	c := file.Directory{File: capOf("folder" + string(text))}
	s.folders[c.String()] = string(text)
	return c, nil
}

func (s *shelf) Healthy(context.Context, file.Capability) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return !s.sick, nil
}

func (s *shelf) ReadDirectory(_ context.Context, d file.Directory) (*directory.Directory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, ok := s.folders[d.String()]
	if !ok {
		return nil, errors.New("no such directory")
	}
	return directory.Parse(d, []byte(text))
}

func (s *shelf) Fetch(_ context.Context, c file.Capability, to io.Writer) error {
	s.mu.Lock()
	s.fetches++
	text, ok := s.files[c.String()]
	if _, empty := c.(file.LIT); empty {
		ok = true
	}
	var err error
	if s.broken != nil {
		err = s.broken(s.fetches)
	}
	s.mu.Unlock()
	if !ok {
		return errors.New("no such file")
	}
	if err != nil {
		_, _ = io.WriteString(to, text[:len(text)/2])
		return err
	}
	_, err = io.WriteString(to, text)
	return err
}

// reset forgets what was counted.
func (s *shelf) reset() { s.puts, s.made, s.asked, s.fetches = 0, 0, 0, 0 }

// bench is a folder, a grid and a record.
type bench struct {
	t       testing.TB
	shelf   *shelf
	folder  string
	options SaveOptions
}

func newBench(t testing.TB) *bench {
	b := &bench{t: t, shelf: newShelf(), folder: t.TempDir()}
	// By that clock all files have been left alone for a while.
	b.options = SaveOptions{Folder: b.folder, Records: t.TempDir(), Now: func() time.Time { return time.Now().Add(time.Hour) }}
	return b
}

func (b *bench) write(path, content string) {
	b.t.Helper()
	at := filepath.Join(b.folder, filepath.FromSlash(path))
	must(b.t, os.MkdirAll(filepath.Dir(at), 0o700))
	must(b.t, os.WriteFile(at, []byte(content), 0o600))
}

func (b *bench) save() Saved {
	b.t.Helper()
	b.shelf.reset()
	s, err := Save(b.t.Context(), b.shelf, b.options)
	must(b.t, err)
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree is what a folder holds: a file's content by path, and of a folder "/".
func tree(t testing.TB, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(folder, path)
		switch {
		case err != nil:
			return err
		case e.IsDir():
			all[filepath.ToSlash(rel)] = "/"
		case !e.Type().IsRegular():
			all[filepath.ToSlash(rel)] = e.Type().String()
		default:
			b, err := os.ReadFile(path)
			all[filepath.ToSlash(rel)] = string(b)
			return err
		}
		return nil
	}))
	return all
}

func (b *bench) wantRestored(s Saved, want map[string]string) {
	b.t.Helper()
	to := filepath.Join(b.t.TempDir(), "made", "here")
	got, err := Restore(b.t.Context(), b.shelf, s.Directory, RestoreOptions{Folder: to})
	must(b.t, err)
	if len(got.Problems) > 0 || got.Files != s.Files || got.Folders != s.Folders {
		b.t.Errorf("restored %+v of %+v", got, s)
	}
	if there := tree(b.t, to); !maps.Equal(there, want) {
		b.t.Errorf("restored\n%v, want\n%v", there, want)
	}
}

func TestSaveAndRestore(t *testing.T) {
	b := newBench(t)
	b.write("b/deep/er/x", "1")
	b.write("b.txt", "2") // sorts before b/ as a string, after it as names
	b.write("b/a", "3")
	b.write("empty", "")
	b.write("ä/ö", "4")
	must(t, os.Mkdir(filepath.Join(b.folder, "void"), 0o700))
	want := tree(t, b.folder)
	first := b.save()
	if first.Files != 5 || first.Stored != 5 || first.Folders != 6 || first.StoredFolders != 6 || first.Bytes != 4 || b.shelf.puts != 5 {
		t.Errorf("the first copy: %+v", first)
	}
	b.wantRestored(first, want)
	if second := b.save(); second.Stored != 0 || second.StoredFolders != 0 || second.Directory != first.Directory || b.shelf.puts+b.shelf.made+b.shelf.asked != 0 {
		t.Errorf("nothing has changed, and the second copy is %+v", second)
	}
	b.write("b/a", "5, longer")
	must(t, os.Remove(filepath.Join(b.folder, "b.txt")))
	third := b.save()
	if third.Files != 4 || third.Stored != 1 || third.StoredFolders != 2 || b.shelf.puts != 1 {
		t.Errorf("one file has changed, and the third copy is %+v", third)
	}
	b.wantRestored(third, tree(t, b.folder))
	b.wantRestored(first, want)
	b.options.ReadAll = true
	if again := b.save(); again.Stored != 4 || again.StoredFolders != 0 || again.Directory != third.Directory {
		t.Errorf("with everything read: %+v", again)
	}
}

func TestTimesComeBack(t *testing.T) {
	b := newBench(t)
	b.write("folder/file", "1")
	at := time.Date(2001, 2, 3, 4, 5, 6, 789_000_000, time.UTC)
	for _, p := range []string{"folder/file", "folder"} {
		must(t, os.Chtimes(filepath.Join(b.folder, p), at, at))
	}
	s := b.save()
	to := t.TempDir()
	_, err := Restore(t.Context(), b.shelf, s.Directory, RestoreOptions{Folder: to})
	must(t, err)
	for _, p := range []string{"folder/file", "folder"} {
		info, err := os.Stat(filepath.Join(to, p))
		must(t, err)
		if off := info.ModTime().Sub(at).Abs(); off > time.Microsecond {
			t.Errorf("%s is off by %v", p, off)
		}
	}
}

// A file that was changed just now may change again and look the same.
func TestFreshFileIsReadAgain(t *testing.T) {
	b := newBench(t)
	b.options.Now = time.Now
	b.write("old", "1")
	b.write("new", "2")
	soon := time.Now().Add(time.Hour)
	must(t, os.Chtimes(filepath.Join(b.folder, "new"), soon, soon))
	b.save()
	if s := b.save(); s.Stored < 1 {
		t.Errorf("a file whose clock may stand still was not read again: %+v", s)
	}
}

func TestOldCopiesAreChecked(t *testing.T) {
	b := newBench(t)
	b.write("a/x", "1")
	b.save()
	later := time.Now().Add(2 * staleTime)
	b.options.Now = func() time.Time { return later }
	if s := b.save(); s.Stored != 0 || b.shelf.asked != 3 {
		t.Errorf("after months: %+v, %d checked", s, b.shelf.asked)
	}
	if b.save(); b.shelf.asked != 0 {
		t.Errorf("%d checked again", b.shelf.asked)
	}
	later = later.Add(2 * staleTime)
	b.shelf.sick = true
	if s := b.save(); s.Stored != 1 || s.StoredFolders != 2 {
		t.Errorf("what is not healthy any more was not stored again: %+v", s)
	}
}

// What can't be kept is said, and all else is kept.
func TestProblemsOfSave(t *testing.T) {
	b := newBench(t)
	b.write("good", "1")
	b.write("bad\xff", "2")
	b.write("caf\u00e9", "3")
	b.write("cafe\u0301", "4")
	b.write("fails", "5")
	must(t, os.Symlink("good", filepath.Join(b.folder, "link")))
	must(t, syscall.Mkfifo(filepath.Join(b.folder, "pipe"), 0o600))
	failure := errors.New("no server")
	b.options.Exclude = func(path string, _ bool) bool { return path == "out" }
	b.write("out/x", "6")
	grid := &failing{shelf: b.shelf, content: "5", err: failure}
	s, err := Save(t.Context(), grid, b.options)
	must(t, err)
	got := map[string]error{}
	for _, p := range s.Problems {
		got[p.Path] = p.Err
	}
	for path, want := range map[string]error{"bad\xff": ErrName, "caf\u00e9": ErrName, "link": ErrKind, "pipe": ErrKind, "fails": failure} {
		if !errors.Is(got[path], want) {
			t.Errorf("%q: %v, want %v", path, got[path], want)
		}
	}
	if s.Missing != 5 || s.Files != 2 {
		t.Errorf("%+v", s)
	}
	b.shelf.reset()
	if s := b.save(); s.Stored != 1 || s.Missing != 4 {
		t.Errorf("once there is a server: %+v", s)
	}
}

// failing is a grid that does not take one content.
type failing struct {
	*shelf
	content string
	err     error
}

func (f *failing) PutFile(ctx context.Context, r io.Reader, size int64) (file.Capability, error) {
	b, err := io.ReadAll(r)
	if err == nil && string(b) == f.content {
		err = f.err
	}
	if err != nil {
		return nil, err
	}
	return f.shelf.PutFile(ctx, strings.NewReader(string(b)), size)
}

// A file that changes while it is read is kept as it was read, or said to have
// changed; the next run reads it again.
func TestFileChangesWhileRead(t *testing.T) {
	for change, content := range map[string]string{"longer": "1234567", "shorter": "1", "as long": "xyz"} {
		b := newBench(t)
		b.write("file", "abc")
		b.shelf.before = func(int) error { b.write("file", content); return nil }
		s := b.save()
		if shorter := change == "shorter"; shorter != (s.Missing == 1) || shorter && !errors.Is(s.Problems[0].Err, ErrChanged) {
			t.Errorf("%s: %+v", change, s)
		}
		b.shelf.before = nil
		again := b.save()
		if again.Stored != 1 {
			t.Errorf("%s: it was not read again: %+v", change, again)
		}
		b.wantRestored(again, tree(t, b.folder))
	}
}

func TestSaveOfWhatIsNoFolder(t *testing.T) {
	b := newBench(t)
	b.write("file", "1")
	for _, folder := range []string{filepath.Join(b.folder, "file"), filepath.Join(b.folder, "none")} {
		o := b.options
		o.Folder = folder
		if _, err := Save(t.Context(), b.shelf, o); err == nil || !strings.Contains(err.Error(), folder) {
			t.Errorf("%s: %v", folder, err)
		}
	}
}

// An interrupted Save goes on: what was stored and written down is not stored
// again, however often it is interrupted.
func TestSaveGoesOn(t *testing.T) {
	b := newBench(t)
	const files = 400
	for i := range files {
		b.write(fmt.Sprintf("%d/%d", i%20, i), fmt.Sprint(i))
	}
	stored := map[string]int{}
	for _, after := range []int{50, 150, 20, 60} {
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("enough")
		b.shelf.reset()
		b.shelf.before = func(put int) error {
			if put == after {
				cancel(stop)
			}
			return context.Cause(ctx)
		}
		if _, err := Save(ctx, b.shelf, b.options); !errors.Is(err, stop) {
			t.Fatalf("interrupted: %v", err)
		}
		stored[fmt.Sprint(after)] = len(b.shelf.files)
	}
	b.shelf.before = nil
	had := len(b.shelf.files)
	s := b.save()
	if s.Files != files || s.Stored > files-had+2*maxPuts {
		t.Errorf("%d were there (%v), and then %d of %d were stored", had, stored, s.Stored, files)
	}
	b.wantRestored(s, tree(t, b.folder))
	if s := b.save(); s.Stored != 0 {
		t.Errorf("in the end %d are stored again", s.Stored)
	}
	if left, err := os.ReadDir(b.options.Records); err != nil || len(left) != 1 {
		t.Errorf("%d records are left (%v)", len(left), err)
	}
}

// A record that a crash cut off, or that is damaged, costs what it does not say.
func TestDamagedRecord(t *testing.T) {
	b := newBench(t)
	for i := range 100 {
		b.write(fmt.Sprintf("%02d", i), fmt.Sprint(i))
	}
	b.save()
	path := filepath.Join(b.options.Records, "1.jsonl")
	whole, err := os.ReadFile(path)
	must(t, err)
	for n := 0; n < len(whole); n += len(whole)/7 + 1 {
		must(t, os.WriteFile(path, whole[:n], 0o600))
		s := b.save()
		if s.Files != 100 || n > len(whole)/2 && s.Stored > 60 {
			t.Errorf("cut off at %d of %d bytes: %+v", n, len(whole), s)
		}
		must(t, Forget(b.options.Records))
	}
	must(t, os.WriteFile(path, []byte(`{"format":2}`+"\n"), 0o600))
	if _, err := Save(t.Context(), b.shelf, b.options); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("the record of a newer program: %v", err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte("{\"format\":1}\n{\"path\":\"a\",\"size\":1,\"mtime\":1,\"ctime\":1,\"cap\":\"URI:LIT:\"}\n"), "a")
	f.Add([]byte("{\"format\":1}\n{\"path\":\"a/b\"}\n{\"path\":\"a\"}\n{\"path\":\".\"}\n"), "a/c")
	f.Add([]byte("{\"format\":1}\n{\"path\":\"b\"}\n{\"path\":\"a\"}\nnull\n"), ".")
	f.Fuzz(func(t *testing.T, content []byte, path string) {
		at := filepath.Join(t.TempDir(), "1.jsonl")
		must(t, os.WriteFile(at, content, 0o600))
		l, err := openLines(at)
		if err != nil {
			return
		}
		defer l.file.Close() //nolint:errcheck // it was only read
		if found, ok := l.find(path); ok && compare(found.Path, path) != 0 {
			t.Errorf("asked for %q, got %q", path, found.Path)
		}
	})
}

// The order of a record is a total one, and that of a walk.
func TestOrder(t *testing.T) {
	sorted := []string{"a/b", "a", "a.txt", "b/a/x", "b/a", "b/b", "b", "."}
	for i, x := range sorted {
		for j, y := range sorted {
			if got := compare(x, y); got != compareInts(i, j) {
				t.Errorf("compare(%q, %q) = %d", x, y, got)
			}
		}
	}
}

func compareInts(i, j int) int { return map[bool]int{i < j: -1, i > j: 1}[true] }

// Any tree comes back as it was, and a second copy of it costs nothing.
func TestAnyTree(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "a.b", "a b", "ä", "A", "...", "-", "~"})
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t)
		for _, steps := range rapid.SliceOfN(rapid.SliceOfN(names, 1, 4), 0, 12).Draw(rt, "paths") {
			at := filepath.Join(b.folder, filepath.Join(steps...))
			if os.MkdirAll(filepath.Dir(at), 0o700) != nil {
				continue
			}
			_ = os.WriteFile(at, []byte(rapid.StringN(0, 5, 9).Draw(rt, "content")), 0o600) // or it is a folder already
		}
		first := b.save()
		b.wantRestored(first, tree(t, b.folder))
		if s := b.save(); s.Stored+s.StoredFolders+b.shelf.puts+b.shelf.made != 0 || s.Directory != first.Directory {
			rt.Errorf("the second copy: %+v", s)
		}
	})
}

func (b *bench) directory(entries ...directory.Entry) file.Directory {
	b.t.Helper()
	d, err := directory.New(file.Directory{})
	must(b.t, err)
	for _, e := range entries {
		must(b.t, d.Set(e))
	}
	c, err := b.shelf.PutDirectory(b.t.Context(), d)
	must(b.t, err)
	return c.(file.Directory)
}

func (b *bench) file(content string) file.Capability {
	b.t.Helper()
	c, err := b.shelf.PutFile(b.t.Context(), strings.NewReader(content), int64(len(content)))
	must(b.t, err)
	return c
}

// Nothing is written outside of the target, whatever the names are and whatever
// lies in the target.
func TestRestoreStaysInside(t *testing.T) {
	b := newBench(t)
	x := b.file("evil")
	inner := b.directory(directory.Entry{Name: "file", Read: x})
	d := b.directory(
		directory.Entry{Name: "..", Read: x}, directory.Entry{Name: "../up", Read: x}, directory.Entry{Name: "/abs", Read: x},
		directory.Entry{Name: "nul\x00", Read: x}, directory.Entry{Name: ".", Read: inner}, directory.Entry{Name: partial + "x", Read: x},
		directory.Entry{Name: "link", Read: inner}, directory.Entry{Name: "good", Read: x}, directory.Entry{Name: "gone", Read: capOf("never stored")},
	)
	outside, to := t.TempDir(), t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(to, "link")))
	for _, overwrite := range []bool{false, true} {
		got, err := Restore(t.Context(), b.shelf, d, RestoreOptions{Folder: to, Overwrite: overwrite})
		must(t, err)
		if got.Missing != 8 {
			t.Errorf("%+v", got)
		}
	}
	if there := tree(t, outside); len(there) != 1 {
		t.Errorf("outside: %v", there)
	}
	if there := tree(t, to); there["good"] != "evil" || len(there) != 3 {
		t.Errorf("inside: %v", there)
	}
}

// A loop of mutable directories ends, and the same directory twice is there
// twice.
func TestRestoreOfALoop(t *testing.T) {
	b := newBench(t)
	top := file.NewMutable(false, file.WriteKey{1}, tagged.Hash{2})
	loop := file.Directory{File: top}
	d, err := directory.New(loop)
	must(t, err)
	twice := b.directory(directory.Entry{Name: "file", Read: b.file("x")})
	for _, e := range []directory.Entry{{Name: "self", Write: loop}, {Name: "one", Read: twice}, {Name: "two", Read: twice}} {
		must(t, d.Set(e))
	}
	text, err := d.Encode()
	must(t, err)
	b.shelf.folders[loop.String()] = string(text)
	to := t.TempDir()
	got, err := Restore(t.Context(), b.shelf, loop, RestoreOptions{Folder: to})
	must(t, err)
	if got.Missing != 1 || got.Problems[0].Path != "self" || got.Files != 2 {
		t.Errorf("%+v", got)
	}
}

func TestRestoreLeavesAlone(t *testing.T) {
	b := newBench(t)
	b.write("file", "new")
	b.write("folder/x", "1")
	s := b.save()
	to := t.TempDir()
	must(t, os.WriteFile(filepath.Join(to, "file"), []byte("mine"), 0o600))
	must(t, os.WriteFile(filepath.Join(to, "folder"), []byte("mine"), 0o600))
	got, err := Restore(t.Context(), b.shelf, s.Directory, RestoreOptions{Folder: to})
	must(t, err)
	want := map[string]string{".": "/", "file": "mine", "folder": "mine"}
	if there := tree(t, to); got.Missing != 2 || !errors.Is(got.Problems[0], ErrInTheWay) || !maps.Equal(there, want) {
		t.Errorf("%+v; %v", got, there)
	}
	_, err = Restore(t.Context(), b.shelf, s.Directory, RestoreOptions{Folder: to, Overwrite: true})
	must(t, err)
	if there := tree(t, to); there["file"] != "new" || there["folder"] != "mine" {
		t.Errorf("overwritten: %v", there)
	}
}

// An interrupted Restore leaves whole files alone, and goes on with the rest.
func TestRestoreGoesOn(t *testing.T) {
	b := newBench(t)
	const files = 200
	for i := range files {
		b.write(fmt.Sprintf("%d/%d", i%10, i), fmt.Sprint(i))
	}
	s := b.save()
	want := tree(t, b.folder)
	to := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	b.shelf.broken = func(fetch int) error {
		if fetch == 70 {
			cancel()
		}
		return ctx.Err()
	}
	if _, err := Restore(ctx, b.shelf, s.Directory, RestoreOptions{Folder: to}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for path, content := range tree(t, to) {
		if want[path] != content {
			t.Errorf("%s holds %q after an interruption", path, content)
		}
	}
	b.shelf.broken = nil
	b.shelf.reset()
	got, err := Restore(t.Context(), b.shelf, s.Directory, RestoreOptions{Folder: to})
	must(t, err)
	if got.Files != files || got.Written != b.shelf.fetches || got.Written > files-60 || !maps.Equal(tree(t, to), want) {
		t.Errorf("%+v, %d fetched", got, b.shelf.fetches)
	}
}

// One file that can't be fetched leaves nothing behind; a full disk ends it all.
func TestRestoreFails(t *testing.T) {
	b := newBench(t)
	b.write("1", "one")
	b.write("2", "two")
	s := b.save()
	b.shelf.broken = func(int) error { return errors.New("no server") }
	to := t.TempDir()
	got, err := Restore(t.Context(), b.shelf, s.Directory, RestoreOptions{Folder: to})
	must(t, err)
	if there := tree(t, to); got.Missing != 2 || len(there) != 1 {
		t.Errorf("%+v; %v", got, slices.Collect(maps.Keys(there)))
	}
	b.shelf.broken = func(int) error { return fmt.Errorf("write: %w", syscall.ENOSPC) }
	if _, err := Restore(t.Context(), b.shelf, s.Directory, RestoreOptions{Folder: to}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
}
