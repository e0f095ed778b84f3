package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type createRenewerOptions struct {
	gridFlags
	caps int
	dir  []string
}

func newCreateRenewer(e *env) *cobra.Command {
	var o createRenewerOptions
	c := &cobra.Command{
		Use:   "create-renewer [DIR]",
		Short: "Make the node that keeps others' files alive while their nodes are off",
		Long: `Makes a renewer in DIR, which must be empty or not exist, and prints its public
key, the same for ever and for everybody. Whoever wants his files kept alive makes
a renewal cap for that key, with tarn renewal-cap, and the renewer's
operator adds it, with tarn renewer add. The renewer renews leases and can do
nothing else: it reads nothing, stores nothing, and needs no account; the leases
remain those of whoever gave the cap. What the servers' addresses are it learns
from the introducers that a cap names, and from its own. Another node becomes a
renewer by a section renewer in its tarn.yaml.`,
		Example: `  tarn create-renewer ~/tarn-renewer > renewer.key
  tarn -d ~/tarn-renewer run`,
		Args: between(0, 1),
		RunE: action(func(_ context.Context, args []string) error {
			o.dir = args
			return runCreateRenewer(e, o)
		}),
	}
	o.register(c)
	c.Flags().IntVar(&o.caps, "caps", defaultCaps, "how many renewal caps it takes at most")
	return c
}

func runCreateRenewer(e *env, o createRenewerOptions) error {
	f, err := e.folder(o.dir...)
	if err != nil {
		return err
	}
	s, err := o.settings()
	if err != nil {
		return err
	}
	if o.caps < 1 || o.caps > maxCaps {
		return usageError{fmt.Errorf("--caps %d (want 1 to %d)", o.caps, maxCaps), "tarn create-renewer"}
	}
	s.Renewer = &renewerSettings{o.caps}
	return f.writeKeyed(e, s, roleKeyFile(renewerRole))
}
