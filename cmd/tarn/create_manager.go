package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
)

type createManagerOptions struct {
	listenFlags
	introducers []string
	nickname    string
	dir         []string
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
	o.register(c, defaultManagerListen)
	c.Flags().StringArrayVar(&o.introducers, "introducer", nil, "reference of an introducer that members are told of; may be given several times")
	c.Flags().StringVar(&o.nickname, "nickname", "", "what the node calls itself, at most 64 bytes")
	return c
}

func runCreateManager(_ context.Context, e *env, o createManagerOptions) error {
	f, err := e.folder(o.dir...)
	if err != nil {
		return err
	}
	if err := checkNickname(o.nickname); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	for _, text := range o.introducers {
		if _, err := tarn.ParseIntroducerRef(text); err != nil {
			return err
		}
	}
	key := newKey()
	s := settings{
		Nickname: o.nickname, Introducers: o.introducers,
		Manager:    &managerSettings{Listen: o.listen, Announce: o.announce},
		Aggregator: &aggregatorSettings{defaultInterval},
	}
	if err := f.write(e, s, map[string]string{managerKeyFile: keyText(key)}); err != nil {
		return err
	}
	return e.print("%s\n", grid.PublicKeyOf(key))
}
