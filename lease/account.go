package lease

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tarn-grid/tarn/grid"
)

// SeedSize is the length of an account's seed in bytes.
const SeedSize = 32

// ErrAccount is a text that is no account, or one that was copied wrongly.
var ErrAccount = errors.New("not an account")

const (
	accountPrefix   = "account-v1-"
	accountKeyInfo  = "tarn account key v1"
	accountChecksum = "tarn account text v1"
	checksumSize    = 4
)

// kinds of account, as written in its text and in authority files.
const (
	kindPerServer = 0
	kindOneKey    = 1
)

// Account is a secret from which a person's keys come: a different one at
// every server, so that servers which compare their tables see unrelated
// keys. Printing or logging it shows nothing; Text is for the backup.
type Account struct {
	seed   [SeedSize]byte
	oneKey bool
}

// NewAccount draws a seed from random.
func NewAccount(random io.Reader) (Account, error) {
	var seed [SeedSize]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return Account{}, fmt.Errorf("draw an account's seed: %w", err)
	}
	return Account{seed: seed}, nil
}

// AccountOf is the account with this seed.
func AccountOf(seed [SeedSize]byte) Account { return Account{seed: seed} }

// OneKeyAccount is an account with one and the same key at every server,
// which then can tell that they serve the same person: the Ed25519 key of
// this seed itself.
func OneKeyAccount(seed [SeedSize]byte) Account { return Account{seed: seed, oneKey: true} }

// OneKey reports whether the key is the same everywhere.
func (a Account) OneKey() bool { return a.oneKey }

// Key is the account's private key at a server: Ed25519 from
// HKDF-SHA256(seed, no salt, "tarn account key v1" || the server's key).
func (a Account) Key(server grid.ServerID) ed25519.PrivateKey {
	if a.oneKey {
		return ed25519.NewKeyFromSeed(a.seed[:])
	}
	derived, err := hkdf.Key(sha256.New, a.seed[:], nil, accountKeyInfo+string(server[:]), ed25519.SeedSize)
	if err != nil {
		panic("derive an account's key: " + err.Error()) // 32 bytes are always within HKDF's bound
	}
	return ed25519.NewKeyFromSeed(derived)
}

// PublicKey is what the server knows the account by.
func (a Account) PublicKey(server grid.ServerID) grid.PublicKey {
	return grid.PublicKeyOf(a.Key(server))
}

// Text is the form for the backup: account-v1- and 60 base32 characters of
// kind (1 byte), seed (32), checksum (4). Whoever has it has the account.
func (a Account) Text() string {
	payload := a.payload()
	return accountPrefix + grid.EncodeBase32(append(payload, accountSum(payload)...))
}

// ParseAccount reads Text; blanks around it are no matter.
func ParseAccount(text string) (Account, error) {
	text = strings.TrimSpace(text)
	encoded, ok := strings.CutPrefix(text, accountPrefix)
	if !ok {
		return Account{}, fmt.Errorf("%w: it should start with %s", ErrAccount, accountPrefix)
	}
	b, err := grid.DecodeBase32(encoded, 1+SeedSize+checksumSize)
	if err != nil {
		return Account{}, fmt.Errorf("%w: want 60 characters a-z, 2-7 after %s", ErrAccount, accountPrefix)
	}
	payload, sum := b[:1+SeedSize], b[1+SeedSize:]
	if subtle.ConstantTimeCompare(sum, accountSum(payload)) != 1 {
		return Account{}, fmt.Errorf("%w: checksum does not match, so a character was copied wrongly", ErrAccount)
	}
	return accountOfPayload(payload)
}

func (a Account) kind() uint8 {
	if a.oneKey {
		return kindOneKey
	}
	return kindPerServer
}

// payload is kind and seed.
func (a Account) payload() []byte { return append([]byte{a.kind()}, a.seed[:]...) }

func accountOfPayload(payload []byte) (Account, error) {
	if len(payload) != 1+SeedSize || payload[0] > kindOneKey {
		return Account{}, fmt.Errorf("%w: unknown kind, made by a newer version?", ErrAccount)
	}
	return Account{seed: [SeedSize]byte(payload[1:]), oneKey: payload[0] == kindOneKey}, nil
}

func accountSum(payload []byte) []byte {
	sum := sha256.Sum256(append([]byte(accountChecksum), payload...))
	return sum[:checksumSize]
}

// String hides the seed.
func (a Account) String() string { return "account(secret)" }

// GoString hides the seed from %#v.
func (a Account) GoString() string { return a.String() }
