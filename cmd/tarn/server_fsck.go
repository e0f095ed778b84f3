package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
)

type fsckOptions struct{ repair, json bool }

// fsckReport is what `tarn server fsck --json` prints.
type fsckReport struct {
	Shares   int64         `json:"shares"`
	Leases   int64         `json:"leases"`
	Files    int64         `json:"files"`
	Problems []fsckProblem `json:"problems"`
}

type fsckProblem struct {
	What string `json:"what"`
	// State is found, mended, mended-with-loss or left.
	State string `json:"state"`
}

func newFsck(e *env) *cobra.Command {
	var o fsckOptions
	c := &cobra.Command{
		Use:   "fsck",
		Short: "Compare the lease table, its sums and the files of shares",
		Long: `Looks at every record of the lease table and at every file of a share, recounts
all sums, and tells what does not agree. With --repair sums are made anew, leases
on shares whose bytes are gone end, and shares on the disk that the table does
not know get starter leases, which last a month. What is no share is left alone.
The node must not run meanwhile. A repair that was interrupted can be repeated.

The exit code is 0 when all is well, or has been mended, and 1 when something is
wrong.`,
		Example: "  tarn server fsck\n  tarn server fsck --repair",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runFsck(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.repair, "repair", false, "mend what can be mended")
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runFsck(ctx context.Context, e *env, o fsckOptions) error {
	f, err := e.folder()
	if err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	operator, err := f.offlineOperator(ctx)
	if errors.Is(err, tarn.ErrFolderInUse) {
		return fmt.Errorf("%w; fsck needs the storage for itself: end the node, run fsck, start the node again", err)
	}
	if err != nil {
		return err
	}
	r, err := operator.Check(ctx, o.repair)
	if err = errors.Join(err, operator.Close()); err != nil {
		return err
	}
	report, wrong := fsckReportOf(r)
	if o.json {
		err = writeJSON(e.stdout, report)
	} else {
		err = e.writeFsck(report)
	}
	if err != nil || wrong == 0 {
		return err
	}
	if o.repair {
		return fmt.Errorf("%w: %s that can't be mended here", errProblems, count(int64(wrong), "problem"))
	}
	return fmt.Errorf("%w: %s; what can be mended is with: tarn server fsck --repair", errProblems, count(int64(wrong), "problem"))
}

// fsckReportOf also counts what is wrong still.
func fsckReportOf(r tarn.CheckReport) (report fsckReport, wrong int) {
	report = fsckReport{Shares: r.Shares, Leases: r.Leases, Files: r.Files, Problems: []fsckProblem{}}
	for _, p := range r.Problems {
		state := "found"
		switch {
		case p.Left:
			state = "left"
		case p.Mended && p.Loss:
			state = "mended-with-loss"
		case p.Mended:
			state = "mended"
		}
		if !p.Mended {
			wrong++
		}
		report.Problems = append(report.Problems, fsckProblem{p.What, state})
	}
	return report, wrong
}

func (e *env) writeFsck(r fsckReport) error {
	for _, p := range r.Problems {
		line := p.What
		switch p.State {
		case "left":
			line += " (left alone)"
		case "mended":
			line += " (mended)"
		case "mended-with-loss":
			line += " (given up)"
		}
		if err := e.print("%s\n", line); err != nil {
			return err
		}
	}
	verdict := "all is well"
	if n := len(r.Problems); n > 0 {
		verdict = count(int64(n), "problem")
	}
	return e.print("%s, %s, %s looked at: %s\n", count(r.Shares, "share"), count(r.Leases, "lease"), count(r.Files, "file"), verdict)
}
