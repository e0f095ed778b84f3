package tarn

import (
	"context"
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/grid"
)

// readAhead is how many directories are read while others are being visited.
const readAhead = 4

// Visited is a file, directory or thing of unknown kind that Walk comes to.
type Visited struct {
	// Path leads to it from where the walk began. It belongs to whoever is called.
	Path []string
	Found
}

// Walker is told what Walk comes to. An error of it ends the walk.
type Walker struct {
	// Visit is called for each object.
	Visit func(Visited) error
	// Enter, if not nil, is called after Visit for each directory, with what it
	// holds.
	Enter func(Visited, *directory.Directory) error
	// Unread, if not nil, is called instead for a directory that can't be read,
	// and the walk goes on without what is below it.
	Unread func(Visited, error) error

	// mended, if not nil, reports whether a directory that could not be read has
	// changed since, so that it is read once more.
	mended func(Visited) bool
}

// Walk goes through all that can be reached from a link, as deep_traverse of
// Tahoe-LAFS: a directory, then the files in it, then the directories in it
// with all below them, each by name. What has shares is visited once, however
// many paths lead to it, so that loops end. Entries that can't be used are
// passed over. A directory that can't be read ends the walk, unless the walker
// takes it.
//
// The memory that it takes grows by some ten bytes for each object, and by the
// listings of a few directories.
func Walk(ctx context.Context, r DirectoryReader, from Found, w Walker, how ...Option) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &traversal{ctx: ctx, reader: r, how: how, walker: w, seen: map[objectID]bool{}}
	if !t.isNew(from.Capability()) {
		return nil
	}
	d, ok := from.Directory()
	if !ok {
		return w.Visit(Visited{Found: from})
	}
	t.pending = []*unread{{visited: Visited{Found: from}, directory: d}}
	for len(t.pending) > 0 {
		t.startReading()
		last := len(t.pending) - 1
		next := t.pending[last]
		t.pending = t.pending[:last]
		if err := t.enter(next); err != nil {
			return err
		}
	}
	return nil
}

// traversal is a walk on its way.
type traversal struct {
	ctx     context.Context
	reader  DirectoryReader
	how     []Option
	walker  Walker
	seen    map[objectID]bool
	pending []*unread // the next one is the last
}

// unread is a directory that was not visited yet.
type unread struct {
	visited   Visited
	directory file.Directory
	read      chan readDirectory // gets the result; nil until the reading began
}

type readDirectory struct {
	content *directory.Directory
	err     error
}

// startReading has the next directories read.
func (t *traversal) startReading() {
	for i, u := range slices.Backward(t.pending) {
		if i < len(t.pending)-readAhead {
			return
		}
		if u.read == nil {
			u.read = make(chan readDirectory, 1)
			go func() { u.read <- t.readOne(u.directory) }() // ends with the context at the latest
		}
	}
}

func (t *traversal) readOne(d file.Directory) readDirectory {
	content, err := t.reader.ReadDirectory(t.ctx, d, t.how...)
	return readDirectory{content, err}
}

// unread tells of a directory that can't be read; that the walk was to end is
// no fault of the directory.
func (t *traversal) unread(v Visited, err error) error {
	if t.walker.Unread == nil || t.ctx.Err() != nil {
		return err
	}
	return t.walker.Unread(v, err)
}

func (t *traversal) enter(u *unread) error {
	if err := t.walker.Visit(u.visited); err != nil {
		return err
	}
	result := <-u.read
	if result.err != nil && t.walker.mended != nil && t.walker.mended(u.visited) {
		result = t.readOne(u.directory)
	}
	if result.err != nil {
		return t.unread(u.visited, fmt.Errorf("read %s: %w", pathText(u.visited.Path), result.err))
	}
	if t.walker.Enter != nil {
		if err := t.walker.Enter(u.visited, result.content); err != nil {
			return err
		}
	}
	return t.children(u, result.content)
}

// children visits the files, and keeps the directories for later.
func (t *traversal) children(parent *unread, content *directory.Directory) error {
	var below []*unread
	for _, name := range content.Names() {
		e, _ := content.Entry(name)
		if e.Err != nil || !t.isNew(e.Capability()) {
			continue
		}
		v := Visited{append(slices.Clip(slices.Clone(parent.visited.Path)), name), Found{e, parent.directory}}
		if d, ok := v.Directory(); ok {
			below = append(below, &unread{visited: v, directory: d})
			continue
		}
		if err := t.walker.Visit(v); err != nil {
			return err
		}
	}
	slices.Reverse(below)
	t.pending = append(t.pending, below...)
	return nil
}

// objectID tells objects with shares apart: a directory is not the file that it
// is stored in.
type objectID struct {
	index     grid.StorageIndex
	directory bool
}

// isNew notes an object; what has no shares is always new.
func (t *traversal) isNew(c file.Capability) bool {
	index, ok := file.StorageIndexOf(c)
	if !ok {
		return true
	}
	_, isDirectory := c.(file.Directory)
	id := objectID{index, isDirectory}
	known := t.seen[id]
	t.seen[id] = true
	return !known
}

// pathText is for sentences.
func pathText(path []string) string {
	if len(path) == 0 {
		return "the directory"
	}
	text := path[0]
	for _, name := range path[1:] {
		text += "/" + name
	}
	return fmt.Sprintf("%q", text)
}
