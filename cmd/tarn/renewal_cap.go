package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// defaultRenewalTime is how long a renewal cap is good, if nothing else is said.
const defaultRenewalTime = "1095d"

type renewalCapOptions struct {
	key           string // a key, a file or -
	until, output string
}

func newRenewalCap(e *env) *cobra.Command {
	var o renewalCapOptions
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
	registerOutput(c, &o.output)
	c.Flags().StringVar(&o.until, "until", defaultRenewalTime, "when it ends: a date such as 2029-12-31, or a duration")
	return c
}

func runRenewalCap(ctx context.Context, e *env, o renewalCapOptions) error {
	until, err := parseUntil(o.until, time.Now())
	if err != nil {
		return fmt.Errorf("--until: %w", err)
	}
	key, err := e.readRoleKey(o.key, renewerRole)
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

// readRoleKey reads the one key of a renewer or repairer that there should be.
func (e *env) readRoleKey(from, role string) (grid.PublicKey, error) {
	if strings.HasPrefix(from, "pub-v0-") {
		return grid.ParsePublicKey(from)
	}
	input, _, err := e.open(from)
	if err != nil {
		return grid.PublicKey{}, err
	}
	defer input.Close()
	keys, err := readKeys(input)
	if err == nil && (len(keys) != 1 || keys[0].Key.IsZero()) {
		err = fmt.Errorf("%w: want the key of one %s, as tarn %s key prints it", lease.ErrKeys, role, role)
	}
	if err != nil {
		return grid.PublicKey{}, fmt.Errorf("%s: %w", nameOf(from), err)
	}
	return keys[0].Key, nil
}
