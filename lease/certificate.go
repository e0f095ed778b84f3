package lease

import "github.com/tarn-grid/tarn/grid"

// CertificateVersion is the only version of certificates and requests so far.
const CertificateVersion = 1

// Certificate hands the signer's authority, within Restrictions, to the
// delegate. Signed bytes: the tag "tarn certificate v1:" and the body, a
// deterministic CBOR map (RFC 8949 section 4.2.1) with the names below; the
// body never contains the certificate before it, so a renewed one fits under
// those that were made below the old.
type Certificate struct {
	// Delegate may now use the signer's authority.
	Delegate grid.PublicKey `cbor:"delegate-pubkey"`
	// SignerGetsLease makes the signer's key the label of leases made under
	// this certificate.
	SignerGetsLease bool `cbor:"signer-gets-lease,omitempty"`
	Restrictions
}

func (c Certificate) validate() error {
	if c.Delegate.IsZero() {
		return malformed("delegate-pubkey is missing or zero")
	}
	return c.Restrictions.validate()
}

// Pair is a signer and his delegate: the owner of a budget. A renewed
// certificate is the same pair, so the same budget.
type Pair struct {
	Signer, Delegate grid.PublicKey
	// Space is the budget in bytes at this server; nil is no limit.
	Space *int64
}
