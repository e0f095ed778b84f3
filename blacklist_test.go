package tarn_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
)

func (g *testGrid) blacklist() string { return filepath.Join(g.folder, "access.blacklist") }

// prohibit writes the client's list, at another moment than any before, though the clock
// may say that it is the same one.
func (g *testGrid) prohibit(text string) {
	g.t.Helper()
	if err := os.WriteFile(g.blacklist(), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	later := time.Now().Add(time.Duration(len(text)) * time.Second)
	if err := os.Chtimes(g.blacklist(), later, later); err != nil {
		g.t.Fatal(err)
	}
}

// What access.blacklist has is not given out, nor written, from the moment on at which it
// is written there, and is again when it is taken out. It can be checked all the same.
func TestBlacklist(t *testing.T) {
	g := newGrid(t, 1, file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 1 << 20})
	n := g.client
	put, other := g.put(random(1000)), g.put(random(1000))
	changing := g.createMutable([]byte("changing"), tarn.MutableOptions{})
	dir, err := n.MakeDirectory(t.Context(), tarn.MutableOptions{}, tarn.Link{Name: "child", Cap: put.Cap})
	if err != nil {
		t.Fatal(err)
	}
	shown, err := n.FS(t.Context(), dir.Cap)
	if err != nil {
		t.Fatal(err)
	}
	uses := map[string]func() error{
		"open": func() error {
			f, err := n.Open(t.Context(), put.Cap)
			if err == nil {
				err = f.Close()
			}
			return err
		},
		"open what changes": func() error {
			f, err := n.Open(t.Context(), changing.ReadCap)
			if err == nil {
				err = f.Close()
			}
			return err
		},
		"read":      func() error { _, _, err := n.ReadMutable(t.Context(), changing.Cap); return err },
		"overwrite": func() error { _, err := n.Overwrite(t.Context(), changing.Cap, strings.NewReader("x")); return err },
		"append":    func() error { _, err := n.Append(t.Context(), changing.Cap, strings.NewReader("x")); return err },
		"list":      func() error { _, err := n.List(t.Context(), dir.ReadCap); return err },
		"look up":   func() error { _, err := n.Lookup(t.Context(), dir.Cap, "child"); return err },
		"edit": func() error {
			_, err := n.EditDirectory(t.Context(), dir.Cap, func(*directory.Directory) error { return nil })
			return err
		},
		"file system": func() error { _, err := fs.ReadDir(shown, "."); return err },
	}
	try := func(when string, want error) {
		t.Helper()
		for name, use := range uses {
			if err := use(); !errors.Is(err, want) || want != nil && !strings.Contains(err.Error(), "access prohibited: my puppy told me to") {
				t.Errorf("%s, %s: %v", when, name, err)
			}
		}
	}
	var listed strings.Builder
	listed.WriteString("# what we must not show\n\nnonsense\n")
	for _, c := range []string{put.Cap, changing.Cap, dir.Cap} {
		parsed, err := file.Parse(c)
		if err != nil {
			t.Fatal(err)
		}
		index, _ := file.StorageIndexOf(parsed)
		listed.WriteString("  " + index.String() + "\t my puppy   told me to\n")
	}
	try("before", nil)
	g.prohibit(listed.String())
	try("listed", tarn.ErrProhibited)
	if got := g.get(other.Cap); len(got) != 1000 {
		t.Errorf("another file: %d bytes", len(got))
	}
	for _, c := range []string{put.Cap, changing.Cap} {
		if r, err := n.Check(t.Context(), c, tarn.CheckOptions{Verify: true}); err != nil || !r.Healthy() {
			t.Errorf("checked: %+v, %v", r, err)
		}
	}
	g.prohibit("# nothing\n")
	try("not listed any more", nil)
	g.prohibit(listed.String())
	try("again", tarn.ErrProhibited)
	if err := os.Remove(g.blacklist()); err != nil {
		t.Fatal(err)
	}
	try("without a list", nil)
}

// A list that can't be read may have anything.
func TestUnreadableBlacklist(t *testing.T) {
	g := newGrid(t, 1, file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 1 << 20})
	n, put := g.client, g.put(random(1000))
	if err := os.Mkdir(g.blacklist(), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Open(t.Context(), put.Cap); !errors.Is(err, tarn.ErrProhibited) {
		t.Errorf("a list that is a folder: %v", err)
	}
	if err := os.Remove(g.blacklist()); err != nil {
		t.Fatal(err)
	}
	g.prohibit(strings.Repeat("#", 17<<20))
	if _, err := n.Open(t.Context(), put.Cap); !errors.Is(err, tarn.ErrProhibited) {
		t.Errorf("a list of 17 MiB: %v", err)
	}
	if f, err := n.Open(t.Context(), "URI:LIT:krugkidfnzsc4"); err != nil {
		t.Errorf("what lies in its capability: %v, %v", f, err)
	}
}
