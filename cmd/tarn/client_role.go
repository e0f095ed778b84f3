package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/grid"
)

type roleKeyOptions struct{ role string }

func newRoleKey(e *env) *cobra.Command {
	var o roleKeyOptions
	return &cobra.Command{
		Use:   "role-key {" + strings.Join(clientRoles, "|") + "}",
		Short: "Print the key by which this client acts for others",
		Long: `Prints the public key of this client as a renewer or as a repairer, for whoever
wants it to keep their files alive. It is the same for everybody, so it can be
published; they sign it, with narrow limits, and hand over the certificates. For
a node that is a renewer or a repairer and nothing else, tarn renewal-cap and tarn
repair-cap do all of that at once. No node need run.`,
		Example: "  tarn client role-key renewer > renewer.key\n  tarn sign --signer-gets-lease --operation renew-lease --until 365d renewer.key > renewal.card",
		Args:    between(1, 1),
		RunE: action(func(_ context.Context, args []string) error {
			o.role = args[0]
			return runRoleKey(e, o)
		}),
	}
}

func runRoleKey(e *env, o roleKeyOptions) error {
	if !slices.Contains(clientRoles, o.role) {
		return usageError{fmt.Errorf("there is no role %s (want one of %s)", o.role, strings.Join(clientRoles, ", ")), "tarn client role-key"}
	}
	f, err := e.folder()
	if err != nil {
		return err
	}
	w, err := f.wallet()
	if err != nil {
		return err
	}
	account, ok := w.Roles()[o.role]
	if !ok {
		return f.newRole(e, o.role)
	}
	return e.print("%s\n", account.PublicKey(grid.ServerID{}))
}

// newRole makes the key of a client that is older than the role.
func (f folder) newRole(e *env, role string) error {
	key := newKey()
	if err := writeFile(f.private(roleKeyFile(role)), []byte(keyText(key)+"\n"), 0o600); err != nil {
		return notWritten(f.private(roleKeyFile(role)), err)
	}
	e.warn("the key was made just now: a node that runs knows it when it starts again")
	return e.print("%s\n", grid.PublicKeyOf(key))
}
