package lease

import (
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// Digest is the SHA-256 of a chain's encoding; zero for the empty chain.
type Digest [32]byte

// String is the 52-character base32 form.
func (d Digest) String() string { return grid.EncodeBase32(d[:]) }

// Grant is what a verified chain and request allow.
type Grant struct {
	// Root is where the chain starts: Keys[0].
	Root grid.PublicKey
	// Keys is every key of the chain, the root first, each signing for the
	// next; the last one signed the request. Revoking any ends the grant.
	Keys []grid.PublicKey
	// Pairs is every (signer, delegate) of the chain, each once, with the least
	// space that a certificate of this chain gives it. Leases are charged to
	// all of them.
	Pairs []Pair
	// Label is the account of the leases made under this grant.
	Label grid.PublicKey
	// Effective is the intersection of all restrictions. Operation is always
	// set; Space never is: budgets are the pairs'.
	Effective Restrictions
	// Chain is kept with each lease, to tell later by whose grants it was made.
	Chain Digest
	// Certificates is the chain as the login showed it, encoded; nil without
	// certificates, and where a reference was shown instead.
	Certificates []byte
}

// newGrant puts a grant together from the signers of chain and request, the
// space of each certificate (one less) and the label's place among the keys.
func newGrant(keys []grid.PublicKey, spaces []*int64, label int, effective Restrictions, chain Digest) Grant {
	g := Grant{Root: keys[0], Keys: keys, Label: keys[label], Effective: effective, Chain: chain}
	for i, space := range spaces {
		if p := g.pair(keys[i], keys[i+1]); p != nil {
			p.Space = least(p.Space, space)
			continue
		}
		g.Pairs = append(g.Pairs, Pair{keys[i], keys[i+1], space})
	}
	return g
}

// pair is the entry of Pairs for these two, or nil.
func (g *Grant) pair(signer, delegate grid.PublicKey) *Pair {
	for i := range g.Pairs {
		if g.Pairs[i].Signer == signer && g.Pairs[i].Delegate == delegate {
			return &g.Pairs[i]
		}
	}
	return nil
}

// Ask is one use of a grant.
type Ask struct {
	Operation Operation // one or more; all must be allowed
	// StorageIndex of the share; nil where the operation is about a column.
	StorageIndex *grid.StorageIndex
	// UEBHash of the share's content; nil if unknown, which a grant limited to
	// one content refuses.
	UEBHash *UEBHash
	// Size of the share, in bytes.
	Size int64
}

// Permit decides on one use, and is asked again at each: the operator may have
// changed his mind since the login. It returns the root's policy of this
// moment, whose quota is the ledger's business. The error is ErrNoSuchRoot,
// ErrAuthorityRevoked, ErrAuthorityExpired or a NotPermittedError.
func (g Grant) Permit(ask Ask, standing Standing, now time.Time) (Root, error) {
	root, err := standing.check(g.keys(), now)
	if err != nil {
		return Root{}, err
	}
	if g.Effective.expired(now) {
		return Root{}, ErrAuthorityExpired
	}
	if !root.operations().Has(ask.Operation) {
		return Root{}, notPermitted(LimitOperation, "the server's operator does not allow %s to this account", ask.Operation&^root.operations())
	}
	return root, g.Effective.permit(ask)
}

// keys is Keys, or the zero key for a client without one.
func (g Grant) keys() []grid.PublicKey {
	if len(g.Keys) == 0 {
		return make([]grid.PublicKey, 1)
	}
	return g.Keys
}

// permit compares one use with the limits themselves.
func (r Restrictions) permit(ask Ask) error {
	if ask.Operation&r.unfit() != 0 {
		return r.refuseUnfit(ask.Operation & r.unfit())
	}
	if missing := ask.Operation &^ r.Operations(); missing != 0 {
		return notPermitted(LimitOperation, "%s is not among %s", missing, r.Operations())
	}
	if r.StorageIndex != nil && (ask.StorageIndex == nil || *ask.StorageIndex != *r.StorageIndex) {
		return notPermitted(LimitStorageIndex, "limited to one file, and this is another")
	}
	if r.UEBHash != nil && (ask.UEBHash == nil || *ask.UEBHash != *r.UEBHash) {
		return notPermitted(LimitUEBHash, "limited to one content, and this is another")
	}
	if r.MaxSize != nil && ask.Size > *r.MaxSize {
		return notPermitted(LimitMaxSize, "share of %d bytes, at most %d", ask.Size, *r.MaxSize)
	}
	return nil
}

func (r Restrictions) refuseUnfit(op Operation) error {
	limit := LimitStorageIndex
	if r.UEBHash != nil {
		limit = LimitUEBHash
	}
	return notPermitted(limit, "%s can't be used under a limit to one file", op)
}
