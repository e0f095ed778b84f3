package lease

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/tarn-grid/tarn/grid"
)

// ErrAuthority is a text that is no authority, or one that was damaged.
var ErrAuthority = errors.New("not an authority")

const (
	authorityBlock    = "TARN AUTHORITY"
	authorityVersion  = 1
	authorityChecksum = "tarn authority text v1"
	// authorityHeader is version (1 byte) and checksum (8).
	authorityHeader = 1 + 8
)

var authorityMode = must(decOptions(MaxHoldings).DecMode())

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

// Join is the holdings of a, then those of b that a does not have.
func (a Authority) Join(b Authority) Authority {
	var both Authority
	seen := map[string]bool{}
	for _, h := range append(a.Holdings[:len(a.Holdings):len(a.Holdings)], b.Holdings...) {
		id := string(append(h.Account.payload(), h.Chain.Encode()...))
		if !seen[id] {
			seen[id] = true
			both.Holdings = append(both.Holdings, h)
		}
	}
	return both
}

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
// TARN AUTHORITY of version (1 byte), the first 8 bytes of a SHA-256 over a tag
// and the rest, and a CBOR array of [kind and seed, chain]. Whoever has it has
// the authority.
func (a Authority) Text() ([]byte, error) {
	records := make([]holdingRecord, len(a.Holdings))
	for i, h := range a.Holdings {
		if err := h.validate(); err != nil {
			return nil, fmt.Errorf("write holding %d: %w", i+1, err)
		}
		records[i] = holdingRecord{Account: h.Account.payload(), Chain: h.Chain.Encode()}
	}
	body := encode(records)
	payload := append([]byte{authorityVersion}, authoritySum(body)...)
	text := pem.EncodeToMemory(&pem.Block{Type: authorityBlock, Bytes: append(payload, body...)})
	if len(text) > MaxAuthoritySize || len(records) > MaxHoldings {
		return nil, fmt.Errorf("%w: %d holdings of %d bytes are too much for one file", ErrAuthority, len(records), len(text))
	}
	return text, nil
}

// ReadAuthority reads what Text wrote. Text around the blocks is passed over,
// and several blocks are one authority, so files can simply be joined. The
// error is ErrAuthority and shows nothing of the content.
func ReadAuthority(r io.Reader) (Authority, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxAuthoritySize+1))
	if err != nil {
		return Authority{}, fmt.Errorf("read an authority: %w", err)
	}
	if len(text) > MaxAuthoritySize {
		return Authority{}, fmt.Errorf("%w: larger than %d bytes", ErrAuthority, MaxAuthoritySize)
	}
	begins := bytes.Count(text, []byte("-----BEGIN "+authorityBlock))
	if begins == 0 {
		return Authority{}, fmt.Errorf("%w: no line -----BEGIN %s-----", ErrAuthority, authorityBlock)
	}
	return joinBlocks(text, begins)
}

// joinBlocks reads the blocks, of which there should be as many as begin.
func joinBlocks(text []byte, begins int) (Authority, error) {
	var all Authority
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != authorityBlock {
			continue
		}
		holdings, err := decodeHoldings(block.Bytes)
		if err != nil {
			return Authority{}, err
		}
		all.Holdings = append(all.Holdings, holdings...)
		begins--
	}
	if begins != 0 {
		return Authority{}, fmt.Errorf("%w: a block is damaged or its end is missing; copy it whole, from -----BEGIN to END-----", ErrAuthority)
	}
	if len(all.Holdings) > MaxHoldings {
		return Authority{}, fmt.Errorf("%w: %d holdings, at most %d", ErrAuthority, len(all.Holdings), MaxHoldings)
	}
	return Authority{}.Join(all), nil
}

func decodeHoldings(payload []byte) ([]Holding, error) {
	if len(payload) <= authorityHeader {
		return nil, fmt.Errorf("%w: too short", ErrAuthority)
	}
	if payload[0] != authorityVersion {
		return nil, fmt.Errorf("%w that this program knows: version %d, and it knows version %d", ErrAuthority, payload[0], authorityVersion)
	}
	body := payload[authorityHeader:]
	if !bytes.Equal(payload[1:authorityHeader], authoritySum(body)) {
		return nil, fmt.Errorf("%w: checksum does not match, so it was damaged on its way", ErrAuthority)
	}
	var records []holdingRecord
	if err := decodeCanonical(authorityMode, body, &records); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAuthority, err)
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

func authoritySum(body []byte) []byte {
	sum := sha256.Sum256(append([]byte(authorityChecksum), body...))
	return sum[:authorityHeader-1]
}
