package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
)

func newRepairer(e *env) *cobra.Command {
	role := capRole{
		name: repairerRole, cap: "repair cap", most: lease.MaxRepairCapSize,
		key: func(c tarn.Config) (ed25519.PrivateKey, error) {
			if c.Repairer == nil {
				return nil, tarn.ErrNoRepairer
			}
			return c.Repairer.Key, nil
		},
		add: func(ctx context.Context, n *control.Client, name, text string) (string, error) {
			added, err := n.AddRepair(ctx, name, text)
			return fmt.Sprintf("looks after %s for %s", counted(int64(len(added.Files)), "file"), added.Name), err
		},
	}
	add := role.addCommand(e, "Look after files by repair caps that someone gave you",
		`Reads repair caps of one owner, which begin with -----BEGIN TARN REPAIR CAP-----,
from FILE or standard input, and has the running repairer look after their files
from now on. NAME is yours for whose they are. A newer cap of the same file takes
the place of the older one.`,
		"  tarn repairer add alice letter.repair\n  cat *.repair | tarn repairer add alice")
	return group("repairer", "What a repairer's operator does",
		role.keyCommand(e), add, newListRepairs(e), newCheckRepairs(e), newRemoveRepair(e))
}

type listRepairsOptions struct{ json bool }

func newListRepairs(e *env) *cobra.Command {
	var o listRepairsOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "Show what is looked after for whom, what was lost and what was repaired",
		Long: `Shows for each owner his files: how many of their shares are there and on how many
distinct servers, how many were found missing or damaged since the cap came and how
many were made once more, and when the file is looked at again. Files are named by
their storage indexes; what a file is called its owner knows.`,
		Example: "  tarn repairer list\n  tarn repairer list --json",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runListRepairs(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runListRepairs(ctx context.Context, e *env, o listRepairsOptions) error {
	list, err := askWatched(ctx, e)
	if err != nil {
		return err
	}
	if o.json {
		return writeJSON(e.stdout, list)
	}
	return e.writeWatched(list)
}

func askWatched(ctx context.Context, e *env) (list []control.Watched, err error) {
	err = e.withNode("ask the repairer", func(n *control.Client) (err error) {
		list, err = n.Watched(ctx)
		return err
	})
	return list, err
}

func (e *env) writeWatched(list []control.Watched) error {
	if len(list) == 0 {
		return e.print("no repair caps: add one with tarn repairer add\n")
	}
	t := newTable(e.stdout)
	t.row("FOR", "FILE", "SIZE", "SHARES", "HAPPINESS", "LOST", "REPAIRED", "CHECKED", "NEXT", "")
	for _, w := range list {
		for i, f := range w.Files {
			name := w.Name
			if i > 0 {
				name = ""
			}
			shares, happiness := "-", "-"
			if !f.Checked.IsZero() {
				shares, happiness = fmt.Sprintf("%d of %d", f.Shares, f.Total), fmt.Sprintf("%d of %d", f.Happiness, f.Happy)
			}
			t.row(name, f.StorageIndex, formatSize(f.Size), shares, happiness, fmt.Sprint(f.Lost), fmt.Sprint(f.Pushed), clock(f.Checked), clock(f.Next), watchedRemark(f, time.Now()))
		}
	}
	return t.end()
}

// watchedRemark is what should worry a person about a file.
func watchedRemark(f control.WatchedFile, now time.Time) string {
	switch {
	case f.Trouble != "":
		return f.Trouble
	case f.Checked.IsZero():
		return "not looked at yet"
	}
	return cmp.Or(capRemark(f.Until, now), "whole")
}

func newCheckRepairs(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "check [NAME]",
		Short: "Look at all files under a name now",
		Long: `Has the running repairer look at all files under NAME now, at all of everybody
without one, and repair them where they are not whole. It ends when that is over.`,
		Example: "  tarn repairer check alice",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			err := e.withNode("check the files", func(n *control.Client) error { return n.CheckWatched(ctx, name) })
			if err != nil {
				return err
			}
			list, err := askWatched(ctx, e)
			if err != nil {
				return err
			}
			return e.writeWatched(list)
		}),
	}
}

func newRemoveRepair(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME [STORAGE-INDEX]",
		Short: "Look after a file no more, or after all under a name",
		Long: `Forgets the repair cap of one file under NAME, or all of them. The leases that were
made for it end by themselves, within a month, unless the owner renews them.`,
		Example: "  tarn repairer remove alice",
		Args:    between(1, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			si, said := "", "nothing is looked after"
			if len(args) == 2 {
				si, said = args[1], "that file is not looked after"
				if _, err := grid.ParseStorageIndex(si); err != nil {
					return usageError{err, "tarn repairer remove"}
				}
			}
			err := e.withNode("remove the repair cap", func(n *control.Client) error { return n.RemoveRepair(ctx, args[0], si) })
			if err != nil {
				return err
			}
			return e.print("%s for %s any more\n", said, args[0])
		}),
	}
}
