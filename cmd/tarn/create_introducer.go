package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
)

type createIntroducerOptions struct {
	listenFlags
	nickname string
	dir      []string
}

func newCreateIntroducer(e *env) *cobra.Command {
	var o createIntroducerOptions
	c := &cobra.Command{
		Use:   "create-introducer [DIR]",
		Short: "Make the node through which the others of a grid find each other",
		Long: `Makes an introducer in DIR, which must be empty or not exist, and prints the
reference that others join with; it is also in private/introducer.ref. If it
listens on port 0, that file is written when it runs.`,
		Example: `  tarn create-introducer ~/tarn-introducer
  tarn create-introducer --listen /ip4/0.0.0.0/tcp/3458 --announce /dns/grid.example.org/tcp/3458 ~/tarn-public-introducer`,
		Args: between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.dir = args
			return runCreateIntroducer(ctx, e, o)
		}),
	}
	o.register(c, defaultIntroducerListen)
	c.Flags().StringVar(&o.nickname, "nickname", "", "what the node calls itself, at most 64 bytes")
	return c
}

func runCreateIntroducer(_ context.Context, e *env, o createIntroducerOptions) error {
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
	s := settings{Nickname: o.nickname, Introducer: &introducerSettings{Listen: o.listen, Announce: o.announce}}
	return f.writeListening(e, s, o.listenFlags, introducerKeyFile, f.reference(), introducerReference)
}

// introducerReference is what others join with.
func introducerReference(id grid.ServerID, hints []grid.Hint) (string, error) {
	text := tarn.IntroducerRef{Server: id, Hints: hints}.String()
	if _, err := tarn.ParseIntroducerRef(text); err != nil {
		return "", usageError{err: err}
	}
	return text, nil
}
