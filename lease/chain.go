package lease

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/tarn-grid/tarn/grid"
)

const certificateTag = "tarn certificate v1:"

// Chain leads from a root to the key that acts. The zero Chain is empty: the
// key that acts is a root itself. A Chain is well-formed, but nothing says that
// its signatures hold: Verify does. It is never changed; Sign makes a new one.
//
// Encoded: a CBOR array of envelopes [version, body, signature], the first with
// its signer's key as a fourth element.
type Chain struct {
	links []link
}

type link struct {
	envelope
	certificate Certificate
}

// Sign is the chain with one more certificate, signed by key, which must be
// the one that c ends at; under the empty chain any key may sign, as a root.
func (c Chain) Sign(key ed25519.PrivateKey, cert Certificate) (Chain, error) {
	if end, ok := c.End(); ok && end != grid.PublicKeyOf(key) {
		return Chain{}, fmt.Errorf("sign a certificate: %w", ErrNotSigner)
	}
	if err := cert.validate(); err != nil {
		return Chain{}, fmt.Errorf("sign a certificate: %w", err)
	}
	signed := link{seal(key, certificateTag, encode(cert), c.Len() == 0), cert}
	longer := Chain{append(c.links[:len(c.links):len(c.links)], signed)}
	if err := longer.validate(); err != nil {
		return Chain{}, fmt.Errorf("sign a certificate: %w", err)
	}
	return longer, nil
}

// Len is the number of certificates.
func (c Chain) Len() int { return len(c.links) }

// Certificates lists them from the root on.
func (c Chain) Certificates() []Certificate {
	list := make([]Certificate, len(c.links))
	for i, l := range c.links {
		list[i] = l.certificate
	}
	return list
}

// Keys is the root and every delegate, in order; none for the empty chain.
func (c Chain) Keys() []grid.PublicKey {
	if len(c.links) == 0 {
		return nil
	}
	keys := []grid.PublicKey{*c.links[0].signer}
	for _, l := range c.links {
		keys = append(keys, l.certificate.Delegate)
	}
	return keys
}

// Root is the key that signed the first certificate; false for the empty chain.
func (c Chain) Root() (grid.PublicKey, bool) {
	if len(c.links) == 0 {
		return grid.PublicKey{}, false
	}
	return *c.links[0].signer, true
}

// End is the key that the last certificate names; false for the empty chain.
func (c Chain) End() (grid.PublicKey, bool) {
	if len(c.links) == 0 {
		return grid.PublicKey{}, false
	}
	return c.links[len(c.links)-1].certificate.Delegate, true
}

// Encode is the one spelling of the chain.
func (c Chain) Encode() []byte {
	raw := make([]cbor.RawMessage, len(c.links))
	for i, l := range c.links {
		raw[i] = l.envelope.encode()
	}
	return encode(raw)
}

// Digest is what leases remember of the chain.
func (c Chain) Digest() Digest {
	if len(c.links) == 0 {
		return Digest{}
	}
	return sha256.Sum256(c.Encode())
}

// DecodeChain reads what Encode wrote: at most MaxChainSize bytes and
// MaxCertificates certificates. The error is ErrMalformed.
func DecodeChain(b []byte) (Chain, error) {
	if len(b) > MaxChainSize {
		return Chain{}, malformed("chain of %d bytes, at most %d", len(b), MaxChainSize)
	}
	var raw []cbor.RawMessage
	if err := decodeCanonical(decMode, b, &raw); err != nil {
		return Chain{}, fmt.Errorf("read a chain: %w", err)
	}
	if len(raw) > MaxCertificates {
		return Chain{}, malformed("chain of %d certificates, at most %d", len(raw), MaxCertificates)
	}
	c := Chain{make([]link, len(raw))}
	for i, r := range raw {
		var err error
		if c.links[i], err = decodeLink(r, i == 0); err != nil {
			return Chain{}, fmt.Errorf("read certificate %d of %d: %w", i+1, len(raw), err)
		}
	}
	if err := c.validate(); err != nil {
		return Chain{}, err
	}
	return c, nil
}

func decodeLink(raw []byte, first bool) (link, error) {
	e, err := decodeEnvelope(raw)
	if err != nil {
		return link{}, err
	}
	if err := checkPlace(e, first); err != nil {
		return link{}, err
	}
	var cert Certificate
	if err := decodeCanonical(decMode, e.body, &cert); err != nil {
		return link{}, err
	}
	return link{e, cert}, cert.validate()
}

// checkPlace holds that the first element, and no other, names its signer.
func checkPlace(e envelope, first bool) error {
	if first && e.signer == nil {
		return malformed("comes first and does not name its signer")
	}
	if !first && e.signer != nil {
		return malformed("names its signer and does not come first")
	}
	return nil
}

// validate holds the bounds of the whole and refuses to count one certificate
// twice.
func (c Chain) validate() error {
	if len(c.links) > MaxCertificates {
		return malformed("chain of %d certificates, at most %d", len(c.links), MaxCertificates)
	}
	if size := len(c.Encode()); size > MaxChainSize {
		return malformed("chain of %d bytes, at most %d", size, MaxChainSize)
	}
	for i, l := range c.links {
		for j, earlier := range c.links[:i] {
			if bytes.Equal(l.body, earlier.body) && bytes.Equal(l.signature, earlier.signature) {
				return malformed("certificates %d and %d are the same", j+1, i+1)
			}
		}
	}
	return nil
}
