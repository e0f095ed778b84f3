package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/lease"
)

type createAggregatorOptions struct {
	gridFlags
	authority, interval string
	dir                 []string
}

func newCreateAggregator(e *env) *cobra.Command {
	var o createAggregatorOptions
	c := &cobra.Command{
		Use:   "create-aggregator [DIR]",
		Short: "Make the node that adds up what members hold on all servers",
		Long: `Makes a usage aggregator in DIR, which must be empty or not exist. It asks all
servers under an authority that may read usage, from tarn manager usage-authority,
and keeps sums by day. Whose keys are whose it reads from private/members.json,
which tarn manager export --json writes. An account manager's node is an
aggregator already.`,
		Example: `  tarn manager usage-authority > usage.authority
  tarn create-aggregator --introducer REF --authority usage.authority ~/tarn-aggregator
  tarn manager export --json > ~/tarn-aggregator/private/members.json`,
		Args: between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.dir = args
			return runCreateAggregator(ctx, e, o)
		}),
	}
	o.register(c)
	c.Flags().StringVar(&o.authority, "authority", "-", "file with the authority, or - for standard input")
	c.Flags().StringVar(&o.interval, "interval", defaultInterval, "how often servers are asked")
	return c
}

func runCreateAggregator(_ context.Context, e *env, o createAggregatorOptions) error {
	f, err := e.folder(o.dir...)
	if err != nil {
		return err
	}
	s, err := o.settings()
	if err != nil {
		return err
	}
	if interval, ok := parseDuration(o.interval); !ok || interval < leastInterval {
		return usageError{err: fmt.Errorf("--interval %q (want one such as 15m, at least %v)", o.interval, leastInterval)}
	}
	input, _, err := e.open(o.authority)
	if err != nil {
		return err
	}
	defer input.Close()
	text, err := io.ReadAll(io.LimitReader(input, lease.MaxAuthoritySize+1))
	if err != nil {
		return fmt.Errorf("read the authority: %w", err)
	}
	if _, err := lease.ReadAuthority(strings.NewReader(string(text))); err != nil {
		return err
	}
	s.Aggregator = &aggregatorSettings{o.interval}
	return f.write(e, s, map[string]string{aggregatorFile: strings.TrimSpace(string(text))})
}
