package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/web/control"
)

type reconcileOptions struct {
	fix, dryRun, cancelUnknown, json bool
	authority                        string // file, - or empty for the node's own

	trees             []string // places
	cancelUnreachable bool
	olderThan         time.Duration
}

func newReconcile(e *env) *cobra.Command {
	var o reconcileOptions
	c := &cobra.Command{
		Use:   "reconcile",
		Short: "Compare your list of leases with what the servers have",
		Long: `Has every server list the leases of this node's account, and compares them with
the node's own list, its journal. Where they differ it says how:

  unknown   the server has a lease that the journal does not know
  lapsed    the server has it no more
  returned  the journal had it as lapsed, and it is there
  shorter   it ends earlier than the server once said

Nothing is changed unless you say --fix. Then unknown leases are noted in the
journal, and so renewed from now on; those that have lapsed are made again where
the share is still there; shorter ones are renewed. With --cancel-unknown too,
unknown leases are given up instead, and what nobody else keeps is deleted.

With --tree PLACE, once or more often, the journal is compared with all that can be
reached from there instead:

  unreachable  the journal has it, so you keep and pay for it, and no path leads to it
  unleased     it can be reached, and the journal knows of no lease on it, so it is lost
               when nobody else keeps it

--fix makes leases on what has none. With --cancel-unreachable too, what can't be
reached is given up; not what was stored less than --older-than ago, which may be on
its way into a directory, and nothing at all if some directory can't be read. Say all
directories that you have: what is only in another one can't be reached either.`,
		Example: "  tarn reconcile\n  tarn reconcile --fix\n  tarn reconcile --fix --cancel-unknown --json\n  tarn reconcile --tree work: --tree photos:",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runReconcile(ctx, e, o) }),
	}
	f := c.Flags()
	f.BoolVar(&o.fix, "fix", false, "mend what differs")
	f.BoolVar(&o.dryRun, "dry-run", false, "change nothing, which is the default")
	f.BoolVar(&o.cancelUnknown, "cancel-unknown", false, "with --fix, give up leases that the journal does not know")
	f.StringArrayVar(&o.trees, "tree", nil, "compare with what can be reached from a place; may be given several times")
	f.BoolVar(&o.cancelUnreachable, "cancel-unreachable", false, "with --tree and --fix, give up what can't be reached")
	f.DurationVar(&o.olderThan, "older-than", 24*time.Hour, "with --tree, leave out what can't be reached but was stored within this time")
	registerAuthority(c, &o.authority)
	f.BoolVar(&o.json, "json", false, "for programs: a line for each difference, then one with the sums")
	return c
}

func (o reconcileOptions) check() error {
	switch {
	case o.fix && o.dryRun:
		return errors.New("--fix changes things and --dry-run does not; give one of them")
	case o.cancelUnknown && !o.fix:
		return errors.New("--cancel-unknown changes things, so it needs --fix")
	case o.cancelUnreachable && !o.fix:
		return errors.New("--cancel-unreachable changes things, so it needs --fix")
	case o.cancelUnreachable && len(o.trees) == 0:
		return errors.New("--cancel-unreachable needs --tree: what is it that can't be reached?")
	case o.cancelUnknown && len(o.trees) > 0:
		return errors.New("--cancel-unknown is about servers and --tree about directories; give one of them")
	case o.olderThan < 0:
		return errors.New("--older-than is a time that has passed, so it is not negative")
	}
	return nil
}

func runReconcile(ctx context.Context, e *env, o reconcileOptions) error {
	if err := o.check(); err != nil {
		return usageError{err, "tarn reconcile"}
	}
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if n, err = e.under(n, o.authority); err != nil {
		return err
	}
	if len(o.trees) > 0 {
		return runReconcileTree(ctx, e, n, f, o)
	}
	lines := json.NewEncoder(e.stdout)
	shown := &shownDifferences{e: e, of: map[string]int{}}
	found := shown.show
	if o.json {
		found = func(d control.LeaseDifference) error {
			return lines.Encode(struct {
				control.LeaseDifference `json:"difference"`
			}{d})
		}
	}
	servers, err := n.Reconcile(ctx, o.fix, o.cancelUnknown, found)
	if err != nil {
		return fmt.Errorf("reconcile: %w", f.explain(err))
	}
	if o.json {
		return lines.Encode(struct {
			Servers []control.Reconciliation `json:"servers"`
		}{servers})
	}
	return shown.end(servers, o.fix)
}

// mostShown is how many differences of a kind are printed for each server.
const mostShown = 10

// shownDifferences prints differences, but not a million of them.
type shownDifferences struct {
	e    *env
	of   map[string]int // by server and kind
	left int
}

func (s *shownDifferences) show(d control.LeaseDifference) error {
	key := d.Server + d.Kind
	if s.of[key]++; s.of[key] > mostShown {
		s.left++
		return nil
	}
	file := d.VerifyCap
	if file == "" {
		file = "storage index " + d.StorageIndex
	}
	text := fmt.Sprintf("%s  %s  share %d of %s", serverName(d.Server, d.Nickname), d.Kind, d.Number, file)
	if d.Mended != "" {
		text += ": " + d.Mended
	}
	return s.e.print("%s\n", text)
}

// serverName is a server's nickname, or enough of its id.
func serverName(server, nickname string) string {
	if nickname == "" {
		return short(server)
	}
	return nickname
}

func (s *shownDifferences) end(servers []control.Reconciliation, fix bool) error {
	if s.left > 0 {
		if err := s.e.print("and %d more; tarn reconcile --json lists all\n", s.left); err != nil {
			return err
		}
	}
	t := newTable(s.e.stdout)
	t.row("SERVER", "NICKNAME", "THERE", "JOURNAL", "UNKNOWN", "LAPSED", "RETURNED", "SHORTER", "MENDED")
	differ, mended := int64(0), int64(0)
	for _, r := range servers {
		if r.Error != "" {
			t.row(short(r.Server), r.Nickname, "no answer: "+r.Error)
			continue
		}
		differ += r.Unknown + r.Lapsed + r.Returned + r.Shorter
		mended += r.Mended
		row := []string{short(r.Server), r.Nickname}
		for _, n := range []int64{r.There, r.Known, r.Unknown, r.Lapsed, r.Returned, r.Shorter, r.Mended} {
			row = append(row, fmt.Sprint(n))
		}
		t.row(row...)
	}
	if differ > mended && !fix {
		s.e.note("Mend what differs with: tarn reconcile --fix")
	}
	return t.end()
}
