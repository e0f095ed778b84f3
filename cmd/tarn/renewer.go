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

func newRenewer(e *env) *cobra.Command {
	return group("renewer", "What a renewer's operator does",
		newRenewerKey(e), newAddRenewal(e), newListRenewals(e), newListLapsed(e), newRemoveRenewal(e))
}

func newRenewerKey(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "key",
		Short:   "Print the renewer's public key, for which renewal caps are made",
		Long:    "Prints the public key of this renewer. It is the same for everybody, so it can be\npublished. The node may run or not.",
		Example: "  tarn renewer key > renewer.key",
		Args:    between(0, 0),
		RunE:    action(func(context.Context, []string) error { return runRenewerKey(e) }),
	}
}

func runRenewerKey(e *env) error {
	f, err := e.folder()
	if err != nil {
		return err
	}
	n, err := f.load(nil)
	if err != nil {
		return err
	}
	if n.config.Renewer == nil {
		return tarn.ErrNoRenewer
	}
	return e.print("%s\n", grid.PublicKeyOf(n.config.Renewer.Key))
}

type addRenewalOptions struct{ name, file string }

func newAddRenewal(e *env) *cobra.Command {
	var o addRenewalOptions
	return &cobra.Command{
		Use:   "add NAME [FILE|-]",
		Short: "Renew by a renewal cap that someone gave you",
		Long: `Reads a renewal cap, which begins with -----BEGIN TARN RENEWAL CAP-----, from FILE
or standard input, and has the running renewer renew by it from now on. NAME is
yours for whose it is. A newer cap of the same owner takes the place of the older
one under his name.`,
		Example: "  tarn renewer add alice alice.renewal\n  tarn renewer add alice < alice.renewal",
		Args:    between(1, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name, o.file = args[0], argument(args, 1)
			return runAddRenewal(ctx, e, o)
		}),
	}
}

func runAddRenewal(ctx context.Context, e *env, o addRenewalOptions) error {
	if err := checkPetname(o.name); err != nil {
		return err
	}
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	text, err := e.readText(o.file, "renewal cap", lease.MaxRenewalCapSize)
	if err != nil {
		return err
	}
	added, err := n.AddRenewal(ctx, o.name, string(text))
	if err != nil {
		return fmt.Errorf("add the renewal cap: %w", f.explain(err))
	}
	return e.print("renews %s of %s for %s\n", counted(added.Leases, "lease"), counted(added.Files, "file"), added.Name)
}

type listRenewalsOptions struct{ json bool }

func newListRenewals(e *env) *cobra.Command {
	var o listRenewalsOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "Show what is renewed for whom, and what goes wrong",
		Long: `Shows for each renewal cap how many files and leases there are, how many of the
leases servers were found without, when the next one is to be renewed, and when
the cap ends; below it the servers, and what went wrong there last.`,
		Example: "  tarn renewer list\n  tarn renewer list --json",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runListRenewals(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runListRenewals(ctx context.Context, e *env, o listRenewalsOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	list, err := n.Renewals(ctx)
	if err != nil {
		return fmt.Errorf("ask the renewer: %w", f.explain(err))
	}
	if o.json {
		return writeJSON(e.stdout, list)
	}
	if len(list) == 0 {
		return e.print("no renewal caps: add one with tarn renewer add\n")
	}
	t := newTable(e.stdout)
	t.row("FOR", "FILES", "LEASES", "LAPSED", "NEXT RENEWAL", "CAP ENDS", "")
	for _, r := range list {
		t.row(r.Name, fmt.Sprint(r.Files), fmt.Sprint(r.Leases), fmt.Sprint(r.Lapsed), clock(r.Next), clock(r.Until), renewalRemark(r, time.Now()))
		for _, s := range r.Servers {
			t.row("└ "+serverName(s.Server, s.Nickname), "", fmt.Sprint(s.Leases), fmt.Sprint(s.Lapsed), "", "", leasesRemark(s))
		}
	}
	return t.end()
}

// capEndsSoon is how long before its end a cap should be replaced.
const capEndsSoon = 60 * day

// renewalRemark is what should worry a person about a cap as a whole.
func renewalRemark(r control.Renewed, now time.Time) string {
	for _, m := range r.Managers {
		if m.LastError != "" {
			return fmt.Sprintf("no newer cards from account manager %s: %s", short(m.Manager), m.LastError)
		}
	}
	switch {
	case r.Until.IsZero():
	case r.Until.Before(now):
		return "the cap has ended: ask for a newer one"
	case r.Until.Sub(now) < capEndsSoon:
		return fmt.Sprintf("the cap ends %s: ask for a newer one", left(r.Until, now))
	}
	return ""
}

type listLapsedOptions struct {
	name string
	json bool
}

func newListLapsed(e *env) *cobra.Command {
	var o listLapsedOptions
	c := &cobra.Command{
		Use:   "lapsed NAME",
		Short: "List what has lapsed, for its owner",
		Long: `Lists the files under NAME of which servers were found without leases: whoever
stored them gave them up, or they were not renewed in time. Files are named by
their storage indexes; the owner's tarn leases --all knows which those are.`,
		Example: "  tarn renewer lapsed alice",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name = args[0]
			return runListLapsed(ctx, e, o)
		}),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runListLapsed(ctx context.Context, e *env, o listLapsedOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	list := []control.LeasedFile{}
	err = n.Lapsed(ctx, o.name, func(file control.LeasedFile) error {
		if o.json {
			list = append(list, file)
			return nil
		}
		return e.print("%s", leasedFileText(file))
	})
	if err != nil {
		return fmt.Errorf("ask what has lapsed: %w", f.explain(err))
	}
	if o.json {
		return writeJSON(e.stdout, list)
	}
	return nil
}

type removeRenewalOptions struct{ name string }

func newRemoveRenewal(e *env) *cobra.Command {
	var o removeRenewalOptions
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Renew for someone no more",
		Long: `Forgets the renewal cap under NAME. Leases that nobody else renews end by
themselves, within a month.`,
		Example: "  tarn renewer remove alice",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name = args[0]
			return runRemoveRenewal(ctx, e, o)
		}),
	}
}

func runRemoveRenewal(ctx context.Context, e *env, o removeRenewalOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.RemoveRenewal(ctx, o.name); err != nil {
		return fmt.Errorf("remove the renewal cap: %w", f.explain(err))
	}
	return e.print("nothing is renewed for %s any more\n", o.name)
}
