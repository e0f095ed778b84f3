package lease

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tarn-grid/tarn/grid"
)

// ErrAuthority is a text that is no authority, or one that was damaged.
var ErrAuthority = errors.New("not an authority")

// Holding is a chain and the secret of the key that it ends at. With the empty
// chain the account's own key is a root; and an account with one key, made for
// the purpose, is how a fresh key is handed over.
type Holding struct {
	Chain   Chain
	Account Account
}

// Authority is what a client can use: a set of holdings, the preferred ones
// first. With a key per server, a person has one for each.
type Authority struct {
	Holdings []Holding
}

// Credential is a holding at one server: a chain, maybe empty, and the private
// key that signs requests under it.
type Credential struct {
	Chain Chain
	Key   ed25519.PrivateKey
}

// CredentialID tells credentials of one server apart, for caches: it gives
// nothing away that could be used.
type CredentialID [sha256.Size]byte

// String is the 52-character base32 form.
func (id CredentialID) String() string { return grid.EncodeBase32(id[:]) }

// ID is the SHA-256 of a tag, the public key and the chain's digest.
func (c Credential) ID() CredentialID {
	key, digest := grid.PublicKeyOf(c.Key), c.Chain.Digest()
	return sha256.Sum256(slices.Concat([]byte(credentialTag), key[:], digest[:]))
}

const credentialTag = "tarn credential v1:"

// Label is the account of the leases made under the credential.
func (c Credential) Label() grid.PublicKey {
	if label, ok := c.Chain.Label(); ok {
		return label
	}
	return grid.PublicKeyOf(c.Key)
}

// String hides the key.
func (c Credential) String() string { return "credential(" + grid.PublicKeyOf(c.Key).Short() + ")" }

// GoString hides the key from %#v.
func (c Credential) GoString() string { return c.String() }

// For is what can be used at a server, in the order of the holdings: chains
// that end at the account's key there and are not limited to another server,
// and accounts without a chain. Whether a chain has expired is not its
// question: the caller who finds one so knows what to renew.
func (a Authority) For(server grid.ServerID) []Credential {
	var usable []Credential
	keys := map[Account]ed25519.PrivateKey{} // derived once, however many chains there are
	for _, h := range a.Holdings {
		if !h.Chain.servesAt(server) {
			continue
		}
		if keys[h.Account] == nil {
			keys[h.Account] = h.Account.Key(server)
		}
		key := keys[h.Account]
		if end, ok := h.Chain.End(); !ok || end == grid.PublicKeyOf(key) {
			usable = append(usable, Credential{h.Chain, key})
		}
	}
	return usable
}

// At is what can be used at the server that announces itself so, the likeliest
// first: chains from managers that it announces, chains that name the server,
// accounts, other chains; and in the same order those that are no use for
// storing just any file, a renewal cap or a repair cap. A chain from a manager
// that a server with managers does not announce is shown only where it names the
// server: the others would learn of it and refuse.
func (a Authority) At(s grid.Announcement) []Credential {
	rank := func(c Credential) int { return c.Chain.rankAt(s) }
	usable := slices.DeleteFunc(a.For(s.Server), func(c Credential) bool { return rank(c) == hopeless })
	slices.SortStableFunc(usable, func(c, d Credential) int { return rank(c) - rank(d) })
	return usable
}

// Ranks of what can be shown to a server, best first; narrow is added for what
// is good for little, hopeless is what would be refused.
const (
	announced = iota
	addressed
	accounts
	others
	narrow
	hopeless = 2 * narrow
)

func (c Chain) rankAt(s grid.Announcement) int {
	root, chained := c.Root()
	if !chained {
		return accounts
	}
	limits, err := c.Effective()
	if err != nil || !readable(s.CertificateVersions) {
		return hopeless
	}
	_, named := c.server()
	rank := others
	switch {
	case slices.Contains(s.Accepts, root):
		rank = announced
	case named:
		rank = addressed
	case len(s.Accepts) > 0:
		return hopeless
	}
	if !limits.Operations().Has(OpUpload) || limits.StorageIndex != nil || limits.UEBHash != nil {
		rank += narrow
	}
	return rank
}

// readable reports whether a server that announces these versions of
// certificates can read ours; one that announces none does not say.
func readable(versions []uint) bool {
	return len(versions) == 0 || slices.Contains(versions, CertificateVersion)
}

// ErrUnfit is why an authority is of no use at a server, as far as can be told
// from its announcement.
var ErrUnfit = errors.New("the authority is not for this server")

// Fit is nil where there is something to show to a server, else ErrUnfit with
// the reason.
func (a Authority) Fit(s grid.Announcement) error {
	if len(a.At(s)) > 0 {
		return nil
	}
	all := a.For(s.Server)
	switch {
	case len(all) == 0:
		return fmt.Errorf("%w: none of its keys and certificates is", ErrUnfit)
	case !readable(s.CertificateVersions):
		return fmt.Errorf("%w: it can't read certificates of version %d", ErrUnfit, CertificateVersion)
	}
	if _, err := all[0].Chain.Effective(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	root, _ := all[0].Chain.Root()
	return fmt.Errorf("%w: it does not announce that it accepts %s", ErrUnfit, root)
}

// AuthorityID tells authorities apart, without giving them away.
type AuthorityID [sha256.Size]byte

// ID is the SHA-256 of a tag and all holdings in their order.
func (a Authority) ID() AuthorityID {
	h := sha256.New()
	h.Write([]byte(authorityIDTag))
	for _, holding := range a.Holdings {
		digest := sha256.Sum256([]byte(holding.id()))
		h.Write(digest[:])
	}
	return AuthorityID(h.Sum(nil))
}

const authorityIDTag = "tarn authority id v1:"

// Join is the holdings of a, then those of b that a does not have.
func (a Authority) Join(b Authority) Authority {
	var both Authority
	seen := map[string]bool{}
	for _, h := range append(a.Holdings[:len(a.Holdings):len(a.Holdings)], b.Holdings...) {
		if id := h.id(); !seen[id] {
			seen[id] = true
			both.Holdings = append(both.Holdings, h)
		}
	}
	return both
}

// Without is the holdings of a that b does not have.
func (a Authority) Without(b Authority) Authority {
	has := map[string]bool{}
	for _, h := range b.Holdings {
		has[h.id()] = true
	}
	var left Authority
	for _, h := range a.Holdings {
		if !has[h.id()] {
			left.Holdings = append(left.Holdings, h)
		}
	}
	return left
}

// id is the same for holdings that are the same.
func (h Holding) id() string { return string(append(h.Account.payload(), h.Chain.Encode()...)) }

// servesAt reports whether no certificate is limited to another server.
func (c Chain) servesAt(server grid.ServerID) bool {
	for _, l := range c.links {
		if s := l.certificate.Server; s != nil && *s != server {
			return false
		}
	}
	return true
}

// holdingRecord is a holding in a file.
type holdingRecord struct {
	_       struct{} `cbor:",toarray"`
	Account []byte   // kind (1 byte) and seed
	Chain   []byte
}

// Text is the authority in a form to paste or keep in a file: a PEM block
// TARN AUTHORITY whose body is a CBOR array of [kind and seed, chain]. Whoever
// has it has the authority.
func (a Authority) Text() ([]byte, error) {
	records := make([]holdingRecord, len(a.Holdings))
	for i, h := range a.Holdings {
		if err := h.validate(); err != nil {
			return nil, fmt.Errorf("write holding %d: %w", i+1, err)
		}
		records[i] = holdingRecord{Account: h.Account.payload(), Chain: h.Chain.Encode()}
	}
	return authorityKind.write(encode(records), len(records))
}

// ReadAuthority reads what Text wrote. Text around the blocks is passed over,
// and several blocks are one authority, so files can simply be joined. The
// error is ErrAuthority and shows nothing of the content.
func ReadAuthority(r io.Reader) (Authority, error) {
	blocks, err := readBlocks(r, authorityKind)
	if err != nil {
		return Authority{}, err
	}
	var all Authority
	for _, b := range blocks {
		holdings, err := decodeHoldings(b.body)
		if err != nil {
			return Authority{}, err
		}
		all.Holdings = append(all.Holdings, holdings...)
	}
	if len(all.Holdings) > MaxHoldings {
		return Authority{}, fmt.Errorf("%w: %d holdings, at most %d", ErrAuthority, len(all.Holdings), MaxHoldings)
	}
	return Authority{}.Join(all), nil
}

func decodeHoldings(body []byte) ([]Holding, error) {
	var records []holdingRecord
	if err := authorityKind.decode(manyMode, body, &records); err != nil {
		return nil, err
	}
	holdings := make([]Holding, len(records))
	for i, r := range records {
		var err error
		if holdings[i], err = r.holding(); err != nil {
			return nil, fmt.Errorf("%w: holding %d: %w", ErrAuthority, i+1, err)
		}
	}
	return holdings, nil
}

func (r holdingRecord) holding() (Holding, error) {
	account, err := accountOfPayload(r.Account)
	if err != nil {
		return Holding{}, err
	}
	chain, err := DecodeChain(r.Chain)
	if err != nil {
		return Holding{}, err
	}
	h := Holding{chain, account}
	return h, h.validate()
}

// validate refuses a chain that can't end at the account's key. Where the key
// differs from server to server and no certificate names one, For finds out.
func (h Holding) validate() error {
	end, ok := h.Chain.End()
	if !ok {
		return nil
	}
	server, named := h.Chain.server()
	if !named && !h.Account.OneKey() {
		return nil
	}
	if h.Account.PublicKey(server) != end {
		return fmt.Errorf("%w: %s", ErrNotSigner, end.Short())
	}
	return nil
}

// server is the first that a certificate names.
func (c Chain) server() (grid.ServerID, bool) {
	for _, l := range c.links {
		if l.certificate.Server != nil {
			return *l.certificate.Server, true
		}
	}
	return grid.ServerID{}, false
}
