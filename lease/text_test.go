package lease

import (
	"bytes"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/grid"
)

var serversSTU = []grid.ServerID{serverNamed("S"), serverNamed("T"), serverNamed("U")}

// samplePasted is a letter with one block of each kind.
func samplePasted(t testing.TB) []byte {
	t.Helper()
	cards := []Chain{
		mustSign(t, Chain{}, "alice", Certificate{Delegate: pub("bob")}),
		mustSign(t, mustSign(t, Chain{}, "alice", Certificate{Delegate: pub("bob")}), "bob", Certificate{Delegate: pub("carol")}),
	}
	return pastedText(t, Pasted{
		Authority: sampleAuthority(t), Chains: cards,
		Keys: []AccountKeys{AccountOf(seedOf("bob")).KeysAt(serversSTU)},
	})
}

func pastedText(t testing.TB, p Pasted) []byte {
	t.Helper()
	text := []byte("Dear Bob,\n")
	add := func(more []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, more...)
	}
	if len(p.Authority.Holdings) > 0 {
		add(p.Authority.Text())
	}
	if len(p.Chains) > 0 {
		add(ChainsText(p.Chains))
	}
	for _, l := range p.Keys {
		add(l.Text())
	}
	if len(text) == len("Dear Bob,\n") {
		add(Authority{}.Text())
	}
	return text
}

func samePasted(a, b Pasted) bool {
	sameChain := func(c, d Chain) bool { return bytes.Equal(c.Encode(), d.Encode()) }
	sameList := func(k, l AccountKeys) bool { return k.Account == l.Account && slices.Equal(k.Keys, l.Keys) }
	return sameAuthority(a.Authority, b.Authority) && slices.EqualFunc(a.Chains, b.Chains, sameChain) && slices.EqualFunc(a.Keys, b.Keys, sameList)
}

func TestPasted(t *testing.T) {
	text := samplePasted(t)
	p, err := ReadPasted(bytes.NewReader(text))
	if err != nil || !sameAuthority(p.Authority, sampleAuthority(t)) || len(p.Chains) != 2 || len(p.Keys) != 1 {
		t.Fatalf("%d holdings, %d chains, %d lists, %v", len(p.Authority.Holdings), len(p.Chains), len(p.Keys), err)
	}
	if a, err := ReadAuthority(bytes.NewReader(text)); err != nil || !sameAuthority(a, p.Authority) {
		t.Errorf("an authority among other blocks: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if len(line) > 72 {
			t.Errorf("line of %d characters: a terminal may cut it", len(line))
		}
	}
}

// Not a byte of any block can be changed, and none can be cut.
func TestPastedDamaged(t *testing.T) {
	text := samplePasted(t)
	known := []error{ErrAuthority, ErrCertificates, ErrKeys}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		for i := range block.Bytes {
			mutant := bytes.Clone(block.Bytes)
			mutant[i] ^= 4
			_, err := ReadPasted(bytes.NewReader(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: mutant})))
			if !slices.ContainsFunc(known, func(k error) bool { return errors.Is(err, k) }) {
				t.Fatalf("%s: byte %d changed: %v", block.Type, i, err)
			}
		}
		whole := pem.EncodeToMemory(block)
		for _, n := range []int{0, 30, len(whole) / 2, len(whole) - 10} {
			if _, err := ReadPasted(bytes.NewReader(whole[:n])); err == nil {
				t.Errorf("%s: accepted the first %d bytes", block.Type, n)
			}
		}
	}
}

func TestPastedRefused(t *testing.T) {
	armour := func(k *textKind, body []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: k.block, Bytes: append(append([]byte{1}, k.sum(body)...), body...)}))
	}
	list := AccountOf(seedOf("bob")).KeysAt(serversSTU)
	record := func(change func(*accountKeysRecord)) []byte {
		r := accountKeysRecord{Account: list.Account, Keys: slices.Clone(list.Keys), Signature: list.signature}
		change(&r)
		return encode(r)
	}
	for _, c := range []struct {
		name, text, says string
		err              error
	}{
		{"nothing", "hello", "no line -----BEGIN TARN AUTHORITY-----", ErrAuthority},
		{"empty chain", armour(chainsKind, encode([][]byte{{0x80}})), "chain 1 is empty", ErrCertificates},
		{"bad chain", armour(chainsKind, encode([][]byte{{0x81}})), "cut short", ErrCertificates},
		{"no list", armour(keysKind, []byte{0x80}), "wrong kind", ErrKeys},
		{"empty list", armour(keysKind, record(func(r *accountKeysRecord) { r.Keys = nil })), "there is no key in it", ErrKeys},
		{"another's list", armour(keysKind, record(func(r *accountKeysRecord) { r.Account = pub("mallory") })), "signature does not hold", ErrKeys},
		{"a key put in", armour(keysKind, record(func(r *accountKeysRecord) { r.Keys[1].Key = pub("mallory") })), "signature does not hold", ErrKeys},
		{"out of order", armour(keysKind, record(func(r *accountKeysRecord) { slices.Reverse(r.Keys) })), "out of order", ErrKeys},
		{"twice the same server", armour(keysKind, record(func(r *accountKeysRecord) { r.Keys[1] = r.Keys[0] })), "out of order", ErrKeys},
	} {
		_, err := ReadPasted(strings.NewReader(c.text))
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want one that says %q", c.name, err, c.says)
		}
	}
}

// A list says the same whatever the order, and no server sees the key that
// signs it.
func TestKeysAt(t *testing.T) {
	bob := AccountOf(seedOf("bob"))
	list := bob.KeysAt([]grid.ServerID{serverNamed("T"), serverNamed("S"), serverNamed("T")})
	if len(list.Keys) != 2 {
		t.Fatalf("%d keys of 2 servers", len(list.Keys))
	}
	for _, s := range []string{"S", "T"} {
		if key, ok := list.At(serverNamed(s)); !ok || key != bob.PublicKey(serverNamed(s)) || key == list.Account {
			t.Errorf("key at %s: %v, %v", s, key, ok)
		}
	}
	if _, ok := list.At(serverNamed("U")); ok {
		t.Error("a key at a server that is not in the list")
	}
	later := bob.KeysAt(serversSTU)
	if later.Account != list.Account {
		t.Error("a later list is another account's")
	}
	if _, err := bob.KeysAt(nil).Text(); !errors.Is(err, ErrKeys) {
		t.Errorf("an empty list: %v", err)
	}
	one := OneKeyAccount(seedOf("bob"))
	if l := one.KeysAt(serversSTU); l.Account != one.PublicKey(grid.ServerID{}) {
		t.Error("an account with one key has another for lists")
	}
}
