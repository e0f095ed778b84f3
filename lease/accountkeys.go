package lease

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/grid"
)

// ErrKeys is a text that has no list of keys, or a damaged one.
var ErrKeys = errors.New("not a list of keys")

const (
	accountKeysTag = "tarn account keys v1:"
	listKeyInfo    = "tarn account list key v1"
)

// AccountKeys is the keys of an account at servers that it knows, for somebody
// who is to sign them. Whoever has it knows that they belong together, so it
// goes to that one alone. The account signs it with a key that no server sees,
// so that a later list, with more servers, is known to be the same account's.
type AccountKeys struct {
	// Account is that key.
	Account grid.PublicKey
	// Keys are in the order of the servers' ids, each server once.
	Keys []ServerKey

	signature []byte
}

// ServerKey is an account's key at a server.
type ServerKey struct {
	_      struct{} `cbor:",toarray"`
	Server grid.ServerID
	Key    grid.PublicKey
}

// ListKey is what the account signs lists of its keys with: Ed25519 from
// HKDF-SHA256(seed, no salt, "tarn account list key v1"); the one key itself of
// an account that has but one.
func (a Account) ListKey() ed25519.PrivateKey {
	if a.oneKey {
		return ed25519.NewKeyFromSeed(a.seed[:])
	}
	derived, err := hkdf.Key(sha256.New, a.seed[:], nil, listKeyInfo, ed25519.SeedSize)
	if err != nil {
		panic("derive an account's key: " + err.Error()) // 32 bytes are always within HKDF's bound
	}
	return ed25519.NewKeyFromSeed(derived)
}

// KeysAt is the account's signed list of its keys at these servers.
func (a Account) KeysAt(servers []grid.ServerID) AccountKeys {
	sorted := slices.Clone(servers)
	slices.SortFunc(sorted, compareServers)
	private := a.ListKey()
	l := AccountKeys{Account: grid.PublicKeyOf(private)}
	for _, s := range slices.Compact(sorted) {
		l.Keys = append(l.Keys, ServerKey{Server: s, Key: a.PublicKey(s)})
	}
	l.signature = ed25519.Sign(private, l.signed())
	return l
}

// At is the key at a server, if it is in the list.
func (l AccountKeys) At(server grid.ServerID) (grid.PublicKey, bool) {
	i, ok := slices.BinarySearchFunc(l.Keys, server, func(k ServerKey, s grid.ServerID) int { return compareServers(k.Server, s) })
	if !ok {
		return grid.PublicKey{}, false
	}
	return l.Keys[i].Key, true
}

func compareServers(a, b grid.ServerID) int { return bytes.Compare(a[:], b[:]) }

// signed is the tag and the keys.
func (l AccountKeys) signed() []byte { return append([]byte(accountKeysTag), encode(l.Keys)...) }

// accountKeysRecord is a list in its text.
type accountKeysRecord struct {
	_         struct{} `cbor:",toarray"`
	Account   grid.PublicKey
	Keys      []ServerKey
	Signature []byte
}

// Text is the list in a form to paste or mail: a PEM block TARN KEYS whose body
// is a CBOR array of the account's key for lists, [server, key] for each server
// in the order of their ids, and the signature of the tag "tarn account keys v1:"
// and that second element. There is no secret in it.
func (l AccountKeys) Text() ([]byte, error) {
	if err := l.validate(); err != nil {
		return nil, err
	}
	return keysKind.write(encode(accountKeysRecord{Account: l.Account, Keys: l.Keys, Signature: l.signature}), len(l.Keys))
}

func decodeAccountKeys(body []byte) (AccountKeys, error) {
	var r accountKeysRecord
	if err := keysKind.decode(manyMode, body, &r); err != nil {
		return AccountKeys{}, err
	}
	l := AccountKeys{Account: r.Account, Keys: r.Keys, signature: r.Signature}
	return l, l.validate()
}

func (l AccountKeys) validate() error {
	if len(l.Keys) == 0 {
		return fmt.Errorf("%w: there is no key in it", ErrKeys)
	}
	for i, k := range l.Keys {
		if k.Key.IsZero() || i > 0 && compareServers(l.Keys[i-1].Server, k.Server) >= 0 {
			return fmt.Errorf("%w: entry %d is out of order or has no key", ErrKeys, i+1)
		}
	}
	if !l.Account.Verify(l.signed(), l.signature) {
		return fmt.Errorf("%w: %w", ErrKeys, ErrForged)
	}
	return nil
}
