package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
)

// capRole is a role in which a node acts for others, by caps that they make for
// its key and its operator adds.
type capRole struct {
	name, cap string
	// most is how long a text with caps may be, in bytes.
	most int64
	// key is that of the node, if it has the role.
	key func(tarn.Config) (ed25519.PrivateKey, error)
	// add has the running node act by caps, and says for what.
	add func(ctx context.Context, n *control.Client, name, text string) (string, error)
}

// keyCommand prints what caps are made for.
func (r capRole) keyCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "key",
		Short:   fmt.Sprintf("Print the %s's public key, for which %ss are made", r.name, r.cap),
		Long:    fmt.Sprintf("Prints the public key of this %s. It is the same for everybody, so it can be\npublished. The node may run or not.", r.name),
		Example: fmt.Sprintf("  tarn %s key > %s.key", r.name, r.name),
		Args:    between(0, 0),
		RunE:    action(func(context.Context, []string) error { return r.runKey(e) }),
	}
}

func (r capRole) runKey(e *env) error {
	f, err := e.folder()
	if err != nil {
		return err
	}
	n, err := f.load(nil)
	if err != nil {
		return err
	}
	key, err := r.key(n.config)
	if err != nil {
		return err
	}
	return e.print("%s\n", grid.PublicKeyOf(key))
}

type addCapsOptions struct{ name, file string }

// addCommand takes caps. Its help is the role's own.
func (r capRole) addCommand(e *env, short, long, example string) *cobra.Command {
	var o addCapsOptions
	return &cobra.Command{
		Use:     "add NAME [FILE|-]",
		Short:   short,
		Long:    long,
		Example: example,
		Args:    between(1, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name, o.file = args[0], argument(args, 1)
			return r.runAdd(ctx, e, o)
		}),
	}
}

func (r capRole) runAdd(ctx context.Context, e *env, o addCapsOptions) error {
	if err := checkPetname(o.name); err != nil {
		return err
	}
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	text, err := e.readText(o.file, r.cap, r.most)
	if err != nil {
		return err
	}
	said, err := r.add(ctx, n, o.name, string(text))
	if err != nil {
		return fmt.Errorf("add the %s: %w", r.cap, f.explain(err))
	}
	return e.print("%s\n", said)
}

// capEndsSoon is how long before its end a cap should be replaced.
const capEndsSoon = 60 * day

// capRemark is what should worry a person about a cap that ends then, zero being
// never.
func capRemark(until, now time.Time) string {
	switch {
	case until.IsZero():
	case until.Before(now):
		return "the cap has ended: ask for a newer one"
	case until.Sub(now) < capEndsSoon:
		return fmt.Sprintf("the cap ends %s: ask for a newer one", left(until, now))
	}
	return ""
}

// defaultCapTime is how long a cap is good, if nothing else is said.
const defaultCapTime = "1095d"

// capFlags say for whom a cap is made, until when, and where it goes.
type capFlags struct {
	key           string // a key, a file or -
	until, output string
}

func (o *capFlags) register(c *cobra.Command) {
	registerOutput(c, &o.output)
	c.Flags().StringVar(&o.until, "until", defaultCapTime, "when it ends: a date such as 2029-12-31, or a duration")
}

// terms are the key of the role for which the cap is made, and its end.
func (o *capFlags) terms(e *env, role string) (key grid.PublicKey, until time.Time, err error) {
	if until, err = parseUntil(o.until, time.Now()); err != nil {
		return key, until, fmt.Errorf("--until: %w", err)
	}
	key, err = e.readRoleKey(o.key, role)
	return key, until, err
}

// readRoleKey reads the one key of a renewer or repairer that there should be.
func (e *env) readRoleKey(from, role string) (grid.PublicKey, error) {
	if strings.HasPrefix(from, "pub-v0-") {
		return grid.ParsePublicKey(from)
	}
	input, _, err := e.open(from)
	if err != nil {
		return grid.PublicKey{}, err
	}
	defer input.Close()
	keys, err := readKeys(input)
	if err == nil && (len(keys) != 1 || keys[0].Key.IsZero()) {
		err = fmt.Errorf("%w: want the key of one %s, as tarn %s key prints it", lease.ErrKeys, role, role)
	}
	if err != nil {
		return grid.PublicKey{}, fmt.Errorf("%s: %w", nameOf(from), err)
	}
	return keys[0].Key, nil
}
