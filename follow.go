package tarn

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
)

// DirectoryReader reads directories: a Node, or who stands in for one.
type DirectoryReader interface {
	ReadDirectory(ctx context.Context, c file.Directory, how ...Option) (*directory.Directory, error)
}

// ReadDirectory fetches what a directory holds. The result is the caller's own.
// Errors are those of List.
func (n *Node) ReadDirectory(ctx context.Context, c file.Directory, how ...Option) (*directory.Directory, error) {
	text, _, err := n.directoryText(ctx, c, how)
	if err != nil {
		return nil, err
	}
	return parseDirectory(c, text)
}

// PutDirectory stores an immutable directory; what it holds was set in one that
// directory.New made for the zero file.Directory. Cap of the result is that of
// the directory.
func (n *Node) PutDirectory(ctx context.Context, d *directory.Directory, o PutOptions) (PutResult, error) {
	text, err := d.Encode()
	if err != nil {
		return PutResult{}, err
	}
	o.Size = int64(len(text))
	result, err := n.Put(ctx, bytes.NewReader(text), o)
	if err != nil {
		return PutResult{}, err
	}
	c, err := file.Parse(result.Cap)
	if err != nil {
		return PutResult{}, err
	}
	result.Cap = file.Directory{File: c}.String()
	return result, nil
}

// Found is what a path leads to.
type Found struct {
	directory.Entry
	// Parent is the directory that the entry is in; its File is nil for what a
	// capability itself names, which has neither name nor metadata.
	Parent file.Directory
}

// FoundOf is the link that a capability itself is.
func FoundOf(c file.Capability) Found {
	if !c.Writable() {
		return Found{Entry: directory.Entry{Read: c}}
	}
	e := directory.Entry{Write: c}
	if lesser, err := file.ReadOnly(c); err == nil {
		e.Read = lesser
	}
	return Found{Entry: e}
}

// Directory is what the link names, false if that is no directory.
func (l Found) Directory() (file.Directory, bool) {
	d, ok := l.Capability().(file.Directory)
	return d, ok
}

// Follow goes along a path from what c names, and returns every link on the
// way; the first is c itself, the last what the path leads to. Where the path
// ends early the links up to there come with the error: ErrNoEntry,
// ErrNotDirectory, ErrBadEntry or one of ReadDirectory.
func Follow(ctx context.Context, r DirectoryReader, c file.Capability, path []string, how ...Option) ([]Found, error) {
	links := []Found{FoundOf(c)}
	for _, name := range path {
		d, ok := links[len(links)-1].Directory()
		if !ok {
			return links, fmt.Errorf("%w: it has nothing named %q", ErrNotDirectory, name)
		}
		content, err := r.ReadDirectory(ctx, d, how...)
		if err != nil {
			return links, err
		}
		e, ok := content.Entry(name)
		switch {
		case !ok:
			return links, fmt.Errorf("%w: %q", ErrNoEntry, name)
		case e.Err != nil:
			return links, fmt.Errorf("%q: %w", name, e.Err)
		}
		links = append(links, Found{e, d})
	}
	return links, nil
}

// CheckMove is ErrInsideItself if the way that leads to where something is to be moved
// goes through that itself: nothing would lead to it any more.
func CheckMove(moved Found, way []Found) error {
	own, ok := file.StorageIndexOf(moved.Capability())
	if !ok || !moved.isDirectory() {
		return nil
	}
	for _, l := range way {
		if index, ok := file.StorageIndexOf(l.Capability()); ok && index == own {
			return fmt.Errorf("%w: %q", ErrInsideItself, moved.Name)
		}
	}
	return nil
}

// DirectoryMaker makes directories and puts them into others: a Node, or who
// stands in for one.
type DirectoryMaker interface {
	DirectoryReader
	MakeDirectory(ctx context.Context, o MutableOptions, children ...Link) (MutableResult, error)
	Link(ctx context.Context, dir string, children []Link, how ...Option) (MutableResult, error)
}

// MakeDirectories follows a path and makes what is missing of it, each directory
// as o says. It returns all links on the way, the last of which is a directory.
// Errors: ErrNotDirectory where something else is in the way, and those of Follow,
// MakeDirectory and Link.
func MakeDirectories(ctx context.Context, m DirectoryMaker, root file.Capability, path []string, o MutableOptions) ([]Found, error) {
	how := []Option{Under(o.Authority)}
	for {
		links, err := Follow(ctx, m, root, path, how...)
		if errors.Is(err, ErrNoEntry) {
			if err := makeNext(ctx, m, links[len(links)-1], path[len(links)-1], o); err != nil {
				return links, err
			}
			continue
		}
		if err != nil {
			return links, err
		}
		if last := links[len(links)-1]; !last.isDirectory() {
			return links, fmt.Errorf("%w: %q", ErrNotDirectory, last.Name)
		}
		return links, nil
	}
}

// makeNext makes a directory in another one. Somebody else may do so at the same
// time, and then it is theirs that counts.
func makeNext(ctx context.Context, m DirectoryMaker, parent Found, name string, o MutableOptions) error {
	dir := parent.Capability()
	if !dir.Writable() {
		return ErrReadOnly
	}
	made, err := m.MakeDirectory(ctx, o)
	if err != nil {
		return err
	}
	_, err = m.Link(ctx, dir.String(), []Link{{Name: name, Cap: made.Cap, Replace: ReplaceNone}}, Under(o.Authority))
	if errors.Is(err, ErrEntryExists) {
		return nil
	}
	return err
}

func (l Found) isDirectory() bool {
	_, ok := l.Directory()
	return ok
}
