package main

import (
	"context"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/control"
)

func newServer(e *env) *cobra.Command {
	return group("server", "What a storage server's operator does",
		newAddAccount(e), newAddAuthorization(e), newAddUsageReader(e), newListAccounts(e), newSetQuota(e), newDisable(e), newEnable(e), newRemove(e),
		newRevoke(e), newUnrevoke(e), newRekey(e), newAudit(e), newFsck(e), newEnableAmbient(e), newDisableAmbient(e))
}

type addAccountOptions struct {
	name  string
	key   string // empty: the server makes one
	quota string // empty: no limit
	// another lets a petname have one more key.
	another bool
}

func newAddAccount(e *env) *cobra.Command {
	var o addAccountOptions
	c := &cobra.Command{
		Use:   "add-account NAME [KEY]",
		Short: "Let someone store shares here",
		Long: `Gives NAME an account on this node's storage server. KEY is the person's key for
this server, pub-v0-..., which they see with tarn client account-key. Without
KEY a key is made and printed as an authority: a secret to hand to them, for
tarn client add-authority. The node may run or not.`,
		Example: "  tarn server add-account --quota 5GB alice pub-v0-caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n  tarn server add-account --quota 5GB bob > bob.authority",
		Args:    between(1, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name = args[0]
			if len(args) > 1 {
				o.key = args[1]
			}
			return runAddAccount(ctx, e, o)
		}),
	}
	c.Flags().StringVar(&o.quota, "quota", "", "how much the account may store, such as 5GB (default no limit)")
	c.Flags().BoolVar(&o.another, "another-key", false, "NAME has an account, and this is one more key of theirs, with a quota of its own")
	return c
}

func runAddAccount(ctx context.Context, e *env, o addAccountOptions) error {
	key, quota, err := o.parse()
	if err != nil {
		return err
	}
	ask := control.NewAccount{Petname: o.name, Quota: quota, Another: o.another}
	if key != nil {
		ask.Key = key.String()
	}
	return e.asOperator(ctx, func(operator control.Operator) error {
		added, err := operator.AddAccount(ctx, ask)
		if err != nil {
			return fmt.Errorf("add the account %s: %w", o.name, err)
		}
		e.note("%s may now store here (%s), quota %s", added.Petname, keyShort(added.Key), formatQuota(added.Quota))
		if added.Authority != "" {
			return e.print("%s", added.Authority)
		}
		return e.print("%s\n", added.Key)
	})
}

func (o addAccountOptions) parse() (key *grid.PublicKey, quota *int64, err error) {
	if err := checkPetname(o.name); err != nil {
		return nil, nil, err
	}
	if o.key != "" {
		parsed, err := grid.ParsePublicKey(o.key)
		if err != nil {
			return nil, nil, err
		}
		key = &parsed
	}
	if o.quota != "" {
		n, err := parseSize(o.quota)
		if err != nil {
			return nil, nil, fmt.Errorf("--quota: %w", err)
		}
		quota = &n
	}
	return key, quota, nil
}

// maxPetname is in bytes.
const maxPetname = 64

// checkPetname keeps names of accounts fit for tables and command lines.
func checkPetname(name string) error {
	if name == "" || len(name) > maxPetname || !utf8.ValidString(name) {
		return fmt.Errorf("%w: %d bytes (want 1 to %d of UTF-8)", errBadName, len(name), maxPetname)
	}
	if name[0] == '-' {
		return fmt.Errorf("%w: %q begins with a dash, like an option", errBadName, name)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) || unicode.IsSpace(r) {
			return fmt.Errorf("%w: %q has a blank or a character that can't be shown", errBadName, name)
		}
	}
	return nil
}
