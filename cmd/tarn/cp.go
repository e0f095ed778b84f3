package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/tahoe"
)

type cpOptions struct {
	from      []string
	to        string
	authority string
	recursive bool
	immutable bool
	capsOnly  bool
	verbose   bool
}

func newCp(e *env) *cobra.Command {
	var o cpOptions
	c := &cobra.Command{
		Use:   "cp FROM... TO",
		Short: "Copy files and directories to the grid, from it, and on it",
		Long: `Copies files, and with -r directories with all that is in them. What is on the grid
is a capability, - for one on standard input, or begins with an alias (work:letters);
all else is on this machine.

Where TO is a directory, or there are several FROM, or it ends with a slash, the
copies are in it under their own names; of a FROM that ends with a slash the contents
are. Files that are there are replaced, mutable ones written anew, and directories
filled up. Files on the grid that can't change are not copied but linked.

On this machine symbolic links are followed. What can't be copied is left out and
named, and the exit code is 9 then: a link that leads nowhere, a directory that is in
itself, what is neither file nor directory, or has a name that can't be a file's.

Directories that are made can be changed, each by a key of its own. With --immutable
those below TO can't, which is quicker.`,
		Example: "  tarn cp -r photos work:\n  tarn cp -r work:photos/ copy\n  tarn cp letter.txt work:letters/one.txt",
		Args:    between(2, anyNumber),
		RunE: action(func(ctx context.Context, args []string) error {
			last := len(args) - 1
			o.from, o.to = args[:last], args[last]
			return runCp(ctx, e, o)
		}),
	}
	registerAuthority(c, &o.authority)
	c.Flags().BoolVarP(&o.recursive, "recursive", "r", false, "directories, too")
	c.Flags().BoolVar(&o.immutable, "immutable", false, "to the grid: directories that are made can't be changed")
	c.Flags().BoolVar(&o.capsOnly, "caps-only", false, "to this machine: write the capabilities of files instead of what is in them")
	c.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "name each file that is copied")
	return c
}

func runCp(ctx context.Context, e *env, o cpOptions) error {
	if timesIn("-", append([]string{o.to, o.authority}, o.from...)...) > 1 {
		return usageError{errors.New("standard input can be only one of what is read"), "tarn cp"}
	}
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if n, err = e.under(n, o.authority); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	progress := e.filesProgress("copying")
	defer progress.end()
	place := func(text string) (place, error) { return e.place(f, text) }
	c := &copier{node: n, place: place, failed: cancel, options: o, note: e.noteCopies(progress, o.verbose), progress: progress, turns: make(chan struct{}, copiesAtOnce)}
	c.left = func(path, why string) { progress.beside(func() { e.warn("left out: %s: %s", shownName(path), why) }) }
	var items []original
	for _, text := range o.from {
		more, err := c.source(ctx, text)
		if err != nil {
			return fmt.Errorf("copy: %w", f.explain(err))
		}
		items = append(items, more...)
	}
	defer e.beside(ctx, func(ctx context.Context) { c.count(ctx, items) })()
	if onGrid(o.to) {
		err = c.toGrid(ctx, items)
	} else {
		err = c.toMachine(ctx, items)
	}
	if err != nil {
		return fmt.Errorf("copy: %w", f.explain(err))
	}
	progress.end()
	e.note("%s copied", counted(c.files.Load(), "file"))
	if n := c.missing.Load(); n > 0 {
		return fmt.Errorf("%w: %s left out", errPartly, counted(n, "item"))
	}
	return nil
}

// noteCopies tells a person which file was copied, if that is wanted.
func (e *env) noteCopies(p *progress, verbose bool) func(string) {
	if !verbose {
		return func(string) {}
	}
	return func(path string) {
		p.beside(func() { _, _ = fmt.Fprintf(e.stderr, "%s\n", shownName(path)) }) // nobody reads it if this fails
	}
}

// onGrid tells places on the grid from files on this machine: a capability, - for
// one on standard input, or an
// alias before a colon that no slash comes before.
func onGrid(text string) bool {
	name, _, ok := strings.Cut(text, ":")
	return text == "-" || isCapability(text) || ok && !strings.Contains(name, "/")
}

// original is a file or directory that is to be copied.
type original struct {
	name   string       // that the copy gets
	path   string       // on this machine, "" if it is on the grid
	object tahoe.Object // on the grid
	folder bool
	size   int64 // of a file, in bytes, as far as it is known
	depth  int   // how many directories it is in
	// above are the folders of this machine that it is in, itself last if it is one;
	// or way those of the grid, whose names lead to it.
	above []os.FileInfo
	way   []gridFolder
}

// gridFolder is a directory of the grid; index is zero where it is in its capability.
type gridFolder struct {
	name  string
	index grid.StorageIndex
}

// names are those of the way, and one more.
func (i original) names(last string) string {
	text := ""
	for _, f := range i.way {
		if f.name != "" {
			text += f.name + "/"
		}
	}
	return text + last
}

// maxDepth ends the copying of directories that are in themselves.
const maxDepth = 512

var errTooDeep = fmt.Errorf("there are more than %d directories in each other, or one is in itself", maxDepth)

// source is what an argument means: one original, or those in a directory that is
// given with a slash at the end.
func (c *copier) source(ctx context.Context, text string) ([]original, error) {
	i, contents, err := c.find(ctx, text)
	if err != nil {
		return nil, err
	}
	if !i.folder {
		if contents {
			return nil, usageError{err: fmt.Errorf("%s is no directory, but ends with a slash", text)}
		}
		return []original{i}, nil
	}
	if !c.options.recursive {
		return nil, usageError{err: fmt.Errorf("%s is a directory; it is copied with -r", text)}
	}
	if contents || i.name == "" {
		c.contents = true
		return c.inside(ctx, i)
	}
	return []original{i}, nil
}

func (c *copier) find(ctx context.Context, text string) (i original, contents bool, err error) {
	if !onGrid(text) {
		info, err := os.Stat(text)
		if err != nil {
			return original{}, false, fmt.Errorf("can't %w", err)
		}
		absolute, err := filepath.Abs(text)
		if err != nil {
			return original{}, false, err
		}
		i := original{name: filepath.Base(absolute), path: absolute, folder: info.IsDir(), size: info.Size(), above: []os.FileInfo{info}}
		return i, strings.HasSuffix(text, "/"), nil
	}
	p, err := c.place(text)
	if err != nil {
		return original{}, false, err
	}
	object, _, err := c.node.Object(ctx, p.capability, p.path...)
	if err != nil {
		return original{}, false, err
	}
	i = original{object: object, folder: object.Kind == tahoe.Directory, size: sizeOf(object)}
	if len(p.path) > 0 {
		i.name = p.name()
	}
	i.way = []gridFolder{{i.name, indexOf(object)}}
	return i, p.folder, nil
}

// inside are the items in a directory, by name.
func (c *copier) inside(ctx context.Context, i original) ([]original, error) {
	if i.depth == maxDepth {
		return nil, errTooDeep
	}
	if i.path != "" {
		return c.insideFolder(i)
	}
	object := i.object
	if object.Children == nil {
		var err error
		if object, _, err = c.node.Object(ctx, bestCap(object)); err != nil {
			return nil, err
		}
	}
	var items []original
	for _, name := range sortedNames(object.Children) {
		child := object.Children[name]
		next := original{name: name, object: child, folder: child.Kind == tahoe.Directory, size: sizeOf(child), depth: i.depth + 1}
		switch index := indexOf(child); {
		case child.Kind != tahoe.File && child.Kind != tahoe.Directory:
			c.leave(i.names(name), "it is of a kind that this version does not know")
			continue
		case next.folder && index != grid.StorageIndex{} && slices.ContainsFunc(i.way, func(f gridFolder) bool { return f.index == index }):
			c.leave(i.names(name), "it is a directory on the way to it")
			continue
		case next.folder:
			next.way = append(slices.Clip(i.way), gridFolder{name, index})
		}
		items = append(items, next)
	}
	return items, nil
}

// indexOf is the storage index of a file or directory; zero if it has none.
func indexOf(o tahoe.Object) (index grid.StorageIndex) {
	if c, err := file.Parse(bestCap(o)); err == nil {
		index, _ = file.StorageIndexOf(c)
	}
	return index
}

// insideFolder follows symbolic links, but not into a folder that the link is in.
func (c *copier) insideFolder(i original) ([]original, error) {
	entries, err := os.ReadDir(i.path)
	if err != nil {
		return nil, fmt.Errorf("can't %w", err)
	}
	var items []original
	for _, entry := range entries {
		path := filepath.Join(i.path, entry.Name())
		info, err := os.Stat(path)
		switch {
		case err != nil && entry.Type()&os.ModeSymlink != 0:
			c.leave(path, "the link leads nowhere")
			continue
		case errors.Is(err, fs.ErrNotExist):
			c.leave(path, "it is not there any more")
			continue
		case err != nil:
			return nil, fmt.Errorf("can't %w", err)
		case !info.IsDir() && !info.Mode().IsRegular():
			c.leave(path, "it is neither file nor directory")
			continue
		case info.IsDir() && slices.ContainsFunc(i.above, func(a os.FileInfo) bool { return os.SameFile(a, info) }):
			c.leave(path, "the link leads to a directory that it is in")
			continue
		}
		next := original{name: entry.Name(), path: path, folder: info.IsDir(), size: info.Size(), depth: i.depth + 1}
		if next.folder {
			next.above = append(slices.Clip(i.above), info)
		}
		items = append(items, next)
	}
	return items, nil
}

// leave names what is not copied, once.
func (c *copier) leave(path, why string) {
	if _, told := c.told.LoadOrStore(path, true); !told {
		c.missing.Add(1)
		c.left(path, why)
	}
}

func sizeOf(o tahoe.Object) int64 {
	if o.Size == nil {
		return 0
	}
	return *o.Size
}

// count tells how much there is to copy, beside the copying. What can't be read is
// told by that.
func (c *copier) count(ctx context.Context, items []original) {
	if c.countAll(ctx, items) {
		c.progress.counted()
	}
}

func (c *copier) countAll(ctx context.Context, items []original) bool {
	for _, it := range items {
		if ctx.Err() != nil {
			return false
		}
		if !it.folder {
			c.progress.found(it.size)
			continue
		}
		inside, err := c.inside(ctx, it)
		if err != nil || !c.countAll(ctx, inside) {
			return false
		}
	}
	return true
}

// toGrid copies to a place on the grid.
func (c *copier) toGrid(ctx context.Context, items []original) error {
	to, err := c.place(c.options.to)
	if err != nil {
		return err
	}
	there, _, err := c.node.Object(ctx, to.capability, to.path...)
	missing := errors.Is(err, tarn.ErrNoEntry)
	if err != nil && !missing {
		return err
	}
	if to.folder || there.Kind == tahoe.Directory || c.several(items) {
		if err := allNamed(items); err != nil {
			return err
		}
	} else {
		items[0].name = to.name()
		return c.fileAt(ctx, to, there, items[0])
	}
	dir := there.Write
	if missing {
		if dir, err = c.node.EnsureDirectory(ctx, to.is(), tarn.SDMF); err != nil {
			return err
		}
		there.Children = map[string]tahoe.Object{}
	}
	if dir == "" {
		return tarn.ErrReadOnly
	}
	_, err = c.fill(ctx, dir, there.Children, items, "").wait(ctx)
	return err
}

// several says that the copies are to be in a directory, even of what is a single
// file.
func (c *copier) several(items []original) bool {
	return c.contents || len(c.options.from) > 1 || len(items) != 1 || items[0].folder
}

// allNamed refuses files that are known by a capability alone.
func allNamed(items []original) error {
	for _, it := range items {
		if it.name == "" {
			return usageError{err: errors.New("a capability has no name; say how its copy is to be called")}
		}
	}
	return nil
}

// toMachine copies to a folder or file on this machine.
func (c *copier) toMachine(ctx context.Context, items []original) error {
	to := c.options.to
	info, err := os.Stat(to)
	isFolder := err == nil && info.IsDir()
	if err := notInItself(items, to); err != nil {
		return err
	}
	if isFolder || strings.HasSuffix(to, "/") || c.several(items) {
		if err := allNamed(items); err != nil {
			return err
		}
		return c.write(ctx, to, items)
	}
	if err == nil && !info.Mode().IsRegular() && !c.options.capsOnly {
		return c.writeDevice(ctx, to, items[0])
	}
	return c.writeFile(ctx, to, items[0])
}

// notInItself refuses to copy a folder of this machine into itself.
func notInItself(items []original, to string) error {
	at, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	for {
		if info, err := os.Stat(at); err == nil {
			for _, it := range items {
				if len(it.above) > 0 && it.above[0].IsDir() && os.SameFile(it.above[0], info) {
					return usageError{err: fmt.Errorf("%s can't be copied into itself", shownName(it.path))}
				}
			}
		}
		up := filepath.Dir(at)
		if up == at {
			return nil
		}
		at = up
	}
}
