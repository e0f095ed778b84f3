package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/control"
)

type ambientOptions struct{ quota string }

func newEnableAmbient(e *env) *cobra.Command {
	var o ambientOptions
	c := &cobra.Command{
		Use:   "enable-ambient-storage",
		Short: "Let everybody store here, without an account",
		Long: `Lets clients store here that have no account: all of them together have the
account anonymous, with a quota of its own. Nobody can tell whose its shares
are, and anybody who knows a share can renew its lease. The node may run or
not; the setting stays over restarts.`,
		Example: "  tarn server enable-ambient-storage --quota 100GB\n  tarn server disable-ambient-storage",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runEnableAmbient(ctx, e, o) }),
	}
	c.Flags().StringVar(&o.quota, "quota", "", "how much they may store together, such as 100GB (default no limit)")
	return c
}

func runEnableAmbient(ctx context.Context, e *env, opts ambientOptions) error {
	quota, err := quotaOf(opts.quota)
	if err != nil {
		return err
	}
	return e.asOperator(ctx, func(o control.Operator) error {
		if _, err := o.SetAmbient(ctx, true, quota); err != nil {
			return err
		}
		return e.print("everybody may store here now, quota %s\n", formatQuota(quota))
	})
}

func newDisableAmbient(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "disable-ambient-storage",
		Short: "Let only accounts store here",
		Long: `Ends what tarn server enable-ambient-storage began. What was stored stays until
its leases end; tarn server remove anonymous --cancel-leases frees it at once.
The node may run or not.`,
		Example: "  tarn server disable-ambient-storage",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runDisableAmbient(ctx, e) }),
	}
}

func runDisableAmbient(ctx context.Context, e *env) error {
	return e.asOperator(ctx, func(o control.Operator) error {
		changed, err := o.SetAmbient(ctx, false, nil)
		if errors.Is(err, tarn.ErrNoAccount) {
			return e.print("only accounts may store here, as before\n")
		}
		if err != nil {
			return err
		}
		if err := e.print("only accounts may store here now\n"); err != nil {
			return err
		}
		return e.tellEnded(changed)
	})
}
