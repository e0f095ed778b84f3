package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/control"
)

// runReconcileTree compares the journal with what can be reached.
func runReconcileTree(ctx context.Context, e *env, n *control.Client, f folder, o reconcileOptions) error {
	var roots []control.Place
	for _, where := range o.trees {
		p, err := e.place(f, where)
		if err != nil {
			return err
		}
		roots = append(roots, p.is())
	}
	shown := &shownTreeDifferences{e: e, roots: o.trees, of: map[string]int{}}
	lines, found := json.NewEncoder(e.stdout), shown.show
	if o.json {
		found = func(d control.TreeDifference) error {
			return lines.Encode(struct {
				control.TreeDifference `json:"difference"`
			}{d})
		}
	}
	unread := 0
	shown.progress = e.counting("comparing")
	defer shown.progress.end()
	r, err := n.ReconcileTree(ctx, roots, control.ReconcileTreeOptions{
		Fix: o.fix, CancelUnreachable: o.cancelUnreachable, StoredBefore: time.Now().Add(-o.olderThan),
		Found: found, Unread: e.noteUnread(&unread), Progress: func(p control.TreeProgress) { shown.progress.objects(p.Objects, 0) },
	})
	shown.progress.end()
	if err != nil {
		return fmt.Errorf("reconcile: %w", f.explain(err))
	}
	if o.json {
		err = lines.Encode(struct {
			control.TreeReconciliation `json:"tree"`
		}{r})
	} else {
		err = shown.end(r, o)
	}
	return errors.Join(err, unreadVerdict(unread))
}

// shownTreeDifferences prints differences, but not a million of them.
type shownTreeDifferences struct {
	e        *env
	roots    []string
	progress *progress
	of       map[string]int // by kind
	left     int
}

func (s *shownTreeDifferences) show(d control.TreeDifference) error {
	if s.of[d.Kind]++; s.of[d.Kind] > mostShown {
		s.left++
		return nil
	}
	s.progress.hide()
	text := d.Kind + "  " + treeName(d, s.roots)
	if d.Size > 0 {
		text += "  " + formatSize(d.Size)
	}
	if !d.Stored.IsZero() {
		text += "  stored " + d.Stored.Local().Format(time.DateOnly)
	}
	switch {
	case d.Error != "":
		text += ": not mended: " + d.Error
	case d.Mended != "":
		text += ": " + d.Mended
	}
	return s.e.print("%s\n", text)
}

// treeName is the path to something or, where there is none, what it can be given
// up by.
func treeName(d control.TreeDifference, roots []string) string {
	switch {
	case d.Kind != tarn.Unreachable.String():
	case d.VerifyCap == "":
		return "storage index " + d.StorageIndex
	default:
		return d.VerifyCap
	}
	path := pathText(d.Path)
	if path == "" {
		path = "<root>"
	}
	if len(roots) > 1 && d.Root < len(roots) && !isCapability(roots[d.Root]) {
		path += " in " + roots[d.Root]
	}
	return path
}

func (s *shownTreeDifferences) end(r control.TreeReconciliation, o reconcileOptions) error {
	if s.left > 0 {
		if err := s.e.print("and %d more; --json lists all\n", s.left); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s can be reached, %s in the journal: %d can't be reached (%s), %d without a lease; %d mended\n",
		counted(r.Reachable, "object"), isAre(r.Listed), r.Unreachable, formatSize(r.UnreachableBytes), r.Unleased, r.Mended)
	if r.Recent > 0 {
		text += fmt.Sprintf("Left out, stored within %v: %s\n", o.olderThan, counted(r.Recent, "object"))
	}
	if r.Unleased > 0 && !o.fix {
		s.e.note("Make leases on what has none with: tarn reconcile --tree ... --fix")
	}
	return s.e.print("%s", text)
}

func isAre(n int64) string {
	if n == 1 {
		return "1 is"
	}
	return fmt.Sprintf("%d are", n)
}
