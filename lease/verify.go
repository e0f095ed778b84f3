package lease

import (
	"fmt"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// VerifyInput is what the server knows at a login.
type VerifyInput struct {
	Standing
	// Server is the verifier itself.
	Server grid.ServerID
	// Peer is the key of the client's host, as the connection authenticated it.
	Peer grid.PublicKey
	Now  time.Time
}

// Verify decides whether a chain and a request, as they came over the wire,
// let the peer act here, and for what. What costs nothing is checked first:
// sizes, whether the root is known, then everything that the words say, and
// signatures last. The error wraps one of this package's sentinels.
//
// The nonce of the request is returned for the answer; it needs no checking,
// because the request is worth nothing over any other connection.
func Verify(chain, request []byte, in VerifyInput) (Grant, Nonce, error) {
	l, err := readLogin(chain, request)
	if err != nil {
		return Grant{}, Nonce{}, err
	}
	if _, err := in.check(l.keys, in.Now); err != nil {
		return Grant{}, Nonce{}, err
	}
	grant, err := l.grant(in)
	if err != nil {
		return Grant{}, Nonce{}, err
	}
	if err := l.checkSignatures(); err != nil {
		return Grant{}, Nonce{}, err
	}
	return grant, l.request.request.Nonce, nil
}

// login is a chain and the request that follows it.
type login struct {
	chain   Chain
	request signedRequest
	keys    []grid.PublicKey // signer of each element, so one more than certificates
}

func readLogin(chain, request []byte) (login, error) {
	c, err := DecodeChain(chain)
	if err != nil {
		return login{}, err
	}
	r, err := decodeRequest(request, c.Len() == 0)
	if err != nil {
		return login{}, err
	}
	keys := c.Keys()
	if c.Len() == 0 {
		keys = []grid.PublicKey{*r.signer}
	}
	return login{c, r, keys}, nil
}

// grant reads what the words allow; the signatures are still to be checked.
func (l login) grant(in VerifyInput) (Grant, error) {
	if err := l.checkAddress(in); err != nil {
		return Grant{}, err
	}
	label, err := l.label()
	if err != nil {
		return Grant{}, err
	}
	effective, err := l.effective(in)
	if err != nil {
		return Grant{}, err
	}
	spaces := make([]*int64, l.chain.Len())
	for i, c := range l.chain.links {
		spaces[i] = c.certificate.Space
	}
	g := newGrant(l.keys, spaces, label, effective, l.chain.Digest())
	if l.chain.Len() > 0 {
		g.Certificates = l.chain.Encode()
	}
	return g, nil
}

// checkAddress refuses what was made for another server or connection.
func (l login) checkAddress(in VerifyInput) error {
	if *l.request.request.Server != in.Server {
		return fmt.Errorf("request: %w", ErrWrongServer)
	}
	for i, c := range l.chain.links {
		if s := c.certificate.Server; s != nil && *s != in.Server {
			return fmt.Errorf("certificate %d: %w", i+1, ErrWrongServer)
		}
	}
	if l.request.request.Beneficiary != in.Peer {
		return fmt.Errorf("request: %w", ErrWrongBeneficiary)
	}
	return nil
}

// label is the index in keys of the one signer who gets the lease.
func (l login) label() (int, error) {
	var labels []int
	for i, c := range l.chain.links {
		if c.certificate.SignerGetsLease {
			labels = append(labels, i)
		}
	}
	if l.request.request.SignerGetsLease {
		labels = append(labels, l.chain.Len())
	}
	switch len(labels) {
	case 1:
		return labels[0], nil
	case 0:
		return 0, fmt.Errorf("%w; none has, so nobody would pay", ErrLeaseLabel)
	default:
		return 0, fmt.Errorf("%w; %d have", ErrLeaseLabel, len(labels))
	}
}

// effective is the intersection of all restrictions, none of which has ended.
func (l login) effective(in VerifyInput) (Restrictions, error) {
	all := Restrictions{Operation: new(AllOperations)}
	for i, c := range l.chain.links {
		var err error
		if all, err = narrowNow(all, c.certificate.Restrictions, in.Now); err != nil {
			return Restrictions{}, fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	all, err := narrowNow(all, l.request.request.Restrictions, in.Now)
	if err != nil {
		return Restrictions{}, fmt.Errorf("request: %w", err)
	}
	if all.Root != nil && *all.Root != l.keys[0] {
		return Restrictions{}, notPermitted(LimitRoot, "chain starts at %s, a certificate wants %s", l.keys[0].Short(), all.Root.Short())
	}
	all.Space = nil
	all.Operation = new(*all.Operation &^ all.unfit())
	return all, nil
}

func narrowNow(all, r Restrictions, now time.Time) (Restrictions, error) {
	if r.expired(now) {
		return Restrictions{}, fmt.Errorf("%w at %s", ErrAuthorityExpired, time.Unix(*r.Until, 0).UTC().Format(time.RFC3339))
	}
	return all.Narrow(r)
}

// checkSignatures is what costs: one verification for each element.
func (l login) checkSignatures() error {
	if err := l.chain.Check(); err != nil {
		return err
	}
	if !l.request.holds(l.keys[l.chain.Len()], requestTag) {
		return fmt.Errorf("request: %w", ErrForged)
	}
	return nil
}
