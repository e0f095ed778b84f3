package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/control"
)

type leaveOptions struct {
	manager      string
	cancel, json bool
}

func newLeave(e *env) *cobra.Command {
	var o leaveOptions
	c := &cobra.Command{
		Use:   "leave MANAGER",
		Short: "End a membership on this node's side",
		Long: `Forgets the membership in the grid of MANAGER, v0-... or as much of it as tarn client
list-memberships shows: its cards, what logins under them gave, and the reference.
From then on the node stores nothing under it.

What it stored there stays until the leases end, and can be read; no lease is
renewed any more, unless the node may store on that server for another reason. With
--cancel the leases are given up first, and servers delete at once what nobody else
keeps; where that fails the server is named, and the leases end by themselves.

The manager is not told: tarn manager remove ends the membership there. Until then
the same account may join again with the same reference.`,
		Example: "  tarn client leave v0-aaaaaaaa\n  tarn client leave --cancel v0-aaaaaaaa",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.manager = args[0]
			return runLeave(ctx, e, o)
		}),
	}
	c.Flags().BoolVar(&o.cancel, "cancel", false, "give up what was stored as a member")
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runLeave(ctx context.Context, e *env, o leaveOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	list, err := n.Memberships(ctx)
	if err != nil {
		return f.explain(err)
	}
	m, err := membershipNamed(list, o.manager)
	if err != nil {
		return err
	}
	l, err := n.Leave(ctx, control.LeaveAsk{Manager: m.Manager, Cancel: o.cancel})
	if err != nil {
		return fmt.Errorf("leave: %w", f.explain(err))
	}
	if o.json {
		return writeJSON(e.stdout, l)
	}
	return e.print("%s", leavingText(m, l, o.cancel))
}

// membershipNamed finds the one that a text begins the id of.
func membershipNamed(list []control.Membership, text string) (control.Membership, error) {
	var found []control.Membership
	for _, m := range list {
		if strings.HasPrefix(m.Manager, text) && len(text) >= len(short(m.Manager)) {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return control.Membership{}, fmt.Errorf("%s: %w", text, tarn.ErrNoMembership)
	case 1:
		return found[0], nil
	}
	return control.Membership{}, usageError{errors.New("several account managers' ids begin with " + text), "tarn client leave"}
}

func leavingText(m control.Membership, l control.Leaving, cancel bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "no member of the grid of account manager %s any more\n", short(m.Manager))
	if cancel {
		fmt.Fprintf(&b, "%s given up\n", counted(int64(l.Cancelled), "lease"))
	}
	if l.Left > 0 {
		end := "when their time is over"
		if !l.LastEnd.IsZero() {
			end = "by " + clock(l.LastEnd)
		}
		fmt.Fprintf(&b, "%s renewed no more, so the servers let go what was stored there %s\n", counted(int64(l.Left), "lease"), end)
	}
	for _, f := range l.Failed {
		fmt.Fprintf(&b, "%s  not given up: %s\n", serverName(f.Server, f.Nickname), f.Error)
	}
	return b.String()
}
