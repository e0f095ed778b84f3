package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/web/control"
)

type removeOptions struct {
	name                       string
	dryRun, cancelLeases, json bool
}

func newRemove(e *env) *cobra.Command {
	var o removeOptions
	c := &cobra.Command{
		Use:   "remove NAME",
		Short: "Take an account away",
		Long: `Forgets NAME: nothing more is stored under it, by its owner or by those to whom
the owner delegated, and uploads in progress end. What is stored stays until its
leases end, a month at most; with --cancel-leases it goes at once, except for
shares that somebody else keeps, too. That takes the running server a while,
which it goes on with after a restart. --dry-run only says what would happen.

` + namesHelp,
		Example: "  tarn server remove bob --dry-run\n  tarn server remove bob --cancel-leases",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name = args[0]
			return runRemove(ctx, e, o)
		}),
	}
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "change nothing, and say what would be changed")
	c.Flags().BoolVar(&o.cancelLeases, "cancel-leases", false, "free at once what was stored under the account")
	c.Flags().BoolVar(&o.json, "json", false, "for programs, with --dry-run")
	return c
}

func runRemove(ctx context.Context, e *env, opts removeOptions) error {
	if opts.json && !opts.dryRun {
		return usageError{err: errors.New("--json goes with --dry-run"), command: "tarn server remove"}
	}
	return e.asOperator(ctx, func(o control.Operator) error {
		r, err := o.Removal(ctx, opts.name)
		if err != nil {
			return err
		}
		switch {
		case opts.dryRun && opts.json:
			return writeJSON(e.stdout, r)
		case opts.dryRun:
			return e.writeRemoval(r, opts.cancelLeases)
		}
		changed, err := o.Remove(ctx, opts.name, opts.cancelLeases)
		if err != nil {
			return err
		}
		if err := e.tellChanged(changed, "may not store here any more"); err != nil {
			return err
		}
		return e.print("%s", fate(r, opts.cancelLeases))
	})
}

// fate is what becomes of the shares.
func fate(r control.Removal, cancelled bool) string {
	held := fmt.Sprintf("%s, %s", count(r.Shares, "share"), formatSize(r.Bytes))
	switch {
	case r.Shares == 0:
		return "It holds nothing.\n"
	case cancelled:
		return fmt.Sprintf("The leases on %s are being cancelled; %s with %s are kept by nobody else and go.\n",
			held, count(r.LastShares, "share"), formatSize(r.LastBytes))
	default:
		return fmt.Sprintf("It holds %s, which stay until their leases end, the last on %s; --cancel-leases frees them at once.\n",
			held, clock(r.Ends))
	}
}

// lastShown is how many shares a dry run names; --json has more.
const lastShown = 20

func (e *env) writeRemoval(r control.Removal, cancel bool) error {
	text := ""
	for _, a := range r.Accounts {
		text += fmt.Sprintf("%s would not be able to store here any more.\n", accountText(a.Petname, a.Key))
	}
	if r.Reserved > 0 {
		text += fmt.Sprintf("Uploads of %s in progress would end.\n", formatSize(r.Reserved))
	}
	if err := e.print("%s%s", text, fate(r, cancel)); err != nil || r.Shares == 0 {
		return err
	}
	t := newTable(e.stdout)
	t.row("HELD BY", "KEY", "SHARES", "BYTES")
	for _, h := range r.Holders {
		t.row(h.Petname, h.Key, fmt.Sprint(h.Shares), formatSize(h.Bytes))
	}
	if err := t.end(); err != nil || r.LastShares == 0 {
		return err
	}
	if err := e.print("Kept by nobody else: %s, %s\n", count(r.LastShares, "share"), formatSize(r.LastBytes)); err != nil {
		return err
	}
	shown := r.Last[:min(len(r.Last), lastShown)]
	for _, s := range shown {
		if err := e.print("  %s share %d, %s\n", s.StorageIndex, s.Share, formatSize(s.Size)); err != nil {
			return err
		}
	}
	if more := r.LastShares - int64(len(shown)); more > 0 {
		return e.print("  and %d more; --json names up to ten thousand\n", more)
	}
	return nil
}
