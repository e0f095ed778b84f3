package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/tahoe"
)

type deepCheckOptions struct {
	where     string // a place, - is standard input, empty the default alias
	authority string // file, - or empty for the node's own
	verify    bool
	repair    bool
	addLease  bool
	raw       bool
	verbose   bool
	resume    bool
}

func newDeepCheck(e *env) *cobra.Command {
	var o deepCheckOptions
	c := &cobra.Command{
		Use:   "deep-check [PLACE|-]...",
		Short: "Check all files and directories that can be reached from a directory, and repair them",
		Long: `Checks every file and directory that can be reached from each PLACE as tarn check
does, several at a time, and names those that are not healthy. One that can't be checked
does not end it; nor does a directory that can't be read, but what is only in that one
can't be found. --verify reads and proves every share, --repair makes what is missing
once more, --add-lease makes leases on the shares, which are renewed from now on.

Where it is interrupted, the same command with --resume goes on: what was found
healthy is not checked again, all else is. A check that came to its end leaves nothing
to go on with, and then --resume begins anew.

--raw prints the lines that Tahoe-LAFS's web API answers, with an "error" where an
object can't be checked, and an "unread" where a directory can't be read.

The exit code is 0 if all is healthy, or is so after the repair; 8 if something is not
but can be read; 4 if something can't be read now; 9 if something could not be checked.
Of several places it is that of the worst.

` + placeHelp + capSecrecy,
		Example: "  tarn deep-check photos:\n  tarn deep-check --verify --repair -v photos:2026\n  tarn deep-check --repair --add-lease --resume - < root.cap",
		Args:    between(0, anyNumber),
		RunE: action(func(ctx context.Context, args []string) error {
			return e.eachPlace(ctx, args, o.raw, func(place string) error {
				o.where = place
				return runDeepCheck(ctx, e, o)
			})
		}),
	}
	registerAuthority(c, &o.authority)
	c.Flags().BoolVar(&o.verify, "verify", false, "read every share and prove it")
	c.Flags().BoolVar(&o.repair, "repair", false, "make what is missing once more")
	c.Flags().BoolVar(&o.addLease, "add-lease", false, "make leases on the shares, and renew them")
	c.Flags().BoolVar(&o.raw, "raw", false, "for programs: Tahoe-LAFS's lines of JSON")
	c.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "name healthy objects, too")
	c.Flags().BoolVar(&o.resume, "resume", false, "go on with the same check, if it was interrupted")
	return c
}

func runDeepCheck(ctx context.Context, e *env, o deepCheckOptions) error {
	t, err := e.reachable(o.where, o.authority)
	if err != nil {
		return err
	}
	defer t.node.Close()
	path, err := t.folder.checkRecordPath([]any{t.place, o.verify, o.repair, o.addLease})
	if err != nil {
		return err
	}
	record, before, err := openCheckRecord(path, o.resume)
	if err != nil {
		return err
	}
	if !before.last.IsZero() {
		e.note("Going on with a check that was interrupted %s ago", time.Since(before.last).Round(time.Second))
	}
	r := &deepChecked{e: e, o: o, raw: rawLines(e), record: record, progress: e.counting("checking")}
	defer r.progress.end()
	end, err := t.node.DeepCheck(ctx, t.place, control.DeepCheckOptions{
		Verify: o.verify, AddLease: o.addLease, Repair: o.repair, Known: before.known, Progress: r.at,
	}, r.add)
	r.progress.end()
	left, failure := record.end(err == nil)
	if failure != nil {
		e.warn("the record of what was checked: %v", failure)
	}
	if left {
		e.note("What was checked is noted; --resume goes on with the rest")
	}
	if err != nil {
		return fmt.Errorf("check: %w", t.folder.explain(err))
	}
	return errors.Join(r.end(end), r.verdict())
}

// deepChecked is what a deep check has found so far. What lies in its capability
// is healthy, as Tahoe has it.
type deepChecked struct {
	e        *env
	o        deepCheckOptions
	raw      *json.Encoder
	record   *checkRecord
	progress *progress

	objects, healthy      int // healthy now
	wasHealthy            int
	attempted, successful int
	lost, unchecked       int // can't be read now; could not be checked
}

func (d *deepChecked) at(p control.TreeProgress) {
	d.progress.objects(p.Objects, p.Bytes)
}

// add takes an object that was checked.
func (d *deepChecked) add(l tahoe.CheckedLine) error {
	if l.Type != tahoe.LineUnknown {
		d.count(l)
	}
	switch {
	case d.o.raw:
		return d.raw.Encode(l)
	case l.Type == tahoe.LineUnknown:
		return nil
	}
	text := d.text(l)
	if text == "" {
		return nil
	}
	d.progress.hide()
	return d.e.print("%s", text)
}

func (d *deepChecked) count(l tahoe.CheckedLine) {
	d.objects++
	before, after := reports(l)
	switch {
	case l.Failed != "":
		d.unchecked++
		return
	case l.Unread != "" || !recoverable(after):
		d.lost++
	case after.Results.Healthy:
		d.healthy++
		d.record.add(l.StorageIndex)
	}
	if before.Results.Healthy {
		d.wasHealthy++
	}
	if l.Repaired != nil && l.Repaired.Attempted {
		d.attempted++
		if after.Results.Healthy {
			d.successful++
		}
	}
}

// reports are how an object was and how it is. Of one that lies in its capability
// a repair says nothing.
func reports(l tahoe.CheckedLine) (before, after health.JSON) {
	switch {
	case l.Checked != nil:
		return *l.Checked, *l.Checked
	case l.Repaired != nil && l.Repaired.Pre != nil && l.Repaired.Post != nil:
		return *l.Repaired.Pre, *l.Repaired.Post
	}
	literal := health.Report{Literal: true}.JSON()
	return literal, literal
}

func recoverable(j health.JSON) bool { return j.Results.Counts == nil || j.Results.Counts.Recoverable }

// text is nothing for what is in order, unless all is to be named.
func (d *deepChecked) text(l tahoe.CheckedLine) string {
	path := pathText(l.Path)
	if path == "" {
		path = "<root>"
	}
	if l.Failed != "" {
		return fmt.Sprintf("%s: not checked: %s\n", path, l.Failed)
	}
	before, after := reports(l)
	corrupt := corruptShares(before)
	if !d.o.verbose && before.Results.Healthy && l.Unread == "" && len(corrupt) == 0 {
		return ""
	}
	text := fmt.Sprintf("%s: %s\n", path, summary(before))
	for _, share := range corrupt {
		id := fmt.Sprint(share[0])
		text += fmt.Sprintf("  corrupt: server %s, SI %v, shnum %v\n", serverName(id, l.Nicknames[id]), share[1], share[2])
	}
	if l.Repaired != nil && l.Repaired.Attempted {
		text += "  " + repairText(l, after) + "\n"
	}
	if l.Unread != "" {
		text += fmt.Sprintf("  what is in it can't be reached: %s\n", l.Unread)
	}
	return text
}

func corruptShares(j health.JSON) [][3]any {
	if j.Results.Counts == nil {
		return nil
	}
	return j.Results.ListCorrupt
}

// summary is Tahoe's sentence, which it leaves out for what lies in its
// capability.
func summary(j health.JSON) string {
	if j.Summary == "" {
		return "Healthy (LIT)"
	}
	return j.Summary
}

func repairText(l tahoe.CheckedLine, after health.JSON) string {
	switch {
	case l.RepairError != "":
		return "repair failed: " + l.RepairError
	case after.Results.Healthy:
		return "repair successful"
	}
	return "repaired as far as can be: " + summary(after)
}

// end says the sums, in Tahoe's words.
func (d *deepChecked) end(end control.TreeEnd) error {
	if d.o.raw {
		return d.raw.Encode(tahoe.StatsLineOf(end.Stats))
	}
	objects := counted(int64(d.objects+end.Known), "object") + " checked"
	if end.Known > 0 {
		objects += fmt.Sprintf(" (%d of them before)", end.Known)
	}
	was, is := d.wasHealthy+end.Known, d.healthy+end.Known
	checked := d.objects + end.Known - d.unchecked
	var text string
	if d.o.repair {
		text = fmt.Sprintf("done: %s\n pre-repair: %d healthy, %d unhealthy\n %s attempted, %d successful, %d failed\n post-repair: %d healthy, %d unhealthy\n",
			objects, was, checked-was, counted(int64(d.attempted), "repair"), d.successful, d.attempted-d.successful, is, checked-is)
	} else {
		text = fmt.Sprintf("done: %s, %d healthy, %d unhealthy\n", objects, is, checked-is)
	}
	for _, s := range end.Silent {
		text += fmt.Sprintf(" not asked about %s: server %s: %s\n", counted(int64(s.Objects), "object"), serverName(s.Server, s.Nickname), s.Error)
	}
	return d.e.print("%s", text)
}

// verdict is nil if all is healthy.
func (d *deepChecked) verdict() error {
	switch ill := d.objects - d.healthy - d.unchecked; {
	case d.lost > 0:
		return fmt.Errorf("%w: %s can't be read now", tarn.ErrNotEnoughShares, counted(int64(d.lost), "object"))
	case ill > 0:
		return fmt.Errorf("%w: %d of %s", errUnhealthyTree, ill, counted(int64(d.objects), "object"))
	case d.unchecked > 0:
		return fmt.Errorf("%w: %s could not be checked", errPartly, counted(int64(d.unchecked), "object"))
	}
	return nil
}
