package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
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
	if o.json {
		return e.membersJSON(ctx, false)
	}
	t := newTable(e.stdout)
	t.row("NAME", "STATE", "QUOTA", "UNTIL", "ACCOUNT", "JOINED", "KEYS")
	err := e.eachMember(ctx, false, func(m control.Member) error {
		until, joined := "never", clock(m.Joined)
		if m.Until != nil {
			until = clock(*m.Until)
		}
		if m.State == "invited" && !m.ClaimUntil.IsZero() {
			joined = "until " + clock(m.ClaimUntil)
		}
		t.row(m.Name, m.State, formatQuota(m.Quota), until, keyShort(m.Account), joined, strconv.Itoa(m.KeyCount))
		return nil
	})
	if err != nil {
		return err
	}
	return t.end()
}

// eachMember visits the account manager's members, part after part.
func (e *env) eachMember(ctx context.Context, keys bool, visit func(control.Member) error) error {
	return e.withManager(ctx, func(m tarn.Manager) error {
		err := tarn.EachMember(ctx, m, keys, func(member tarn.Member) error { return visit(control.MemberOf(member)) })
		if err != nil {
			return fmt.Errorf("list the members: %w", err)
		}
		return nil
	})
}

// membersJSON writes one list, member after member.
func (e *env) membersJSON(ctx context.Context, keys bool) error {
	before := "["
	err := e.eachMember(ctx, keys, func(m control.Member) error {
		b, err := json.MarshalIndent(m, " ", " ")
		if err == nil {
			err = e.print("%s\n %s", before, b)
		}
		before = ","
		return err
	})
	if err != nil {
		return err
	}
	if before == "[" {
		return e.print("[]\n")
	}
	return e.print("\n]\n")
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
	if o.json {
		return e.membersJSON(ctx, true)
	}
	out := csv.NewWriter(e.stdout)
	// What goes wrong in writing shows at the flush.
	_ = out.Write([]string{"name", "state", "quota", "until", "added", "joined", "account", "server", "key"})
	return e.eachMember(ctx, true, func(m control.Member) error { return writeMember(out, m) })
}

// writeMember writes a line for each of a member's keys, and one where there is
// none.
func writeMember(out *csv.Writer, m control.Member) error {
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
