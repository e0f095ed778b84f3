package wire

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// ErrUsageSignature says that a page of usage was not signed by the server that
// it is said to be from, or was changed since.
var ErrUsageSignature = errors.New("the report is not signed by that server")

// UsageBelow asks what is held below a key, by each to whom that key
// delegated. Whom it may be told of is the server's to say: the account's, the
// one that logged in, with an account manager's authority any key below that,
// and any at all with the authority of an account that may read the usage of
// all. Answered by UsageBelowReport.
type UsageBelow struct {
	// Signer is that key; zero is the account's, or all accounts of the server
	// for one that may read the usage of all.
	Signer grid.PublicKey `cbor:"1,keyasint"`
	// After is the delegate behind which the list goes on; zero for the
	// beginning.
	After grid.PublicKey `cbor:"2,keyasint"`
	// Through leads from the account to Signer: the keys in between, each of
	// which delegated to the next.
	Through []grid.PublicKey `cbor:"3,keyasint,omitempty"`
}

// UsageBelowReport is a page of the answer, signed, so that it can be passed
// on to somebody who need not believe who does.
type UsageBelowReport struct {
	Page []byte `cbor:"1,keyasint"` // OpenUsagePage
}

// UsagePage is a part of what a server says that is held below a key.
type UsagePage struct {
	Server grid.ServerID `cbor:"1,keyasint"`
	// Of is that key; zero says that delegates are all accounts of the server,
	// the zero key among them being clients without one.
	Of grid.PublicKey `cbor:"2,keyasint"`
	// At is when it was said, in Unix seconds by the server's clock.
	At int64 `cbor:"3,keyasint"`
	// After is behind which delegate the page begins; zero for the first page.
	After grid.PublicKey `cbor:"4,keyasint"`
	// Delegates are in the order of their keys. One with the key Of is that key's
	// own column.
	Delegates []DelegatedUsage `cbor:"5,keyasint,omitempty"`
	// More says that the list goes on behind the last of them.
	More bool `cbor:"6,keyasint,omitempty"`
}

// DelegatedUsage is what was made under one certificate of a key's and all that
// replaced it, in bytes as charged.
type DelegatedUsage struct {
	_        struct{} `cbor:",toarray"`
	Delegate grid.PublicKey
	Bytes    uint64
	Shares   uint64
	Reserved uint64 // uploads in flight
	BytesIn  uint64 // today, UTC
	BytesOut uint64
	// Below says that the delegate delegated in turn, and that the asker may ask
	// what is held below him.
	Below bool
}

// signedUsage is how a page travels and is kept: version 1, the page in CBOR,
// as bytes, since they are what was signed, and the server's Ed25519 signature
// of usageTag + page.
type signedUsage struct {
	_         struct{} `cbor:",toarray"`
	Version   uint
	Page      []byte
	Signature [ed25519.SignatureSize]byte
}

// usageTag separates these signatures from all others of the same key.
const usageTag = "tarn usage page v1:"

// SignUsagePage signs what the server with this key says. It refuses
// (ErrMalformed) what OpenUsagePage would.
func SignUsagePage(key ed25519.PrivateKey, p UsagePage) ([]byte, error) {
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("sign usage: %w", err)
	}
	page, err := encoding.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode usage: %w", err)
	}
	s := signedUsage{Version: 1, Page: page}
	copy(s.Signature[:], ed25519.Sign(key, append([]byte(usageTag), page...)))
	return encoding.Marshal(s)
}

// OpenUsagePage returns what a page says once the server's signature and all
// bounds hold. Errors: ErrTooLarge, ErrMalformed, ErrUsageSignature.
func OpenUsagePage(b []byte, server grid.ServerID) (UsagePage, error) {
	if len(b) > MaxUsagePage {
		return UsagePage{}, fmt.Errorf("%w: page of usage of %d bytes, at most %d", ErrTooLarge, len(b), MaxUsagePage)
	}
	var s signedUsage
	if err := unmarshal(b, &s); err != nil {
		return UsagePage{}, fmt.Errorf("open usage: %w", err)
	}
	if s.Version != 1 {
		return UsagePage{}, malformed("usage of version %d", s.Version)
	}
	if !server.Key().Verify(append([]byte(usageTag), s.Page...), s.Signature[:]) {
		return UsagePage{}, ErrUsageSignature
	}
	var p UsagePage
	if err := unmarshal(s.Page, &p); err != nil {
		return UsagePage{}, fmt.Errorf("open usage: %w", err)
	}
	if p.Server != server {
		return UsagePage{}, ErrUsageSignature
	}
	return p, p.validate()
}

// validate bounds the list and wants it in order, behind After; where there is
// more there is one.
func (p UsagePage) validate() error {
	for i, d := range p.Delegates {
		if i == 0 && !p.After.IsZero() && compareKeys(p.After, d.Delegate) >= 0 || i > 0 && compareKeys(p.Delegates[i-1].Delegate, d.Delegate) >= 0 {
			return malformed("delegates not in ascending order")
		}
		if max(d.Bytes, d.Shares, d.Reserved, d.BytesIn, d.BytesOut) > MaxUsage {
			return malformed("usage of more than %d", uint64(MaxUsage))
		}
	}
	if p.More && (len(p.Delegates) == 0 || p.Last().IsZero()) {
		return malformed("a list that goes on behind nothing")
	}
	if p.At < 0 {
		return malformed("usage of a time before 1970")
	}
	return checkCount("delegates", uint(len(p.Delegates)), 0, MaxBelow)
}

// Last is the delegate behind which the list goes on, zero for an empty page.
func (p UsagePage) Last() grid.PublicKey {
	if len(p.Delegates) == 0 {
		return grid.PublicKey{}
	}
	return p.Delegates[len(p.Delegates)-1].Delegate
}

// Validate bounds the way to the key.
func (m *UsageBelow) Validate() error {
	return checkCount("keys to pass through", uint(len(m.Through)), 0, lease.MaxCertificates)
}

// Validate bounds the page; who reads it opens it.
func (m *UsageBelowReport) Validate() error {
	return checkBytes("page of usage", m.Page, 1, MaxUsagePage)
}

func compareKeys(a, b grid.PublicKey) int { return slices.Compare(a[:], b[:]) }
