package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
)

type createHelperOptions struct {
	gridFlags
	listenFlags
	space string
	dir   []string
}

func newCreateHelper(e *env) *cobra.Command {
	var o createHelperOptions
	c := &cobra.Command{
		Use:   "create-helper [DIR]",
		Short: "Make the node that encodes and places files for clients on slow lines",
		Long: `Makes a helper in DIR, which must be empty or not exist, and prints its reference.
A client that has the reference in its tarn.yaml, under client.helper, sends a
file there once, encrypted, with tarn put --helper; the helper makes the shares
and places them under certificates that are good for that file and a day. It
can't read the files, and the client pays for the shares. Another node becomes a
helper by a section helper in its tarn.yaml.`,
		Example: `  tarn create-helper --introducer REF ~/tarn-helper
  tarn create-helper --introducer REF --listen /ip4/0.0.0.0/tcp/3460 --announce /dns/helper.example.org/tcp/3460 ~/tarn-public-helper`,
		Args: between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.dir = args
			return runCreateHelper(ctx, e, o)
		}),
	}
	o.gridFlags.register(c)
	o.listenFlags.register(c, defaultHelperListen)
	c.Flags().StringVar(&o.space, "space", defaultHelperSpace, "how much ciphertext it keeps at most until that is placed")
	return c
}

func runCreateHelper(_ context.Context, e *env, o createHelperOptions) error {
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
	space, err := parseSize(o.space)
	if err != nil {
		return usageError{err: err}
	}
	s.Helper = &helperSettings{Listen: o.listen, Announce: o.announce, Space: exactSize(space)}
	return f.writeListening(e, s, o.listenFlags, helperKeyFile, f.helperReference(), func(id grid.ServerID, hints []grid.Hint) (string, error) {
		return tarn.HelperRef{Server: id, Hints: hints}.String(), nil
	})
}
