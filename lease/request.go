package lease

import (
	"crypto/ed25519"
	"fmt"

	"github.com/tarn-grid/tarn/grid"
)

const requestTag = "tarn request v1:"

// Nonce tells one login from another; the server's answer repeats it.
type Nonce [16]byte

// Request asks one server for a reference, for one connection. It is made like
// a certificate, with Beneficiary in place of the delegate; signed bytes: the
// tag "tarn request v1:" and the body. Worthless at any other server and over
// any other connection.
type Request struct {
	// Beneficiary is the key of the client's host for this very connection. The
	// server compares it with the peer that it authenticated.
	Beneficiary grid.PublicKey `cbor:"beneficiary"`
	Nonce       Nonce          `cbor:"nonce"`
	// SignerGetsLease makes the key that signs the request the label of leases.
	SignerGetsLease bool `cbor:"signer-gets-lease,omitempty"`
	// Restrictions must name the server; the rest is optional.
	Restrictions
}

// Sign is the encoded request, signed by key, which must be the one that chain
// ends at; with the empty chain the key is a root, and the envelope names it.
func (r Request) Sign(chain Chain, key ed25519.PrivateKey) ([]byte, error) {
	if end, ok := chain.End(); ok && end != grid.PublicKeyOf(key) {
		return nil, fmt.Errorf("sign a request: %w", ErrNotSigner)
	}
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("sign a request: %w", err)
	}
	return seal(key, requestTag, encode(r), chain.Len() == 0).encode(), nil
}

func (r Request) validate() error {
	if r.Beneficiary.IsZero() {
		return malformed("beneficiary is missing or zero")
	}
	if r.Server == nil {
		return malformed("request does not name the server")
	}
	if r.Space != nil {
		return malformed("request has space, which belongs to a signer and his delegate")
	}
	return r.Restrictions.validate()
}

// ReadRequest reads what Sign made, for people: it verifies nothing. The signer
// is nil where a chain comes before it, at whose end he stands.
func ReadRequest(b []byte) (r Request, signer *grid.PublicKey, err error) {
	alone := len(b) > 0 && b[0] == namedHeader
	s, err := decodeRequest(b, alone)
	return s.request, s.signer, err
}

type signedRequest struct {
	envelope
	request Request
}

// decodeRequest reads what Sign wrote; alone says that no chain precedes it,
// so that it must name its signer.
func decodeRequest(b []byte, alone bool) (signedRequest, error) {
	if len(b) > MaxRequestSize {
		return signedRequest{}, malformed("request of %d bytes, at most %d", len(b), MaxRequestSize)
	}
	e, err := decodeEnvelope(b)
	if err != nil {
		return signedRequest{}, fmt.Errorf("read a request: %w", err)
	}
	if err := checkPlace(e, alone); err != nil {
		return signedRequest{}, fmt.Errorf("read a request: %w", err)
	}
	var r Request
	if err := decodeCanonical(decMode, e.body, &r); err != nil {
		return signedRequest{}, fmt.Errorf("read a request: %w", err)
	}
	if err := r.validate(); err != nil {
		return signedRequest{}, fmt.Errorf("read a request: %w", err)
	}
	return signedRequest{e, r}, nil
}
