package tree_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/web/internal/memnode"
	"github.com/tarn-grid/tarn/web/tree"
)

var _ tree.Node = (*tarn.Node)(nil)

// planted is a tree over a node in memory.
type planted struct {
	*tree.Tree
	t     *testing.T
	node  *memnode.Node
	trees *tree.Trees
	root  tarn.MutableResult
}

func plant(t *testing.T, children ...tarn.Link) planted {
	t.Helper()
	node := &memnode.Node{}
	root, err := node.MakeDirectory(t.Context(), tarn.MutableOptions{}, children...)
	if err != nil {
		t.Fatal(err)
	}
	trees := tree.New(node, t.TempDir())
	return planted{at(t, trees, root.Cap), t, node, trees, root}
}

func at(t *testing.T, trees *tree.Trees, capability string) *tree.Tree {
	t.Helper()
	tr, err := trees.At(capability)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func (p planted) write(path, content string) {
	p.t.Helper()
	if err := write(p.t.Context(), p.Tree, path, content); err != nil {
		p.t.Fatal(err)
	}
}

func write(ctx context.Context, tr *tree.Tree, path, content string) error {
	u, err := tr.Create(ctx, path, false)
	if err != nil {
		return err
	}
	if _, err := u.ReadFrom(strings.NewReader(content)); err != nil {
		return err
	}
	return u.Close()
}

func read(ctx context.Context, tr *tree.Tree, path string) (string, error) {
	f, err := tr.Open(ctx, path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	return string(content), err
}

func (p planted) want(path, content string) {
	p.t.Helper()
	got, err := read(p.t.Context(), p.Tree, path)
	if err != nil || got != content {
		p.t.Errorf("%s has %q, %v; want %q", path, got, err, content)
	}
}

func (p planted) names(path string) string {
	p.t.Helper()
	list, err := p.List(p.t.Context(), path)
	if err != nil {
		p.t.Fatal(err)
	}
	var names []string
	for _, i := range list {
		names = append(names, i.Name())
	}
	return strings.Join(names, " ")
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
	if err != nil && strings.Contains(err.Error(), "URI:") {
		t.Errorf("%s: a capability is in the error: %v", what, err)
	}
}

var long = strings.Repeat("a file that does not lie in its capability. ", 10)

// Files and directories are made, found, moved and removed.
func TestTree(t *testing.T) {
	p, ctx := plant(t), t.Context()
	for _, dir := range []string{"/a", "/a/b", "/empty"} {
		if err := p.MakeDirectory(ctx, dir); err != nil {
			t.Fatal(err)
		}
	}
	p.write("/a/b/Zoe\u0308", long)
	p.want("/a/b/Zoë", long)
	p.write("/a/b/Zoë", "short")
	p.want("a//b/./Zoë", "short")
	if got := p.names("/"); got != "a empty" {
		t.Errorf("the top has %s", got)
	}
	if err := p.Rename(ctx, "/a/b/Zoë", "/a/Zoë", tarn.ReplaceNone); err != nil {
		t.Error(err)
	}
	if err := p.Rename(ctx, "/a/Zoë", "/a/Anna", tarn.ReplaceNone); err != nil {
		t.Error(err)
	}
	if got := p.names("/a") + ", " + p.names("/a/b"); got != "Anna b, " {
		t.Errorf("after moves: %s", got)
	}
	if err := p.Remove(ctx, "/empty", true); err != nil {
		t.Error(err)
	}
	if err := p.RemoveAll(ctx, "/a"); err != nil {
		t.Error(err)
	}
	if got := p.names("/"); got != "" {
		t.Errorf("at last there is %s", got)
	}
}

// What can't be done says why, changes nothing, and tells no capability.
func TestRefusals(t *testing.T) {
	node := &memnode.Node{}
	mutable, err := node.CreateMutable(t.Context(), strings.NewReader("mutable"), tarn.MutableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, ctx := plant(t), t.Context()
	p.node = node
	children := []tarn.Link{
		{Name: "file", Cap: file.LIT{Data: "text"}.String()},
		{Name: "fixed", Cap: mutable.ReadCap},
		{Name: "future", Cap: "imm.URI:FUTURE:x"},
	}
	root, err := node.MakeDirectory(ctx, tarn.MutableOptions{}, children...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.EditDirectory(ctx, root.Cap, func(d *directory.Directory) error {
		return d.Set(directory.Entry{Name: "a/b", Read: file.LIT{Data: "can't be named"}})
	}); err != nil {
		t.Fatal(err)
	}
	p.trees = tree.New(node, t.TempDir())
	p.Tree = at(t, p.trees, root.Cap)
	if err := p.MakeDirectory(ctx, "/dir"); err != nil {
		t.Fatal(err)
	}
	p.write("/dir/child", "x")
	before := p.names("/")
	if before != "dir file fixed future" {
		t.Errorf("there is %s", before)
	}

	create := func(path string, isNew bool) error { _, err := p.Create(ctx, path, isNew); return err }
	open := func(path string) error { _, err := p.Open(ctx, path); return err }
	stat := func(path string) error { _, err := p.Stat(ctx, path); return err }
	list := func(path string) error { _, err := p.List(ctx, path); return err }
	wantErr(t, "a name that is not text", create("/\xff", false), tree.ErrName)
	wantErr(t, "a name that is too long", create("/"+strings.Repeat("n", 1025), false), tree.ErrName)
	wantErr(t, "a path that is too deep", stat(strings.Repeat("/d", 101)), tree.ErrName)
	wantErr(t, "stat of nothing", stat("/nothing"), fs.ErrNotExist)
	wantErr(t, "stat below a file", stat("/file/x"), fs.ErrNotExist)
	wantErr(t, "list of a file", list("/file"), tree.ErrNotDirectory)
	wantErr(t, "open of a directory", open("/dir"), tree.ErrDirectory)
	wantErr(t, "open of a kind that is not known", open("/future"), tree.ErrUnknown)
	wantErr(t, "write onto a directory", create("/dir", false), tree.ErrDirectory)
	wantErr(t, "write onto the top", create("/", false), tree.ErrDirectory)
	wantErr(t, "write onto what must be new", create("/file", true), fs.ErrExist)
	wantErr(t, "write onto what is not known", create("/future", false), tree.ErrUnknown)
	wantErr(t, "write of a mutable file that can only be read", create("/fixed", false), fs.ErrPermission)
	wantErr(t, "write without a directory", create("/nothing/x", false), fs.ErrNotExist)
	wantErr(t, "make a directory that is there", p.MakeDirectory(ctx, "/file"), fs.ErrExist)
	wantErr(t, "make a directory in nothing", p.MakeDirectory(ctx, "/nothing/x"), fs.ErrNotExist)
	wantErr(t, "remove the top", p.RemoveAll(ctx, "/"), tree.ErrRoot)
	wantErr(t, "remove a directory with something in it", p.Remove(ctx, "/dir", true), tree.ErrNotEmpty)
	wantErr(t, "remove a directory as a file", p.Remove(ctx, "/dir", false), tree.ErrDirectory)
	wantErr(t, "remove a file as a directory", p.Remove(ctx, "/file", true), tree.ErrNotDirectory)
	wantErr(t, "move into itself", p.Rename(ctx, "/dir", "/dir/sub", tarn.ReplaceAny), tree.ErrInsideItself)
	wantErr(t, "move onto another", p.Rename(ctx, "/file", "/fixed", tarn.ReplaceNone), fs.ErrExist)
	wantErr(t, "move onto a directory", p.Rename(ctx, "/file", "/dir", tarn.ReplaceFiles), fs.ErrExist)
	wantErr(t, "move of nothing", p.Rename(ctx, "/nothing", "/x", tarn.ReplaceAny), fs.ErrNotExist)
	wantErr(t, "move of the top", p.Rename(ctx, "/", "/x", tarn.ReplaceAny), tree.ErrRoot)

	reader := at(t, p.trees, root.ReadCap)
	wantErr(t, "reader: write", write(ctx, reader, "/new", "x"), fs.ErrPermission)
	wantErr(t, "reader: write below", write(ctx, reader, "/dir/new", "x"), fs.ErrPermission)
	wantErr(t, "reader: replace", write(ctx, reader, "/file", "x"), fs.ErrPermission)
	wantErr(t, "reader: make a directory", reader.MakeDirectory(ctx, "/new"), fs.ErrPermission)
	wantErr(t, "reader: remove", reader.RemoveAll(ctx, "/dir"), fs.ErrPermission)
	wantErr(t, "reader: rename", reader.Rename(ctx, "/file", "/x", tarn.ReplaceAny), fs.ErrPermission)
	wantErr(t, "reader: time", reader.SetModified(ctx, "/file", time.Unix(1, 0)), fs.ErrPermission)

	if after := p.names("/"); after != before || p.names("/dir") != "child" {
		t.Errorf("there is %s, was %s", after, before)
	}
	for _, text := range []string{file.LIT{Data: "x"}.String(), "URI:DIR2-Verifier:" + strings.TrimPrefix(mutable.ReadCap, "URI:SSK-RO:"), "x"} {
		if _, err := p.trees.At(text); err == nil || strings.Contains(err.Error(), text) && text != "x" {
			t.Errorf("a tree below no directory: %v", err)
		}
	}
}

// A directory that has two names is not moved into itself by the other one.
func TestMoveByAnotherName(t *testing.T) {
	p, ctx := plant(t), t.Context()
	names := []tarn.Link{{Name: "up", Cap: p.root.Cap}, {Name: "same", Cap: p.root.Cap}}
	outer, err := p.node.MakeDirectory(ctx, tarn.MutableOptions{}, names...)
	if err != nil {
		t.Fatal(err)
	}
	tr := at(t, p.trees, outer.Cap)
	wantErr(t, "by another name", tr.Rename(ctx, "/up", "/same/x", tarn.ReplaceAny), tree.ErrInsideItself)
}

// What breaks off leaves what was there.
func TestBrokenUploads(t *testing.T) {
	p, ctx := plant(t), t.Context()
	p.write("/file", long)
	gone := errors.New("the line is dead")
	for _, path := range []string{"/file", "/new"} {
		u, err := p.Create(ctx, path, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.ReadFrom(io.MultiReader(strings.NewReader("half"), broken{gone})); !errors.Is(err, gone) {
			t.Errorf("read: %v", err)
		}
		wantErr(t, "close of a half", u.Close(), gone)

		d, err := p.Edit(ctx, path, false, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.WriteAt([]byte("half"), 0); err != nil {
			t.Fatal(err)
		}
		d.Discard()
		wantErr(t, "close of a draft that broke off", d.Close(), tree.ErrBrokenOff)
	}
	p.want("/file", long)
	if got := p.names("/"); got != "file" {
		t.Errorf("there is %s", got)
	}
	p.node.EditError = tarn.ErrTooFewServers
	wantErr(t, "a link that can't be made", write(ctx, p.Tree, "/file", "x"), tarn.ErrTooFewServers)
	p.node.EditError = nil
	p.want("/file", long)
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// A mutable file is written in place.
func TestMutableInPlace(t *testing.T) {
	p, ctx := plant(t), t.Context()
	m, err := p.node.CreateMutable(ctx, strings.NewReader("first"), tarn.MutableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	root, err := p.node.MakeDirectory(ctx, tarn.MutableOptions{}, tarn.Link{Name: "notes", Cap: m.Cap})
	if err != nil {
		t.Fatal(err)
	}
	p.Tree = at(t, p.trees, root.Cap)
	if i, err := p.Stat(ctx, "/notes"); err != nil || i.Size() != 5 || i.Mode() != 0o600 {
		t.Errorf("%+v, %v", i, err)
	}
	p.write("/notes", "second time")
	if i, err := p.Stat(ctx, "/notes"); err != nil || i.Size() != 11 {
		t.Errorf("%+v, %v", i, err)
	}
	d, err := p.Edit(ctx, "/notes", false, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteAt([]byte("SECOND"), 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := p.node.Open(ctx, m.ReadCap)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := f.WriteRange(&got, 0, f.Size()); err != nil || got.String() != "SECOND time" {
		t.Errorf("%q, %v", got.String(), err)
	}
}

// A directory is read once a second, however often it is asked for, and what was
// changed here is seen at once; what others change, a second later.
func TestListingsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ctx := plant(t), t.Context()
		for i := range 20 {
			p.write(fmt.Sprintf("/file %d", i), long)
			if got := strings.Count(p.names("/"), "file"); got != i+1 {
				t.Fatalf("%d files after %d", got, i+1)
			}
		}
		if got := p.node.Lists(); got != 1 {
			t.Errorf("read %d times", got)
		}
		other := at(t, tree.New(p.node, t.TempDir()), p.root.Cap)
		if err := other.RemoveAll(ctx, "/file 1"); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Stat(ctx, "/file 1"); err != nil {
			t.Errorf("at once: %v", err)
		}
		time.Sleep(time.Second)
		_, err := p.Stat(ctx, "/file 1")
		wantErr(t, "a second later", err, fs.ErrNotExist)
	})
}

// Many changes of one directory at a time cost few writes.
func TestChangesAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plant(t)
		before := p.node.Edits()
		held := &heldEdits{Node: p.node, free: make(chan struct{})}
		tr := at(t, tree.New(held, t.TempDir()), p.root.Cap)
		for i := range 50 {
			go func() {
				if err := write(t.Context(), tr, fmt.Sprintf("/file %d", i), long); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait() // all wait for the first
		close(held.free)
		synctest.Wait()
		if list, err := tr.List(t.Context(), "/"); err != nil || len(list) != 50 {
			t.Errorf("%d files, %v", len(list), err)
		}
		if got := p.node.Edits() - before; got != 2 {
			t.Errorf("%d writes", got)
		}
	})
}

// heldEdits lets no edit begin before it may.
type heldEdits struct {
	*memnode.Node
	free chan struct{}
}

func (h *heldEdits) EditDirectory(ctx context.Context, dir string, change func(*directory.Directory) error, how ...tarn.Option) (tarn.MutableResult, error) {
	<-h.free
	return h.Node.EditDirectory(ctx, dir, change, how...)
}

// Times are those that were said, or else when the link was set.
func TestTimes(t *testing.T) {
	p, ctx := plant(t), t.Context()
	p.write("/file", "x")
	i, err := p.Stat(ctx, "/file")
	if err != nil || time.Since(i.ModTime()) > time.Minute {
		t.Errorf("%v, %v", i.ModTime(), err)
	}
	then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := p.SetModified(ctx, "/file", then); err != nil {
		t.Fatal(err)
	}
	if err := p.Rename(ctx, "/file", "/moved", tarn.ReplaceNone); err != nil {
		t.Fatal(err)
	}
	if i, err := p.Stat(ctx, "/moved"); err != nil || !i.ModTime().Equal(then) {
		t.Errorf("%v, %v", i.ModTime(), err)
	}
	p.write("/moved", "another content")
	if i, err := p.Stat(ctx, "/moved"); err != nil || time.Since(i.ModTime()) > time.Minute {
		t.Errorf("after a write: %v, %v", i.ModTime(), err)
	}
	d, err := p.Edit(ctx, "/moved", false, false)
	if err != nil {
		t.Fatal(err)
	}
	d.SetModified(then)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if i, err := p.Stat(ctx, "/moved"); err != nil || !i.ModTime().Equal(then) {
		t.Errorf("%v, %v", i.ModTime(), err)
	}
	p.want("/moved", "another content")
}

// Any part of a long file is read right, by several at a time, and little of it is
// held.
func TestReading(t *testing.T) {
	p, ctx := plant(t), t.Context()
	content := make([]byte, 9<<20+123)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content) // never fails
	p.write("/file", string(content))
	f, err := p.Open(ctx, "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all sync.WaitGroup
	for reader := range 4 {
		random := rand.New(rand.NewPCG(1, uint64(reader)))
		all.Go(func() {
			for range 50 {
				length := random.IntN(100_000) + 1
				offset := random.Int64N(int64(len(content)) + 10)
				buf := make([]byte, length)
				n, err := f.ReadAt(buf, offset)
				want := content[min(offset, int64(len(content))):min(offset+int64(length), int64(len(content)))]
				if !bytes.Equal(buf[:n], want) || (err == nil) != (n == length) || err != nil && !errors.Is(err, io.EOF) {
					t.Errorf("%d bytes at %d: %d, %v", length, offset, n, err)
				}
			}
		})
	}
	all.Wait()
	most := make([]byte, 5<<20) // more than is held
	if n, err := f.ReadAt(most, 123); err != nil || !bytes.Equal(most, content[123:][:5<<20]) {
		t.Errorf("five megabytes at once: %d, %v", n, err)
	}
	if _, err := f.Seek(-10, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, content[len(content)-10:]) {
		t.Errorf("the end: %d bytes, %v", len(got), err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, content) {
		t.Errorf("all: %d bytes, %v", len(got), err)
	}
	f.Close()
	_, err = f.ReadAt(make([]byte, 1), 0)
	wantErr(t, "read of what is closed", err, fs.ErrClosed)
}

// Of a long file only what is soon wanted is fetched.
func TestLittleIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plant(t)
		p.write("/file", strings.Repeat("x", 20<<20))
		node := &inPieces{Node: p.node}
		tr := at(t, tree.New(node, t.TempDir()), p.root.Cap)
		f, err := tr.Open(t.Context(), "/file")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(make([]byte, 1), 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := node.written.Load(); got > 2<<20 {
			t.Errorf("%d bytes were fetched for one", got)
		}
		if _, err := f.ReadAt(make([]byte, 1), 10<<20); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := node.written.Load(); got > 4<<20 {
			t.Errorf("%d bytes were fetched for two", got)
		}
		f.Close()
		synctest.Wait() // nothing goes on
	})
}

// inPieces has files that come in pieces, as they do from a grid, and counts what
// came.
type inPieces struct {
	*memnode.Node
	written atomic.Int64
}

func (n *inPieces) Open(ctx context.Context, capability string, how ...tarn.Option) (tarn.File, error) {
	f, err := n.Node.Open(ctx, capability, how...)
	return pieces{f, n}, err
}

type pieces struct {
	tarn.File
	node *inPieces
}

func (f pieces) WriteRange(w io.Writer, offset, length int64) error {
	for length > 0 {
		n := min(length, 64<<10)
		if err := f.File.WriteRange(w, offset, n); err != nil {
			return err
		}
		f.node.written.Add(n)
		offset, length = offset+n, length-n
	}
	return nil
}

// A reader is told that a file can't be read to its end.
func TestReadingFails(t *testing.T) {
	p, ctx := plant(t), t.Context()
	p.write("/file", strings.Repeat(long, 100))
	if _, err := p.List(ctx, "/"); err != nil {
		t.Fatal(err)
	}
	p.node.ReadError, p.node.ReadLimit = tarn.ErrNotEnoughShares, 1000
	got, err := read(ctx, p.Tree, "/file")
	wantErr(t, "read", err, tarn.ErrNotEnoughShares)
	if len(got) > 1000 {
		t.Errorf("%d bytes", len(got))
	}
}
