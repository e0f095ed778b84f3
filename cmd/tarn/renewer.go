package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
)

func newRenewer(e *env) *cobra.Command {
	role := capRole{
		name: renewerRole, cap: "renewal cap", most: lease.MaxRenewalCapSize,
		key: func(c tarn.Config) (ed25519.PrivateKey, error) {
			if c.Renewer == nil {
				return nil, tarn.ErrNoRenewer
			}
			return c.Renewer.Key, nil
		},
		add: func(ctx context.Context, n *control.Client, name, text string) (string, error) {
			added, err := n.AddRenewal(ctx, name, text)
			return fmt.Sprintf("renews %s of %s for %s", counted(added.Leases, "lease"), counted(added.Files, "file"), added.Name), err
		},
	}
	add := role.addCommand(e, "Renew by a renewal cap that someone gave you",
		`Reads a renewal cap, which begins with -----BEGIN TARN RENEWAL CAP-----, from FILE
or standard input, and has the running renewer renew by it from now on. NAME is
yours for whose it is. A newer cap of the same owner takes the place of the older
one under his name.`,
		"  tarn renewer add alice alice.renewal\n  tarn renewer add alice < alice.renewal")
	return group("renewer", "What a renewer's operator does",
		role.keyCommand(e), add, newListRenewals(e), newListLapsed(e), newRemoveRenewal(e))
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
	var list []control.Renewed
	err := e.withNode("ask the renewer", func(n *control.Client) (err error) {
		list, err = n.Renewals(ctx)
		return err
	})
	if err != nil {
		return err
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

// renewalRemark is what should worry a person about a cap as a whole.
func renewalRemark(r control.Renewed, now time.Time) string {
	for _, m := range r.Managers {
		if m.LastError != "" {
			return fmt.Sprintf("no newer cards from account manager %s: %s", short(m.Manager), m.LastError)
		}
	}
	return capRemark(r.Until, now)
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
	list := []control.LeasedFile{}
	err := e.withNode("ask what has lapsed", func(n *control.Client) error {
		return n.Lapsed(ctx, o.name, func(file control.LeasedFile) error {
			if o.json {
				list = append(list, file)
				return nil
			}
			return e.print("%s", leasedFileText(file))
		})
	})
	if err != nil {
		return err
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
	err := e.withNode("remove the renewal cap", func(n *control.Client) error { return n.RemoveRenewal(ctx, o.name) })
	if err != nil {
		return err
	}
	return e.print("nothing is renewed for %s any more\n", o.name)
}
