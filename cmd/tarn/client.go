package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
)

func newClient(e *env) *cobra.Command {
	return group("client", "What a client's owner does", newAddAuthority(e), newListAuthorities(e), newRemoveAuthority(e), newAccountKey(e), newRoleKey(e),
		newJoin(e), newLeave(e), newListMemberships(e))
}

type accountKeyOptions struct {
	server string
	list   bool
}

func newAccountKey(e *env) *cobra.Command {
	var o accountKeyOptions
	c := &cobra.Command{
		Use:   "account-key [SERVER]",
		Short: "Print the key that this client has at a server",
		Long: `Prints this client's public key for SERVER, v0-...: give it to the server's
operator, who adds an account for it. A client has a different key at every
server. Without SERVER the running node lists those that it knows.

With --list it is a list of the keys at all servers that the node knows, or at
SERVER, signed by the account, for someone who is to sign them (tarn sign). Who
has the list knows that the keys are one person's, so give it to nobody else.`,
		Example: "  tarn client account-key\n  tarn client account-key --list > my.keys\n  tarn client account-key v0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				o.server = args[0]
			}
			return runAccountKey(ctx, e, o)
		}),
	}
	c.Flags().BoolVar(&o.list, "list", false, "a signed list of the keys, for someone who is to sign them")
	return c
}

func runAccountKey(ctx context.Context, e *env, o accountKeyOptions) error {
	if o.server == "" && !o.list {
		return listAccountKeys(ctx, e)
	}
	f, err := e.folder()
	if err != nil {
		return err
	}
	var server grid.ServerID
	if o.server != "" {
		if server, err = grid.ParseServerID(o.server); err != nil {
			return err
		}
	}
	w, err := f.wallet()
	switch {
	case err != nil:
		return err
	case !o.list:
		return e.print("%s\n", w.Account().PublicKey(server))
	case o.server != "":
		return signKeys(e, w, []grid.ServerID{server})
	}
	return signKeys(e, w, w.ServerIDs())
}

func signKeys(e *env, w *tarn.Wallet, servers []grid.ServerID) error {
	if len(servers) == 0 {
		return errNoServers
	}
	text, err := w.Account().KeysAt(servers).Text()
	if err != nil {
		return err
	}
	return e.print("%s", text)
}

// errNoServers is a node that was never told of a server.
var errNoServers = errors.New("this node knows no server yet; run it, so that its introducer can tell it of some")

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
		t.row(s.Server, s.Name(), s.Account)
	}
	return t.end()
}
