package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type createRepairerOptions struct {
	gridFlags
	files         int
	every, verify string
	dir           []string
}

func newCreateRepairer(e *env) *cobra.Command {
	var o createRepairerOptions
	c := &cobra.Command{
		Use:   "create-repairer [DIR]",
		Short: "Make the node that keeps others' files whole while their nodes are off",
		Long: `Makes a repairer in DIR, which must be empty or not exist, and prints its public
key, the same for ever and for everybody. Whoever wants a file kept whole makes a
repair cap for that key, with tarn repair-cap, and the repairer's operator adds
it, with tarn repairer add. The repairer checks those files again and again, and
makes lost and damaged shares once more. It can read none of them, stores nothing
else, and needs no account: the leases are those of whoever gave the cap. What the
servers' addresses are it learns from the introducers that a cap names, and from
its own. Another node becomes a repairer by a section repairer in its tarn.yaml.`,
		Example: `  tarn create-repairer ~/tarn-repairer > repairer.key
  tarn -d ~/tarn-repairer run`,
		Args: between(0, 1),
		RunE: action(func(_ context.Context, args []string) error {
			o.dir = args
			return runCreateRepairer(e, o)
		}),
	}
	o.register(c)
	c.Flags().IntVar(&o.files, "files", defaultFiles, "how many files it looks after at most")
	c.Flags().StringVar(&o.every, "every", defaultEvery, "about how often a file is checked")
	c.Flags().StringVar(&o.verify, "verify-every", defaultVerifyEvery, "about how often all of its shares are read")
	return c
}

func runCreateRepairer(e *env, o createRepairerOptions) error {
	f, err := e.folder(o.dir...)
	if err != nil {
		return err
	}
	s, err := o.settings()
	if err != nil {
		return err
	}
	s.Repairer = &repairerSettings{Files: o.files, Every: o.every, VerifyEvery: o.verify}
	if _, what, err := s.Repairer.check(); err != nil {
		return usageError{fmt.Errorf("--%s: %w", what, err), "tarn create-repairer"}
	}
	return f.writeKeyed(e, s, roleKeyFile(repairerRole))
}
