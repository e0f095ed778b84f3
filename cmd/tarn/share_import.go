package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file/container"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
)

type shareImportOptions struct {
	path         string
	as           string
	nodeID, seed string
	keepIdentity bool
	json         bool
}

func newShareImport(e *env) *cobra.Command {
	var o shareImportOptions
	c := &cobra.Command{
		Use:   "import FILE|FOLDER",
		Short: "Take in shares from a storage server of Tahoe-LAFS",
		Long: `Takes the share in FILE, or all shares in FOLDER, the folder of a node of
Tahoe-LAFS or its folder storage, onto this node's storage server. End the other
server first. What is there stays there. Each share is proven before it counts. It is kept until the last
lease on it ends, or for a month where none runs any more; nobody can renew that,
so who wants to keep a file gets an account here meanwhile.

With the folder of a whole node its node id and its permutation seed are taken
over, too, so that files are found where they were, and shares that can be
changed can be changed. Where that is the folder storage alone, --node-id and
--permutation-seed give them. It needs the node ended, and a server without
changeable shares of its own; --keep-identity goes without it.

What can't be taken in is told with the reason, and the rest goes on. A share that
is here already stays as it is, so an import that was interrupted is repeated. The
exit code is 0 when every share is here, and 1 when one is not. The node may run
or not.`,
		Example: "  tarn share import ~/.tahoe\n  tarn share import --keep-identity ~/.tahoe/storage\n  tarn share import shares/aa/aaaaaaaaaaaaaaaaaaaaaaaaaa/7",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.path = args[0]
			return runShareImport(ctx, e, o)
		}),
	}
	c.Flags().StringVar(&o.as, "as", "", "STORAGE-INDEX:NUM of the share in FILE, where its path does not end in STORAGE-INDEX/NUM")
	c.Flags().StringVar(&o.nodeID, "node-id", "", "the other server's node id (its file my_nodeid)")
	c.Flags().StringVar(&o.seed, "permutation-seed", "", "the other server's permutation seed (its file permutation-seed)")
	c.Flags().BoolVar(&o.keepIdentity, "keep-identity", false, "take the shares and nothing else")
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

// importReport is what `tarn share import --json` prints.
type importReport struct {
	Stored int `json:"stored"`
	Known  int `json:"known"`
	// Foreign are those of them that can't be changed here, because their write
	// enablers were made for another node id.
	Foreign int            `json:"other_node_id"`
	Failed  []importFailed `json:"failed"`
}

type importFailed struct {
	File  string `json:"file"`
	Error string `json:"error"`
}

func runShareImport(ctx context.Context, e *env, o shareImportOptions) error {
	path, err := filepath.Abs(o.path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	i := importing{e: e, report: importReport{Failed: []importFailed{}}}
	if i.node, err = e.identity(); err != nil {
		return err
	}
	if info.IsDir() {
		if err := e.takeOver(ctx, o, path, &i.node); err != nil {
			return err
		}
	}
	err = e.asOperator(ctx, func(operator control.Operator) error {
		i.operator = operator
		if info.IsDir() {
			return i.folder(ctx, sharesFolder(path))
		}
		return i.file(ctx, path, o.as)
	})
	if tellErr := i.tell(o.json); err == nil {
		err = tellErr
	}
	if err == nil && len(i.report.Failed) > 0 {
		err = fmt.Errorf("%w: %s left out", errNotAll, count(int64(len(i.report.Failed)), "file"))
	}
	return err
}

// sharesFolder is where the shares are in a node's folder, its folder storage, or
// the folder shares itself.
func sharesFolder(path string) string {
	for _, below := range []string{filepath.Join("storage", "shares"), "shares"} {
		if info, err := os.Stat(filepath.Join(path, below)); err == nil && info.IsDir() {
			return filepath.Join(path, below)
		}
	}
	return path
}

// importing is an import under way.
type importing struct {
	e        *env
	operator control.Operator
	node     grid.NodeID // this server's
	report   importReport
}

// folder goes through all shares, in order.
func (i *importing) folder(ctx context.Context, dir string) error {
	dir, err := filepath.EvalSymlinks(dir) // it may be on another disk
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		depth := strings.Count(strings.TrimPrefix(path, dir), string(filepath.Separator))
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			i.failed(path, err)
			return nil
		case d.IsDir() && depth == 1 && d.Name() == "incoming":
			return filepath.SkipDir // uploads that were under way
		case d.IsDir():
			return nil
		}
		id, err := parseShare(path)
		if err == nil && (depth != 3 || filepath.Join(dir, sharePath(id)) != path) {
			err = errors.New("it does not lie where a share would")
		}
		if err != nil {
			i.failed(path, fmt.Errorf("no share by its name: %w", err))
			return nil
		}
		return i.share(ctx, path, id)
	})
}

// file takes one share, which is named by its path or by what was said.
func (i *importing) file(ctx context.Context, path, as string) error {
	named := path
	if as != "" {
		named = strings.Replace(as, ":", string(filepath.Separator), 1)
	}
	id, err := parseShare(named)
	if err != nil {
		return usageError{err: fmt.Errorf("%s: which share of which file it is, --as STORAGE-INDEX:NUM says: %w", named, err), command: "tarn share import"}
	}
	return i.share(ctx, path, id)
}

// share takes one share. The error is one that ends the import.
func (i *importing) share(ctx context.Context, path string, id lease.ShareID) error {
	f, err := openShareFile(path)
	if err != nil {
		i.failed(path, err)
		return nil
	}
	stored, err := i.take(ctx, f, id)
	err = errors.Join(err, f.Close())
	var unreadable *fs.PathError
	switch {
	case err == nil && stored:
		i.report.Stored++
	case err == nil:
		i.report.Known++
	case errors.Is(err, tarn.ErrImport), errors.Is(err, tarn.ErrOtherShare), errors.As(err, &unreadable):
		i.failed(path, err)
	default:
		return fmt.Errorf("import %s: %w", path, err)
	}
	return nil
}

// take asks first whether the share is wanted, unless the file is not what it
// should be: then the server says what is wrong with it.
func (i *importing) take(ctx context.Context, f shareFile, id lease.ShareID) (stored bool, err error) {
	offer, c, err := f.offer()
	if err == nil {
		i.seen(c)
		wanted, err := i.operator.OfferShare(ctx, id, offer)
		if err != nil || !wanted {
			return false, err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	return i.operator.ImportShare(ctx, id, f.File, f.size)
}

// seen counts what can't be changed here.
func (i *importing) seen(c *container.Reader) {
	if c.Mutable && c.NodeID != i.node {
		i.report.Foreign++
	}
}

func (i *importing) failed(path string, err error) {
	reason := strings.Join(strings.Fields(err.Error()), " ")
	i.report.Failed = append(i.report.Failed, importFailed{path, reason})
	_, _ = fmt.Fprintf(i.e.stderr, "tarn: %s: %s\n", path, reason) // it is in the report, too
}

// tell prints what came of it.
func (i *importing) tell(json bool) error {
	if n := i.report.Foreign; n > 0 {
		i.e.note("%s can be read here and not changed: the write enablers were made for another node id", count(int64(n), "share"))
	}
	if json {
		return writeJSON(i.e.stdout, i.report)
	}
	return i.e.print("%s imported, %d here already\n", count(int64(i.report.Stored), "share"), i.report.Known)
}
