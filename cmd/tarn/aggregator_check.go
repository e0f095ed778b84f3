package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/control"
)

func newExportReports(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "export",
		Short: "Write every server's last report as the server signed it",
		Long: `Writes a line of JSON for each server: its last report, page by page as the server
signed it, so that somebody else can add up without having to believe this
aggregator (tarn aggregator check). The node may run or not.`,
		Example: "  tarn aggregator export > usage.reports",
		Args:    between(0, 0),
		RunE:    action(func(_ context.Context, _ []string) error { return runExportReports(e) }),
	}
}

func runExportReports(e *env) error {
	f, err := e.folder()
	if err != nil {
		return err
	}
	out := json.NewEncoder(e.stdout)
	err = tarn.EachUsageReport(f.dir, func(r tarn.UsageReport) error { return out.Encode(r) })
	if err != nil {
		return fmt.Errorf("write the reports: %w", err)
	}
	return nil
}

type checkReportsOptions struct {
	file, members, of string
	older             time.Duration
	json, servers     bool
}

func newCheckReports(e *env) *cobra.Command {
	var o checkReportsOptions
	c := &cobra.Command{
		Use:   "check [FILE|-]",
		Short: "Add up what an aggregator exported, and believe only what servers signed",
		Long: `Reads what tarn aggregator export writes, and shows the sums that follow from what
servers signed, whoever added up before. A report that was changed, of which pages
were left out, or that another server signed, counts nothing and is told; one that
its server signed longer ago than --older is stale.

--members is what tarn manager export --json writes: whose keys are whose, and so
which servers' reports must be there. --of is the key below which all of it is, the
account manager's: without it a report about a smaller part would do. No node is
needed; the command fails unless all reports are there, whole and fresh.`,
		Example: "  tarn manager export --json > members.json\n  tarn aggregator check --members members.json --older 36h usage.reports",
		Args:    between(0, 1),
		RunE: action(func(_ context.Context, args []string) error {
			o.file = argument(args, 0)
			return runCheckReports(e, o)
		}),
	}
	c.Flags().StringVar(&o.members, "members", "", "file with the members and their keys")
	c.Flags().StringVar(&o.of, "of", "", "key below which it must be, pub-v0-... (default any)")
	c.Flags().DurationVar(&o.older, "older", 36*time.Hour, "how old a report may be")
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	c.Flags().BoolVar(&o.servers, "servers", false, "by server")
	return c
}

func runCheckReports(e *env, o checkReportsOptions) error {
	c := tarn.UsageCheck{Now: time.Now(), Older: o.older}
	if o.of != "" {
		var err error
		if c.Of, err = grid.ParsePublicKey(o.of); err != nil {
			return err
		}
	}
	if o.members != "" {
		text, err := os.ReadFile(o.members)
		if err != nil {
			return fmt.Errorf("can't %w", err)
		}
		if c.Members, err = control.ParseMembers(text); err != nil {
			return fmt.Errorf("read %s: %w", o.members, err)
		}
	}
	input, _, err := e.open(o.file)
	if err != nil {
		return err
	}
	defer input.Close()
	summary, err := tarn.CheckUsage(input, c)
	if err != nil {
		return err
	}
	return e.checkedReports(control.SumsOf(summary, o.json), o)
}

// checkedReports shows the sums, and fails where something is missing in them.
func (e *env) checkedReports(u control.Sums, o checkReportsOptions) error {
	var err error
	if o.json {
		err = writeJSON(e.stdout, u)
	} else {
		err = sumsTable(e, u, o.servers)
	}
	if err != nil {
		return err
	}
	bad := 0
	for _, s := range u.Servers {
		if s.State != "fresh" || s.LastError != "" {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%w: %d of %d", errReports, bad, len(u.Servers))
	}
	return nil
}
