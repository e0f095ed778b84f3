package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testKey(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(append(make([]byte, 31), n)) }

func testPublic(n byte) grid.PublicKey { return grid.PublicKeyOf(testKey(n)) }

// login is a chain from key 1 to key 2, a request under it, and the reference
// that a server makes of both.
func login(t testing.TB) (chain, request, reference []byte) {
	t.Helper()
	server := grid.ServerID(testPublic(9))
	c, err := lease.Chain{}.Sign(testKey(1), lease.Certificate{Delegate: testPublic(2), Restrictions: lease.Restrictions{MaxSize: new(int64(5e6))}})
	if err != nil {
		t.Fatal(err)
	}
	r := lease.Request{Beneficiary: testPublic(3), SignerGetsLease: true, Restrictions: lease.Restrictions{Server: &server}}
	signed, err := r.Sign(c, testKey(2))
	if err != nil {
		t.Fatal(err)
	}
	standing := lease.Standing{
		Roots:   func(k grid.PublicKey) (lease.Root, bool) { return lease.Root{Key: k}, true },
		Revoked: func(grid.PublicKey) bool { return false },
	}
	grant, _, err := lease.Verify(c.Encode(), signed, lease.VerifyInput{Standing: standing, Server: server, Peer: testPublic(3), Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := lease.ReferenceKeys{{ID: 7}}.Mint(grant, noon)
	if err != nil {
		t.Fatal(err)
	}
	return c.Encode(), signed, ref.Secret
}

func testExplainer() explainer {
	names := names{map[grid.PublicKey]string{testPublic(1): "alice"}, map[grid.ServerID]string{grid.ServerID(testPublic(9)): "s1"}}
	return explainer{names, noon}
}

// What has no text form is understood as bytes, base64 and hex.
func TestExplainBinary(t *testing.T) {
	chain, request, reference := login(t)
	for _, c := range []struct {
		name string
		b    []byte
		says []string
	}{
		{"chain", chain, []string{"(alice)", "signature  holds", "max-size   5MB"}},
		{"request", request, []string{"Request to log in", "whoever the certificates before it end at", "(s1)"}},
		{"reference", reference, []string{"Reference from a server", "root       " + testPublic(1).String() + " (alice)", "ends       ", "in 24 hours"}},
	} {
		for how, text := range map[string]string{
			"bytes": string(c.b), "base64": base64.StdEncoding.EncodeToString(c.b) + "\n", "hex": hex.EncodeToString(c.b),
		} {
			found, err := testExplainer().explain([]byte(text))
			if err != nil {
				t.Errorf("%s as %s: %v", c.name, how, err)
				continue
			}
			words := found.words(noon)
			for _, s := range c.says {
				if !strings.Contains(words, s) {
					t.Errorf("%s as %s has no %q: %s", c.name, how, s, words)
				}
			}
		}
	}
}

// A signature that does not hold is told, for the certificate that it is of.
func TestExplainForged(t *testing.T) {
	chain, _, _ := login(t)
	chain[len(chain)-40] ^= 1 // in the signature, before the signer's key
	found, err := testExplainer().explain(chain)
	if err != nil {
		t.Fatal(err)
	}
	if words := found.words(noon); !strings.Contains(words, "DOES NOT HOLD") || !strings.Contains(words, "Of no use: certificate 1: signature does not hold.") {
		t.Error(words)
	}
}

// Whatever is pasted, it is explained or refused, and no secret is shown.
func FuzzExplain(f *testing.F) {
	chain, request, reference := login(f)
	account := lease.OneKeyAccount([lease.SeedSize]byte{1})
	text, err := lease.Authority{Holdings: []lease.Holding{{Account: account}}}.Text()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{chain, request, reference, text, []byte(account.Text()), []byte(testPublic(1).String()), []byte("v0-aaaa"), []byte("URI:CHK:a")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		found, err := testExplainer().explain(b)
		if err == nil && found.words(noon) == "" {
			t.Errorf("nothing is said of %q", b)
		}
		if strings.Contains(found.words(noon), account.Text()[11:]) {
			t.Error("the account is shown")
		}
	})
}

// Keys to be signed are read from what tarn client account-key prints, or are
// refused with the line.
func FuzzReadKeys(f *testing.F) {
	key, server := testPublic(1).String(), grid.ServerID(testPublic(9)).String()
	list, err := lease.AccountOf([lease.SeedSize]byte{1}).KeysAt([]grid.ServerID{{1}, {2}}).Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("# Bob's\n" + server + "  s1  " + key + "\n\n" + key + "\n"))
	f.Add(list)
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := readKeys(strings.NewReader(string(b)))
		if err == nil && len(all) == 0 {
			t.Errorf("no key, and no error: %q", b)
		}
		for _, r := range all {
			if r.Key.IsZero() == (len(r.Keys) == 0) {
				t.Errorf("recipient %+v of %q", r, b)
			}
		}
	})
}
