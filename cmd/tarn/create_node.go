package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type createNodeOptions struct {
	clientFlags
	listenFlags
	reserved string
	noClient bool
	relays   []string
	dir      []string
}

func newCreateNode(e *env) *cobra.Command {
	var o createNodeOptions
	c := &cobra.Command{
		Use:   "create-node [DIR]",
		Short: "Make a node that keeps shares for others and is a client too",
		Long: `Makes a node in DIR, which must be empty or not exist, with a storage server
and a client. The server keeps shares only for accounts that you add with
tarn server add-account.`,
		Example: `  tarn create-node --nickname cellar ~/tarn-server
  tarn create-node --relay auto --nickname attic ~/tarn-behind-a-router
  tarn create-node --listen /ip4/0.0.0.0/tcp/3457 --announce /dns/storage.example.org/tcp/3457 --no-client ~/tarn-public`,
		Args: between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.dir = args
			return runCreateNode(ctx, e, o)
		}),
	}
	o.clientFlags.register(c)
	o.listenFlags.register(c, defaultServerListen)
	c.Flags().StringVar(&o.reserved, "reserved-space", defaultReservedSpace, "how much of the disk is left free")
	c.Flags().StringArrayVar(&o.relays, "relay", nil, "reference of a relay through which the server is reached where nobody can dial it, or auto for any that the introducers know; may be given several times")
	c.Flags().BoolVar(&o.noClient, "no-client", false, "only the storage server: no client, no gateway")
	return c
}

func runCreateNode(_ context.Context, e *env, o createNodeOptions) error {
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
	reserved, err := parseSize(o.reserved)
	if err != nil {
		return fmt.Errorf("--reserved-space: %w", err)
	}
	if _, err := storageRelays(o.relays); err != nil {
		return usageError{err: fmt.Errorf("--relay: %w", err)}
	}
	s.Storage = &storageSettings{Listen: o.listen, Announce: o.announce, Relays: o.relays, ReservedSpace: exactSize(reserved), PassOnBelow: exactSize(0)}
	private := map[string]string{}
	if o.noClient {
		s.Client, s.Web = nil, nil
	} else if private, err = newClientSecrets(); err != nil {
		return err
	}
	private[serverKeyFile] = keyText(newKey())
	return f.write(e, s, private)
}
