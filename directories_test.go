package tarn_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
)

func names(l tarn.Listing) (list []string) {
	for _, e := range l.Entries {
		list = append(list, e.Name)
	}
	return list
}

func (g *testGrid) list(capability string) tarn.Listing {
	g.t.Helper()
	l, err := g.client.List(g.t.Context(), capability)
	if err != nil {
		g.t.Fatal(err)
	}
	return l
}

func literal(text string) string { return file.LIT{Data: text}.String() }

// A directory of either format is made, linked into, walked through, renamed in,
// and shown to who can only read it as that one may see it.
func TestDirectories(t *testing.T) {
	p := file.Params{Needed: 2, Happy: 3, Total: 4, SegmentSize: 128 << 10}
	g := newGrid(t, 4, p)
	n, ctx := g.client, t.Context()
	for _, format := range []tarn.Format{tarn.SDMF, tarn.MDMF} {
		sub, err := n.MakeDirectory(ctx, tarn.MutableOptions{Format: format}, tarn.Link{Name: "Zoë", Cap: literal("hello")})
		if err != nil {
			t.Fatal(err)
		}
		root, err := n.MakeDirectory(ctx, tarn.MutableOptions{Format: format})
		if err != nil {
			t.Fatal(err)
		}
		future := tarn.Link{Name: "future", Cap: "URI:FUTURE:w", ReadCap: "URI:FUTURE-RO:r"}
		children := []tarn.Link{{Name: "sub", Cap: sub.Cap, Metadata: `{"by":"me"}`}, {Name: "file", Cap: literal("text")}, future}
		if _, err := n.Link(ctx, root.Cap, children); err != nil {
			t.Fatal(err)
		}
		l := g.list(root.Cap)
		if !slices.Equal(names(l), []string{"file", "future", "sub"}) || !l.Writable || !l.Mutable || l.ReadCap != root.ReadCap {
			t.Errorf("%+v", l)
		}
		e, err := n.Lookup(ctx, root.Cap, "sub/Zoe\u0308")
		if err != nil || e.Capability().String() != literal("hello") {
			t.Errorf("lookup: %+v, %v", e, err)
		}
		e, err = n.Lookup(ctx, root.ReadCap, "/sub/")
		if err != nil || e.Write != nil || e.Read.String() != sub.ReadCap {
			t.Errorf("lookup by who can only read: %+v, %v", e, err)
		}
		if _, err := n.Link(ctx, root.Cap, []tarn.Link{{Name: "sub", Cap: literal("x"), Replace: tarn.ReplaceFiles}}); !errors.Is(err, tarn.ErrEntryExists) {
			t.Errorf("a file in the place of a directory: %v", err)
		}
		if err := n.Rename(ctx, root.Cap, "file", root.Cap, "renamed", tarn.ReplaceNone); err != nil {
			t.Error(err)
		}
		if err := n.Rename(ctx, root.Cap, "renamed", sub.Cap, "moved", tarn.ReplaceNone); err != nil {
			t.Error(err)
		}
		if err := n.Rename(ctx, root.Cap, "future", sub.Cap, "Zoë", tarn.ReplaceNone); !errors.Is(err, tarn.ErrEntryExists) {
			t.Errorf("renamed onto another: %v", err)
		}
		if got := names(g.list(sub.Cap)); !slices.Equal(got, []string{"Zoë", "moved"}) {
			t.Errorf("the directory below holds %q", got)
		}
		was, err := n.Unlink(ctx, root.Cap, "sub")
		if err != nil || was.Capability().String() != sub.Cap {
			t.Errorf("unlinked %+v, %v", was, err)
		}
		if _, err := n.Unlink(ctx, root.Cap, "sub"); !errors.Is(err, tarn.ErrNoEntry) {
			t.Errorf("unlinked twice: %v", err)
		}
		if _, err := n.Overwrite(ctx, root.Cap, strings.NewReader("x")); !errors.Is(err, tarn.ErrCap) {
			t.Errorf("a directory was overwritten as a file: %v", err)
		}
		l = g.list(root.Cap)
		if e, ok := l.Entry("future"); len(l.Entries) != 1 || !ok || e.Write.String() != future.Cap || e.Read.String() != "ro."+future.ReadCap {
			t.Errorf("%+v", l.Entries)
		}
		if _, err := n.Link(ctx, root.ReadCap, children); !errors.Is(err, tarn.ErrReadOnly) {
			t.Errorf("linked by who can only read: %v", err)
		}
	}
}

// An immutable directory holds nothing that can change.
func TestImmutableDirectories(t *testing.T) {
	g := newGrid(t, 3, file.Params{Needed: 2, Happy: 2, Total: 3, SegmentSize: 128 << 10})
	n, ctx := g.client, t.Context()
	for _, count := range []int{0, 1, 50} {
		var children []tarn.Link
		for i := range count {
			children = append(children, tarn.Link{Name: fmt.Sprintf("child %02d", i), Cap: literal("text")})
		}
		made, err := n.StoreDirectory(ctx, tarn.PutOptions{}, children...)
		if err != nil {
			t.Fatal(err)
		}
		if l := g.list(made.Cap); len(l.Entries) != count || l.Mutable || l.Writable {
			t.Errorf("%+v", l)
		}
		if again, err := n.StoreDirectory(ctx, tarn.PutOptions{}, children...); err != nil || again.Cap != made.Cap {
			t.Errorf("the same children are %s and %s, %v", made.Cap, again.Cap, err)
		}
		if _, err := n.Unlink(ctx, made.Cap, "child 00"); !errors.Is(err, tarn.ErrReadOnly) {
			t.Errorf("changed: %v", err)
		}
	}
	dir, err := n.MakeDirectory(ctx, tarn.MutableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.StoreDirectory(ctx, tarn.PutOptions{}, tarn.Link{Name: "x", Cap: dir.Cap}); !errors.Is(err, tarn.ErrBadEntry) {
		t.Errorf("an immutable directory with a child that changes: %v", err)
	}
	if _, err := n.List(ctx, literal("x")); !errors.Is(err, tarn.ErrNotDirectory) {
		t.Errorf("list of a file: %v", err)
	}
}

// What two link into one directory at the same time is all there.
func TestTwoWritersOfADirectory(t *testing.T) {
	p := file.Params{Needed: 2, Happy: 3, Total: 4, SegmentSize: 128 << 10}
	g := newGrid(t, 4, p)
	other := g.secondClient(p)
	dir, err := g.client.MakeDirectory(t.Context(), tarn.MutableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const each = 30
	var writers sync.WaitGroup
	for i, n := range []*tarn.Node{g.client, other, other} {
		writers.Go(func() {
			for k := range each {
				child := tarn.Link{Name: fmt.Sprintf("%d of %d", k, i), Cap: literal("x"), Replace: tarn.ReplaceNone}
				if _, err := n.Link(t.Context(), dir.Cap, []tarn.Link{child}); err != nil {
					t.Errorf("writer %d: %v", i, err)
				}
			}
		})
	}
	writers.Wait()
	if l := g.list(dir.Cap); len(l.Entries) != 3*each {
		t.Errorf("%d entries, want %d", len(l.Entries), 3*each)
	}
}

// What a node remembers of a directory is never its answer: what others have linked
// and unlinked meanwhile counts.
func TestDirectoryOfOthers(t *testing.T) {
	p := file.Params{Needed: 2, Happy: 3, Total: 4, SegmentSize: 128 << 10}
	g := newGrid(t, 4, p)
	other := g.secondClient(p)
	dir, err := g.client.MakeDirectory(t.Context(), tarn.MutableOptions{}, tarn.Link{Name: "first", Cap: literal("x")})
	if err != nil {
		t.Fatal(err)
	}
	link := func(n *tarn.Node, name string) error {
		_, err := n.Link(t.Context(), dir.Cap, []tarn.Link{{Name: name, Cap: literal(name), Replace: tarn.ReplaceNone}})
		return err
	}
	unlink := func(n *tarn.Node, name string) error {
		_, err := n.Unlink(t.Context(), dir.Cap, name)
		return err
	}
	if err := errors.Join(link(g.client, "mine"), link(other, "theirs"), unlink(g.client, "theirs"), unlink(other, "mine"), link(g.client, "mine")); err != nil {
		t.Error(err)
	}
	if got := names(g.list(dir.Cap)); !slices.Equal(got, []string{"first", "mine"}) {
		t.Errorf("it holds %q", got)
	}
}

// BenchmarkLargeDirectory edits a directory of 10,000 entries.
func BenchmarkLargeDirectory(b *testing.B) {
	g := newGrid(b, 4, file.Params{Needed: 2, Happy: 3, Total: 4, SegmentSize: 128 << 10})
	child, err := g.client.MakeDirectory(b.Context(), tarn.MutableOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var children []tarn.Link
	for i := range 10_000 {
		children = append(children, tarn.Link{Name: fmt.Sprintf("a child with the number %d", i), Cap: child.Cap})
	}
	dir, err := g.client.MakeDirectory(b.Context(), tarn.MutableOptions{}, children...)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("link", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := g.client.Link(b.Context(), dir.Cap, []tarn.Link{{Name: fmt.Sprintf("another %d", i), Cap: child.Cap}}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			if _, err := g.client.List(b.Context(), dir.Cap); err != nil {
				b.Fatal(err)
			}
		}
	})
}
