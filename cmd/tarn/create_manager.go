package main

import (
	"context"

	"github.com/spf13/cobra"
)

type createManagerOptions struct {
	gridFlags
	listenFlags
	dir []string
}

func newCreateManager(e *env) *cobra.Command {
	var o createManagerOptions
	c := &cobra.Command{
		Use:   "create-account-manager [DIR]",
		Short: "Make the node that gives out memberships in a grid",
		Long: `Makes an account manager in DIR, which must be empty or not exist, and prints its
public key. Each server's operator accepts that key once; then tarn manager
add-server makes the server known to the members, and tarn manager add makes
members, without any server or any other member being told.`,
		Example: `  tarn create-account-manager --introducer REF ~/tarn-manager
  tarn create-account-manager --introducer REF --listen /ip4/0.0.0.0/tcp/3459 --announce /dns/accounts.example.org/tcp/3459 ~/tarn-public-manager`,
		Args: between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.dir = args
			return runCreateManager(ctx, e, o)
		}),
	}
	o.gridFlags.register(c)
	c.Flags().Lookup("introducer").Usage = "reference of an introducer that members are told of; may be given several times"
	o.listenFlags.register(c, defaultManagerListen)
	return c
}

func runCreateManager(_ context.Context, e *env, o createManagerOptions) error {
	f, err := e.folder(o.dir...)
	if err != nil {
		return err
	}
	s, err := o.settings()
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	s.Manager = &managerSettings{Listen: o.listen, Announce: o.announce}
	s.Aggregator = &aggregatorSettings{defaultInterval}
	return f.writeKeyed(e, s, managerKeyFile)
}
