// Package tree shows a directory of the grid as a tree of files that are named by
// paths, to programs that know files and folders: web/dav and web/sftp serve it.
//
// Main types: Trees belongs to a node, Tree is what lies below one directory, Info
// says what is at a path, File is one that is read, Upload and Draft are such as
// are written. What it promises:
//
//   - a file takes its place when all of it is stored: what breaks off changes
//     nothing;
//   - memory is bounded, whatever the size of a file;
//   - who can only read a directory changes nothing in it, nor below it;
//   - a directory is looked at about once a second at most, and what was changed
//     through the same Trees is seen at once;
//   - no capability is in an error, an Info or a name.
//
// Errors are *fs.PathError around one of fs.ErrNotExist, fs.ErrExist,
// fs.ErrPermission, those of this package, or what the node said. A mutable file is
// written in place; any other gets a new immutable one in its stead. Of what has no
// times of its own the time is 1970.
package tree

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
)

// Node is what trees need of *tarn.Node.
type Node interface {
	Put(ctx context.Context, r io.Reader, o tarn.PutOptions) (tarn.PutResult, error)
	Open(ctx context.Context, capability string, how ...tarn.Option) (tarn.File, error)
	Overwrite(ctx context.Context, capability string, r io.Reader, how ...tarn.Option) (tarn.MutableResult, error)
	List(ctx context.Context, dir string, how ...tarn.Option) (tarn.Listing, error)
	MakeDirectory(ctx context.Context, o tarn.MutableOptions, children ...tarn.Link) (tarn.MutableResult, error)
	EditDirectory(ctx context.Context, dir string, change func(*directory.Directory) error, how ...tarn.Option) (tarn.MutableResult, error)
}

// Trees are those of one node. All methods of it and of its trees are safe for
// concurrent use.
type Trees struct {
	node      Node
	temporary string // folder for what is on its way in

	mu      sync.Mutex
	shelves map[string]*shelf // by identity
	states  map[string]state  // of mutable files, by their read capabilities
	changes int               // of directories, so far
}

// New makes the trees of a node. In the folder temporary files are spooled,
// encrypted under keys that are nowhere written down.
func New(node Node, temporary string) *Trees {
	return &Trees{node: node, temporary: temporary, shelves: map[string]*shelf{}, states: map[string]state{}}
}

// Tree is what is below a directory.
type Tree struct {
	trees *Trees
	root  file.Directory
}

// At is the tree below the directory that a capability names. Errors: tarn.ErrCap,
// tarn.ErrNotDirectory.
func (t *Trees) At(capability string) (*Tree, error) {
	parsed, err := file.Parse(capability)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tarn.ErrCap, err)
	}
	d, ok := parsed.(file.Directory)
	if !ok {
		return nil, fmt.Errorf("%w: %s is the kind of something else", tarn.ErrNotDirectory, parsed.Kind())
	}
	if !file.Readable(d) {
		return nil, fmt.Errorf("%w: %s is a kind that can't be read", tarn.ErrNotDirectory, parsed.Kind())
	}
	return &Tree{trees: t, root: d}, nil
}

// Identity names the directory at the top, the same for who can write it and who
// can only read it. It is secret.
func (t *Tree) Identity() string { return identity(t.root) }

// identity is the same for all capabilities of a directory.
func identity(c file.Directory) string {
	lesser, err := file.ReadOnly(c)
	if err != nil {
		return c.String()
	}
	return lesser.String()
}

// place is where a path leads.
type place struct {
	parent file.Directory   // where the entry is; that of the root is the root
	above  []file.Directory // all directories on the way
	name   string           // empty for the root
	entry  tarn.Entry
	there  bool
}

// isRoot says that there is no name for it.
func (p place) isRoot() bool { return p.name == "" }

// dir is the directory that is there.
func (p place) dir() (file.Directory, bool) {
	if p.isRoot() {
		return p.parent, true
	}
	return asDirectory(p.entry)
}

func asDirectory(e tarn.Entry) (file.Directory, bool) {
	d, ok := e.Capability().(file.Directory)
	return d, ok && file.Readable(d)
}

// find follows a path. That nothing is at its end is no error.
func (t *Tree) find(ctx context.Context, path string) (place, error) {
	names, err := split(path)
	if err != nil {
		return place{}, err
	}
	p := place{parent: t.root, above: []file.Directory{t.root}, there: true}
	for i, name := range names {
		l, err := t.trees.list(ctx, p.parent)
		if err != nil {
			return place{}, err
		}
		p.name = name
		p.entry, p.there = l.entries[name]
		if i == len(names)-1 {
			break
		}
		next, ok := asDirectory(p.entry)
		if !p.there || !ok {
			return place{}, fs.ErrNotExist
		}
		p.parent = next
		p.above = append(p.above, next)
	}
	return p, nil
}

// found is what a path leads to; it must be there.
func (t *Tree) found(ctx context.Context, path string) (place, error) {
	p, err := t.find(ctx, path)
	if err == nil && !p.there {
		err = fs.ErrNotExist
	}
	return p, err
}

// Stat says what is at a path.
func (t *Tree) Stat(ctx context.Context, path string) (Info, error) {
	p, err := t.found(ctx, path)
	if err != nil {
		return Info{}, failed("stat", path, err)
	}
	if p.isRoot() {
		if _, err := t.trees.list(ctx, t.root); err != nil {
			return Info{}, failed("stat", path, err)
		}
		return rootInfo(t.root), nil
	}
	return t.trees.info(ctx, p.entry), nil
}

// List says what is in the directory at a path, sorted by name.
func (t *Tree) List(ctx context.Context, path string) ([]Info, error) {
	list, err := t.list(ctx, path)
	if err != nil {
		return nil, failed("list", path, err)
	}
	return list, nil
}

func (t *Tree) list(ctx context.Context, path string) ([]Info, error) {
	p, err := t.found(ctx, path)
	if err != nil {
		return nil, err
	}
	d, ok := p.dir()
	if !ok {
		return nil, ErrNotDirectory
	}
	l, err := t.trees.list(ctx, d)
	if err != nil {
		return nil, err
	}
	return t.trees.infos(ctx, l), nil
}

// MakeDirectory makes an empty directory.
func (t *Tree) MakeDirectory(ctx context.Context, path string) error {
	return failed("make directory", path, t.makeDirectory(ctx, path))
}

func (t *Tree) makeDirectory(ctx context.Context, path string) error {
	p, err := t.find(ctx, path)
	if err != nil {
		return err
	}
	if p.there {
		return fs.ErrExist
	}
	if !p.parent.Writable() {
		return tarn.ErrReadOnly
	}
	made, err := t.trees.node.MakeDirectory(ctx, tarn.MutableOptions{})
	if err != nil {
		return err
	}
	c, err := file.Parse(made.Cap)
	if err != nil {
		return err
	}
	return t.trees.edit(ctx, p.parent, link{name: p.name, to: c, replace: tarn.ReplaceNone}.set)
}

// Remove takes away the file or the empty directory at a path.
func (t *Tree) Remove(ctx context.Context, path string, directory bool) error {
	return failed("remove", path, t.remove(ctx, path, func(ctx context.Context, p place) error {
		d, isDir := p.dir()
		switch {
		case !directory && isDir:
			return ErrDirectory
		case !directory:
			return nil
		case !isDir:
			return ErrNotDirectory
		}
		l, err := t.trees.fresh(ctx, d)
		if err == nil && len(l.entries) > 0 {
			err = ErrNotEmpty
		}
		return err
	}))
}

// RemoveAll takes away what is at a path, with all that is below it.
func (t *Tree) RemoveAll(ctx context.Context, path string) error {
	return failed("remove", path, t.remove(ctx, path, func(context.Context, place) error { return nil }))
}

func (t *Tree) remove(ctx context.Context, path string, check func(context.Context, place) error) error {
	p, err := t.found(ctx, path)
	switch {
	case err != nil:
		return err
	case p.isRoot():
		return ErrRoot
	case !p.parent.Writable():
		return tarn.ErrReadOnly
	}
	if err := check(ctx, p); err != nil {
		return err
	}
	return t.trees.edit(ctx, p.parent, unlink{p.entry}.remove)
}

// Rename moves what is at a path to another one. Between two directories it is in
// both for a moment, and stays in both where the second write fails.
func (t *Tree) Rename(ctx context.Context, from, to string, replace tarn.Replace) error {
	return failed("rename", from, t.rename(ctx, from, to, replace))
}

func (t *Tree) rename(ctx context.Context, from, to string, replace tarn.Replace) error {
	a, err := t.found(ctx, from)
	if err != nil {
		return err
	}
	b, err := t.find(ctx, to)
	if err != nil {
		return err
	}
	switch {
	case a.isRoot() || b.isRoot():
		return ErrRoot
	case !a.parent.Writable() || !b.parent.Writable():
		return tarn.ErrReadOnly
	case a.entry.Err != nil:
		return a.entry.Err
	}
	if d, ok := a.dir(); ok && slices.ContainsFunc(b.above, func(up file.Directory) bool { return identity(up) == identity(d) }) {
		return ErrInsideItself
	}
	l := link{name: b.name, moved: &a.entry, replace: replace}
	if identity(a.parent) != identity(b.parent) {
		if err := t.trees.edit(ctx, b.parent, l.set); err != nil {
			return err
		}
		return t.trees.edit(ctx, a.parent, unlink{a.entry}.remove)
	}
	if a.name == b.name {
		return nil
	}
	return t.trees.edit(ctx, a.parent, func(d *directory.Directory) error {
		if _, ok := d.Entry(a.name); !ok && !l.isSet(d) {
			return fs.ErrNotExist
		}
		if err := l.set(d); err != nil {
			return err
		}
		return unlink{a.entry}.remove(d)
	})
}
