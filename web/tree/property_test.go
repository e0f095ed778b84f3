package tree_test

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/internal/memnode"
	"github.com/tarn-grid/tarn/web/tree"
)

// model is a tree in a map: nil is a directory.
type model map[string]*string

func (m model) dir(p string) bool { c, ok := m[p]; return ok && c == nil }

func (m model) children(p string) (names []string) {
	for q := range m {
		if q != "/" && path.Dir(q) == p {
			names = append(names, path.Base(q))
		}
	}
	slices.Sort(names)
	return names
}

// below moves or removes what is at a path and below it.
func (m model) below(p, to string) {
	moved := model{}
	for q, c := range m {
		if q == p || strings.HasPrefix(q, p+"/") {
			delete(m, q)
			if to != "" {
				moved[to+strings.TrimPrefix(q, p)] = c
			}
		}
	}
	for q, c := range moved {
		m[q] = c
	}
}

func (m model) write(p, content string) error {
	switch {
	case m.dir(p):
		return tree.ErrDirectory
	case !m.dir(path.Dir(p)):
		return fs.ErrNotExist
	}
	m[p] = &content
	return nil
}

func (m model) mkdir(p string) error {
	if _, ok := m[p]; ok {
		return fs.ErrExist
	}
	if !m.dir(path.Dir(p)) {
		return fs.ErrNotExist
	}
	m[p] = nil
	return nil
}

func (m model) remove(p string, directory bool) error {
	_, there := m[p]
	switch {
	case !there:
		return fs.ErrNotExist
	case p == "/":
		return tree.ErrRoot
	case directory && !m.dir(p):
		return tree.ErrNotDirectory
	case !directory && m.dir(p):
		return tree.ErrDirectory
	case directory && len(m.children(p)) > 0:
		return tree.ErrNotEmpty
	}
	delete(m, p)
	return nil
}

func (m model) rename(from, to string, replace tarn.Replace) error {
	_, there := m[from]
	_, taken := m[to]
	switch {
	case !there, !taken && !m.dir(path.Dir(to)):
		return fs.ErrNotExist
	case from == "/", to == "/":
		return tree.ErrRoot
	case strings.HasPrefix(to, from+"/"):
		return tree.ErrInsideItself
	case from == to:
		return nil
	case taken && (replace == tarn.ReplaceNone || replace == tarn.ReplaceFiles && m.dir(to)):
		return fs.ErrExist
	}
	moved := model{}
	for q, c := range m {
		if q == from || strings.HasPrefix(q, from+"/") {
			moved[q] = c
		}
	}
	m.below(from, "")
	m.below(to, "")
	for q, c := range moved {
		m[to+strings.TrimPrefix(q, from)] = c
	}
	return nil
}

// Whatever is done to a tree, it is what a map says, and what can't be done is
// refused for the same reason.
func TestTreeIsLikeAMap(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		node := &memnode.Node{}
		root, err := node.MakeDirectory(t.Context(), tarn.MutableOptions{})
		if err != nil {
			t.Fatal(err)
		}
		tr, err := tree.New(node, dir).At(root.Cap)
		if err != nil {
			t.Fatal(err)
		}
		m := model{"/": nil}
		name := rapid.SampledFrom([]string{"a", "b", "ä"})
		paths := rapid.Custom(func(t *rapid.T) string {
			return "/" + strings.Join(rapid.SliceOfN(name, 0, 3).Draw(t, "names"), "/")
		})
		same := func(what string, got, want error) {
			if !errors.Is(got, want) || (got == nil) != (want == nil) {
				t.Fatalf("%s: %v, want %v; %v", what, got, want, m)
			}
		}
		// Contents differ: two files with one capability are one to a rename.
		written := 0
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				p := paths.Draw(t, "path")
				written++
				content := strings.Repeat("x", written)
				same("write "+p, write(t.Context(), tr, p, content), m.write(p, content))
			},
			"edit": func(t *rapid.T) {
				p := paths.Draw(t, "path")
				if m[p] == nil {
					return
				}
				offset := rapid.IntRange(0, 30).Draw(t, "offset")
				content := []byte(*m[p])
				content = append(content, make([]byte, max(0, offset+3-len(content)))...)
				copy(content[offset:], "edi")
				d, err := tr.Edit(t.Context(), p, false, false)
				if err == nil {
					_, err = d.WriteAt([]byte("edi"), int64(offset))
				}
				if err == nil {
					err = d.Close()
				}
				same("edit "+p, err, m.write(p, string(content)))
			},
			"mkdir": func(t *rapid.T) {
				p := paths.Draw(t, "path")
				same("mkdir "+p, tr.MakeDirectory(t.Context(), p), m.mkdir(p))
			},
			"remove": func(t *rapid.T) {
				p, directory := paths.Draw(t, "path"), rapid.Bool().Draw(t, "directory")
				same("remove "+p, tr.Remove(t.Context(), p, directory), m.remove(p, directory))
			},
			"rename": func(t *rapid.T) {
				from, to := paths.Draw(t, "from"), paths.Draw(t, "to")
				replace := rapid.SampledFrom([]tarn.Replace{tarn.ReplaceAny, tarn.ReplaceNone, tarn.ReplaceFiles}).Draw(t, "replace")
				if strings.HasPrefix(from, to+"/") {
					replace = tarn.ReplaceNone // what it is in would go
				}
				same("rename "+from+" "+to, tr.Rename(t.Context(), from, to, replace), m.rename(from, to, replace))
			},
			"": func(t *rapid.T) {
				for p, content := range m {
					i, err := tr.Stat(t.Context(), p)
					same("stat "+p, err, nil)
					if content == nil {
						list, err := tr.List(t.Context(), p)
						same("list "+p, err, nil)
						var names []string
						for _, one := range list {
							names = append(names, one.Name())
						}
						slices.Sort(names)
						if !slices.Equal(names, m.children(p)) || !i.IsDir() {
							t.Fatalf("%s has %q, want %q", p, names, m.children(p))
						}
						continue
					}
					got, err := read(t.Context(), tr, p)
					same("read "+p, err, nil)
					if got != *content || i.Size() != int64(len(got)) || time.Since(i.ModTime()) > time.Hour {
						t.Fatalf("%s: %q, %d bytes, want %q", p, got, i.Size(), *content)
					}
				}
			},
		})
	})
}

// A spool is like a slice of bytes, whatever is written where, over what was there.
func TestDraftIsLikeASlice(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		node := &memnode.Node{}
		root, err := node.MakeDirectory(t.Context(), tarn.MutableOptions{})
		if err != nil {
			t.Fatal(err)
		}
		tr, err := tree.New(node, dir).At(root.Cap)
		if err != nil {
			t.Fatal(err)
		}
		const most = 40 * 4096 // more than are written at a time
		size := rapid.IntRange(0, most).Draw(t, "size")
		want := []byte(strings.Repeat("what was there ", most/10)[:size])
		if err := write(t.Context(), tr, "/f", string(want)); err != nil {
			t.Fatal(err)
		}
		d, err := tr.Edit(t.Context(), "/f", false, false)
		if err != nil {
			t.Fatal(err)
		}
		around := rapid.OneOf(rapid.IntRange(0, most), rapid.Map(rapid.IntRange(0, 4*3), func(i int) int { return i/3*4096 + i%3 }))
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				p := []byte(strings.Repeat(string(rune('a'+rapid.IntRange(0, 25).Draw(t, "letter"))), around.Draw(t, "length")))
				offset := around.Draw(t, "offset")
				if n, err := d.WriteAt(p, int64(offset)); err != nil || n != len(p) {
					t.Fatal(n, err)
				}
				if len(p) > 0 {
					want = append(want, make([]byte, max(0, offset+len(p)-len(want)))...)
					copy(want[offset:], p)
				}
			},
			"truncate": func(t *rapid.T) {
				size := around.Draw(t, "size")
				if err := d.Truncate(int64(size)); err != nil {
					t.Fatal(err)
				}
				want = append(want, make([]byte, max(0, size-len(want)))...)[:size]
			},
			"": func(t *rapid.T) {
				got := make([]byte, len(want)+1)
				n, _ := d.ReadAt(got, 0)
				if string(got[:n]) != string(want) || d.Info().Size() != int64(len(want)) {
					t.Fatalf("%d bytes, want %d, or they differ", n, len(want))
				}
			},
		})
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := read(t.Context(), tr, "/f"); err != nil || got != string(want) {
			t.Fatalf("%d bytes, %v, want %d", len(got), err, len(want))
		}
	})
}
