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
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file/container"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
)

func newShare(e *env) *cobra.Command {
	return group("share", "Exchange shares with storage servers of Tahoe-LAFS", newShareExport(e), newShareImport(e))
}

// errNotAll means that some of many shares were left out, each with its reason.
var errNotAll = errors.New("not every share was dealt with")

// sharePath is where a Tahoe-LAFS server keeps a share, below its folder of
// shares.
func sharePath(id lease.ShareID) string {
	si := id.StorageIndex.String()
	return filepath.Join(si[:2], si, id.Num.String())
}

// parseShare reads the end of a path, STORAGE-INDEX/NUM.
func parseShare(path string) (id lease.ShareID, err error) {
	if id.StorageIndex, err = grid.ParseStorageIndex(filepath.Base(filepath.Dir(path))); err == nil {
		id.Num, err = grid.ParseShareNum(filepath.Base(path))
	}
	return id, err
}

// shareFile is a file in which a Tahoe-LAFS server keeps a share.
type shareFile struct {
	*os.File
	size int64
}

func openShareFile(path string) (shareFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return shareFile{}, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s %w", path, errNoFile)
	}
	if err != nil {
		return shareFile{}, errors.Join(err, f.Close())
	}
	return shareFile{f, info.Size()}, nil
}

var errNoFile = errors.New("is no file")

// reader reads it from the beginning.
func (f shareFile) reader() (*container.Reader, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return container.NewReader(f.File, f.size)
}

// offer is what the file says that it is, without a proof.
func (f shareFile) offer() (o tarn.ShareOffer, c *container.Reader, err error) {
	if c, err = f.reader(); err != nil {
		return o, nil, err
	}
	if c.Mutable {
		o.Enabler = lease.WriteEnabler(c.Enabler)
	} else {
		body, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return o, nil, err
		}
		hash, err := immutable.ClaimedUEBHash(io.NewSectionReader(f, body, c.Size), c.Size)
		if err != nil {
			return o, nil, err
		}
		o.UEBHash = lease.UEBHash(hash)
	}
	ends, err := c.Ends()
	if ends > 0 {
		o.Ends = time.Unix(ends, 0)
	}
	return o, c, err
}

type shareExportOptions struct {
	share string
	to    string
}

func newShareExport(e *env) *cobra.Command {
	var o shareExportOptions
	c := &cobra.Command{
		Use:   "export STORAGE-INDEX[:NUM] --to FOLDER",
		Short: "Write shares as a storage server of Tahoe-LAFS keeps them",
		Long: `Writes the shares of a file that are on this node's storage server, or one of
them, into FOLDER/shares, each in a file as a storage server of Tahoe-LAFS keeps
them, with one lease that ends when the last one here does. Where FOLDER is the
folder storage of such a server, that serves them from then on. The shares stay
here, too. A share that is there already is left alone. A file's storage index is
shown by tarn cap --storage-index. The node may run or not.`,
		Example: "  tarn share export aaaaaaaaaaaaaaaaaaaaaaaaaa --to ~/.tahoe/storage\n  tarn share export aaaaaaaaaaaaaaaaaaaaaaaaaa:7 --to exported",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.share = args[0]
			return runShareExport(ctx, e, o)
		}),
	}
	c.Flags().StringVar(&o.to, "to", "", "the folder, which may not exist yet")
	return c
}

func runShareExport(ctx context.Context, e *env, o shareExportOptions) error {
	if o.to == "" {
		return usageError{err: errors.New("--to FOLDER says where the shares go"), command: "tarn share export"}
	}
	text, number, one := strings.Cut(o.share, ":")
	si, err := grid.ParseStorageIndex(text)
	if err != nil {
		return fmt.Errorf("storage index: %w", err)
	}
	var num grid.ShareNum
	if one {
		if num, err = grid.ParseShareNum(number); err != nil {
			return usageError{err: fmt.Errorf("number of a share: %w", err)}
		}
	}
	return e.asOperator(ctx, func(operator control.Operator) error {
		list, err := operator.Shares(ctx, si)
		if err != nil {
			return err
		}
		found := false
		for _, s := range list {
			id := lease.ShareID{StorageIndex: si, Num: grid.ShareNum(s.Share)}
			if one && id.Num != num {
				continue
			}
			found = true
			if err := e.exportShare(ctx, operator, id, filepath.Join(o.to, "shares", sharePath(id))); err != nil {
				return err
			}
		}
		if !found {
			return fmt.Errorf("%s: %w here", o.share, tarn.ErrNoShare)
		}
		return nil
	})
}

// exportShare writes one share, unless it is there.
func (e *env) exportShare(ctx context.Context, operator control.Operator, id lease.ShareID, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return notWritten(filepath.Dir(path), err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, e.print("%s is there already\n", path))
	}
	t, err := newTemporary(path, 0o600)
	if err != nil {
		return notWritten(path, err)
	}
	defer t.discard()
	if err := operator.ExportShare(ctx, id, t); err != nil {
		return fmt.Errorf("export share %v: %w", id, err)
	}
	if err := t.keep(); err != nil {
		return notWritten(path, err)
	}
	return e.print("%s\n", path)
}
