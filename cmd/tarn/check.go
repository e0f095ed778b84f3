package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/web/control"
)

type checkOptions struct {
	cap       getOptions
	verify    bool
	repair    bool
	addLease  bool
	force     bool
	raw       bool
	authority string // file, - or empty for the node's own
}

const checkHelp = `Asks every server which shares of a file or directory it has, and tells how well
that is: how many of its shares are there, and on how many distinct servers. A file
is healthy when all of its shares are there, and on as many servers as shares-happy
in the node's tarn.yaml says; one that can be changed, when they are besides of one
version.

Servers are believed, unless --verify is given: then each share is read to its
end and proven, and damaged ones are named. --add-lease makes leases on the
shares, which are renewed from now on. Any capability of the file will do, its
verify capability too.

--repair makes the shares of a file that is not healthy once more, from those
that are good, and brings them to as many servers as can be; damaged ones are
replaced elsewhere. It reads nothing that is not encrypted. The new shares are
paid for by this node's account, or by --authority, which then has a lease on all
of them. What can be changed, a directory above all, is repaired by its write
capability alone. If several versions of it are there, the newest that can be read is
written as a new one. Should that give up a newer version, of which too few shares are
there now, it takes --force: the others may still come back.

--raw prints what Tahoe-LAFS's web API answers, with the happiness at the top.
`

func newCheck(e *env) *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check PLACE...",
		Short: "See how many of a file's shares are there, and where",
		Long: checkHelp + `
Several are looked at one after the other. The exit code is 0 for a file that is
healthy, or is so after the repair, 8 for one that is not but can be read, and 4 for
one that can't be read now; of several, that of the worst.

` + capSecrecy,
		Example: "  tarn check work:letters/one.txt\n  tarn check - < letter.cap\n  tarn check --verify --cap-file letter.cap\n  tarn check --raw --cap-file letter.cap | jq .happiness\n  tarn check --repair - < letter.verify-cap",
		Args:    between(0, anyNumber),
		RunE: action(func(ctx context.Context, args []string) error {
			if (o.cap.capFile == "") != (len(args) > 0) {
				return usageError{errors.New("which file? Give its capability, a path to it, or --cap-file"), "tarn check"}
			}
			if o.force && !o.repair {
				return usageError{errors.New("--force goes with --repair"), "tarn check"}
			}
			if len(args) == 0 {
				args = []string{"-"} // --cap-file counts
			}
			return e.eachPlace(ctx, args, o.raw, func(place string) error {
				o.cap.capability = place
				return runCheck(ctx, e, o)
			})
		}),
	}
	c.Flags().StringVar(&o.cap.capFile, "cap-file", "", "file with the capability in it")
	c.Flags().BoolVar(&o.verify, "verify", false, "read every share and prove it")
	c.Flags().BoolVar(&o.repair, "repair", false, "make what is missing once more")
	c.Flags().BoolVar(&o.addLease, "add-lease", false, "make leases on the shares, and renew them")
	c.Flags().BoolVar(&o.force, "force", false, "with --repair, give up a newer version that can't be read")
	c.Flags().BoolVar(&o.raw, "raw", false, "for programs: Tahoe-LAFS's JSON")
	registerAuthority(c, &o.authority)
	return c
}

func runCheck(ctx context.Context, e *env, o checkOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if n, err = e.under(n, o.authority); err != nil {
		return err
	}
	capability, err := e.capability(ctx, o.cap)
	if err != nil {
		return err
	}
	if o.repair {
		return o.runRepair(ctx, e, n, f, capability)
	}
	progress := e.progress("checking", -1)
	defer progress.end()
	r, err := n.Check(ctx, capability, control.CheckOptions{Verify: o.verify, AddLease: o.addLease, Progress: progress.at})
	if err != nil {
		return fmt.Errorf("check the file: %w", f.explain(err))
	}
	progress.end()
	if o.raw {
		err = writeJSON(e.stdout, r.Report)
	} else {
		err = e.writeCheck(r)
	}
	return errors.Join(err, verdict(r.Report))
}

func (o checkOptions) runRepair(ctx context.Context, e *env, n *control.Client, f folder, capability string) error {
	progress := e.progress("repairing", -1)
	defer progress.end()
	r, err := n.Repair(ctx, capability, control.CheckOptions{Verify: o.verify, AddLease: o.addLease, Force: o.force, Progress: progress.at})
	if err != nil {
		return fmt.Errorf("repair the file: %w", f.explain(err))
	}
	progress.end()
	if o.raw {
		err = writeJSON(e.stdout, r.Report)
	} else {
		err = e.writeRepair(r)
	}
	if failure := r.Err(); failure != nil {
		return errors.Join(err, fmt.Errorf("repair the file: %w", failure))
	}
	return errors.Join(err, verdict(r.After.Report))
}

// verdict is nil for a healthy file.
func verdict(r health.JSON) error {
	switch {
	case r.Results.Healthy:
		return nil
	case !r.Results.Counts.Recoverable:
		return fmt.Errorf("%w: %d of the %d that are needed are there", tarn.ErrNotEnoughShares, r.Results.SharesGood, r.Results.SharesNeeded)
	}
	return fmt.Errorf("%w; see: tarn check --help", errUnhealthy)
}

// writeCheck is Tahoe-LAFS's way to say it, and what that does not say.
func (e *env) writeCheck(r control.CheckResult) error {
	j := r.Report
	if j.Results.Counts == nil {
		return e.print("Summary: Healthy (LIT)\n")
	}
	c := j.Results.Counts
	text := fmt.Sprintf("Summary: %s\n storage index: %s\n", j.Summary, j.StorageIndex)
	text += fmt.Sprintf(" good-shares: %d (encoding is %d-of-%d), on %s\n", c.SharesGood, c.SharesNeeded, c.SharesExpected, counted(int64(c.GoodShareHosts), "server"))
	text += fmt.Sprintf(" happiness: %d (want %d)\n wrong-shares: %d\n", c.Happiness, min(r.Happy, c.SharesExpected), c.WrongShares)
	text += versionsText(r)
	text += faultsText("corrupt shares", r.Corrupt) + faultsText("shares that could not be read", r.Unread)
	text += silentText("servers that were not asked", r.Silent)
	if r.Leased > 0 {
		text += fmt.Sprintf(" leases: on %s\n", counted(int64(r.Leased), "share"))
	}
	text += silentText("no leases", r.Unleased)
	return e.print("%s", text)
}

// writeRepair tells how it was, and what became of it.
func (e *env) writeRepair(r control.RepairResult) error {
	if err := e.writeCheck(r.Before); err != nil || !r.Report.Attempted {
		return err
	}
	after := r.After.Report
	text := " repair successful"
	if !after.Results.Healthy {
		text = " repaired as far as can be"
	}
	text += fmt.Sprintf(": %s, now %s on %s, happiness %d\n", counted(int64(r.Pushed), "new share"),
		counted(int64(after.Results.SharesGood), "good share"), counted(int64(after.Results.GoodShareHosts), "server"), after.Results.Happiness)
	if !after.Results.Healthy {
		text += silentText("servers that got nothing, or nothing more", r.LeftOut)
	}
	for _, id := range r.Unrenewed {
		text += fmt.Sprintf(" nobody renews the leases at server %s: this node does not have that authority\n", short(id))
	}
	return e.print("%s", text)
}

// versionsText names the versions of a mutable file.
func versionsText(r control.CheckResult) string {
	if r.Version == "" {
		return ""
	}
	others := ""
	for _, v := range r.Others {
		others += fmt.Sprintf("  %s: %s (encoding is %d-of-%d)", v.Name, counted(int64(v.Shares), "share"), v.Needed, v.Total)
		if v.Newer {
			others += ", newer"
		}
		others += "\n"
	}
	return fmt.Sprintf(" version: %s\n", r.Version) + headed("other versions", others)
}

func faultsText(what string, list []control.ShareFault) string {
	text := ""
	for _, f := range list {
		text += fmt.Sprintf("  server %s, share %d: %s\n", serverName(f.Server, f.Nickname), f.Number, f.Error)
	}
	return headed(what, text)
}

func silentText(what string, list []control.ServerError) string {
	text := ""
	for _, s := range list {
		text += fmt.Sprintf("  server %s: %s\n", serverName(s.Server, s.Nickname), s.Error)
	}
	return headed(what, text)
}

// headed is nothing without text.
func headed(what, text string) string {
	if text == "" {
		return ""
	}
	return " " + what + ":\n" + text
}
