package lease

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/grid"
)

func TestAccountKeys(t *testing.T) {
	a := AccountOf(seedOf("alice"))
	s, other := serverNamed("S"), serverNamed("T")
	if a.PublicKey(s) == a.PublicKey(other) {
		t.Error("the same key at two servers")
	}
	if a.PublicKey(s) != AccountOf(seedOf("alice")).PublicKey(s) {
		t.Error("the seed does not restore the key")
	}
	if a.PublicKey(s) == AccountOf(seedOf("bob")).PublicKey(s) {
		t.Error("two accounts with one key")
	}
	one := OneKeyAccount(seedOf("alice"))
	if one.PublicKey(s) != one.PublicKey(other) || !one.OneKey() || a.OneKey() {
		t.Error("one-key account has not one key")
	}
}

// The derivation is the one that the design names, so that another program
// can restore an account.
func TestAccountKeyDerivation(t *testing.T) {
	seed, server := seedOf("alice"), serverNamed("S")
	prk, err := hkdf.Extract(sha256.New, seed[:], make([]byte, sha256.Size))
	if err != nil {
		t.Fatal(err)
	}
	want, err := hkdf.Expand(sha256.New, prk, "tarn account key v1"+string(server[:]), 32)
	if err != nil {
		t.Fatal(err)
	}
	if got := AccountOf(seed).Key(server).Seed(); string(got) != string(want) {
		t.Errorf("key %x, want %x", got, want)
	}
	const pinned = "pub-v0-4oijfiownh3ggjtsspeq4esh2cx4jdtxegjrqiuh5qonagdf6x5q"
	if got := AccountOf([SeedSize]byte{}).PublicKey(grid.ServerID{}).String(); got != pinned {
		t.Errorf("zero seed at the zero server gives %s, want %s", got, pinned)
	}
}

func TestAccountText(t *testing.T) {
	for _, a := range []Account{AccountOf(seedOf("alice")), OneKeyAccount(seedOf("alice"))} {
		text := a.Text()
		if b, err := ParseAccount(" " + text + "\n"); err != nil || b != a {
			t.Errorf("%s: read back as %v, %v", text, b, err)
		}
		if len(text) != len("account-v1-")+60 {
			t.Errorf("%s has %d characters", text, len(text))
		}
	}
}

// Any single wrong character is noticed.
func TestAccountTextDamaged(t *testing.T) {
	text := AccountOf(seedOf("alice")).Text()
	for i := range text {
		for _, c := range []byte{'a', '7', 'z', '!'} {
			damaged := text[:i] + string(c) + text[i+1:]
			if damaged == text {
				continue
			}
			if _, err := ParseAccount(damaged); !errors.Is(err, ErrAccount) {
				t.Errorf("%s: %v", damaged, err)
			}
		}
		if _, err := ParseAccount(text[:i]); !errors.Is(err, ErrAccount) {
			t.Errorf("first %d characters: %v", i, err)
		}
	}
}

// An unknown kind, with a good checksum, is from a newer version.
func TestAccountOfUnknownKind(t *testing.T) {
	payload := append([]byte{2}, make([]byte, SeedSize)...)
	text := accountPrefix + grid.EncodeBase32(append(payload, accountSum(payload)...))
	if _, err := ParseAccount(text); !errors.Is(err, ErrAccount) || !strings.Contains(err.Error(), "newer") {
		t.Errorf("got %v", err)
	}
}

func TestNewAccountReadsAllItsSeed(t *testing.T) {
	if _, err := NewAccount(strings.NewReader("too short")); err == nil {
		t.Error("an account of 9 random bytes")
	}
	seed := seedOf("alice")
	a, err := NewAccount(strings.NewReader(string(seed[:])))
	if err != nil || a != AccountOf(seed) {
		t.Errorf("account %v, %v", a, err)
	}
}

// Secrets don't show, whatever prints them.
func TestSecretsDoNotPrint(t *testing.T) {
	seed := [SeedSize]byte{1: 'S', 2: 'E', 3: 'C', 4: 'R', 5: 'E', 6: 'T'}
	account := OneKeyAccount(seed)
	key := ReferenceKey{ID: 1, Secret: seed}
	reference := Reference{Secret: []byte("..SECRET..")}
	for _, v := range []any{
		account, &account, Holding{Account: account}, Authority{Holdings: []Holding{{Account: account}}},
		Credential{Key: account.Key(grid.ServerID{})}, key, ReferenceKeys{key}, reference, &reference,
	} {
		for _, text := range []string{fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%s", v)} {
			for _, secret := range []string{"SECRET", "83 69 67 82", "0x53, 0x45, 0x43", "534543524554"} {
				if strings.Contains(text, secret) {
					t.Errorf("%T prints as %s", v, text)
				}
			}
		}
	}
}
