package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/control"
)

type listMembersOptions struct{ json bool }

func newListMembers(e *env) *cobra.Command {
	var o listMembersOptions
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the members",
		Long:    `Lists the members with their terms. KEYS is for how many servers the member's client has listed its key.`,
		Example: "  tarn manager list\n  tarn manager list --json",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runListMembers(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runListMembers(ctx context.Context, e *env, o listMembersOptions) error {
	members, err := e.members(ctx)
	if err != nil {
		return err
	}
	if o.json {
		return writeJSON(e.stdout, members)
	}
	t := newTable(e.stdout)
	t.row("NAME", "STATE", "QUOTA", "UNTIL", "ACCOUNT", "JOINED", "KEYS")
	for _, m := range members {
		until := "never"
		if m.Until != nil {
			until = clock(*m.Until)
		}
		t.row(m.Name, m.State, formatQuota(m.Quota), until, keyShort(m.Account), clock(m.Joined), strconv.Itoa(len(m.Keys)))
	}
	return t.end()
}

func (e *env) members(ctx context.Context) (members []control.Member, err error) {
	err = e.withManager(ctx, func(m tarn.Manager) error {
		list, err := m.Members(ctx)
		if err != nil {
			return fmt.Errorf("list the members: %w", err)
		}
		members = control.MembersOf(list)
		return nil
	})
	return members, err
}

type exportMembersOptions struct{ json bool }

func newExportMembers(e *env) *cobra.Command {
	var o exportMembersOptions
	c := &cobra.Command{
		Use:   "export",
		Short: "Write all members and their keys, for other programs",
		Long: `Writes a line of comma-separated values for each key of each member, and one
without a key for those who have not joined. Usage that a server reports by key
can so be put down to the member. --json writes the same as JSON.`,
		Example: "  tarn manager export > members.csv\n  tarn manager export --json",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runExportMembers(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "as JSON")
	return c
}

func runExportMembers(ctx context.Context, e *env, o exportMembersOptions) error {
	members, err := e.members(ctx)
	if err != nil {
		return err
	}
	if o.json {
		return writeJSON(e.stdout, members)
	}
	return writeMembersCSV(e.stdout, members)
}

func writeMembersCSV(w io.Writer, members []control.Member) error {
	out := csv.NewWriter(w)
	// What goes wrong in writing shows at the end.
	_ = out.Write([]string{"name", "state", "quota", "until", "added", "joined", "account", "server", "key"})
	for _, m := range members {
		row := []string{m.Name, m.State, "", "", m.Added.Format(time.RFC3339), "", m.Account}
		if m.Quota != nil {
			row[2] = strconv.FormatInt(*m.Quota, 10)
		}
		if m.Until != nil {
			row[3] = m.Until.Format(time.RFC3339)
		}
		if !m.Joined.IsZero() {
			row[5] = m.Joined.Format(time.RFC3339)
		}
		keys := m.Keys
		if len(keys) == 0 {
			keys = []control.ServerKey{{}}
		}
		for _, k := range keys {
			_ = out.Write(append(row[:len(row):len(row)], k.Server, k.Key))
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

type listServersOptions struct{ json bool }

func newListServers(e *env) *cobra.Command {
	var o listServersOptions
	c := &cobra.Command{
		Use:     "list-servers",
		Short:   "List the servers of the grid",
		Example: "  tarn manager list-servers",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runListServers(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runListServers(ctx context.Context, e *env, o listServersOptions) error {
	return e.withManager(ctx, func(m tarn.Manager) error {
		servers, err := m.Servers(ctx)
		if err != nil {
			return fmt.Errorf("list the servers: %w", err)
		}
		if o.json {
			return writeJSON(e.stdout, control.GridServersOf(servers))
		}
		t := newTable(e.stdout)
		for _, s := range servers {
			t.row(s.ID.String(), s.Name)
		}
		return t.end()
	})
}
