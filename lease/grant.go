package lease

import "github.com/tarn-grid/tarn/grid"

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
}
