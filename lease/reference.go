package lease

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

const (
	referenceTag     = "tarn reference v1:"
	referenceVersion = 1
	// referenceHeader is version (1 byte), key id (4, big-endian), MAC (32).
	referenceHeader = 1 + 4 + sha256.Size
)

// ReferenceKey seals references. Draw ID at random too: when a server loses
// its keys, references made with the old ones are then seen to be of an
// unknown key, which sends their holders back to login.
type ReferenceKey struct {
	ID     uint32
	Secret [32]byte
}

// ReferenceKeys are a server's keys, the one that seals first; the others only
// open what they sealed. To rotate, put a new one in front, and drop the old
// one after ReferenceLifetime.
type ReferenceKeys []ReferenceKey

// Reference is a grant that its holder shows instead of the chain. The secret
// is bearer authority: whoever has it, over whatever connection, has the
// grant, so it may be cached and used again by the same client under a new
// identity.
type Reference struct {
	Grant Grant
	// Expires is in Unix seconds, by the server's clock.
	Expires int64
	// Secret is version (1 byte) || key id (4) || MAC (32) || limits; the MAC is
	// HMAC-SHA256 over a tag and all the rest; limits are deterministic CBOR.
	Secret []byte
}

// limits is what a secret says. Pairs, root and label follow from the keys.
type limits struct {
	_         struct{} `cbor:",toarray"`
	Keys      []grid.PublicKey
	Spaces    []*int64 // of the certificate between key i and key i+1
	Label     uint8    // index in Keys
	Effective Restrictions
	Chain     Digest
	Expires   int64
}

// Mint seals a grant for the shortest of its until, with ClockSkew, and
// ReferenceLifetime.
func (ks ReferenceKeys) Mint(g Grant, now time.Time) (Reference, error) {
	if len(ks) == 0 {
		return Reference{}, fmt.Errorf("mint a reference: server has no key for it")
	}
	l := limitsOf(g)
	l.Expires = expiry(g.Effective.Until, now)
	secret := ks[0].seal(encode(l))
	if len(secret) > MaxReferenceSize {
		return Reference{}, malformed("reference of %d bytes, at most %d", len(secret), MaxReferenceSize)
	}
	return Reference{Grant: g, Expires: l.Expires, Secret: secret}, nil
}

func expiry(until *int64, now time.Time) int64 {
	const skew = int64(ClockSkew / time.Second)
	latest := now.Add(ReferenceLifetime).Unix()
	if until != nil && *until < latest-skew {
		return *until + skew
	}
	return latest
}

// Check opens a secret: seal first, in constant time, then its end, then
// whether root and keys still stand. The error is ErrMalformed, ErrForged,
// ErrAuthorityExpired (also where the key that sealed it is gone: log in
// again), ErrNoSuchRoot or ErrAuthorityRevoked. Each use is then up to
// Grant.Permit.
func (ks ReferenceKeys) Check(secret []byte, standing Standing, now time.Time) (Reference, error) {
	body, err := ks.open(secret)
	if err != nil {
		return Reference{}, err
	}
	r, err := decodeReference(secret, body)
	if err != nil {
		return Reference{}, err
	}
	if r.Expires < now.Unix() { // never later than until and ClockSkew
		return Reference{}, fmt.Errorf("%w: reference has ended", ErrAuthorityExpired)
	}
	if _, err := standing.check(r.Grant.Keys, now); err != nil {
		return Reference{}, err
	}
	return r, nil
}

// PeekReference reads what a secret says, for people. Only the server that
// sealed it can tell whether it is true.
func PeekReference(secret []byte) (Reference, error) {
	if err := checkReferenceHeader(secret); err != nil {
		return Reference{}, err
	}
	return decodeReference(secret, secret[referenceHeader:])
}

func decodeReference(secret, body []byte) (Reference, error) {
	var l limits
	if err := decodeCanonical(decMode, body, &l); err != nil {
		return Reference{}, fmt.Errorf("read a reference: %w", err)
	}
	if err := l.validate(); err != nil {
		return Reference{}, fmt.Errorf("read a reference: %w", err)
	}
	grant := newGrant(l.Keys, l.Spaces, int(l.Label), l.Effective, l.Chain)
	return Reference{Grant: grant, Expires: l.Expires, Secret: secret}, nil
}

func checkReferenceHeader(secret []byte) error {
	if len(secret) > MaxReferenceSize || len(secret) <= referenceHeader {
		return malformed("reference of %d bytes", len(secret))
	}
	if secret[0] != referenceVersion {
		return malformed("reference of version %d", secret[0])
	}
	return nil
}

// open is the limits of a secret that one of the keys sealed.
func (ks ReferenceKeys) open(secret []byte) ([]byte, error) {
	if err := checkReferenceHeader(secret); err != nil {
		return nil, err
	}
	id := binary.BigEndian.Uint32(secret[1:])
	for _, k := range ks {
		if k.ID != id {
			continue
		}
		if body := secret[referenceHeader:]; hmac.Equal(secret[5:referenceHeader], k.mac(body)) {
			return body, nil
		}
		return nil, fmt.Errorf("reference: %w", ErrForged)
	}
	return nil, fmt.Errorf("%w: the key that sealed the reference is no longer in use", ErrAuthorityExpired)
}

func (k ReferenceKey) seal(body []byte) []byte {
	secret := binary.BigEndian.AppendUint32([]byte{referenceVersion}, k.ID)
	secret = append(secret, k.mac(body)...)
	return append(secret, body...)
}

func (k ReferenceKey) mac(body []byte) []byte {
	h := hmac.New(sha256.New, k.Secret[:])
	h.Write([]byte(referenceTag))
	h.Write(binary.BigEndian.AppendUint32([]byte{referenceVersion}, k.ID))
	h.Write(body)
	return h.Sum(nil)
}

// String hides the secret.
func (k ReferenceKey) String() string { return fmt.Sprintf("reference key %08x", k.ID) }

// GoString hides the secret from %#v.
func (k ReferenceKey) GoString() string { return k.String() }

// String hides the secret.
func (r Reference) String() string { return "reference(" + r.Grant.Label.Short() + ")" }

// GoString hides the secret from %#v.
func (r Reference) GoString() string { return r.String() }

func limitsOf(g Grant) limits {
	l := limits{Keys: g.Keys, Effective: g.Effective, Chain: g.Chain}
	for i := 1; i < len(g.Keys); i++ {
		var space *int64
		if p := g.pair(g.Keys[i-1], g.Keys[i]); p != nil {
			space = p.Space
		}
		l.Spaces = append(l.Spaces, space)
	}
	for i, key := range g.Keys {
		if key == g.Label {
			l.Label = uint8(i)
			break
		}
	}
	return l
}

// validate holds what newGrant counts on. The MAC has shown that this server
// wrote it, so a failure is damage to its own keys or program.
func (l limits) validate() error {
	if len(l.Keys) == 0 || len(l.Keys) > MaxCertificates+1 || len(l.Spaces) != len(l.Keys)-1 || int(l.Label) >= len(l.Keys) {
		return malformed("limits do not fit together")
	}
	if l.Effective.Operation == nil {
		return malformed("limits without operation")
	}
	return l.Effective.validate()
}
