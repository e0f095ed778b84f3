package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
)

// maxMembershipRef bounds what join reads, in bytes.
const maxMembershipRef = 64 << 10

type joinOptions struct{ file string }

func newJoin(e *env) *cobra.Command {
	var o joinOptions
	return &cobra.Command{
		Use:   "join [FILE|-]",
		Short: "Become a member of a grid that has an account manager",
		Long: `Reads a membership reference, tarn:membership/..., from FILE or standard input,
and has the running node join: it learns the grid's introducers and servers and
gets its membership cards, and later ones, by itself. The text is a secret until
then, so it can't be given on the command line. Joining again with the same
reference, by the same account, has the node ask for everything anew.`,
		Example: "  tarn client join alice.membership\n  tarn client join < alice.membership",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.file = argument(args, 0)
			return runJoin(ctx, e, o)
		}),
	}
}

func runJoin(ctx context.Context, e *env, o joinOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	text, err := e.readText(o.file, "membership reference", maxMembershipRef)
	if err != nil {
		return err
	}
	if _, err := tarn.ParseMembershipRef(string(text)); err != nil {
		return err
	}
	m, err := n.Join(ctx, string(text))
	if err != nil {
		return fmt.Errorf("join: %w", f.explain(err))
	}
	return e.print("member %s of the grid of account manager %s, quota %s on each of %d servers\n", m.Name, short(m.Manager), formatQuota(m.Quota), m.Servers)
}

type listMembershipsOptions struct{ json bool }

func newListMemberships(e *env) *cobra.Command {
	var o listMembershipsOptions
	c := &cobra.Command{
		Use:   "list-memberships",
		Short: "List the account managers whose cards this client uses",
		Long: `Lists the running node's memberships: on what terms, for how many of the grid's
servers it has a card, and when the first of them ends unless a newer one comes.`,
		Example: "  tarn client list-memberships",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runListMemberships(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runListMemberships(ctx context.Context, e *env, o listMembershipsOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	list, err := n.Memberships(ctx)
	if err != nil {
		return f.explain(err)
	}
	if o.json {
		return writeJSON(e.stdout, list)
	}
	t := newTable(e.stdout)
	t.row("MANAGER", "NAME", "QUOTA", "UNTIL", "SERVERS", "CARDS", "CARDS END", "LAST ERROR")
	for _, m := range list {
		until := "never"
		if m.Until != nil {
			until = clock(*m.Until)
		}
		t.row(short(m.Manager), m.Name, formatQuota(m.Quota), until, strconv.Itoa(m.Servers), strconv.Itoa(m.Cards), clock(m.CardsUntil), m.LastError)
	}
	return t.end()
}
