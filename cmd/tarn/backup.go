package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/cmd/tarn/internal/backup"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/web/control"
)

type backupOptions struct {
	from, to    string // to is empty for a copy that is in no directory
	authority   string
	exclude     []string
	excludeFrom string
	excludeVCS  bool
	readAll     bool
	verbose     bool
	json        bool
}

// The names in a directory of backups, which are Tahoe's.
const (
	archives   = "Archives"
	latest     = "Latest"
	archivedAt = "2006-01-02_15:04:05Z"
)

// vcsNames are what --exclude-vcs leaves out: Tahoe's list.
var vcsNames = []string{
	"CVS", "RCS", "SCCS", ".git", ".gitignore", ".cvsignore", ".svn", ".arch-ids", "{arch}",
	"=RELEASE-ID", "=meta-update", "=update", ".bzr", ".bzrignore", ".bzrtags", ".hg", ".hgignore", "_darcs",
}

func newBackup(e *env) *cobra.Command {
	var o backupOptions
	c := &cobra.Command{
		Use:   "backup FOLDER [TO]",
		Short: "Keep a copy of a folder, which costs what has changed since the last one",
		Long: `Keeps a copy of FOLDER as a directory that can't change: TO/Archives/TIME, and the
last one also as TO/Latest. TO is a directory such as work:backups, which is made if
there is none; without it the capability of the copy is printed.

What has not changed since the last backup of the folder is neither read nor stored
again, but after a month it is checked that it is still there. An interrupted backup
goes on when it is made again. Files that can't be read, links and devices are named
and left out.`,
		Example: "  tarn backup Documents work:backups\n  tarn backup --exclude '*.o' --exclude-vcs src work:src",
		Args:    between(1, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o.from = args[0]
			if len(args) > 1 {
				o.to = args[1]
			}
			return runBackup(ctx, e, o)
		}),
	}
	registerAuthority(c, &o.authority)
	c.Flags().StringArrayVar(&o.exclude, "exclude", nil, "leave out what has a name of this pattern (*, ? and [abc]); may be given several times")
	c.Flags().StringVar(&o.excludeFrom, "exclude-from", "", "file with such patterns, one on each line, or -")
	c.Flags().BoolVar(&o.excludeVCS, "exclude-vcs", false, "leave out what version control keeps: .git, .svn and others")
	c.Flags().BoolVar(&o.readAll, "ignore-timestamps", false, "read every file, even if its size and times have not changed")
	c.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "name each file and folder")
	c.Flags().BoolVar(&o.json, "json", false, "for programs: the capability, what was stored, and what was left out")
	return c
}

// backupResult is what `tarn backup --json` prints.
type backupResult struct {
	Cap           string       `json:"cap"`
	Archive       string       `json:"archive,omitempty"`
	Files         int          `json:"files"`
	Folders       int          `json:"folders"`
	StoredFiles   int          `json:"stored_files"`
	StoredFolders int          `json:"stored_folders"`
	Bytes         int64        `json:"bytes"`
	Missing       int          `json:"missing"`
	Problems      []oneProblem `json:"problems"`
}

// oneProblem is a file or folder that could not be kept or brought back.
type oneProblem struct {
	Path  string `json:"path"`
	Error string `json:"error"`
}

func runBackup(ctx context.Context, e *env, o backupOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if o.authority == "-" && o.excludeFrom == "-" {
		return usageError{errors.New("standard input can be only one of patterns and authority"), "tarn backup"}
	}
	if n, err = e.under(n, o.authority); err != nil {
		return err
	}
	excluded, err := o.excluded(e)
	if err != nil {
		return err
	}
	var to *place
	if o.to != "" {
		p, err := e.place(f, o.to)
		if err != nil {
			return err
		}
		to = &p
	}
	folder, err := filepath.Abs(o.from)
	if err != nil {
		return err
	}
	progress := e.filesProgress("backing up")
	defer progress.end()
	stop := e.beside(ctx, func(ctx context.Context) { progress.countFolder(ctx, folder, excluded) })
	defer stop()
	saved, err := backup.Save(ctx, gridOf{n, progress}, backup.SaveOptions{
		Folder: folder, Records: f.backupRecords(folder), Exclude: excluded, ReadAll: o.readAll, Saw: e.noteSaw(progress, o.verbose, "left out"),
	})
	progress.end()
	if err != nil {
		return fmt.Errorf("back up: %w", f.explain(err))
	}
	result := backupResult{
		Cap: saved.Directory.String(), Files: saved.Files, Folders: saved.Folders, StoredFiles: saved.Stored, StoredFolders: saved.StoredFolders,
		Bytes: saved.Bytes, Missing: saved.Missing, Problems: problemsOf(saved.Problems),
	}
	if to != nil {
		if result.Archive, err = archive(ctx, n, *to, saved.Directory); err != nil {
			return fmt.Errorf("the copy is stored, but not in its directory: %w", f.explain(err))
		}
	}
	return e.endBackup(o, result)
}

func (e *env) endBackup(o backupOptions, r backupResult) error {
	e.note("%s in %s; stored now: %s and %s, %s", counted(int64(r.Files), "file"), counted(int64(r.Folders), "folder"),
		counted(int64(r.StoredFiles), "file"), counted(int64(r.StoredFolders), "folder"), formatSize(r.Bytes))
	err := partly(r.Missing)
	switch {
	case o.json:
		return errors.Join(writeJSON(e.stdout, r), err)
	case r.Archive == "":
		return errors.Join(e.print("%s\n", r.Cap), err)
	}
	return errors.Join(e.print("%s/%s\n", strings.TrimSuffix(o.to, "/"), r.Archive), err)
}

// partly is an error if something is missing.
func partly(missing int) error {
	if missing == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s failed", errPartly, counted(int64(missing), "item"))
}

func problemsOf(list []backup.Problem) []oneProblem {
	all := []oneProblem{}
	for _, p := range list {
		all = append(all, oneProblem{p.Path, p.Err.Error()})
	}
	return all
}

// backupRecords is where the record of a folder's backups is kept.
func (f folder) backupRecords(of string) string {
	sum := sha256.Sum256([]byte(of))
	return filepath.Join(f.private("backups"), hex.EncodeToString(sum[:16]))
}

// excluded reads the patterns.
func (o backupOptions) excluded(e *env) (func(string, bool) bool, error) {
	patterns := slices.Clone(o.exclude)
	if o.excludeVCS {
		patterns = append(patterns, vcsNames...)
	}
	if o.excludeFrom != "" {
		input, _, err := e.open(o.excludeFrom)
		if err != nil {
			return nil, err
		}
		defer input.Close()
		lines := bufio.NewScanner(input)
		for lines.Scan() {
			if line := strings.TrimRight(lines.Text(), "\r"); line != "" {
				patterns = append(patterns, line)
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("read the patterns in %s: %w", nameOf(o.excludeFrom), err)
		}
	}
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, usageError{fmt.Errorf("%q is no pattern: %w", p, err), "tarn backup"}
		}
	}
	return func(at string, _ bool) bool {
		for _, p := range patterns {
			if ok, _ := path.Match(p, path.Base(at)); ok { // the pattern was tried
				return true
			}
		}
		return false
	}, nil
}

// noteSaw tells what fails and, if that is wanted, what is done.
func (e *env) noteSaw(p *progress, verbose bool, failed string) func(backup.Saw) {
	return func(s backup.Saw) {
		switch {
		case s.Err != nil:
			p.beside(func() { e.warn("%s: %s: %v", failed, shownName(s.Path), s.Err) })
		case verbose && s.Reused:
			p.beside(func() { _, _ = fmt.Fprintf(e.stderr, "%s (as before)\n", shownName(s.Path)) }) // nobody reads it if this fails
		case verbose:
			p.beside(func() { _, _ = fmt.Fprintf(e.stderr, "%s\n", shownName(s.Path)) })
		}
		if s.Folder {
			return
		}
		if s.Reused {
			p.add(s.Size)
		}
		p.file()
	}
}

// countFolder tells how much there is to keep of a folder. What can't be read is told
// by who keeps it.
func (p *progress) countFolder(ctx context.Context, folder string, excluded func(string, bool) bool) {
	_ = filepath.WalkDir(folder, func(at string, e fs.DirEntry, err error) error { // it goes on where it can
		if ctx.Err() != nil {
			return fs.SkipAll
		}
		if err != nil || at == folder {
			return nil
		}
		if excluded(strings.TrimPrefix(filepath.ToSlash(at[len(folder):]), "/"), e.IsDir()) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if info, err := e.Info(); err == nil && !e.IsDir() {
			p.found(info.Size())
		}
		return nil
	})
	if ctx.Err() == nil {
		p.counted()
	}
}

// archive puts a copy into a directory of backups, and returns where it is in
// that.
func archive(ctx context.Context, n *control.Client, to place, d file.Directory) (string, error) {
	whole := d.String()
	dir := control.Place{Cap: to.capability, Path: append(slices.Clone(to.path), archives)}
	at := time.Now().UTC()
	for {
		name := at.Format(archivedAt)
		err := n.Link(ctx, dir, tarn.ReplaceNone, control.Child{Name: name, Cap: whole})
		if errors.Is(err, tarn.ErrEntryExists) { // one in a second is enough for any name
			at = at.Add(time.Second)
			continue
		}
		if err != nil {
			return "", err
		}
		return archives + "/" + name, n.Link(ctx, to.is(), tarn.ReplaceAny, control.Child{Name: latest, Cap: whole})
	}
}

// gridOf is the grid as backups use it, through the node.
type gridOf struct {
	node     *control.Client
	progress *progress
}

// PutFile implements backup.Grid.
func (g gridOf) PutFile(ctx context.Context, r io.Reader, size int64) (file.Capability, error) {
	return g.put(ctx, io.TeeReader(r, g.progress), size)
}

func (g gridOf) put(ctx context.Context, r io.Reader, size int64) (file.Capability, error) {
	result, err := g.node.Put(ctx, r, control.PutOptions{Size: size})
	if err != nil {
		return nil, err
	}
	return file.Parse(result.Cap)
}

// PutDirectory implements backup.Grid.
func (g gridOf) PutDirectory(ctx context.Context, d *directory.Directory) (file.Capability, error) {
	text, err := d.Encode()
	if err != nil {
		return nil, err
	}
	c, err := g.put(ctx, bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return nil, err
	}
	return file.Directory{File: c}, nil
}

// Healthy implements backup.Grid.
func (g gridOf) Healthy(ctx context.Context, c file.Capability) (bool, error) {
	if d, ok := c.(file.Directory); ok {
		c = d.File
	}
	if _, ok := c.(file.LIT); ok {
		return true, nil
	}
	result, err := g.node.Check(ctx, c.String(), control.CheckOptions{})
	return result.Report.Results.Healthy, err
}

// ReadDirectory implements backup.Reader.
func (g gridOf) ReadDirectory(ctx context.Context, d file.Directory) (*directory.Directory, error) {
	var text bytes.Buffer
	if err := g.fetch(ctx, d.File, directory.MaxSize, &text); err != nil {
		return nil, err
	}
	return directory.Parse(d, text.Bytes())
}

// Fetch implements backup.Reader.
func (g gridOf) Fetch(ctx context.Context, c file.Capability, to io.Writer) error {
	return g.fetch(ctx, c, file.MaxSize, io.MultiWriter(to, g.progress))
}

func (g gridOf) fetch(ctx context.Context, c file.Capability, most int64, to io.Writer) error {
	get, err := g.node.Get(ctx, c.String(), 0, -1)
	if err != nil {
		return err
	}
	defer get.Close()
	if get.Size > most {
		return fmt.Errorf("%w: %d bytes (want at most %d)", directory.ErrDirectory, get.Size, most)
	}
	_, err = get.WriteTo(to)
	return err
}

// count tells how much there is to bring back. What can't be read is told by who
// brings it back.
func (g gridOf) count(ctx context.Context, d file.Directory) {
	if g.countBelow(ctx, []file.Directory{d}) {
		g.progress.counted()
	}
}

// countBelow counts what is in the last of directories that are in each other.
func (g gridOf) countBelow(ctx context.Context, path []file.Directory) bool {
	content, err := g.ReadDirectory(ctx, path[len(path)-1])
	if err != nil {
		return false
	}
	for _, name := range content.Names() {
		e, _ := content.Entry(name)
		switch c := e.Capability().(type) {
		case file.Directory:
			if !slices.Contains(path, c) && !g.countBelow(ctx, append(slices.Clip(path), c)) {
				return false
			}
		case file.CHK:
			g.progress.found(c.Size)
		case file.LIT:
			g.progress.found(int64(len(c.Data)))
		default:
			g.progress.found(0)
		}
	}
	return true
}

type restoreOptions struct {
	from, to  string
	authority string
	overwrite bool
	verbose   bool
	json      bool
}

func newRestore(e *env) *cobra.Command {
	var o restoreOptions
	c := &cobra.Command{
		Use:   "restore PLACE FOLDER",
		Short: "Bring a directory back as a folder, such as the latest backup",
		Long: `Makes FOLDER what the directory at PLACE holds, with the times of its files. A file that
is there, as large and as old as it should be, is left as it is; so an interrupted
restore goes on when it is made again. Other files that are there are left alone and
named, unless --overwrite is given. Nothing is removed.`,
		Example: "  tarn restore work:backups/Latest Documents",
		Args:    between(2, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o.from, o.to = args[0], args[1]
			return runRestore(ctx, e, o)
		}),
	}
	registerAuthority(c, &o.authority)
	c.Flags().BoolVar(&o.overwrite, "overwrite", false, "replace files that are there and differ")
	c.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "name each file and folder")
	c.Flags().BoolVar(&o.json, "json", false, "for programs: what came back, and what did not")
	return c
}

// restoreResult is what `tarn restore --json` prints.
type restoreResult struct {
	Files    int          `json:"files"`
	Folders  int          `json:"folders"`
	Written  int          `json:"written_files"`
	Bytes    int64        `json:"bytes"`
	Missing  int          `json:"missing"`
	Problems []oneProblem `json:"problems"`
}

func runRestore(ctx context.Context, e *env, o restoreOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if n, err = e.under(n, o.authority); err != nil {
		return err
	}
	from, err := e.place(f, o.from)
	if err != nil {
		return err
	}
	object, _, err := n.Object(ctx, from.capability, from.path...)
	if err != nil {
		return fmt.Errorf("restore: %w", f.explain(err))
	}
	c, err := file.Parse(bestCap(object))
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	d, ok := c.(file.Directory)
	if !ok {
		return fmt.Errorf("restore: %w: %s is a file, which tarn get reads", tarn.ErrNotDirectory, o.from)
	}
	progress := e.filesProgress("restoring")
	defer progress.end()
	grid := gridOf{n, progress}
	stop := e.beside(ctx, func(ctx context.Context) { grid.count(ctx, d) })
	defer stop()
	restored, err := backup.Restore(ctx, grid, d, backup.RestoreOptions{Folder: o.to, Overwrite: o.overwrite, Saw: e.noteSaw(progress, o.verbose, "not restored")})
	progress.end()
	if err != nil {
		return fmt.Errorf("restore: %w", f.explain(err))
	}
	e.note("%s in %s; written now: %s, %s", counted(int64(restored.Files), "file"), counted(int64(restored.Folders), "folder"),
		counted(int64(restored.Written), "file"), formatSize(restored.Bytes))
	err = partly(restored.Missing)
	if o.json {
		return errors.Join(writeJSON(e.stdout, restoreResult{
			restored.Files, restored.Folders, restored.Written, restored.Bytes, restored.Missing, problemsOf(restored.Problems),
		}), err)
	}
	return err
}
