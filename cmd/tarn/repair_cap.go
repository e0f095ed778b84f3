package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/lease"
)

type repairCapOptions struct {
	capFlags
	cap getOptions
}

func newRepairCap(e *env) *cobra.Command {
	var o repairCapOptions
	c := &cobra.Command{
		Use:   "repair-cap {KEY|FILE|-} [PLACE]",
		Short: "Let a repairer keep a file whole while this node is off",
		Long: `Prints a repair cap for the repairer whose public key is KEY, or stands in FILE:
the verify capability of the file at PLACE, certificates by which
that repairer may store and lease shares of that very file and do nothing else,
and where it finds servers and your account manager, which gives it newer
membership cards. Send it to the repairer's operator, who adds it with tarn
repairer add. Nobody else can use it, and nobody can read the file with it. You
pay for the shares, as for your own.

Several repair caps may stand in one text. As long as a repairer looks after a file
it keeps the leases on it, too: who gives the file up has it removed there.

` + capSecrecy,
		Example: `  tarn repair-cap --cap-file letter.cap repairer.key > letter.repair
  tarn repair-cap repairer.key - < letter.cap | ssh repairer.example.org tarn -d tarn-repairer repairer add alice`,
		Args: between(1, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			if (o.cap.capFile == "") != (len(args) == 2) {
				return usageError{errors.New("which file? Give its capability, a path to it, or --cap-file"), "tarn repair-cap"}
			}
			o.key, o.cap.capability = args[0], argument(args, 1)
			return runRepairCap(ctx, e, o)
		}),
	}
	c.Flags().StringVar(&o.cap.capFile, "cap-file", "", "file with the capability in it")
	o.register(c)
	return c
}

func runRepairCap(ctx context.Context, e *env, o repairCapOptions) error {
	if o.key == "-" && o.cap.capability == "-" {
		return usageError{errors.New("standard input can be only one of key and capability"), "tarn repair-cap"}
	}
	key, until, err := o.terms(e, repairerRole)
	if err != nil {
		return err
	}
	capability, err := e.capability(ctx, o.cap)
	if err != nil {
		return err
	}
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	made, err := n.RepairCap(ctx, capability, key, until)
	if err != nil {
		if errors.Is(err, lease.ErrNoCommonServer) {
			return fmt.Errorf("make the repair cap: %w; this node may store on no server that it knows: see tarn status", err)
		}
		return fmt.Errorf("make the repair cap: %w", f.explain(err))
	}
	e.note("A repair cap for %s, until %s.", counted(int64(made.Servers), "server"), clock(until))
	return e.save(o.output, []byte(made.Cap))
}
