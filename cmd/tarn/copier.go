package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// copiesAtOnce is how many files are on their way at the same time.
const copiesAtOnce = 16

// copier copies many files at once, and each directory when all that is in it is
// there: so none is ever written twice.
type copier struct {
	node     *control.Client
	options  cpOptions
	place    func(text string) (place, error)
	note     func(path string)
	left     func(path, why string)
	told     sync.Map // the paths that left was told of
	progress *progress
	turns    chan struct{} // has an element for each file on its way
	failed   func(error)   // ends all the rest
	contents bool          // what is in a directory is copied, not that itself
	files    atomic.Int64
	missing  atomic.Int64 // what was left out
}

func sortedNames(children map[string]tahoe.Object) []string {
	return slices.Sorted(maps.Keys(children))
}

// coming is something on its way to the grid.
type coming struct {
	done chan struct{}
	cap  string // "" where nothing is to be linked
	err  error
}

// begin does something beside the walk. Files wait for their turn, and so does the
// walk until then.
func begin(do func() (string, error)) *coming {
	c := &coming{done: make(chan struct{})}
	go func() { // ends with do
		defer close(c.done)
		c.cap, c.err = do()
	}()
	return c
}

func (c *coming) wait(ctx context.Context) (string, error) {
	select {
	case <-c.done:
		return c.cap, c.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// turn waits until one more file may be on its way.
func (c *copier) turn(ctx context.Context) error {
	select {
	case c.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fill copies items into a directory, which has these children; or into a new one
// if dir is "".
func (c *copier) fill(ctx context.Context, dir string, children map[string]tahoe.Object, items []original, path string) *coming {
	items = c.distinct(items, path)
	parts := make([]*coming, len(items))
	for i, it := range items {
		parts[i] = c.send(ctx, children[directory.NormalName(it.name)], it, filepath.Join(path, it.name))
	}
	return begin(func() (string, error) {
		var links []control.Child
		for i, part := range parts {
			capability, err := part.wait(ctx)
			if err != nil {
				return "", err
			}
			if capability != "" {
				links = append(links, control.Child{Name: items[i].name, Cap: capability})
			}
		}
		if err := c.turn(ctx); err != nil {
			return "", err
		}
		defer func() { <-c.turns }()
		capability, err := c.link(ctx, dir, links)
		if err != nil {
			c.failed(fmt.Errorf("%s: %w", cmp.Or(path, "the directory"), err))
		}
		return capability, err
	})
}

// distinct leaves out what a directory of the grid can't have beside the others.
func (c *copier) distinct(items []original, path string) []original {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(items), func(it original) bool {
		name := directory.NormalName(it.name)
		switch {
		case !utf8.ValidString(it.name):
			c.leave(filepath.Join(path, it.name), "its name is not UTF-8")
			return true
		case seen[name]:
			c.leave(filepath.Join(path, it.name), "another one has the same name, written with other characters")
			return true
		}
		seen[name] = true
		return false
	})
}

func (c *copier) link(ctx context.Context, dir string, links []control.Child) (string, error) {
	switch {
	case dir == "" && c.options.immutable:
		return c.frozen(ctx, links)
	case dir == "":
		return c.node.NewDirectory(ctx, tarn.SDMF, links...)
	case len(links) == 0:
		return "", nil
	}
	return "", c.node.Link(ctx, control.Place{Cap: dir}, tarn.ReplaceFiles, links...)
}

// frozen stores a directory that can't be changed.
func (c *copier) frozen(ctx context.Context, links []control.Child) (string, error) {
	d, err := directory.New(file.Directory{})
	if err != nil {
		return "", err
	}
	for _, l := range links {
		child, err := file.Parse(l.Cap)
		if err != nil {
			return "", err
		}
		if err := d.Set(directory.Entry{Name: l.Name, Write: child}); err != nil {
			return "", err
		}
	}
	capability, err := gridOf{c.node, c.progress}.PutDirectory(ctx, d)
	if err != nil {
		return "", err
	}
	return capability.String(), nil
}

// send copies an copied to the place of what is there, if anything is.
func (c *copier) send(ctx context.Context, there tahoe.Object, it original, path string) *coming {
	if !it.folder {
		return c.sendFile(ctx, there, it, path)
	}
	items, err := c.inside(ctx, it)
	if err != nil {
		return begin(func() (string, error) { return "", err })
	}
	if there.Kind != tahoe.Directory || there.Write == "" {
		return c.fill(ctx, "", nil, items, path)
	}
	full, _, err := c.node.Object(ctx, there.Write)
	if err != nil {
		return begin(func() (string, error) { return "", err })
	}
	return c.fill(ctx, there.Write, full.Children, items, path)
}

func (c *copier) sendFile(ctx context.Context, there tahoe.Object, it original, path string) *coming {
	if err := c.turn(ctx); err != nil {
		return begin(func() (string, error) { return "", err })
	}
	return begin(func() (string, error) {
		defer func() { <-c.turns }()
		capability, err := c.store(ctx, there, it)
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
			c.failed(err)
			return "", err
		}
		c.copied(path)
		return capability, nil
	})
}

// store writes into the mutable file that is there, or returns the capability of
// what is to be linked.
func (c *copier) store(ctx context.Context, there tahoe.Object, it original) (string, error) {
	mutable := there.Kind == tahoe.File && there.Write != ""
	if it.path == "" && it.object.Mutable != nil && !*it.object.Mutable && !mutable {
		c.progress.add(it.size)
		return bestCap(it.object), nil
	}
	content, size, err := c.open(ctx, it)
	if err != nil {
		return "", err
	}
	defer content.Close()
	if mutable {
		_, err := c.node.Overwrite(ctx, there.Write, io.TeeReader(content, c.progress))
		return "", err
	}
	result, err := c.node.Put(ctx, io.TeeReader(content, c.progress), tarn.PutOptions{Size: size})
	return result.Cap, err
}

// open is what is in a file, and how long that is.
func (c *copier) open(ctx context.Context, it original) (io.ReadCloser, int64, error) {
	if it.path != "" {
		f, err := os.Open(it.path)
		if err != nil {
			return nil, 0, fmt.Errorf("can't %w", err)
		}
		info, err := f.Stat()
		if err != nil {
			return nil, 0, errors.Join(err, f.Close())
		}
		return f, info.Size(), nil
	}
	get, err := c.node.Get(ctx, bestCap(it.object), 0, -1)
	if err != nil {
		return nil, 0, err
	}
	r, w := io.Pipe()
	go func() { // ends when all was read, or the reader was closed
		defer get.Close()
		_, err := get.WriteTo(w)
		w.CloseWithError(err)
	}()
	return r, get.Size, nil
}

// fileAt copies a file to a place with a name.
func (c *copier) fileAt(ctx context.Context, to place, there tahoe.Object, it original) error {
	capability, err := c.sendFile(ctx, there, it, it.name).wait(ctx)
	if err != nil || capability == "" {
		return err
	}
	return c.node.Link(ctx, to.parent(), tarn.ReplaceFiles, control.Child{Name: to.name(), Cap: capability})
}

// write copies items into a folder, which is made if it is missing.
func (c *copier) write(ctx context.Context, folder string, items []original) error {
	var all sync.WaitGroup
	err := c.writeInto(ctx, &all, folder, items)
	all.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (c *copier) writeInto(ctx context.Context, all *sync.WaitGroup, folder string, items []original) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return notWritten(folder, err)
	}
	for _, it := range items {
		if !safeName(it.name) {
			c.leave(folder+"/"+it.name, "it can't be the name of a file here")
			continue
		}
		path := filepath.Join(folder, it.name)
		if it.folder {
			inside, err := c.inside(ctx, it)
			if err == nil {
				err = c.writeInto(ctx, all, path, inside)
			}
			if err != nil {
				return err
			}
			continue
		}
		if err := c.turn(ctx); err != nil {
			return err
		}
		all.Go(func() {
			defer func() { <-c.turns }()
			if err := c.writeFile(ctx, path, it); err != nil {
				c.failed(err)
			}
		})
	}
	return nil
}

// safeName keeps what a directory says from leading elsewhere.
func safeName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00") && filepath.Base(name) == name
}

// writeFile writes a file on this machine once all of it is there.
func (c *copier) writeFile(ctx context.Context, path string, it original) error {
	if info, err := os.Stat(path); err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		return notWritten(path, fmt.Errorf("%w: it is neither file nor directory", fs.ErrExist))
	}
	if c.options.capsOnly && it.path == "" {
		c.progress.add(it.size)
		if err := writeFile(path, []byte(bestCap(it.object)), 0o600); err != nil {
			return err
		}
		c.copied(path)
		return nil
	}
	content, _, err := c.open(ctx, it)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer content.Close()
	t, err := newTemporary(path, 0o600)
	if err != nil {
		return notWritten(path, err)
	}
	defer t.discard()
	if _, err := io.Copy(io.MultiWriter(t, c.progress), content); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := t.keep(); err != nil {
		return notWritten(path, err)
	}
	c.copied(path)
	return nil
}

// writeDevice writes to what no file may take the place of, such as a pipe.
func (c *copier) writeDevice(ctx context.Context, path string, it original) error {
	content, _, err := c.open(ctx, it)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer content.Close()
	out, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return notWritten(path, err)
	}
	if _, err := io.Copy(io.MultiWriter(out, c.progress), content); err != nil {
		return fmt.Errorf("%s: %w", path, errors.Join(err, out.Close()))
	}
	if err := out.Close(); err != nil {
		return notWritten(path, err)
	}
	c.copied(path)
	return nil
}

// copied counts a file.
func (c *copier) copied(path string) {
	c.files.Add(1)
	c.progress.file()
	c.note(path)
}
