package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/web/control"
)

type leasesOptions struct{ all, renew, json bool }

// leases is what `tarn leases --json` prints.
type leases struct {
	control.Leases
	// Listed are the files of which leases have lapsed; with --all, every file.
	Listed []control.LeasedFile `json:"listed"`
}

func newLeases(e *env) *cobra.Command {
	var o leasesOptions
	c := &cobra.Command{
		Use:   "leases",
		Short: "Show what keeps your files alive, and what has lapsed",
		Long: `Shows how many leases this node's client has at which server, whether they are
renewed, and the files of which leases have lapsed: because the node was off for
too long, because a server was away, or because somebody gave them up. A file
can be read as long as enough different shares of it are left; to keep it, store
it again.

Leases are renewed by themselves, when half of their time is over. --renew renews
all of them now: before the node is off for weeks, say.

The list is this node's own, its journal. What the servers have is compared with
it by: tarn reconcile`,
		Example: "  tarn leases\n  tarn leases --renew\n  tarn leases --all --json",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runLeases(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.all, "all", false, "list every file, not only those of which leases have lapsed")
	c.Flags().BoolVar(&o.renew, "renew", false, "first renew all of them")
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runLeases(ctx context.Context, e *env, o leasesOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	ask := n.Leases
	if o.renew {
		ask = n.RenewLeases
	}
	l, err := ask(ctx)
	if err != nil {
		return fmt.Errorf("ask for leases: %w", f.explain(err))
	}
	if o.json {
		out := leases{Leases: l, Listed: []control.LeasedFile{}}
		err := n.LeasedFiles(ctx, o.all, func(f control.LeasedFile) error {
			out.Listed = append(out.Listed, f)
			return nil
		})
		if err != nil {
			return fmt.Errorf("list the files: %w", err)
		}
		return writeJSON(e.stdout, out)
	}
	if err := writeLeases(e, l); err != nil {
		return err
	}
	return listFiles(ctx, e, n, o.all)
}

func writeLeases(e *env, l control.Leases) error {
	if err := e.print("%s\n", counted(l.Files, "file")); err != nil || len(l.Servers) == 0 {
		return err
	}
	t := newTable(e.stdout)
	t.row("SERVER", "NICKNAME", "LEASES", "LAPSED", "CHECKED", "")
	for _, s := range l.Servers {
		t.row(short(s.Server), s.Nickname, fmt.Sprint(s.Leases), fmt.Sprint(s.Lapsed), clock(s.Checked), leasesRemark(s))
	}
	return t.end()
}

// counted is "1 file", "2 files".
func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// leasesRemark is what should worry a person.
func leasesRemark(s control.ServerLeases) string {
	switch {
	case s.Error != "":
		return "not renewed now: " + s.Error
	case s.Others > 0:
		return fmt.Sprintf("%s of another account, renewed by nobody here", counted(int64(s.Others), "lease"))
	case s.Refused > 0:
		return fmt.Sprintf("%s may not be renewed with this node's authority", counted(int64(s.Refused), "lease"))
	}
	if s.Lapsed == s.Leases {
		return "none is left"
	}
	return "renewed"
}

// listFiles prints a line for each file, and one for each share below it.
func listFiles(ctx context.Context, e *env, n *control.Client, all bool) error {
	listed := 0
	err := n.LeasedFiles(ctx, all, func(f control.LeasedFile) error {
		listed++
		return e.print("\n%s", leasedFileText(f))
	})
	if err != nil {
		return fmt.Errorf("list the files: %w", err)
	}
	if listed == 0 && !all {
		return e.print("no lease has lapsed\n")
	}
	return nil
}

func leasedFileText(f control.LeasedFile) string {
	name := f.VerifyCap
	if name == "" {
		name = "storage index " + f.StorageIndex
	}
	text := fmt.Sprintf("%s\n  %s\n", name, fileVerdict(f))
	for _, s := range f.Shares {
		state := "until " + clock(s.Expires)
		if s.Expires.IsZero() {
			state = "end not known yet"
		}
		if !s.Lapsed.IsZero() {
			state = "lapsed, found " + clock(s.Lapsed)
		}
		text += fmt.Sprintf("  share %d at %s  %s\n", s.Number, short(s.Server), state)
	}
	return text
}

// fileVerdict says what is left of a file.
func fileVerdict(f control.LeasedFile) string {
	about := ""
	if f.VerifyCap != "" {
		about = fmt.Sprintf("%s, stored %s: ", formatSize(f.Size), f.Stored.Local().Format(time.DateOnly))
	}
	placed := map[int]bool{}
	for _, s := range f.Shares {
		placed[s.Number] = true
	}
	text := fmt.Sprintf("%s%d of %s kept", about, f.Held, counted(int64(len(placed)), "share"))
	switch {
	case f.Needed == 0:
		return text
	case f.Held < f.Needed:
		return text + fmt.Sprintf(", %d needed: lost, unless somebody else keeps some", f.Needed)
	}
	return text + fmt.Sprintf(", %d needed", f.Needed)
}
