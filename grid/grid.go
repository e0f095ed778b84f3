// Package grid holds the nouns that cross every room of Tarn: what a share
// is called, who a server is, where it can be found. It knows no clock, no
// network and no disk, and imports nothing but the standard library.
//
// All values are plain data, comparable where that makes sense, and safe to
// share between goroutines once built.
package grid

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Errors that callers act on.
var (
	ErrBase32    = errors.New("not canonical lower-case base32")
	ErrPublicKey = errors.New("not a public key")
	ErrServerID  = errors.New("not a server id")
)

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// EncodeBase32 writes b as Tahoe does: RFC 4648 alphabet, lower case, no
// padding; 16 bytes become 26 characters, 20 become 32, 32 become 52.
func EncodeBase32(b []byte) string { return lowerBase32.EncodeToString(b) }

// DecodeBase32 reads exactly size bytes. Upper case, padding, line breaks and
// non-zero unused bits are refused, so every value has one spelling.
func DecodeBase32(s string, size int) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, ErrBase32
	}
	b, err := lowerBase32.DecodeString(s)
	if err != nil || len(b) != size || EncodeBase32(b) != s {
		return nil, fmt.Errorf("%w of %d bytes", ErrBase32, size)
	}
	return b, nil
}

// StorageIndex names a file's shares to the servers, 16 bytes, derived from
// its key. It is written as 26 base32 characters: aaaaaaaaaaaaaaaaaaaaaaaaaa.
type StorageIndex [16]byte

// String is the 26-character form.
func (si StorageIndex) String() string { return EncodeBase32(si[:]) }

// ParseStorageIndex reads the 26-character form.
func ParseStorageIndex(s string) (StorageIndex, error) {
	b, err := DecodeBase32(s, 16)
	if err != nil {
		return StorageIndex{}, fmt.Errorf("storage index %q: %w", s, err)
	}
	return StorageIndex(b), nil
}

// ShareNum is the number of a share among the N of its file, 0 to N-1; N is
// at most 256.
type ShareNum uint8

// String is the decimal form.
func (n ShareNum) String() string { return strconv.Itoa(int(n)) }

// ParseShareNum reads the String form, and no other.
func ParseShareNum(s string) (ShareNum, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || ShareNum(n).String() != s {
		return 0, fmt.Errorf("share number %q: want 0 to %d", s, MaxShares-1)
	}
	return ShareNum(n), nil
}

// MaxShares is the largest N.
const MaxShares = 256

// PublicKey is an Ed25519 public key (32 bytes): an account at one server, a
// signer or a delegate. It is written "pub-v0-" and 52 base32 characters.
type PublicKey [ed25519.PublicKeySize]byte

const publicKeyPrefix = "pub-v0-"

// String is the form with the prefix, pub-v0-….
func (k PublicKey) String() string { return publicKeyPrefix + EncodeBase32(k[:]) }

// Short is the first 8 characters after the prefix, for tables and logs.
func (k PublicKey) Short() string { return EncodeBase32(k[:])[:8] }

// IsZero reports whether k was never set.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// Verify reports whether sig is k's signature of message.
func (k PublicKey) Verify(message, sig []byte) bool {
	return len(sig) == ed25519.SignatureSize && ed25519.Verify(k[:], message, sig)
}

// ParsePublicKey reads pub-v0-…. The zero key, which stands for nobody, is
// refused: typed in by hand it would be that of clients without a key.
func ParsePublicKey(s string) (PublicKey, error) {
	b, err := DecodeBase32(strings.TrimPrefix(s, publicKeyPrefix), ed25519.PublicKeySize)
	if err != nil || !strings.HasPrefix(s, publicKeyPrefix) {
		return PublicKey{}, fmt.Errorf("%w: %q (want pub-v0- and 52 characters)", ErrPublicKey, s)
	}
	if k := PublicKey(b); !k.IsZero() {
		return k, nil
	}
	return PublicKey{}, fmt.Errorf("%w: %s is nobody's", ErrPublicKey, s)
}

// PublicKeyOf returns the public half of key.
func PublicKeyOf(key ed25519.PrivateKey) PublicKey {
	return PublicKey(key.Public().(ed25519.PublicKey))
}

// ServerID is a storage server's (or an introducer's) long-lived Ed25519
// public key. It is also what the connection to it is pinned to. It is
// written "v0-" and 52 base32 characters.
type ServerID [ed25519.PublicKeySize]byte

const serverIDPrefix = "v0-"

// String is the form with the prefix, v0-….
func (s ServerID) String() string { return serverIDPrefix + EncodeBase32(s[:]) }

// Short is the first 8 characters after the prefix, for tables and logs.
func (s ServerID) Short() string { return EncodeBase32(s[:])[:8] }

// Key is the same 32 bytes as a key that verifies signatures.
func (s ServerID) Key() PublicKey { return PublicKey(s) }

// DefaultNodeID is SHA-256(server key)[:20].
func (s ServerID) DefaultNodeID() NodeID {
	sum := sha256.Sum256(s[:])
	return NodeID(sum[:20])
}

// ParseServerID reads v0-….
func ParseServerID(s string) (ServerID, error) {
	b, err := DecodeBase32(strings.TrimPrefix(s, serverIDPrefix), ed25519.PublicKeySize)
	if err != nil || !strings.HasPrefix(s, serverIDPrefix) {
		return ServerID{}, fmt.Errorf("%w: %q (want v0- and 52 characters)", ErrServerID, s)
	}
	return ServerID(b), nil
}

// NodeID is the 20-byte id that seeds permutation and write enablers: the
// first bytes of the server key's hash, or a Tahoe TubID where shares of a
// Tahoe server were imported.
type NodeID [20]byte

// String is the 32-character base32 form.
func (n NodeID) String() string { return EncodeBase32(n[:]) }

// Hint says where a server can be reached: a multiaddr in text form such as
// /ip4/192.0.2.7/tcp/3457. transport decides whether it may be dialled.
type Hint string
