package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

func newClient(e *env) *cobra.Command {
	return group("client", "What a client's owner does", newAddAuthority(e), newAccountKey(e))
}

type addAuthorityOptions struct{ file string }

func newAddAuthority(e *env) *cobra.Command {
	var o addAuthorityOptions
	return &cobra.Command{
		Use:   "add-authority [FILE|-]",
		Short: "Use an account that someone gave you",
		Long: `Reads an authority, a text that begins with -----BEGIN TARN AUTHORITY-----, from
FILE or standard input, and has the running node use it from now on. The text is
a secret, so it can't be given on the command line.`,
		Example: "  tarn client add-authority bob.authority\n  tarn client add-authority < bob.authority",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.file = argument(args, 0)
			return runAddAuthority(ctx, e, o)
		}),
	}
}

func runAddAuthority(ctx context.Context, e *env, o addAuthorityOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	input, _, err := e.open(o.file)
	if err != nil {
		return err
	}
	defer input.Close()
	summary, err := n.AddAuthority(ctx, input)
	if err != nil {
		return fmt.Errorf("add the authority: %w", f.explain(err))
	}
	t := newTable(e.stdout)
	for _, key := range summary.Keys {
		t.row("account", key)
	}
	for _, server := range summary.Servers {
		t.row("server", server)
	}
	return t.end()
}

type accountKeyOptions struct{ server string }

func newAccountKey(e *env) *cobra.Command {
	var o accountKeyOptions
	return &cobra.Command{
		Use:   "account-key [SERVER]",
		Short: "Print the key that this client has at a server",
		Long: `Prints this client's public key for SERVER, v0-...: give it to the server's
operator, who adds an account for it. A client has a different key at every
server. Without SERVER the running node lists those that it knows.`,
		Example: "  tarn client account-key\n  tarn client account-key v0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				o.server = args[0]
			}
			return runAccountKey(ctx, e, o)
		}),
	}
}

func runAccountKey(ctx context.Context, e *env, o accountKeyOptions) error {
	if o.server == "" {
		return listAccountKeys(ctx, e)
	}
	server, err := grid.ParseServerID(o.server)
	if err != nil {
		return err
	}
	f, err := e.folder()
	if err != nil {
		return err
	}
	s, _, err := f.readSettings()
	if err != nil {
		return err
	}
	if s.Client == nil {
		return fmt.Errorf("%s: %w", f.dir, tarn.ErrNoClient)
	}
	account, err := readSecret(f, accountFile, lease.ParseAccount)
	if err != nil {
		return err
	}
	return e.print("%s\n", account.PublicKey(server))
}

func listAccountKeys(ctx context.Context, e *env) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	status, err := n.Status(ctx)
	if err != nil {
		return f.explain(err)
	}
	t := newTable(e.stdout)
	sortForPeople(status.Servers)
	for _, s := range status.Servers {
		t.row(s.Server, s.Nickname, s.Account)
	}
	return t.end()
}
