package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// grantFlags are the limits of a certificate, and where its signer is.
type grantFlags struct {
	authority        string // file, - or empty for the node's own
	output           string
	signerGetsLease  bool
	until, root      string
	servers          []string
	storageIndex     string
	capText, capFile string
	uebHash          string
	operation        []string
	maxSize, space   string
}

func (o *grantFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.authority, "authority", "", "file with the authority to hand on, or - (default what this node has)")
	registerOutput(c, &o.output)
	f.BoolVar(&o.signerGetsLease, "signer-gets-lease", false, "you pay: what is stored is in your own column")
	f.StringVar(&o.until, "until", "", "when it ends: a date such as 2027-01-31, a time, or a duration such as 30d or 12h")
	f.StringArrayVar(&o.servers, "server", nil, "only at this server, v0-...; may be given several times")
	f.StringVar(&o.storageIndex, "storage-index", "", "only this file")
	f.StringVar(&o.capText, "cap", "", "only this file, by a capability of it, a path to it or -; its content is fixed, too")
	f.StringVar(&o.capFile, "cap-file", "", "the same, with the capability in a file, or -")
	f.StringVar(&o.uebHash, "ueb-hash", "", "only this content")
	f.StringSliceVar(&o.operation, "operation", nil, "only these: "+lease.AllOperations.String())
	f.StringVar(&o.maxSize, "max-size", "", "the largest share, such as 5MB")
	f.StringVar(&o.space, "space", "", "the most that may be stored on each server, such as 50GB")
	f.StringVar(&o.root, "root", "", "the key at which its chain must start, or any (default the one at which yours starts)")
}

type delegateOptions struct {
	grantFlags
	to   []string // keys
	keys string   // file, - or empty
}

func newDelegate(e *env) *cobra.Command {
	var o delegateOptions
	c := &cobra.Command{
		Use:   "delegate",
		Short: "Hand on a part of an authority",
		Long: `Signs certificates by which someone else may use what you may use, within the
limits given: what this node has or, with --authority, what is in a file.

Without --to and --keys a fresh key is made, and the result is an authority, a
secret to hand over: with --output it goes into a file that only you can read.
With them the keys are the receiver's own, and the result has no secret in it,
as with tarn sign. The receiver uses either with tarn client add-authority.

Where you have a different key at every server, so has the receiver; he gets a
certificate for each server that you know, or for those named with --server.`,
		Example: "  tarn authority delegate --space 50GB --until 30d --output bob.authority\n  tarn authority delegate --to pub-v0-caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa --operation renew-lease",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runDelegate(ctx, e, o) }),
	}
	o.register(c)
	c.Flags().StringArrayVar(&o.to, "to", nil, "public key that gets it, pub-v0-...; may be given several times")
	c.Flags().StringVar(&o.keys, "keys", "", "file with the keys that get it, or -, as tarn client account-key prints them")
	return c
}

func newSign(e *env) *cobra.Command {
	var o delegateOptions
	c := &cobra.Command{
		Use:   "sign {KEY|FILE|-}...",
		Short: "Sign someone's keys, so that they may use what you may use",
		Long: `Signs public keys, within the limits given, and prints the certificates, a text
that begins with -----BEGIN TARN CERTIFICATES-----. There is no secret in it: only
who has the keys can use it, with tarn client add-authority.

KEY is pub-v0-...; FILE has keys in it, as tarn client account-key prints them. The
signer is this node or, with --authority, a key in a file.`,
		Example: "  tarn client account-key --list > bob.keys\n  tarn sign bob.keys --space 50GB --until 30d > bob.card",
		Args:    between(1, 1000),
		RunE: action(func(ctx context.Context, args []string) error {
			for _, a := range args {
				if strings.HasPrefix(a, "pub-v0-") {
					o.to = append(o.to, a)
					continue
				}
				if o.keys != "" {
					return usageError{errors.New("more than one file with keys; join them first"), "tarn sign"}
				}
				o.keys = a
			}
			return runDelegate(ctx, e, o)
		}),
	}
	o.register(c)
	return c
}

func runDelegate(ctx context.Context, e *env, o delegateOptions) error {
	d, servers, err := o.parse(ctx, e, time.Now())
	if err != nil {
		return err
	}
	if err := o.oneInput(); err != nil {
		return err
	}
	to, err := o.recipients(e)
	if err != nil {
		return err
	}
	mine, known, err := o.signer(e)
	if err != nil {
		return err
	}
	if len(to) == 0 {
		return handOver(e, o, mine, d, servers, known)
	}
	chains, err := signAll(mine, to, d, servers, known)
	if err != nil {
		return err
	}
	text, err := lease.ChainsText(chains)
	if err != nil {
		return err
	}
	e.note("%d certificates, without a secret: the receiver uses them with tarn client add-authority", len(chains))
	return e.save(o.output, text)
}

// handOver makes a fresh key.
func handOver(e *env, o delegateOptions, mine lease.Authority, d lease.Delegation, servers, known []grid.ServerID) error {
	var all lease.Authority
	err := eachServer(d, servers, func(d lease.Delegation) error {
		fresh, err := mine.HandOver(rand.Reader, d, known)
		all = all.Join(fresh)
		return err
	})
	if err != nil {
		return err
	}
	text, err := all.Text()
	if err != nil {
		return err
	}
	e.note("The text is a secret: whoever has it can use it, with tarn client add-authority.")
	return e.save(o.output, text)
}

func signAll(mine lease.Authority, to []lease.Recipient, d lease.Delegation, servers, known []grid.ServerID) ([]lease.Chain, error) {
	var chains []lease.Chain
	for _, r := range to {
		err := eachServer(d, servers, func(d lease.Delegation) error {
			signed, err := mine.Delegate(r, d, known)
			chains = append(chains, signed...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return chains, nil
}

// eachServer limits a delegation to each of the servers, or does not limit it.
func eachServer(d lease.Delegation, servers []grid.ServerID, do func(lease.Delegation) error) error {
	if len(servers) == 0 {
		return do(d)
	}
	for _, s := range servers {
		d.Server = &s
		if err := do(d); err != nil {
			return fmt.Errorf("for server %s: %w", s.Short(), err)
		}
	}
	return nil
}

// oneInput refuses to read standard input twice.
func (o delegateOptions) oneInput() error {
	n := 0
	for _, name := range []string{o.authority, o.keys, o.capText, o.capFile} {
		if name == "-" {
			n++
		}
	}
	if n > 1 {
		return usageError{err: errors.New("standard input can be only one of authority, keys and capability")}
	}
	return nil
}

// signer is who signs, and the servers that this node knows.
func (o grantFlags) signer(e *env) (lease.Authority, []grid.ServerID, error) {
	if o.authority != "" {
		p, err := e.pasted(o.authority)
		if err == nil && len(p.Authority.Holdings) == 0 {
			err = fmt.Errorf("%s: %w: there is no key in it to sign with", nameOf(o.authority), lease.ErrAuthority)
		}
		if err != nil {
			return lease.Authority{}, nil, err
		}
		known := e.knownServers()
		mine, err := p.Usable(lease.Authority{}, known)
		return mine, known, err
	}
	f, err := e.folder()
	if err != nil {
		return lease.Authority{}, nil, err
	}
	w, err := f.wallet()
	if err != nil {
		return lease.Authority{}, nil, err
	}
	mine, err := w.Authority()
	return mine, w.ServerIDs(), err
}

// knownServers are those of the node in the folder, if there is one.
func (e *env) knownServers() []grid.ServerID {
	f, err := e.folder()
	if err != nil {
		return nil
	}
	w, err := f.wallet()
	if err != nil {
		return nil
	}
	return w.ServerIDs()
}

// recipients are the keys that get a certificate; none means a fresh one.
func (o delegateOptions) recipients(e *env) ([]lease.Recipient, error) {
	var all []lease.Recipient
	for _, text := range o.to {
		key, err := grid.ParsePublicKey(text)
		if err != nil {
			return nil, err
		}
		all = append(all, lease.Recipient{Key: key})
	}
	if o.keys == "" {
		return all, nil
	}
	input, _, err := e.open(o.keys)
	if err != nil {
		return nil, err
	}
	defer input.Close()
	more, err := readKeys(input)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", nameOf(o.keys), err)
	}
	return append(all, more...), nil
}

// readKeys reads TARN KEYS blocks or lines, each with a key and perhaps the
// server where it counts.
func readKeys(r io.Reader) ([]lease.Recipient, error) {
	text, err := io.ReadAll(io.LimitReader(r, lease.MaxAuthoritySize+1))
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	if bytes.Contains(text, []byte("-----BEGIN TARN")) {
		p, err := lease.ReadPasted(bytes.NewReader(text))
		if err == nil && len(p.Keys) == 0 {
			err = fmt.Errorf("%w: no line -----BEGIN TARN KEYS-----", lease.ErrKeys)
		}
		var all []lease.Recipient
		for _, list := range p.Keys {
			all = append(all, lease.Recipient{Keys: list.Keys})
		}
		return all, err
	}
	return readKeyLines(string(text))
}

func readKeyLines(text string) ([]lease.Recipient, error) {
	var all []lease.Recipient
	var perServer []lease.ServerKey
	number := 0
	for line := range strings.Lines(text) {
		number++
		key, server, err := readKeyLine(line)
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", number, err)
		case key == nil:
		case server == nil:
			all = append(all, lease.Recipient{Key: *key})
		default:
			perServer = append(perServer, lease.ServerKey{Server: *server, Key: *key})
		}
	}
	if len(perServer) > 0 {
		all = append(all, lease.Recipient{Keys: perServer})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: there is no key pub-v0-... in it", lease.ErrKeys)
	}
	return all, nil
}

// readKeyLine finds a key and a server among the words of a line; a nickname
// may stand between them. Empty lines and those with # are passed over.
func readKeyLine(line string) (key *grid.PublicKey, server *grid.ServerID, err error) {
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil, nil, nil
	}
	last := words[len(words)-1]
	k, err := grid.ParsePublicKey(last)
	if err != nil {
		return nil, nil, err
	}
	if len(words) == 1 {
		return &k, nil, nil
	}
	s, err := grid.ParseServerID(words[0])
	if err != nil {
		return nil, nil, err
	}
	return &k, &s, nil
}

// parse reads the limits, and the servers to which each certificate is limited.
func (o grantFlags) parse(ctx context.Context, e *env, now time.Time) (lease.Delegation, []grid.ServerID, error) {
	d := lease.Delegation{SignerGetsLease: o.signerGetsLease}
	for _, part := range []func(*lease.Delegation) error{
		o.parseSizes, func(d *lease.Delegation) error { return o.parseUntil(d, now) }, o.parseRoot, o.parseOperation,
		func(d *lease.Delegation) error { return o.parseFile(ctx, e, d) },
	} {
		if err := part(&d); err != nil {
			return d, nil, err
		}
	}
	var servers []grid.ServerID
	for _, text := range o.servers {
		s, err := grid.ParseServerID(text)
		if err != nil {
			return d, nil, err
		}
		if !slices.Contains(servers, s) {
			servers = append(servers, s)
		}
	}
	return d, servers, nil
}

func (o grantFlags) parseSizes(d *lease.Delegation) error {
	for _, f := range []struct {
		name, text string
		into       **int64
	}{{"--max-size", o.maxSize, &d.MaxSize}, {"--space", o.space, &d.Space}} {
		if f.text == "" {
			continue
		}
		n, err := parseSize(f.text)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		*f.into = &n
	}
	return nil
}

func (o grantFlags) parseUntil(d *lease.Delegation, now time.Time) error {
	if o.until == "" {
		return nil
	}
	t, err := parseUntil(o.until, now)
	if err != nil {
		return fmt.Errorf("--until: %w", err)
	}
	d.Until = new(t.Unix())
	return nil
}

func (o grantFlags) parseRoot(d *lease.Delegation) error {
	switch o.root {
	case "":
		return nil
	case "any":
		d.AnyRoot = true
		return nil
	}
	key, err := grid.ParsePublicKey(o.root)
	d.Root = &key
	return err
}

func (o grantFlags) parseOperation(d *lease.Delegation) error {
	if len(o.operation) == 0 {
		return nil
	}
	set, err := lease.ParseOperation(strings.Join(o.operation, ","))
	if err != nil {
		return usageError{err: fmt.Errorf("--operation: %w", err)}
	}
	d.Operation = &set
	return nil
}

// parseFile limits to one file, by its storage index or a capability.
func (o grantFlags) parseFile(ctx context.Context, e *env, d *lease.Delegation) error {
	if err := o.parseCap(ctx, e, d); err != nil {
		return err
	}
	if o.storageIndex != "" {
		si, err := grid.ParseStorageIndex(o.storageIndex)
		if err != nil {
			return err
		}
		if d.StorageIndex != nil && *d.StorageIndex != si {
			return usageError{err: errors.New("--storage-index and the capability are of two different files")}
		}
		d.StorageIndex = &si
	}
	if o.uebHash != "" {
		b, err := grid.DecodeBase32(o.uebHash, len(lease.UEBHash{}))
		if err != nil {
			return fmt.Errorf("--ueb-hash: %w", err)
		}
		hash := lease.UEBHash(b)
		if d.UEBHash != nil && *d.UEBHash != hash {
			return usageError{err: errors.New("--ueb-hash and the capability are of two different contents")}
		}
		d.UEBHash = &hash
	}
	return nil
}

func (o grantFlags) parseCap(ctx context.Context, e *env, d *lease.Delegation) error {
	if o.capText == "" && o.capFile == "" {
		return nil
	}
	text, err := e.capability(ctx, getOptions{capability: o.capText, capFile: o.capFile})
	if err != nil {
		return err
	}
	parsed, err := file.Parse(strings.TrimSpace(text))
	if err != nil {
		return usageError{err: err}
	}
	switch c := parsed.(type) {
	case file.CHK:
		d.StorageIndex, d.UEBHash = new(c.StorageIndex()), new(lease.UEBHash(c.UEBHash))
	case file.CHKVerifier:
		d.StorageIndex, d.UEBHash = &c.StorageIndex, new(lease.UEBHash(c.UEBHash))
	default:
		return usageError{err: fmt.Errorf("a capability of the kind %s names no shares on servers", parsed.Kind())}
	}
	return nil
}
