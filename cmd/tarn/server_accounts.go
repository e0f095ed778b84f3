package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/control"
)

const namesHelp = `NAME is a petname or a key, pub-v0-...; a petname means every key under it. It
holds from the next operation on, for clients that are connected, too. The node
may run or not.`

// nameCommand is a command about the account NAME.
func nameCommand(use, short, long, example string, run func(ctx context.Context, name string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		Args: between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error { return run(ctx, args[0]) }),
	}
}

func newDisable(e *env) *cobra.Command {
	return nameCommand("disable NAME", "Refuse everything to an account, for a while", `Refuses everything to NAME, uploads in progress included, and forgets nothing:
shares stay until their leases end, and tarn server enable ends it.

`+namesHelp, "  tarn server disable bob",
		func(ctx context.Context, name string) error { return runDisable(ctx, e, name, true) })
}

func newEnable(e *env) *cobra.Command {
	return nameCommand("enable NAME", "Accept an account again that was disabled", `Accepts NAME again, which tarn server disable had refused.

`+namesHelp, "  tarn server enable bob",
		func(ctx context.Context, name string) error { return runDisable(ctx, e, name, false) })
}

func runDisable(ctx context.Context, e *env, name string, disabled bool) error {
	return e.asOperator(ctx, func(o control.Operator) error {
		changed, err := o.SetDisabled(ctx, name, disabled)
		if err != nil {
			return err
		}
		if disabled {
			return e.tellChanged(changed, "is disabled")
		}
		return e.tellChanged(changed, "is enabled")
	})
}

func newRevoke(e *env) *cobra.Command {
	return nameCommand("revoke KEY", "Refuse everything in which a key stands", `Refuses every chain of certificates and every login in which KEY, pub-v0-...,
stands anywhere, whether it has an account here or not. Leases that were made
stay until they end. A petname means every key under it.`, "  tarn server revoke bob\n  tarn server unrevoke bob",
		func(ctx context.Context, key string) error { return runRevoke(ctx, e, key, true) })
}

func newUnrevoke(e *env) *cobra.Command {
	return nameCommand("unrevoke KEY", "Accept a key again that was revoked", `Accepts KEY again, pub-v0-..., which tarn server revoke had refused.`, "  tarn server unrevoke bob",
		func(ctx context.Context, key string) error { return runRevoke(ctx, e, key, false) })
}

func runRevoke(ctx context.Context, e *env, key string, revoked bool) error {
	return e.asOperator(ctx, func(o control.Operator) error {
		changed, err := o.SetRevoked(ctx, key, revoked)
		if err != nil {
			return err
		}
		if revoked {
			return e.tellChanged(changed, "is revoked")
		}
		return e.tellChanged(changed, "is not revoked")
	})
}

type rekeyOptions struct{ name, key string }

func newRekey(e *env) *cobra.Command {
	var o rekeyOptions
	return &cobra.Command{
		Use:   "rekey NAME NEWKEY",
		Short: "Give all that an account has to another key",
		Long: `Puts NEWKEY, pub-v0-..., in the place of the one key of NAME, for somebody who
lost the old one: quota, shares, counters and what NAME delegated to others are
the new key's, whole and at once. NEWKEY must be new to this server, and not
revoked. The old key then means nothing here; if somebody else may have it, revoke it too, since
others may have signed for it.`,
		Example: "  tarn server rekey bob pub-v0-caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		Args:    between(2, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name, o.key = args[0], args[1]
			return runRekey(ctx, e, o)
		}),
	}
}

func runRekey(ctx context.Context, e *env, opts rekeyOptions) error {
	key, err := grid.ParsePublicKey(opts.key)
	if err != nil {
		return err
	}
	return e.asOperator(ctx, func(o control.Operator) error {
		changed, err := o.Rekey(ctx, opts.name, key)
		if err != nil {
			return fmt.Errorf("give %s another key: %w", opts.name, err)
		}
		return e.tellChanged(changed, "has all that the old key had")
	})
}

type setQuotaOptions struct{ name, quota string }

func newSetQuota(e *env) *cobra.Command {
	var o setQuotaOptions
	return &cobra.Command{
		Use:   "set-quota NAME SIZE|none",
		Short: "Change how much an account may store",
		Long: `Lets NAME store SIZE, such as 5GB, or anything with none. What is stored beyond
it stays until its leases end; only new shares are refused. NAME is a petname of
one key, or a key, pub-v0-..., or anonymous. The node may run or not.`,
		Example: "  tarn server set-quota bob 5GB\n  tarn server set-quota bob none",
		Args:    between(2, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name, o.quota = args[0], args[1]
			return runSetQuota(ctx, e, o)
		}),
	}
}

func runSetQuota(ctx context.Context, e *env, opts setQuotaOptions) error {
	quota, err := quotaOf(opts.quota)
	if err != nil {
		return err
	}
	return e.asOperator(ctx, func(o control.Operator) error {
		changed, err := o.SetQuota(ctx, opts.name, quota)
		if err != nil {
			return err
		}
		return e.tellChanged(changed, "has quota "+formatQuota(quota))
	})
}

type listAccountsOptions struct{ json bool }

func newListAccounts(e *env) *cobra.Command {
	var o listAccountsOptions
	c := &cobra.Command{
		Use:   "list-accounts",
		Short: "List who may store here, and revoked keys",
		Long: `Lists every account of this node's storage server with its key and quota, and
the keys that are revoked. What they hold is shown by tarn usage. The node may
run or not.`,
		Example: "  tarn server list-accounts\n  tarn server list-accounts --json",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runListAccounts(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runListAccounts(ctx context.Context, e *env, opts listAccountsOptions) error {
	return e.asOperator(ctx, func(o control.Operator) error {
		list, err := o.Accounts(ctx)
		if err != nil {
			return err
		}
		if opts.json {
			return writeJSON(e.stdout, list)
		}
		return e.writeAccounts(list)
	})
}

func (e *env) writeAccounts(list control.Accounts) error {
	if len(list.Accounts)+len(list.Revoked) == 0 {
		e.note("No accounts yet. Add one with: tarn server add-account NAME")
		return nil
	}
	t := newTable(e.stdout)
	t.row("ACCOUNT", "KEY", "QUOTA", "STATE")
	revoked := map[string]bool{}
	for _, k := range list.Revoked {
		revoked[k] = true
	}
	sortAccounts(list.Accounts, func(a control.Account) (string, string) { return a.Petname, a.Key })
	for _, a := range list.Accounts {
		state := "enabled"
		if a.Manager {
			state = "manager, announced"
		}
		if a.Reader {
			state = "reads all usage"
		}
		if a.Disabled {
			state = "disabled"
		}
		if revoked[a.Key] {
			state = "revoked"
			delete(revoked, a.Key)
		}
		t.row(a.Petname, a.Key, formatQuota(a.Quota), state)
	}
	for _, k := range list.Revoked {
		if revoked[k] {
			t.row("", k, "", "revoked")
		}
	}
	return t.end()
}
