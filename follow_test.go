package tarn_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/file/tagged"
)

// shelf is directories in memory.
type shelf map[file.Directory]*directory.Directory

func (s shelf) ReadDirectory(_ context.Context, c file.Directory, _ ...tarn.Option) (*directory.Directory, error) {
	d, ok := s[c]
	if !ok {
		return nil, fmt.Errorf("%w: it is gone", tarn.ErrNotEnoughShares)
	}
	return d, nil
}

// add puts a directory there that can be written, with children by name.
func (s shelf) add(t *testing.T, key byte, children map[string]file.Capability) file.Directory {
	t.Helper()
	c := file.NewMutable(false, file.WriteKey{key}, tagged.Hash{key}).Directory()
	d, err := directory.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, child := range children {
		if err := d.Set(directory.Entry{Name: name, Write: child}); err != nil {
			t.Fatal(err)
		}
	}
	s[c] = d
	return c
}

func stored(key byte, size int64) file.CHK {
	return file.CHK{Key: file.Key{key}, UEBHash: tagged.Hash{key}, Needed: 3, Total: 10, Size: size}
}

func TestFollow(t *testing.T) {
	s := shelf{}
	gone := file.NewMutable(false, file.WriteKey{9}, tagged.Hash{9}).Directory()
	below := s.add(t, 2, map[string]file.Capability{"file": stored(7, 10)})
	root := s.add(t, 1, map[string]file.Capability{"below": below, "gone": gone, "a/b": file.LIT{Data: "x"}, "é": file.LIT{}})
	for _, c := range []struct {
		path  []string
		links int
		err   error
		what  file.Capability
	}{
		{nil, 1, nil, root},
		{[]string{"below"}, 2, nil, below},
		{[]string{"below", "file"}, 3, nil, stored(7, 10)},
		{[]string{"a/b"}, 2, nil, file.LIT{Data: "x"}},
		{[]string{"e\u0301"}, 2, nil, file.LIT{}},
		{[]string{"none"}, 1, tarn.ErrNoEntry, root},
		{[]string{""}, 1, tarn.ErrNoEntry, root},
		{[]string{"none", "file"}, 1, tarn.ErrNoEntry, root},
		{[]string{"below", "file", "more"}, 3, tarn.ErrNotDirectory, stored(7, 10)},
		{[]string{"gone", "file"}, 2, tarn.ErrNotEnoughShares, gone},
	} {
		links, err := tarn.Follow(t.Context(), s, root, c.path)
		if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || len(links) != c.links {
			t.Errorf("%q: %d links, %v", c.path, len(links), err)
			continue
		}
		if last := links[len(links)-1]; last.Capability() != c.what {
			t.Errorf("%q leads to %s", c.path, last.Capability().Kind())
		}
	}
	links, err := tarn.Follow(t.Context(), s, root, []string{"below", "file"})
	if err != nil {
		t.Fatal(err)
	}
	if links[0].Parent.File != nil || links[1].Parent != root || links[2].Parent != below || links[2].Name != "file" {
		t.Errorf("parents: %+v", links)
	}
}

func walk(t *testing.T, s shelf, from file.Capability) (lines []string, stats tarn.DeepStats, err error) {
	t.Helper()
	err = tarn.Walk(t.Context(), s, tarn.FoundOf(from), tarn.Walker{
		Visit: func(v tarn.Visited) error {
			lines = append(lines, strings.Join(v.Path, "/")+" "+string(v.Capability().Kind()))
			return stats.Visit(v)
		},
		Enter: stats.Enter,
	})
	stats.Done()
	return lines, stats, err
}

// TestWalk: files come before directories, what is met again is passed over,
// and a loop ends.
func TestWalk(t *testing.T) {
	s := shelf{}
	rootCap := file.NewMutable(false, file.WriteKey{1}, tagged.Hash{1}).Directory()
	b := s.add(t, 3, map[string]file.Capability{"deep": stored(5, 1000), "again": stored(4, 20)})
	a := s.add(t, 2, map[string]file.Capability{"up": rootCap, "b": b, "lit": file.LIT{Data: "abc"}, "m": file.NewMutable(true, file.WriteKey{8}, tagged.Hash{8})})
	s.add(t, 1, map[string]file.Capability{
		"a": a, "b": b, "f": stored(4, 20), "lit": file.LIT{Data: "abc"}, "x": file.Unknown{Text: "ro.URI:NEW:x"},
	})
	lines, stats, err := walk(t, s, rootCap)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		" DIR2", "f CHK", "lit LIT", "x NEW", "a DIR2", "a/lit LIT", "a/m MDMF", "b DIR2", "b/deep CHK",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("walked %q\nwant %q", lines, want)
	}
	if stats.Files != 5 || stats.Directories != 3 || stats.ImmutableFiles != 2 || stats.LiteralFiles != 2 || stats.MutableFiles != 1 ||
		stats.Unknown != 1 || stats.SizeImmutableFiles != 1020 || stats.SizeLiteralFiles != 6 || stats.LargestImmutableFile != 1000 ||
		stats.LargestDirectoryChildren != 5 || stats.SizeDirectories != s[rootCap].Size()+s[a].Size()+s[b].Size() || stats.LargestDirectory != max(s[rootCap].Size(), s[a].Size()) {
		t.Errorf("%+v", stats)
	}
	if !slices.Equal(stats.Histogram, [][3]int64{{1, 3, 2}, {11, 31, 1}, {317, 1000, 1}}) {
		t.Errorf("histogram %v", stats.Histogram)
	}
}

func TestWalkEndsWhereADirectoryIsGone(t *testing.T) {
	s := shelf{}
	gone := file.NewMutable(false, file.WriteKey{9}, tagged.Hash{9}).Directory()
	root := s.add(t, 1, map[string]file.Capability{"f": stored(4, 20), "gone": gone, "then": s.add(t, 2, nil)})
	lines, _, err := walk(t, s, root)
	if !errors.Is(err, tarn.ErrNotEnoughShares) || !strings.Contains(err.Error(), `"gone"`) {
		t.Errorf("%v", err)
	}
	if !slices.Equal(lines, []string{" DIR2", "f CHK", "gone DIR2"}) {
		t.Errorf("walked %q", lines)
	}
}

// Who takes a directory that can't be read gets the rest; that the walk is to end
// is no fault of the directory.
func TestWalkGoesOn(t *testing.T) {
	s := shelf{}
	gone := file.NewMutable(false, file.WriteKey{9}, tagged.Hash{9}).Directory()
	root := s.add(t, 1, map[string]file.Capability{"gone": gone, "then": s.add(t, 2, map[string]file.Capability{"f": stored(4, 20)})})
	var lines []string
	w := tarn.Walker{
		Visit: func(v tarn.Visited) error { lines = append(lines, strings.Join(v.Path, "/")); return nil },
		Unread: func(v tarn.Visited, err error) error {
			lines = append(lines, "unread "+v.Path[0]+" "+err.Error())
			return nil
		},
	}
	err := tarn.Walk(t.Context(), s, tarn.FoundOf(root), w)
	if want := []string{"", "gone", `unread gone read "gone": not enough good shares: it is gone`, "then", "then/f"}; err != nil || !slices.Equal(lines, want) {
		t.Errorf("walked %q, %v", lines, err)
	}
	lines = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tarn.Walk(ctx, s, tarn.FoundOf(gone), w); !errors.Is(err, tarn.ErrNotEnoughShares) || !slices.Equal(lines, []string{""}) {
		t.Errorf("after its end: walked %q, %v", lines, err)
	}
}

func TestWalkOfAFile(t *testing.T) {
	lines, stats, err := walk(t, shelf{}, stored(1, 400))
	if err != nil || !slices.Equal(lines, []string{" CHK"}) || stats.Histogram[0] != [3]int64{317, 1000, 1} {
		t.Errorf("%q, %+v, %v", lines, stats, err)
	}
}

// TestDirectoriesAsTheyAre stores one large and one in its capability, and
// reads both back.
func TestDirectoriesAsTheyAre(t *testing.T) {
	g := newGrid(t, 1, file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 1 << 20})
	for _, entries := range []int{0, 1, 200} {
		d, err := directory.New(file.Directory{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range entries {
			if err := d.Set(directory.Entry{Name: fmt.Sprint(i), Read: file.LIT{Data: fmt.Sprint("content ", i)}}); err != nil {
				t.Fatal(err)
			}
		}
		result, err := g.client.PutDirectory(t.Context(), d, tarn.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := file.Parse(result.Cap)
		if err != nil {
			t.Fatal(err)
		}
		back, err := g.client.ReadDirectory(t.Context(), c.(file.Directory))
		if err != nil {
			t.Fatal(err)
		}
		want, _ := d.Encode()
		if got, _ := back.Encode(); !bytes.Equal(got, want) || back.Len() != entries {
			t.Errorf("%d entries came back as %d", entries, back.Len())
		}
	}
	if _, err := g.client.ReadDirectory(t.Context(), file.Directory{File: file.LIT{Data: "no directory"}}); !errors.Is(err, directory.ErrDirectory) {
		t.Errorf("a text that is no directory: %v", err)
	}
}
