package tarn_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/lease"
)

// fsGrid has a directory with a child of each kind.
type fsGrid struct {
	*testGrid
	root, below, log tarn.MutableResult
	large            []byte
}

func newFSGrid(t *testing.T) *fsGrid {
	p := file.Params{Needed: 2, Happy: 3, Total: 3, SegmentSize: 128 << 10}
	g := &fsGrid{testGrid: newGrid(t, 3, p), large: random(2<<20 + 7)}
	ctx := t.Context()
	var err error
	if g.log, err = g.client.CreateMutable(ctx, strings.NewReader("one\n"), tarn.MutableOptions{Format: tarn.MDMF}); err != nil {
		t.Fatal(err)
	}
	photos, err := g.client.StoreDirectory(ctx, tarn.PutOptions{},
		tarn.Link{Name: "large.jpg", Cap: g.put(g.large).Cap, Metadata: `{"mtime": 1700000000.25}`},
		tarn.Link{Name: "café", Cap: g.put([]byte("small")).Cap})
	if err != nil {
		t.Fatal(err)
	}
	if g.below, err = g.client.MakeDirectory(ctx, tarn.MutableOptions{}, tarn.Link{Name: "photos", Cap: photos.Cap}); err != nil {
		t.Fatal(err)
	}
	g.root, err = g.client.MakeDirectory(ctx, tarn.MutableOptions{},
		tarn.Link{Name: "below", Cap: g.below.Cap}, tarn.Link{Name: "empty", Cap: "URI:DIR2-LIT:"},
		tarn.Link{Name: "hello.txt", Cap: g.put([]byte("hello")).Cap}, tarn.Link{Name: "log", Cap: g.log.Cap})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *fsGrid) fs(capability string, how ...tarn.Option) *tarn.FS {
	g.t.Helper()
	f, err := g.client.FS(g.t.Context(), capability, how...)
	if err != nil {
		g.t.Fatal(err)
	}
	return f
}

func TestFS(t *testing.T) {
	g := newFSGrid(t)
	for name, capability := range map[string]string{"writable": g.root.Cap, "read-only": g.root.ReadCap} {
		t.Run(name, func(t *testing.T) {
			if err := fstest.TestFS(g.fs(capability), "hello.txt", "log", "empty", "below/photos/large.jpg", "below/photos/café"); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("content", g.testFSContent)
	t.Run("refusals", g.testFSRefusals)
	t.Run("loop", g.testFSLoop)
	t.Run("ends with its context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f, err := g.client.FS(ctx, g.root.Cap)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadDir("."); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := f.ReadDir("."); !errors.Is(err, context.Canceled) {
			t.Errorf("after the context ended: %v", err)
		}
	})
	t.Run("under an authority", func(t *testing.T) {
		f := g.fs(g.root.Cap, tarn.Under(g.authority()))
		if content, err := fs.ReadFile(f, "hello.txt"); err != nil || string(content) != "hello" {
			t.Errorf("%q, %v", content, err)
		}
		status, err := g.client.Status(t.Context())
		if err != nil || len(status.Lent) == 0 {
			t.Errorf("nothing was asked under it: %+v, %v", status.Lent, err)
		}
	})
}

// authority is the client's own, as if somebody had lent it.
func (g *fsGrid) authority() lease.Authority {
	return lease.Authority{Holdings: []lease.Holding{{Account: g.account}}}
}

func (g *fsGrid) testFSContent(t *testing.T) {
	f := g.fs(g.root.Cap)
	content, err := fs.ReadFile(f, "below/photos/large.jpg")
	if err != nil || !bytes.Equal(content, g.large) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
	info, err := fs.Stat(f, "below/photos/large.jpg")
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != int64(len(g.large)) || info.Mode() != 0o444 || info.ModTime().UnixMilli() != 1700000000250 {
		t.Errorf("%v", info)
	}
	if e, ok := info.Sys().(tarn.Entry); !ok || !strings.HasPrefix(e.Read.String(), "URI:CHK:") {
		t.Errorf("Sys %v", info.Sys())
	}
	if _, err := fs.Stat(f, "below/photos/cafe\u0301"); err != nil {
		t.Errorf("a name in another normal form: %v", err)
	}
	opened, err := f.Open("below/photos/large.jpg")
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	part := make([]byte, 1000)
	if n, err := opened.(io.ReaderAt).ReadAt(part, 1<<20); err != nil || !bytes.Equal(part[:n], g.large[1<<20:1<<20+1000]) {
		t.Errorf("in the middle: %d, %v", n, err)
	}
	if at, err := opened.(io.Seeker).Seek(-7, io.SeekEnd); err != nil || at != 2<<20 {
		t.Errorf("seek: %d, %v", at, err)
	}
	var rest bytes.Buffer
	if n, err := opened.(io.WriterTo).WriteTo(&rest); n != 7 || err != nil || !bytes.Equal(rest.Bytes(), g.large[2<<20:]) {
		t.Errorf("the rest: %d bytes, %v", n, err)
	}
}

// What is asked for in vain says so as package fs does.
func (g *fsGrid) testFSRefusals(t *testing.T) {
	f := g.fs(g.root.Cap)
	for _, c := range []struct {
		name string
		want error
	}{
		{"nothing", fs.ErrNotExist}, {"below/nothing", fs.ErrNotExist}, {"hello.txt/nothing", fs.ErrNotExist}, {"/below", fs.ErrInvalid}, {"below/", fs.ErrInvalid}, {"../below", fs.ErrInvalid}, {"", fs.ErrInvalid},
	} {
		_, opened := f.Open(c.name)
		_, stat := f.Stat(c.name)
		_, list := f.ReadDir(c.name)
		_, read := f.ReadFile(c.name)
		for what, err := range map[string]error{"open": opened, "stat": stat, "readdir": list, "read": read} {
			var path *fs.PathError
			if !errors.Is(err, c.want) || !errors.As(err, &path) || path.Path != c.name || path.Op != what {
				t.Errorf("%s %q: %v", what, c.name, err)
			}
		}
	}
	if _, err := f.ReadDir("hello.txt"); !errors.Is(err, tarn.ErrNotDirectory) {
		t.Errorf("listing a file: %v", err)
	}
	if _, err := f.ReadFile("below"); err == nil {
		t.Error("a directory was read as a file")
	}
	opened, err := f.Open("below/photos/large.jpg")
	if err != nil {
		t.Fatal(err)
	}
	opened.Close()
	if _, err := opened.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("reading what is closed: %v", err)
	}
	for _, c := range []struct {
		capability string
		want       error
	}{{"nonsense", tarn.ErrCap}, {g.log.Cap, tarn.ErrNotDirectory}, {"URI:DIR2-CHK-Verifier:" + strings.Repeat("a", 26) + ":" + strings.Repeat("a", 52) + ":2:3:100", tarn.ErrNotDirectory}} {
		if _, err := g.client.FS(t.Context(), c.capability); !errors.Is(err, c.want) {
			t.Errorf("FS of %s: %v", c.capability, err)
		}
	}
	if _, err := g.servers[0].FS(t.Context(), g.root.Cap); !errors.Is(err, tarn.ErrNoClient) {
		t.Errorf("FS of a server: %v", err)
	}
}

// A walk ends though a directory is inside of itself, and passes what can't be
// used.
func (g *fsGrid) testFSLoop(t *testing.T) {
	_, err := g.client.Link(t.Context(), g.below.Cap, []tarn.Link{{Name: "back", Cap: g.root.Cap}, {Name: "back-ro", Cap: g.root.ReadCap}, {Name: "self", Cap: g.below.Cap}, {Name: "new", Cap: "URI:NEW:x", ReadCap: "ro.URI:NEW-RO:x"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.client.EditDirectory(t.Context(), g.below.Cap, func(d *directory.Directory) error {
		return d.Set(tarn.Entry{Name: "a/b", Write: file.LIT{Data: "x"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	f := g.fs(g.root.Cap)
	var seen []string
	err = fs.WalkDir(f, ".", func(path string, e fs.DirEntry, err error) error {
		seen = append(seen, fs.FormatDirEntry(e))
		return err
	})
	want := "d ./, d below/, ? back, ? back-ro, ? new, d photos/, - café, - large.jpg, ? self, d empty/, - hello.txt, - log"
	if got := strings.Join(seen, ", "); got != want || err != nil {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
	for name, want := range map[string]error{"below/back": tarn.ErrLoop, "below/self": tarn.ErrLoop, "below/new": tarn.ErrBadEntry} {
		if _, err := f.Open(name); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := f.Stat(name); err != nil || info.Mode() != fs.ModeIrregular {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if _, err := f.ReadDir("below/back/below"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("through the loop: %v", err)
	}
}

// Many read at once, and more directories than are remembered.
func TestFSOfManyDirectories(t *testing.T) {
	g := newGrid(t, 1, file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 128 << 10})
	small := g.put([]byte("x")).Cap
	var dirs []tarn.Link
	for i := range 150 {
		name := strings.Repeat("n", i+1)
		d, err := g.client.StoreDirectory(t.Context(), tarn.PutOptions{}, tarn.Link{Name: name, Cap: small})
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, tarn.Link{Name: name, Cap: d.Cap})
	}
	top, err := g.client.StoreDirectory(t.Context(), tarn.PutOptions{}, dirs...)
	if err != nil {
		t.Fatal(err)
	}
	f, err := g.client.FS(t.Context(), top.Cap)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			found, err := fs.Glob(f, "*/*")
			if err != nil || len(found) != len(dirs) {
				t.Errorf("%d, %v", len(found), err)
			}
		})
	}
	all.Wait()
}
