package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
)

type dumpOptions struct {
	what string // a public text, a file or -
	json bool
}

func newDump(e *env) *cobra.Command {
	var o dumpOptions
	c := &cobra.Command{
		Use:   "dump [FILE|KEY|-]",
		Short: "Explain an authority, certificate, key or other text in words",
		Long: `Says what is in a text: who lets whom do what, until when, whether the signatures
hold, and whose keys they are as far as this node knows. It understands
authorities, certificates, renewal and repair caps, lists of keys, accounts,
public keys, ids of servers, references of introducers and, as the node keeps or
sends them, chains, requests and the references that servers hand out. Secrets are
read from FILE or standard input and never shown; a public key or server id may be
given as it is.`,
		Example: "  tarn authority dump bob.authority\n  tarn authority dump --json < bob.card",
		Args:    between(0, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.what = argument(args, 0)
			return runDump(ctx, e, o)
		}),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

// maxDump is the largest text to explain, bytes.
const maxDump = lease.MaxRenewalCapSize

func runDump(ctx context.Context, e *env, o dumpOptions) error {
	text, err := o.read(e)
	if err != nil {
		return err
	}
	x := explainer{names: e.knownNames(ctx), now: time.Now()}
	found, err := x.explain(text)
	if err != nil {
		return fmt.Errorf("%s: %w", nameOf(o.what), err)
	}
	if o.json {
		return writeJSON(e.stdout, found)
	}
	return e.print("%s", found.words(x.now))
}

func (o dumpOptions) read(e *env) ([]byte, error) {
	for _, prefix := range []string{"pub-v0-", "v0-", "tarn:"} {
		if _, err := os.Lstat(o.what); err != nil && strings.HasPrefix(o.what, prefix) {
			return []byte(o.what), nil
		}
	}
	return e.readText(o.what, "text", maxDump)
}

// names are what this node calls keys and servers.
type names struct {
	keys    map[grid.PublicKey]string
	servers map[grid.ServerID]string
}

// knownNames asks the node in the folder, or its files. Without one nothing has
// a name, which is no error.
func (e *env) knownNames(ctx context.Context) names {
	all := names{map[grid.PublicKey]string{}, map[grid.ServerID]string{}}
	f, err := e.folder()
	if err != nil || f.check() != nil {
		return all
	}
	if w, err := f.wallet(); err == nil {
		all.addWallet(w)
	}
	var list control.Accounts
	err = e.asOperator(ctx, func(o control.Operator) (err error) {
		list, err = o.Accounts(ctx)
		return err
	})
	if err != nil {
		return all
	}
	for _, a := range list.Accounts {
		if key, err := grid.ParsePublicKey(a.Key); err == nil && a.Petname != "" {
			all.keys[key] = a.Petname
		}
	}
	return all
}

func (n names) addWallet(w *tarn.Wallet) {
	for _, a := range w.Servers() {
		n.servers[a.Server] = a.Nickname
		at := a.Nickname
		if at == "" {
			at = a.Server.Short()
		}
		n.keys[w.Account().PublicKey(a.Server)] = "this node's key at " + at
	}
	for role, account := range w.Roles() {
		n.keys[account.PublicKey(grid.ServerID{})] = "this node's key as a " + role
	}
	if w.Account().OneKey() {
		n.keys[w.Account().PublicKey(grid.ServerID{})] = "this node's key"
	}
}

// errNotUnderstood is a text of no kind that dump knows.
var errNotUnderstood = errors.New("not understood")

// explainer turns texts into words.
type explainer struct {
	names names
	now   time.Time
}

// explain finds out what a text is.
func (x explainer) explain(text []byte) (explained, error) {
	trimmed := strings.TrimSpace(string(text))
	switch {
	case bytes.Contains(text, []byte("-----BEGIN TARN RENEWAL CAP")):
		return x.renewalCap(text)
	case bytes.Contains(text, []byte("-----BEGIN TARN REPAIR CAP")):
		return x.repairCaps(text)
	case bytes.Contains(text, []byte("-----BEGIN TARN")):
		return x.pasted(text)
	case strings.HasPrefix(trimmed, "account-"):
		return x.account(trimmed)
	case strings.HasPrefix(trimmed, "pub-"):
		key, err := grid.ParsePublicKey(trimmed)
		return explained{Items: []item{{Kind: "public key", Key: x.key(key)}}}, err
	case strings.HasPrefix(trimmed, "v0-"):
		id, err := grid.ParseServerID(trimmed)
		return explained{Items: []item{{Kind: "server", Server: x.server(&id)}}}, err
	case strings.HasPrefix(trimmed, "tarn:"):
		return x.introducer(trimmed)
	case strings.HasPrefix(trimmed, "URI:"):
		return x.capability(trimmed)
	case strings.HasPrefix(trimmed, privateKeyPrefix):
		key, err := parseKey(trimmed)
		if err != nil {
			return explained{}, fmt.Errorf("%w: %w", errKeys, err)
		}
		return explained{Items: []item{{Kind: "private key of a node", Secret: true, Key: x.key(grid.PublicKeyOf(key))}}}, nil
	}
	return x.binary(text, trimmed)
}

// binary tries what has no text form, as bytes, base64 or hex.
func (x explainer) binary(raw []byte, trimmed string) (explained, error) {
	for _, decode := range []func() ([]byte, error){
		func() ([]byte, error) { return raw, nil },
		func() ([]byte, error) { return base64.StdEncoding.DecodeString(trimmed) },
		func() ([]byte, error) { return hex.DecodeString(trimmed) },
	} {
		b, err := decode()
		if err != nil || len(b) == 0 {
			continue
		}
		if c, err := lease.DecodeChain(b); err == nil && c.Len() > 0 {
			return explained{Items: []item{{Kind: "certificates", Chain: x.chain(c)}}}, nil
		}
		if r, signer, err := lease.ReadRequest(b); err == nil {
			return explained{Items: []item{x.request(r, signer)}}, nil
		}
		if r, err := lease.PeekReference(b); err == nil {
			return explained{Items: []item{x.reference(r)}}, nil
		}
	}
	return explained{}, fmt.Errorf("%w: it is no authority, certificate, key, request or reference", errNotUnderstood)
}

func (x explainer) pasted(text []byte) (explained, error) {
	p, err := lease.ReadPasted(bytes.NewReader(text))
	return x.explainPasted(p), err
}

func (x explainer) explainPasted(p lease.Pasted) explained {
	var all explained
	for _, h := range p.Authority.Holdings {
		i := item{Kind: "authority", Secret: true, KeyPerServer: !h.Account.OneKey()}
		if h.Account.OneKey() {
			i.Key = x.key(h.Account.PublicKey(grid.ServerID{}))
		}
		if h.Chain.Len() > 0 {
			i.Chain = x.chain(h.Chain)
		}
		all.Items = append(all.Items, i)
	}
	for _, c := range p.Chains {
		all.Items = append(all.Items, item{Kind: "certificates", Chain: x.chain(c)})
	}
	for _, l := range p.Keys {
		i := item{Kind: "keys to be signed", Key: x.key(l.Account)}
		for _, k := range l.Keys {
			i.Keys = append(i.Keys, serverKey{x.server(&k.Server), x.key(k.Key)})
		}
		all.Items = append(all.Items, i)
	}
	return all
}

// renewalCap is the renewer's key, how much it is for, and whom he asks.
func (x explainer) renewalCap(text []byte) (explained, error) {
	c, err := lease.ReadRenewalCap(bytes.NewReader(text))
	if err != nil {
		return explained{}, err
	}
	servers := map[grid.ServerID]bool{}
	for _, h := range c.Held {
		servers[h.Server] = true
	}
	kind := fmt.Sprintf("renewal cap for %s at %s", counted(int64(c.Leases()), "lease"), counted(int64(len(servers)), "server"))
	return explained{Items: append([]item{{Kind: kind, Key: x.key(c.Key())}}, x.roleCap(c.RoleCap)...)}, nil
}

// repairCaps is the repairer's key and, for each file, which one it is.
func (x explainer) repairCaps(text []byte) (explained, error) {
	caps, err := lease.ReadRepairCaps(bytes.NewReader(text))
	var all explained
	for _, c := range caps {
		si, _ := c.File()
		kind := fmt.Sprintf("repair cap for the file with storage index %s, at %s", si, counted(int64(len(c.Servers())), "server"))
		all.Items = append(all.Items, item{Kind: kind, Key: x.key(c.Key())})
		all.Items = append(all.Items, x.roleCap(c.RoleCap)...)
	}
	return all, err
}

// roleCap is what caps for renewers and repairers have in common.
func (x explainer) roleCap(c lease.RoleCap) (items []item) {
	for _, chain := range c.Chains {
		items = append(items, item{Kind: "certificates", Chain: x.chain(chain)})
	}
	for _, p := range c.Managers {
		items = append(items, item{Kind: "account manager", Server: x.server(&p.Server), Addresses: hintTexts(p.Hints)})
	}
	for _, p := range c.Introducers {
		items = append(items, item{Kind: "introducer", Server: x.server(&p.Server), Addresses: hintTexts(p.Hints)})
	}
	return items
}

func hintTexts(hints []grid.Hint) []string {
	texts := make([]string, len(hints))
	for i, h := range hints {
		texts[i] = string(h)
	}
	return texts
}

func (x explainer) account(text string) (explained, error) {
	a, err := lease.ParseAccount(text)
	i := item{Kind: "account", Secret: true, KeyPerServer: !a.OneKey()}
	if err == nil && a.OneKey() {
		i.Key = x.key(a.PublicKey(grid.ServerID{}))
	}
	return explained{Items: []item{i}}, err
}

func (x explainer) introducer(text string) (explained, error) {
	ref, err := tarn.ParseIntroducerRef(text)
	i := item{Kind: "introducer", Server: x.server(&ref.Server)}
	i.Addresses = hintTexts(ref.Hints)
	return explained{Items: []item{i}}, err
}

// capability is told from an authority, and not shown.
func (x explainer) capability(text string) (explained, error) {
	c, err := file.Parse(text)
	if err != nil {
		return explained{}, fmt.Errorf("%w: %w", tarn.ErrCap, err)
	}
	return explained{Items: []item{{Kind: "capability of a file (" + string(c.Kind()) + "), which has nothing to do with accounts", Secret: true}}}, nil
}
