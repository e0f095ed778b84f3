// Package lease is the accounting core: who may keep which shares on a
// storage server, by whose grant, and at whose expense. It decides; it does
// nothing. It knows no clock, no randomness, no network and no disk: all of
// them are arguments, and the same arguments give the same answer.
//
// The main types, in the order in which authority flows:
//
//   - [Account] is the secret of a person; it gives a different key at every
//     server, and those keys can't be told to belong together.
//   - [Root] is such a key, dropped into a server by its operator, with his
//     policy beside it.
//   - [Certificate] hands a part of a key's authority to another key;
//     certificates form a [Chain] from a root to the key that acts.
//   - [Authority] is what a client holds: chains and the secrets at their ends.
//   - [Request] is what the key at the end signs to log in at one server, for
//     one connection. [Verify] checks chain and request and yields a [Grant].
//   - [Reference] is a grant sealed by the server under [ReferenceKeys], so
//     that later connections cost no signature.
//
// Promises: restrictions only ever narrow; every signed byte string has one
// spelling, and any other is refused; what is not understood is refused; bad
// input gives an error that wraps a sentinel of this package, never a panic.
package lease

import "time"

// ClockSkew is how far the clocks of a signer and of the server that verifies
// may differ: until holds this much longer. It is the only such constant.
const ClockSkew = 5 * time.Minute

// ReferenceLifetime is the longest that a reference works before its holder
// must log in again.
const ReferenceLifetime = 24 * time.Hour

// Bounds on what is accepted from outside, in bytes unless said otherwise.
const (
	// MaxCertificates is the most certificates in a chain.
	MaxCertificates = 8
	// MaxChainSize is the largest encoded chain.
	MaxChainSize = 8 << 10
	// MaxRequestSize is the largest encoded request; one with every field set
	// takes less than half of it.
	MaxRequestSize = 1 << 10
	// MaxReferenceSize is the largest secret of a reference; one made under
	// eight certificates with every field set takes 0.7 KiB.
	MaxReferenceSize = 1 << 10
	// MaxAuthoritySize is the largest text of an authority file.
	MaxAuthoritySize = 4 << 20
	// MaxHoldings is the most chains in an authority file.
	MaxHoldings = 4096
)
