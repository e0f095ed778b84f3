package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/web/control"
)

type addAuthorizationOptions struct {
	name, key string
	quota     string // empty: no limit
}

func newAddAuthorization(e *env) *cobra.Command {
	var o addAuthorizationOptions
	c := &cobra.Command{
		Use:   "add-authorization NAME KEY",
		Short: "Accept whoever an account manager signs for",
		Long: `Lets everybody store on this node's storage server whose key was signed with KEY,
pub-v0-..., the public key of an account manager, whom you call NAME. The server
announces KEY to all, so that those who hold its certificates know where they are
good; for a friend's own key use tarn server add-account, which tells nobody. With
--quota it limits what all of them store together. The node may run or not.`,
		Example: "  tarn server add-authorization --quota 1TB cooperative pub-v0-caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		Args:    between(2, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name, o.key = args[0], args[1]
			return runAddAuthorization(ctx, e, o)
		}),
	}
	c.Flags().StringVar(&o.quota, "quota", "", "how much all of them together may store, such as 1TB (default no limit)")
	return c
}

func runAddAuthorization(ctx context.Context, e *env, o addAuthorizationOptions) error {
	key, quota, err := addAccountOptions{name: o.name, key: o.key, quota: o.quota}.parse()
	if err != nil {
		return err
	}
	return e.asOperator(ctx, func(operator control.Operator) error {
		added, err := operator.AddManager(ctx, control.NewManager{Petname: o.name, Key: key.String(), Quota: quota})
		if err != nil {
			return fmt.Errorf("accept the manager %s: %w", o.name, err)
		}
		e.note("whoever %s signs for may now store here, quota %s; the key is announced", added.Petname, formatQuota(added.Quota))
		return e.print("%s\n", added.Key)
	})
}
