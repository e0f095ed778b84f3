package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/web/control"
)

func newAggregator(e *env) *cobra.Command {
	return group("aggregator", "What a usage aggregator's operator does", newSums(e), newHistory(e), newCollect(e), newExportReports(e), newCheckReports(e))
}

type sumsOptions struct{ json, servers bool }

func newSums(e *env) *cobra.Command {
	var o sumsOptions
	c := &cobra.Command{
		Use:   "usage",
		Short: "Show what each member holds on all servers together",
		Long: `Shows what the servers said last, summed by member, and below it the servers
whose reports are missing from the sums or old. A key that no member has at the
server that reports it is put down to nobody; a number that is more than the
server may let the member store is doubtful. With --servers by server; --json has
both, and each number with its server.`,
		Example: "  tarn aggregator usage\n  tarn aggregator usage --servers\n  tarn aggregator usage --json",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runSums(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	c.Flags().BoolVar(&o.servers, "servers", false, "by server")
	return c
}

func runSums(ctx context.Context, e *env, o sumsOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	u, err := n.Sums(ctx, o.json)
	if err != nil {
		return fmt.Errorf("ask for usage: %w", f.explain(err))
	}
	if o.json {
		return writeJSON(e.stdout, u)
	}
	return sumsTable(e, u, o.servers)
}

// sumsTable shows sums by member, or by server.
func sumsTable(e *env, u control.Sums, servers bool) error {
	t := newTable(e.stdout)
	if servers {
		serverRows(t, u)
	} else {
		memberRows(t, u)
	}
	return t.end()
}

func memberRows(t table, u control.Sums) {
	t.row("MEMBER", "STORED", "SHARES", "UPLOADING", "KEYS")
	for _, a := range u.Accounts {
		name := a.Name
		if name == "" {
			name = "(nobody's)"
		}
		t.row(name, formatSize(a.Bytes), fmt.Sprint(a.Shares), formatSize(a.Reserved), strconv.Itoa(a.Keys))
		partRows(t, a.Below, "  ")
	}
	t.row("all", formatSize(u.Bytes), fmt.Sprint(u.Shares), "", "")
	for _, s := range u.Servers {
		switch {
		case s.State == "missing":
			t.row("missing", short(s.Server), s.Nickname, s.LastError)
		case s.State == "stale":
			t.row("stale", short(s.Server), s.Nickname, "as of "+clock(s.Answered), s.LastError)
		}
		if s.Doubtful > 0 {
			t.row("doubtful", short(s.Server), s.Nickname, fmt.Sprintf("reports more than it may for %d keys", s.Doubtful))
		}
		if s.Ahead != 0 {
			t.row("clock", short(s.Server), s.Nickname, aheadText(time.Duration(s.Ahead)*time.Second))
		}
	}
}

// aheadText says how far a server's clock is from this one.
func aheadText(ahead time.Duration) string {
	if ahead < 0 {
		return fmt.Sprintf("its clock is %v behind this one", -ahead)
	}
	return fmt.Sprintf("its clock is %v ahead of this one", ahead)
}

// partRows draws what a member's delegates hold, which is a part of what he does.
func partRows(t table, parts []control.Part, indent string) {
	for _, p := range parts {
		t.line(indent+"└ "+cmp.Or(p.Name, keyShort(p.Key)), formatSize(p.Bytes), fmt.Sprint(p.Shares), formatSize(p.Reserved), strconv.Itoa(p.Keys))
		partRows(t, p.Below, indent+"  ")
	}
}

func serverRows(t table, u control.Sums) {
	t.row("SERVER", "NICKNAME", "STATE", "ANSWERED", "STORED", "SHARES", "KEYS", "UNKNOWN", "DOUBTFUL", "LAST ERROR")
	for _, s := range u.Servers {
		t.row(short(s.Server), s.Nickname, s.State, clock(s.Answered), formatSize(s.Bytes), fmt.Sprint(s.Shares),
			strconv.Itoa(s.Keys), strconv.Itoa(s.UnknownKeys), strconv.Itoa(s.Doubtful), s.LastError)
	}
}

type historyOptions struct {
	days int
	json bool
}

func newHistory(e *env) *cobra.Command {
	var o historyOptions
	c := &cobra.Command{
		Use:   "history",
		Short: "Show what each member held on each day",
		Long: `Shows for each UTC day what each member held when servers were last asked on that
day. A year is kept. --json has the servers, too, and which of them had not
answered.`,
		Example: "  tarn aggregator history --days 7\n  tarn aggregator history --days 366 --json",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runHistory(ctx, e, o) }),
	}
	c.Flags().IntVar(&o.days, "days", 30, "how many days")
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runHistory(ctx context.Context, e *env, o historyOptions) error {
	if o.days < 1 || o.days > trafficKept {
		return usageError{err: fmt.Errorf("--days %d: want 1 to %d", o.days, trafficKept), command: "tarn aggregator history"}
	}
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	days, err := n.History(ctx, time.Now().AddDate(0, 0, 1-o.days))
	if err != nil {
		return fmt.Errorf("ask for the history: %w", f.explain(err))
	}
	if o.json {
		return writeJSON(e.stdout, days)
	}
	t := newTable(e.stdout)
	t.row("DAY", "MEMBER", "STORED", "SHARES", "REMARK")
	for _, d := range days {
		old := 0
		for _, s := range d.Servers {
			if s.Old {
				old++
			}
		}
		remark := ""
		if old > 0 {
			remark = fmt.Sprintf("%d of %d servers had not answered", old, len(d.Servers))
		}
		for _, a := range d.Accounts {
			name := a.Name
			if name == "" {
				name = "(nobody's)"
			}
			t.row(d.Day, name, formatSize(a.Bytes), fmt.Sprint(a.Shares), remark)
		}
	}
	return t.end()
}

func newCollect(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "collect",
		Short:   "Ask all servers now",
		Long:    `Has the running aggregator ask all servers now, and waits until they have answered.`,
		Example: "  tarn aggregator collect && tarn aggregator usage",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runCollect(ctx, e) }),
	}
}

func runCollect(ctx context.Context, e *env) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.Collect(ctx); err != nil {
		return fmt.Errorf("collect: %w", f.explain(err))
	}
	return nil
}
