package tarn

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// ErrNoAuthority means that the client was not given what is asked for.
var ErrNoAuthority = errors.New("this client has no such authority")

// Wallet is what a client's folder has in keys and certificates: the account
// that it was made with, and what it was given since. It reads files, so it
// works whether or not the node runs; what is added or taken away through it a
// running node notices when it starts again.
type Wallet struct {
	folder nodeFolder
	own    lease.Account
	roles  map[string]lease.Account
	config Config
}

// Held is one thing that the client was given.
type Held struct {
	// Name finds it again: 16 characters, from what is in it.
	Name string
	lease.Pasted
	// Usable is what the client can do with it: the authority, and those of the
	// chains that end at one of the client's keys.
	Usable lease.Authority
}

// OpenWallet is the wallet of the node that c describes. Errors: ErrNoClient.
func OpenWallet(c Config) (*Wallet, error) {
	if c.Client == nil {
		return nil, ErrNoClient
	}
	return &Wallet{nodeFolder{c.Dir}, c.Client.Account, c.Client.Roles, c}, nil
}

// Account is the client's own account.
func (w *Wallet) Account() lease.Account { return w.own }

// Roles are the client's keys for what it does for others.
func (w *Wallet) Roles() map[string]lease.Account { return w.roles }

// Servers are those that the node knows, by id: from its caches of what
// introducers announced, the newest of each, and from the owner's file. What of
// that can't be read is left out, and what the owner has ignored.
func (w *Wallet) Servers() []grid.Announcement {
	known, err := w.folder.known(w.config)
	if err != nil {
		return nil // they are only caches
	}
	var all []grid.Announcement
	for _, s := range known.Servers {
		if s.LastError == "" {
			all = append(all, s.announcement)
		}
	}
	return all
}

// ServerIDs are those of Servers.
func (w *Wallet) ServerIDs() []grid.ServerID {
	var ids []grid.ServerID
	for _, a := range w.Servers() {
		ids = append(ids, a.Server)
	}
	return ids
}

// announcements is the cache of what an introducer announced to a role.
func (f nodeFolder) announcements(c Config, ref IntroducerRef, role ...string) *announcementCache {
	return c.cacheIn(f.private(role...), ref)
}

// cacheIn is the cache of what an introducer announced. It has the introducer's
// name, so that no other's is read as its own when introducers come and go.
func (c Config) cacheIn(dir string, ref IntroducerRef) *announcementCache {
	return &announcementCache{path: filepath.Join(dir, "introducer-"+ref.Server.String()+".yaml"), own: c.rules().Connections}
}

// Authority is all that the client can use: what it was given comes first,
// because it names its server, then its membership cards, then its own account.
func (w *Wallet) Authority() (lease.Authority, error) {
	given, err := w.given()
	cards, cardsErr := w.cards()
	return given.Join(cards).Join(w.ownAuthority()), errors.Join(err, cardsErr)
}

func (w *Wallet) given() (lease.Authority, error) {
	held, err := w.Held()
	var all lease.Authority
	for _, h := range held {
		all = all.Join(h.Usable)
	}
	return all, err
}

// cards are those that the node has fetched of its account managers.
func (w *Wallet) cards() (lease.Authority, error) {
	var all lease.Authority
	memberships, err := w.folder.memberships()
	for _, ref := range memberships {
		state, loadErr := w.folder.membership(w.config, ref).Store.Load()
		err = errors.Join(err, loadErr)
		for _, b := range state.Cards {
			if card, err := lease.ReadCard(b, ref.Manager.Server.Key()); err == nil {
				all.Holdings = append(all.Holdings, lease.Holding{Chain: card.Chain, Account: w.own})
			}
		}
	}
	return all, err
}

func (w *Wallet) ownAuthority() lease.Authority {
	return lease.Authority{Holdings: []lease.Holding{{Account: w.own}}}
}

// accounts are those for whose keys certificates may be; without one, the key
// of a role is none that a server should see.
func (w *Wallet) accounts() lease.Authority {
	all := w.ownAuthority()
	for _, role := range sortedKeys(w.roles) {
		all.Holdings = append(all.Holdings, lease.Holding{Account: w.roles[role]})
	}
	return all
}

// Held lists what the client was given, by name.
func (w *Wallet) Held() ([]Held, error) {
	files, err := filepath.Glob(w.folder.private("authorities", "*"+authoritySuffix))
	if err != nil {
		return nil, err
	}
	var all []Held
	accounts, servers := w.accounts(), w.ServerIDs()
	for _, path := range files {
		p, err := readPasted(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		accounts = accounts.Join(p.Authority)
		all = append(all, Held{Name: strings.TrimSuffix(filepath.Base(path), authoritySuffix), Pasted: p})
	}
	for i := range all {
		all[i].Usable, _ = all[i].Pasted.Usable(accounts, servers) // a chain for a key that went away is of no use
	}
	return all, nil
}

func readPasted(path string) (lease.Pasted, error) {
	f, err := os.Open(path)
	if err != nil {
		return lease.Pasted{}, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	return lease.ReadPasted(f)
}

// Add keeps what r has: authorities, and chains for a key that the client has,
// be it in the same text. Errors: lease.ErrAuthority and its like for a text
// that has neither, lease.ErrNotSigner for chains of others.
func (w *Wallet) Add(r io.Reader) (Held, error) {
	h, err := w.read(r)
	if err != nil {
		return Held{}, err
	}
	text, err := pastedText(h.Pasted)
	if err != nil {
		return Held{}, err
	}
	h.Name = authorityName(text)
	return h, w.write(h.Name, text)
}

// read is what r has, without a name.
func (w *Wallet) read(r io.Reader) (Held, error) {
	p, err := lease.ReadPasted(r)
	if err != nil {
		return Held{}, err
	}
	if len(p.Authority.Holdings)+len(p.Chains) == 0 {
		return Held{}, fmt.Errorf("%w: there are keys to be signed in it, and no certificate", lease.ErrAuthority)
	}
	accounts, err := w.Authority()
	if err != nil {
		return Held{}, err
	}
	usable, err := p.Usable(accounts.Join(w.accounts()), w.ServerIDs())
	if err != nil {
		return Held{}, fmt.Errorf("no key of this client can use it: %w", err)
	}
	return Held{Pasted: p, Usable: usable}, nil
}

// pastedText is the text of what can be used.
func pastedText(p lease.Pasted) ([]byte, error) {
	var text []byte
	if len(p.Authority.Holdings) > 0 {
		more, err := p.Authority.Text()
		if err != nil {
			return nil, err
		}
		text = more
	}
	if len(p.Chains) == 0 {
		return text, nil
	}
	more, err := lease.ChainsText(p.Chains)
	return append(text, more...), err
}

const authoritySuffix = ".authority"

// authorityName is a name for a text: equal ones share it.
func authorityName(text []byte) string {
	sum := sha256.Sum256(text)
	return grid.EncodeBase32(sum[:10])
}

func (w *Wallet) path(name string) string {
	return w.folder.private("authorities", name+authoritySuffix)
}

func (w *Wallet) write(name string, text []byte) error {
	if err := os.MkdirAll(w.folder.private("authorities"), 0o700); err != nil {
		return fmt.Errorf("keep the authority: %w", err)
	}
	if err := writeFile(w.path(name), text); err != nil {
		return fmt.Errorf("keep the authority: %w", err)
	}
	return nil
}

// Remove forgets what the client was given under a name, or the beginning of
// one if it is the only such. Errors: ErrNoAuthority.
func (w *Wallet) Remove(name string) (Held, error) {
	held, err := w.Held()
	if err != nil {
		return Held{}, err
	}
	var found []Held
	for _, h := range held {
		if name != "" && strings.HasPrefix(h.Name, name) {
			found = append(found, h)
		}
	}
	switch {
	case len(found) == 0:
		return Held{}, fmt.Errorf("%w: %s", ErrNoAuthority, name)
	case len(found) > 1:
		return Held{}, fmt.Errorf("%w: %d names begin with %s", ErrNoAuthority, len(found), name)
	}
	if err := os.Remove(w.path(found[0].Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Held{}, fmt.Errorf("forget the authority: %w", err)
	}
	return found[0], nil
}

// AuthoritySummary says what an authority that was added or removed allows.
type AuthoritySummary struct {
	// Name finds it among those that the client has.
	Name string
	// Keys are the accounts in it, Servers those that it names; none means
	// that it does not say.
	Keys    []grid.PublicKey
	Servers []grid.ServerID
}

// Summary is the accounts and servers in it.
func (h Held) Summary() AuthoritySummary {
	s := AuthoritySummary{Name: h.Name}
	for _, holding := range h.Usable.Holdings {
		if end, ok := holding.Chain.End(); ok {
			s.Keys = append(s.Keys, end)
		} else if holding.Account.OneKey() {
			s.Keys = append(s.Keys, holding.Account.PublicKey(grid.ServerID{}))
		}
		for _, c := range holding.Chain.Certificates() {
			if c.Server != nil && !slices.Contains(s.Servers, *c.Server) {
				s.Servers = append(s.Servers, *c.Server)
			}
		}
	}
	return s
}

// ReadAuthority reads what somebody handed over, for a single use: an
// authority, or certificates for a key of this client. Errors: those of
// Wallet.Add.
func (n *Node) ReadAuthority(r io.Reader) (lease.Authority, error) {
	w, err := OpenWallet(n.config)
	if err != nil {
		return lease.Authority{}, err
	}
	h, err := w.read(r)
	return h.Usable, err
}

// AddAuthority reads what somebody handed over, an authority or certificates
// for a key of this client, keeps it in the node's folder, and tries it at the
// servers that did not accept the node before. Errors: those of Wallet.Add.
func (n *Node) AddAuthority(ctx context.Context, r io.Reader) (AuthoritySummary, error) {
	w, err := OpenWallet(n.config)
	if err != nil {
		return AuthoritySummary{}, err
	}
	h, err := w.Add(r)
	if err != nil {
		return AuthoritySummary{}, err
	}
	return h.Summary(), n.tellClient(ctx, func(replyTo *env.PID) any {
		return client.AddAuthority{ReplyTo: replyTo, Authority: h.Usable}
	})
}

// RemoveAuthority forgets what was added under a name. Connections that were
// made with it are made anew with what is left. Errors: ErrNoAuthority.
func (n *Node) RemoveAuthority(ctx context.Context, name string) (AuthoritySummary, error) {
	w, err := OpenWallet(n.config)
	if err != nil {
		return AuthoritySummary{}, err
	}
	h, err := w.Remove(name)
	if err != nil {
		return AuthoritySummary{}, err
	}
	left, err := w.Authority()
	if err != nil {
		return AuthoritySummary{}, err
	}
	return h.Summary(), n.tellClient(ctx, func(replyTo *env.PID) any {
		return client.RemoveAuthority{ReplyTo: replyTo, Authority: h.Usable.Without(left)}
	})
}

// tellClient waits until the client branch has taken a message.
func (n *Node) tellClient(ctx context.Context, message func(replyTo *env.PID) any) error {
	ctx, cancel := n.until(ctx)
	defer cancel()
	_, err := env.Ask[client.Done](ctx, n.system, n.root, func(replyTo *env.PID) any {
		return actors.ToClient{Message: message(replyTo)}
	}, nil)
	return n.cause(err)
}
