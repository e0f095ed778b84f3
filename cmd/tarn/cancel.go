package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/web/control"
)

// fileOptions name a file by its capability, as get does.
type fileOptions struct {
	cap       getOptions
	authority string // file, - or empty for the node's own
	json      bool
}

func newCancel(e *env) *cobra.Command {
	var o fileOptions
	c := &cobra.Command{
		Use:   "cancel PLACE",
		Short: "Give up a file: nobody pays for it any more on your behalf",
		Long: `Ends this account's leases on the shares of a file and takes it off the node's
list, so that it is renewed no more. Servers delete at once what nobody else
keeps. Any capability of the file will do, its verify capability too.

A server that can't be reached now keeps the shares until the lease ends by
itself; it is named with the day.

` + capSecrecy,
		Example: "  tarn cancel - < letter.cap\n  tarn cancel --cap-file letter.cap",
		Args:    between(0, 1),
	}
	o.bind(e, c, func(n *control.Client, ctx context.Context, capability string) ([]control.FileLeases, error) {
		return n.GiveUp(ctx, capability)
	}, cancelText)
	return c
}

func newKeep(e *env) *cobra.Command {
	var o fileOptions
	c := &cobra.Command{
		Use:   "keep PLACE",
		Short: "Renew the leases on a file, from now on",
		Long: `Renews the leases that this node's account has on a file at every server that
can be reached, and puts the file on the node's list, so that they are renewed
from now on. It is for files that another node stored for the same account, and
for a node that was only given a renewal capability: the file's verify
capability, which reads nothing, is enough.

` + capSecrecy,
		Example: "  tarn keep - < letter.verify-cap",
		Args:    between(0, 1),
	}
	o.bind(e, c, func(n *control.Client, ctx context.Context, capability string) ([]control.FileLeases, error) {
		return n.Keep(ctx, capability)
	}, keepText)
	return c
}

const capSecrecy = `Other users of this machine may see a command's arguments: to keep a
capability from them, use the path of an alias (ALIAS:letters/one.txt, see
add-alias), or give - and the capability on standard input, or use --cap-file
where there is that.`

// bind makes the command do something to the file that its options name.
func (o *fileOptions) bind(e *env, c *cobra.Command, do func(*control.Client, context.Context, string) ([]control.FileLeases, error), say func(control.FileLeases) string) {
	c.Flags().StringVar(&o.cap.capFile, "cap-file", "", "file with the capability in it")
	registerAuthority(c, &o.authority)
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	c.RunE = action(func(ctx context.Context, args []string) error {
		if (o.cap.capFile == "") != (len(args) == 1) {
			return usageError{errors.New("which file? Give its capability, a path to it, or --cap-file"), c.CommandPath()}
		}
		o.cap.capability = argument(args, 0)
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
		list, err := do(n, ctx, capability)
		if err != nil {
			return fmt.Errorf("%s the file: %w", c.Name(), f.explain(err))
		}
		if o.json {
			return writeJSON(e.stdout, list)
		}
		return writeFileLeases(e, list, say)
	})
}

func writeFileLeases(e *env, list []control.FileLeases, say func(control.FileLeases) string) error {
	if len(list) == 0 {
		return e.print("this node's account has no lease on the file at any server that answers\n")
	}
	for _, f := range list {
		if err := e.print("%s  %s\n", serverName(f.Server, f.Nickname), say(f)); err != nil {
			return err
		}
	}
	return nil
}

func cancelText(f control.FileLeases) string {
	if f.Error == "" {
		return counted(int64(f.Leases), "lease") + " given up"
	}
	end := "when its time is over"
	if !f.Expires.IsZero() {
		end = clock(f.Expires)
	}
	return fmt.Sprintf("not given up, so the lease there ends by itself, %s: %s", end, f.Error)
}

func keepText(f control.FileLeases) string {
	if f.Error != "" {
		return "not renewed: " + f.Error
	}
	return fmt.Sprintf("%s renewed until %s", counted(int64(f.Leases), "lease"), clock(f.Expires))
}
