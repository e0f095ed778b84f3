package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
)

type createRelayOptions struct {
	gridFlags
	listenFlags
	data string
	dir  []string
}

func newCreateRelay(e *env) *cobra.Command {
	var o createRelayOptions
	c := &cobra.Command{
		Use:   "create-relay [DIR]",
		Short: "Make the node through which servers behind routers are reached",
		Long: `Makes a relay in DIR, which must be empty or not exist, and prints its reference.
Storage servers that nobody can dial take a slot on it (storage.relays in their
tarn.yaml) and are reached through it, within its limits. It can't read what
passes. The introducers make it known; another node, an introducer say, becomes
a relay by a section relay in its tarn.yaml.`,
		Example: `  tarn create-relay --introducer REF ~/tarn-relay
  tarn create-relay --introducer REF --listen /ip4/0.0.0.0/tcp/3461 --announce /dns/relay.example.org/tcp/3461 --data 50GB ~/tarn-public-relay`,
		Args: between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.dir = args
			return runCreateRelay(ctx, e, o)
		}),
	}
	o.gridFlags.register(c)
	o.listenFlags.register(c, defaultRelayListen)
	c.Flags().StringVar(&o.data, "data", defaultRelayData, "how much it passes on in an hour for each server, both ways together")
	return c
}

func runCreateRelay(_ context.Context, e *env, o createRelayOptions) error {
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
	s.Relay = defaultRelaySettings()
	s.Relay.Listen, s.Relay.Announce, s.Relay.Data = o.listen, o.announce, o.data
	if _, err := s.Relay.limits(); err != nil {
		return usageError{err: err}
	}
	return f.writeListening(e, s, o.listenFlags, relayKeyFile, f.relayReference(), func(id grid.ServerID, hints []grid.Hint) (string, error) {
		return tarn.RelayRef{Server: id, Hints: hints}.String(), nil
	})
}
