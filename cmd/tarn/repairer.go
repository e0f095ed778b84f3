package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
)

func newRepairer(e *env) *cobra.Command {
	return group("repairer", "What a repairer's operator does",
		newRepairerKey(e), newAddRepair(e), newListRepairs(e), newCheckRepairs(e), newRemoveRepair(e))
}

func newRepairerKey(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "key",
		Short:   "Print the repairer's public key, for which repair caps are made",
		Long:    "Prints the public key of this repairer. It is the same for everybody, so it can be\npublished. The node may run or not.",
		Example: "  tarn repairer key > repairer.key",
		Args:    between(0, 0),
		RunE: action(func(context.Context, []string) error {
			f, err := e.folder()
			if err != nil {
				return err
			}
			n, err := f.load(nil)
			if err != nil {
				return err
			}
			if n.config.Repairer == nil {
				return tarn.ErrNoRepairer
			}
			return e.print("%s\n", grid.PublicKeyOf(n.config.Repairer.Key))
		}),
	}
}

type addRepairOptions struct{ name, file string }

func newAddRepair(e *env) *cobra.Command {
	var o addRepairOptions
	return &cobra.Command{
		Use:   "add NAME [FILE|-]",
		Short: "Look after files by repair caps that someone gave you",
		Long: `Reads repair caps of one owner, which begin with -----BEGIN TARN REPAIR CAP-----,
from FILE or standard input, and has the running repairer look after their files
from now on. NAME is yours for whose they are. A newer cap of the same file takes
the place of the older one.`,
		Example: "  tarn repairer add alice letter.repair\n  cat *.repair | tarn repairer add alice",
		Args:    between(1, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name, o.file = args[0], argument(args, 1)
			return runAddRepair(ctx, e, o)
		}),
	}
}

func runAddRepair(ctx context.Context, e *env, o addRepairOptions) error {
	if err := checkPetname(o.name); err != nil {
		return err
	}
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	text, err := e.readText(o.file, "repair cap", lease.MaxRepairCapSize)
	if err != nil {
		return err
	}
	added, err := n.AddRepair(ctx, o.name, string(text))
	if err != nil {
		return fmt.Errorf("add the repair cap: %w", f.explain(err))
	}
	return e.print("looks after %s for %s\n", counted(int64(len(added.Files)), "file"), added.Name)
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
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	list, err := n.Watched(ctx)
	if err != nil {
		return fmt.Errorf("ask the repairer: %w", f.explain(err))
	}
	if o.json {
		return writeJSON(e.stdout, list)
	}
	return e.writeWatched(list)
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
	case f.Until.IsZero():
	case f.Until.Before(now):
		return "the cap has ended: ask for a newer one"
	case f.Until.Sub(now) < capEndsSoon:
		return fmt.Sprintf("the cap ends %s: ask for a newer one", left(f.Until, now))
	}
	return "whole"
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
			n, f, err := e.node()
			if err != nil {
				return err
			}
			defer n.Close()
			if err := n.CheckWatched(ctx, name); err != nil {
				return fmt.Errorf("check the files: %w", f.explain(err))
			}
			list, err := n.Watched(ctx)
			if err != nil {
				return fmt.Errorf("ask the repairer: %w", f.explain(err))
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
			n, f, err := e.node()
			if err != nil {
				return err
			}
			defer n.Close()
			si, said := "", "nothing is looked after"
			if len(args) == 2 {
				si, said = args[1], "that file is not looked after"
				if _, err := grid.ParseStorageIndex(si); err != nil {
					return usageError{err, "tarn repairer remove"}
				}
			}
			if err := n.RemoveRepair(ctx, args[0], si); err != nil {
				return fmt.Errorf("remove the repair cap: %w", f.explain(err))
			}
			return e.print("%s for %s any more\n", said, args[0])
		}),
	}
}
