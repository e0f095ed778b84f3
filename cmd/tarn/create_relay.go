package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
)

type createRelayOptions struct {
	listenFlags
	introducers []string
	nickname    string
	data        string
	dir         []string
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
	o.register(c, defaultRelayListen)
	c.Flags().StringArrayVar(&o.introducers, "introducer", nil, "reference of an introducer; may be given several times")
	c.Flags().StringVar(&o.nickname, "nickname", "", "what the node calls itself, at most 64 bytes")
	c.Flags().StringVar(&o.data, "data", defaultRelayData, "how much it passes on in an hour for each server, both ways together")
	return c
}

func runCreateRelay(_ context.Context, e *env, o createRelayOptions) error {
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
	section := defaultRelaySettings()
	section.Listen, section.Announce, section.Data = o.listen, o.announce, o.data
	if _, err := section.limits(); err != nil {
		return usageError{err: err}
	}
	key := newKey()
	private := map[string]string{relayKeyFile: keyText(key)}
	addresses, known := o.addresses()
	ref := tarn.RelayRef{Server: grid.ServerID(grid.PublicKeyOf(key)), Hints: hints(addresses)}
	if known {
		private["relay.ref"] = ref.String()
	}
	s := settings{Nickname: o.nickname, Introducers: o.introducers, Relay: section}
	if err := f.write(e, s, private); err != nil {
		return err
	}
	if !known {
		e.note("Its reference will be in %s once it runs.", f.relayReference())
		return nil
	}
	return e.print("%s\n", ref)
}
