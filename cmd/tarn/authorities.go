package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
)

type addAuthorityOptions struct{ file string }

func newAddAuthority(e *env) *cobra.Command {
	var o addAuthorityOptions
	return &cobra.Command{
		Use:   "add-authority [FILE|-]",
		Short: "Use an account or certificates that someone gave you",
		Long: `Reads from FILE or standard input what someone gave you, and has the node use it
from now on: an authority, which begins with -----BEGIN TARN AUTHORITY-----, or
certificates for a key of yours, -----BEGIN TARN CERTIFICATES-----. An authority
is a secret, so it can't be given on the command line. The node may run or not.`,
		Example: "  tarn client add-authority bob.authority\n  tarn client add-authority < bob.card",
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
	text, err := e.readText(o.file, "authority", lease.MaxAuthoritySize)
	if err != nil {
		return err
	}
	summary, err := n.AddAuthority(ctx, bytes.NewReader(text))
	if errors.Is(err, control.ErrNotRunning) {
		var held tarn.Held
		held, err = f.inWallet(func(w *tarn.Wallet) (tarn.Held, error) { return w.Add(bytes.NewReader(text)) })
		summary = control.AuthoritySummaryOf(held.Summary())
	}
	if err != nil {
		return fmt.Errorf("add the authority: %w", err)
	}
	return writeSummary(e, summary)
}

// inWallet does something to the wallet of a node that does not run.
func (f folder) inWallet(do func(*tarn.Wallet) (tarn.Held, error)) (tarn.Held, error) {
	w, err := f.wallet()
	if err != nil {
		return tarn.Held{}, err
	}
	return do(w)
}

func writeSummary(e *env, s control.AuthoritySummary) error {
	t := newTable(e.stdout)
	t.row("name", s.Name)
	for _, key := range s.Keys {
		t.row("account", key)
	}
	for _, server := range s.Servers {
		t.row("server", server)
	}
	return t.end()
}

type removeAuthorityOptions struct{ name string }

func newRemoveAuthority(e *env) *cobra.Command {
	var o removeAuthorityOptions
	return &cobra.Command{
		Use:   "remove-authority NAME",
		Short: "Stop using what someone gave you",
		Long: `Forgets what was added under NAME, which tarn client list-authorities shows; its
beginning is enough. What was stored with it stays until its leases lapse. The
node may run or not.`,
		Example: "  tarn client remove-authority 3faq",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name = args[0]
			return runRemoveAuthority(ctx, e, o)
		}),
	}
}

func runRemoveAuthority(ctx context.Context, e *env, o removeAuthorityOptions) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	summary, err := n.RemoveAuthority(ctx, o.name)
	if errors.Is(err, control.ErrNotRunning) {
		var held tarn.Held
		held, err = f.inWallet(func(w *tarn.Wallet) (tarn.Held, error) { return w.Remove(o.name) })
		summary = control.AuthoritySummaryOf(held.Summary())
	}
	if err != nil {
		return fmt.Errorf("remove the authority: %w", err)
	}
	return writeSummary(e, summary)
}

type listAuthoritiesOptions struct{ json bool }

func newListAuthorities(e *env) *cobra.Command {
	var o listAuthoritiesOptions
	c := &cobra.Command{
		Use:   "list-authorities",
		Short: "Show what you were given, by whom and for how long",
		Long: `Lists what was added with tarn client add-authority: under which name, whose key
granted it, to which of your keys, at which server, and until when. Secrets are
not shown. The node may run or not.`,
		Example: "  tarn client list-authorities",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runListAuthorities(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

// held is what `tarn client list-authorities --json` prints for each.
type held struct {
	Name string `json:"name"`
	explained
}

func runListAuthorities(ctx context.Context, e *env, o listAuthoritiesOptions) error {
	f, err := e.folder()
	if err != nil {
		return err
	}
	w, err := f.wallet()
	if err != nil {
		return err
	}
	all, err := w.Held()
	if err != nil {
		return err
	}
	x := explainer{names: e.knownNames(ctx), now: time.Now()}
	list := make([]held, len(all))
	for i, h := range all {
		list[i] = held{h.Name, x.explainPasted(h.Pasted)}
	}
	if o.json {
		return writeJSON(e.stdout, list)
	}
	if len(list) == 0 {
		e.note("Nothing was added; this client uses its own account: tarn client account-key")
		return nil
	}
	t := newTable(e.stdout)
	t.row("NAME", "FROM", "TO", "SERVER", "SPACE", "UNTIL")
	for _, h := range list {
		for _, i := range h.Items {
			t.row(x.heldRow(h.Name, i)...)
		}
	}
	return t.end()
}

// heldRow is one chain of what was added, or a key without one.
func (x explainer) heldRow(name string, i item) []string {
	if i.Chain == nil {
		key := "a key for each server"
		if i.Key != nil {
			key = i.Key.short()
		}
		return []string{name, key, key, "", "", ""}
	}
	certificates := i.Chain.Certificates
	first, last := certificates[0], certificates[len(certificates)-1]
	row := []string{name, first.Signer.short(), last.Delegate.short(), "any", formatQuota(last.Limits.Space), "for ever"}
	if i.Chain.InAll == nil {
		row[5] = "of no use: " + i.Chain.Useless
		return row
	}
	if s := i.Chain.InAll.Server; s != nil {
		row[3] = s.short()
	}
	if until := i.Chain.InAll.Until; until != nil {
		row[5] = clock(*until) + ", " + left(*until, x.now)
	}
	return row
}

// short is the name, or the beginning of the id.
func (n *named) short() string {
	if n.Name != "" {
		return n.Name
	}
	return keyShort(n.ID)
}
