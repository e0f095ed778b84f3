package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/lease"
)

func newRenewalCap(e *env) *cobra.Command {
	var o capFlags
	c := &cobra.Command{
		Use:   "renewal-cap {KEY|FILE|-}",
		Short: "Let a renewer keep your files alive while this node is off",
		Long: `Prints a renewal cap for the renewer whose public key is KEY, or stands in FILE:
the list of this node's leases, certificates by which that renewer may renew
them and do nothing else, and where it finds servers and your account manager,
which gives it newer membership cards. Send it to the renewer's operator, who
adds it with tarn renewer add. Nobody else can use it, but it shows who keeps
what where.

It is for what the node has stored up to now. After you have stored more, or
given something up, hand over a new one in the same way: it takes the place of
the older one. With a renewer on another machine, that is one command, which cron
can run, too.`,
		Example: `  tarn renewal-cap renewer.key > alice.renewal
  tarn renewal-cap renewer.key | ssh renewer.example.org tarn -d tarn-renewer renewer add alice`,
		Args: between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.key = args[0]
			return runRenewalCap(ctx, e, o)
		}),
	}
	o.register(c)
	return c
}

func runRenewalCap(ctx context.Context, e *env, o capFlags) error {
	key, until, err := o.terms(e, renewerRole)
	if err != nil {
		return err
	}
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	made, err := n.RenewalCap(ctx, key, until)
	if err != nil {
		if errors.Is(err, lease.ErrNoCommonServer) {
			return fmt.Errorf("make the renewal cap: %w; this node has no leases that it can renew itself: see tarn leases", err)
		}
		return fmt.Errorf("make the renewal cap: %w", f.explain(err))
	}
	if made.Left > 0 {
		e.warn("%s left out: this node may not renew them itself", counted(int64(made.Left), "lease"))
	}
	e.note("A renewal cap for %s, until %s.", counted(int64(made.Leases), "lease"), clock(until))
	return e.save(o.output, []byte(made.Cap))
}
