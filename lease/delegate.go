package lease

import (
	"errors"
	"fmt"
	"io"

	"github.com/tarn-grid/tarn/grid"
)

// ErrNoCommonServer means that an authority has no key at any server at which
// the recipient has one.
var ErrNoCommonServer = errors.New("nothing to sign: the authority and who is to get it have no server in common")

// lasting is what Delegate leaves out of a certificate with signer-gets-lease
// unless it is asked for: a delegate who fills my column need not read or empty
// it.
const lasting = OpCancelLease | OpEnumerate | OpReadUsage | OpMutate

// Delegation is what is granted to another key, whoever signs it.
type Delegation struct {
	// SignerGetsLease makes the signer pay, in his own column.
	SignerGetsLease bool
	// AnyRoot leaves root out, so that the delegate may put the certificate
	// under any chain that ends at the signer.
	AnyRoot bool
	// Restrictions without Root name the root of the signer's chain, unless
	// AnyRoot is set; without Operation they grant all, less what only the
	// owner of a column needs where SignerGetsLease is set.
	Restrictions
}

// Recipient is to whom is delegated: one key, the same at every server, or a
// key for each.
type Recipient struct {
	Key  grid.PublicKey // zero where Keys are used
	Keys []ServerKey
}

// at is the recipient's key at a server, nil being any; zero if there is none.
func (r Recipient) at(server *grid.ServerID) grid.PublicKey {
	if !r.Key.IsZero() || server == nil {
		return r.Key
	}
	for _, k := range r.Keys {
		if k.Server == *server {
			return k.Key
		}
	}
	return grid.PublicKey{}
}

// servers are those for which the recipient has a key of their own.
func (r Recipient) servers() []grid.ServerID {
	var list []grid.ServerID
	for _, k := range r.Keys {
		list = append(list, k.Server)
	}
	return list
}

// Delegate is c's chain and below it a certificate for key. It refuses what no
// server would ever accept: limits that exclude each other, and two signers
// that get the lease.
func (c Credential) Delegate(key grid.PublicKey, d Delegation) (Chain, error) {
	root, ok := c.Chain.Root()
	if !ok {
		root = grid.PublicKeyOf(c.Key)
	}
	cert := Certificate{Delegate: key, SignerGetsLease: d.SignerGetsLease, Restrictions: d.Restrictions}
	if d.Root == nil && !d.AnyRoot {
		cert.Root = &root
	}
	if d.Operation == nil && d.SignerGetsLease {
		cert.Operation = new(AllOperations &^ lasting)
	}
	longer, err := c.Chain.Sign(c.Key, cert)
	if err != nil {
		return Chain{}, err
	}
	if _, err := longer.Effective(); err != nil {
		return Chain{}, fmt.Errorf("sign a certificate that nobody could use: %w", err)
	}
	return longer, nil
}

// Effective is the intersection of what the certificates of a chain say. The
// error is what every server would answer: a NotPermittedError, ErrWrongServer
// or ErrLeaseLabel.
func (c Chain) Effective() (Restrictions, error) {
	all := Restrictions{Operation: new(AllOperations)}
	labels := 0
	for i, l := range c.links {
		var err error
		if all, err = all.Narrow(l.certificate.Restrictions); err != nil {
			return Restrictions{}, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		if l.certificate.SignerGetsLease {
			labels++
		}
	}
	if labels > 1 {
		return Restrictions{}, fmt.Errorf("%w; %d certificates have", ErrLeaseLabel, labels)
	}
	if root, ok := c.Root(); ok && all.Root != nil && *all.Root != root {
		return Restrictions{}, notPermitted(LimitRoot, "chain starts at %s, a certificate wants %s", root.Short(), all.Root.Short())
	}
	all.Operation = new(*all.Operation &^ all.unfit())
	if *all.Operation == 0 {
		return Restrictions{}, notPermitted(LimitOperation, "no operation is left")
	}
	return all, nil
}

// Label is the signer who gets the leases, if a certificate of the chain says
// so; otherwise it is whoever signs the request.
func (c Chain) Label() (grid.PublicKey, bool) {
	keys := c.Keys()
	for i, l := range c.links {
		if l.certificate.SignerGetsLease {
			return keys[i], true
		}
	}
	return grid.PublicKey{}, false
}

// Check verifies the signatures. The error is ErrForged and says of which
// certificate.
func (c Chain) Check() error {
	keys := c.Keys()
	for i, l := range c.links {
		if !l.holds(keys[i], certificateTag) {
			return fmt.Errorf("certificate %d: %w", i+1, ErrForged)
		}
	}
	return nil
}

// Holds is for each certificate whether its signature is that of the key
// before it.
func (c Chain) Holds() []bool {
	keys, holds := c.Keys(), make([]bool, len(c.links))
	for i, l := range c.links {
		holds[i] = l.holds(keys[i], certificateTag)
	}
	return holds
}

// Delegate signs for the recipient with every key of the authority: with one
// that is the same everywhere once, with those of an account at each of these
// servers. The certificates of those name their server. A holding whose own
// limits exclude what is granted is left out unless none remains.
func (a Authority) Delegate(to Recipient, d Delegation, servers []grid.ServerID) ([]Chain, error) {
	var chains []Chain
	var refused error
	for _, p := range a.places(to.servers(), d.Server, servers) {
		key := to.at(p.server)
		if key.IsZero() {
			continue
		}
		chain, err := p.delegate(key, d)
		if err != nil {
			refused = errors.Join(refused, err)
			continue
		}
		chains = append(chains, chain)
	}
	if len(chains) == 0 {
		return nil, noPlace(refused)
	}
	return chains, nil
}

// HandOver delegates to a fresh key, which is handed over with the chains: a
// different one at every server where the signer has that, too.
func (a Authority) HandOver(random io.Reader, d Delegation, servers []grid.ServerID) (Authority, error) {
	fresh, err := NewAccount(random)
	if err != nil {
		return Authority{}, err
	}
	one, err := NewAccount(random)
	if err != nil {
		return Authority{}, err
	}
	one.oneKey = true
	var out Authority
	var refused error
	for _, p := range a.places(nil, d.Server, servers) {
		account, at := one, grid.ServerID{}
		if p.server != nil && !p.oneKey {
			account, at = fresh, *p.server
		}
		chain, err := p.delegate(account.PublicKey(at), d)
		if err != nil {
			refused = errors.Join(refused, err)
			continue
		}
		out.Holdings = append(out.Holdings, Holding{chain, account})
	}
	if len(out.Holdings) == 0 {
		return Authority{}, noPlace(refused)
	}
	return out, nil
}

// noPlace is the first refusal, or that there was nothing to sign with.
func noPlace(refused error) error {
	if refused == nil {
		return ErrNoCommonServer
	}
	return refused
}

// place is a key that can sign, and the server where it counts; nil is
// everywhere.
type place struct {
	Credential
	server *grid.ServerID
	oneKey bool
}

func (p place) delegate(key grid.PublicKey, d Delegation) (Chain, error) {
	if p.server != nil {
		d.Server = p.server
	}
	return p.Delegate(key, d)
}

// places are the keys of the authority: an account's at each of the servers,
// others once, or at each of the servers that are listed.
func (a Authority) places(listed []grid.ServerID, only *grid.ServerID, servers []grid.ServerID) []place {
	if only != nil {
		listed, servers = []grid.ServerID{*only}, []grid.ServerID{*only}
	}
	var all []place
	for _, h := range a.Holdings {
		at := servers
		if h.Account.OneKey() {
			at = listed
		}
		if named, ok := h.Chain.server(); ok {
			at = []grid.ServerID{named}
		}
		if len(at) == 0 && h.Account.OneKey() {
			all = append(all, place{Credential{h.Chain, h.Account.Key(grid.ServerID{})}, nil, true})
		}
		for _, s := range at {
			key := h.Account.Key(s)
			if end, ok := h.Chain.End(); (only == nil || *only == s) && (!ok || end == grid.PublicKeyOf(key)) {
				all = append(all, place{Credential{h.Chain, key}, &s, h.Account.OneKey()})
			}
		}
	}
	return all
}

// Adopt joins chains to the accounts at whose keys they end: those of a, found
// by deriving them for the server that a chain names, or else for each of these
// servers. The error is ErrNotSigner and names the key that none of them has.
func (a Authority) Adopt(chains []Chain, servers []grid.ServerID) (Authority, error) {
	var out Authority
	for _, c := range chains {
		h, ok := a.holdingOf(c, servers)
		if !ok {
			end, _ := c.End()
			return Authority{}, fmt.Errorf("%w: the certificate is for %s", ErrNotSigner, end)
		}
		out.Holdings = append(out.Holdings, h)
	}
	return out, nil
}

func (a Authority) holdingOf(c Chain, servers []grid.ServerID) (Holding, bool) {
	if named, ok := c.server(); ok {
		servers = []grid.ServerID{named}
	}
	end, _ := c.End()
	for _, h := range a.Holdings {
		at := servers
		if h.Account.OneKey() {
			at = []grid.ServerID{{}}
		}
		for _, s := range at {
			if h.Account.PublicKey(s) == end {
				return Holding{c, h.Account}, true
			}
		}
	}
	return Holding{}, false
}
