package control_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/internal/memnode"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// TestObjectsByPath: a listing, and a file through a directory; what a path does
// not lead to is the same error as in the node.
func TestObjectsByPath(t *testing.T) {
	node := &memnode.Node{}
	c := start(t, node, t.TempDir())
	put, err := c.Put(t.Context(), bytes.NewReader(content), tarn.PutOptions{Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := file.Parse(put.Cap)
	if err != nil {
		t.Fatal(err)
	}
	d, err := directory.New(file.Directory{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Set(directory.Entry{Name: "ä/b", Read: stored}); err != nil {
		t.Fatal(err)
	}
	made, err := node.PutDirectory(t.Context(), d, tarn.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	listing, text, err := c.Object(t.Context(), made.Cap)
	if err != nil || listing.Kind != tahoe.Directory || listing.Children["ä/b"].Read != put.Cap || !strings.Contains(string(text), `"dirnode"`) {
		t.Errorf("%+v, %v", listing, err)
	}
	object, _, err := c.Object(t.Context(), made.Cap, "ä/b")
	if err != nil || object.Kind != tahoe.File || *object.Size != int64(len(content)) {
		t.Errorf("%+v, %v", object, err)
	}
	get, err := c.Get(t.Context(), made.Cap, 4, 5, "ä/b")
	if err != nil {
		t.Fatal(err)
	}
	defer get.Close()
	var out bytes.Buffer
	if _, err := get.WriteTo(&out); err != nil || out.String() != "quick" {
		t.Errorf("read %q, %v", &out, err)
	}
	damaged := file.Directory{File: file.LIT{Data: "x"}}.String()
	for _, c2 := range []struct {
		capability, name string
		want             error
	}{
		{made.Cap, "none", tarn.ErrNoEntry}, {put.Cap, "x", tarn.ErrNotDirectory}, {damaged, "x", directory.ErrDirectory},
		{"hello", "x", tarn.ErrCap}, {"", "", tarn.ErrCap},
	} {
		if _, _, err := c.Object(t.Context(), c2.capability, c2.name); !errors.Is(err, c2.want) {
			t.Errorf("%q in a %.12q: %v", c2.name, c2.capability, err)
		}
		if _, err := c.Get(t.Context(), c2.capability, 0, -1, c2.name); !errors.Is(err, c2.want) {
			t.Errorf("get %q in a %.12q: %v", c2.name, c2.capability, err)
		}
	}
	if _, err := c.Get(t.Context(), made.Cap, 0, -1); !errors.Is(err, tarn.ErrCap) {
		t.Errorf("a directory read as a file: %v", err)
	}
}

// TestChangesOfDirectories: what commands do with directories arrives as it was
// meant, and what fails is the same error as in the node.
func TestChangesOfDirectories(t *testing.T) {
	c := start(t, &memnode.Node{}, t.TempDir())
	root, err := c.NewDirectory(t.Context(), tarn.SDMF, control.Child{Name: "a", Cap: "URI:LIT:pa", Metadata: []byte(`{"mine": 1}`)})
	if err != nil {
		t.Fatal(err)
	}
	at := func(path ...string) control.Place { return control.Place{Cap: root, Path: path} }
	names := func(path ...string) string {
		t.Helper()
		o, _, err := c.Object(t.Context(), root, path...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(slices.Sorted(maps.Keys(o.Children)), " ")
	}
	if o, _, err := c.Object(t.Context(), root, "a"); err != nil || !strings.Contains(string(o.Metadata), `"mine"`) {
		t.Errorf("%+v, %v", o, err)
	}
	made, err := c.EnsureDirectory(t.Context(), at("b", "c"), tarn.MDMF)
	if err != nil || !strings.HasPrefix(made, "URI:DIR2-MDMF:") {
		t.Errorf("made %s, %v", made, err)
	}
	if again, err := c.EnsureDirectory(t.Context(), at("b", "c"), ""); err != nil || again != made {
		t.Errorf("made again: %s, %v", again, err)
	}
	if err := c.Link(t.Context(), at("b", "d"), tarn.ReplaceNone, control.Child{Name: "x", Cap: "URI:LIT:pi"}, control.Child{Name: "y", Cap: "URI:LIT:pe"}); err != nil {
		t.Error(err)
	}
	if err := c.Rename(t.Context(), at("b", "d", "x"), at("z", "new"), tarn.ReplaceAny); err != nil {
		t.Error(err)
	}
	if was, err := c.Unlink(t.Context(), at("b", "d", "y")); err != nil || was != "URI:LIT:pe" {
		t.Errorf("unlinked %s, %v", was, err)
	}
	if got := names() + ", " + names("b") + ", " + names("b", "d") + ", " + names("z"); got != "a b z, c d, , new" {
		t.Errorf("there are %s", got)
	}
	for name, c2 := range map[string]struct {
		err, want error
	}{
		"link in the way":     {c.Link(t.Context(), at("z"), tarn.ReplaceNone, control.Child{Name: "new", Cap: "URI:LIT:pa"}), tarn.ErrEntryExists},
		"link below a file":   {c.Link(t.Context(), at("a", "x"), tarn.ReplaceAny, control.Child{Name: "new", Cap: "URI:LIT:pa"}), tarn.ErrNotDirectory},
		"link of nothing":     {c.Link(t.Context(), at(), tarn.ReplaceAny, control.Child{Name: "new", Cap: "hello"}), tarn.ErrCap},
		"rename of nothing":   {c.Rename(t.Context(), at("none"), at("x"), tarn.ReplaceAny), tarn.ErrNoEntry},
		"into itself":         {c.Rename(t.Context(), at("b"), at("b", "b"), tarn.ReplaceAny), tarn.ErrInsideItself},
		"far into itself":     {c.Rename(t.Context(), at("b"), at("b", "d", "new", "b"), tarn.ReplaceAny), tarn.ErrInsideItself},
		"rename of the root":  {c.Rename(t.Context(), at(), at("x"), tarn.ReplaceAny), control.ErrPlace},
		"rename to the root":  {c.Rename(t.Context(), at("a"), at(), tarn.ReplaceAny), control.ErrPlace},
		"into what is fixed":  {c.Link(t.Context(), control.Place{Cap: "URI:DIR2-LIT:"}, tarn.ReplaceAny, control.Child{Name: "x", Cap: "URI:LIT:"}), tarn.ErrReadOnly},
		"through what is not": {c.Link(t.Context(), control.Place{Cap: "hello"}, tarn.ReplaceAny), tarn.ErrCap},
	} {
		if !errors.Is(c2.err, c2.want) {
			t.Errorf("%s: %v", name, c2.err)
		}
	}
}
