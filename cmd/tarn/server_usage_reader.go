package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/web/control"
)

func newAddUsageReader(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "add-usage-reader NAME [KEY]",
		Short: "Let a usage aggregator read what all accounts hold here",
		Long: `Lets KEY, pub-v0-..., read what every account of this node's storage server holds
and what is held below it, and nothing else. Without KEY a key is made and printed
as an authority: a secret for whoever runs the aggregator (tarn create-aggregator).
What the members of an account manager hold its own aggregator reads without this.
tarn server remove NAME ends it. The node may run or not.`,
		Example: "  tarn server add-usage-reader sums > usage.authority",
		Args:    between(1, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o := addAccountOptions{name: args[0]}
			if len(args) > 1 {
				o.key = args[1]
			}
			return runAddUsageReader(ctx, e, o)
		}),
	}
}

func runAddUsageReader(ctx context.Context, e *env, o addAccountOptions) error {
	key, _, err := o.parse()
	if err != nil {
		return err
	}
	ask := control.NewUsageReader{Petname: o.name}
	if key != nil {
		ask.Key = key.String()
	}
	return e.asOperator(ctx, func(operator control.Operator) error {
		added, err := operator.AddUsageReader(ctx, ask)
		if err != nil {
			return fmt.Errorf("add the usage reader %s: %w", o.name, err)
		}
		e.note("%s may now read what all accounts hold here (%s)", added.Petname, keyShort(added.Key))
		if added.Authority != "" {
			return e.print("%s", added.Authority)
		}
		return e.print("%s\n", added.Key)
	})
}
