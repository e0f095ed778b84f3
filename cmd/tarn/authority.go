package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

func newAuthority(e *env) *cobra.Command {
	return group("authority", "Keys and certificates: make, hand on, explain", newCreateAuthority(e), newDelegate(e), newDump(e))
}

type createAuthorityOptions struct {
	perServer bool
	output    string
}

func newCreateAuthority(e *env) *cobra.Command {
	var o createAuthorityOptions
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a fresh key",
		Long: `Makes a key for whoever is to have it and prints it as an authority, a text that
begins with -----BEGIN TARN AUTHORITY-----, with its public key above. The text
is a secret: with --output it goes into a file that only you can read, and the
public key alone is printed.

With --per-server it is an account with a different key at every server, so that
servers can't tell that they serve the same person.`,
		Example: "  tarn authority create --output manager.authority\n  tarn authority create > bob.authority",
		Args:    between(0, 0),
		RunE:    action(func(_ context.Context, _ []string) error { return runCreateAuthority(e, o) }),
	}
	c.Flags().BoolVar(&o.perServer, "per-server", false, "a different key at every server")
	registerOutput(c, &o.output)
	return c
}

func runCreateAuthority(e *env, o createAuthorityOptions) error {
	var seed [lease.SeedSize]byte
	_, _ = rand.Read(seed[:]) // never fails
	account, public := lease.AccountOf(seed), ""
	if !o.perServer {
		account = lease.OneKeyAccount(seed)
		public = account.PublicKey(grid.ServerID{}).String() + "\n"
	}
	text, err := lease.Authority{Holdings: []lease.Holding{{Account: account}}}.Text()
	if err != nil {
		return err
	}
	if o.output == "-" {
		return e.print("%s%s", public, text)
	}
	if err := e.save(o.output, append([]byte(public), text...)); err != nil {
		return err
	}
	return e.print("%s", public)
}

// registerOutput is where a command's text goes.
func registerOutput(c *cobra.Command, into *string) {
	c.Flags().StringVarP(into, "output", "o", "-", "file to write, readable by you alone; it must not exist yet")
}

// errThere is a file that would be overwritten.
var errThere = errors.New("there is a file of that name already")

// save writes a text to standard output or to a new file: one that is there
// may be the only copy of a key.
func (e *env) save(name string, text []byte) error {
	if name == "-" {
		return e.print("%s", text)
	}
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%w: %s", errThere, name)
	}
	if err := writeFile(name, text, 0o600); err != nil {
		return notWritten(name, err)
	}
	return nil
}

// pasted reads a text that somebody handed over.
func (e *env) pasted(name string) (lease.Pasted, error) {
	input, _, err := e.open(name)
	if err != nil {
		return lease.Pasted{}, err
	}
	defer input.Close()
	p, err := lease.ReadPasted(input)
	if err != nil {
		return lease.Pasted{}, fmt.Errorf("%s: %w", nameOf(name), err)
	}
	return p, nil
}

// nameOf is a file's name for people.
func nameOf(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

// wallet is what the client in the folder has in keys; the node may run.
func (f folder) wallet() (*tarn.Wallet, error) {
	n, err := f.load(nil)
	if err != nil {
		return nil, err
	}
	w, err := tarn.OpenWallet(n.config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.dir, err)
	}
	return w, nil
}
