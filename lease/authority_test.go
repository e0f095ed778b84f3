package lease

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tarn-grid/tarn/grid"
)

// sampleAuthority is what a member of two grids holds: cards for his keys at S
// and T, a fresh key that was handed over, and an account that friends know.
func sampleAuthority(t testing.TB) Authority {
	t.Helper()
	account := AccountOf(seedOf("bob"))
	card := func(server string) Holding {
		s := serverNamed(server)
		return Holding{mustSign(t, Chain{}, "alice", Certificate{Delegate: account.PublicKey(s), Restrictions: Restrictions{Server: &s}}), account}
	}
	fresh := OneKeyAccount(seedOf("fresh"))
	handed := mustSign(t, Chain{}, "alice", Certificate{Delegate: fresh.PublicKey(grid.ServerID{})})
	return Authority{[]Holding{card("S"), card("T"), {handed, fresh}, {Chain{}, account}}}
}

func mustText(t testing.TB, a Authority) []byte {
	t.Helper()
	text, err := a.Text()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func sameAuthority(a, b Authority) bool {
	if len(a.Holdings) != len(b.Holdings) {
		return false
	}
	for i := range a.Holdings {
		if a.Holdings[i].Account != b.Holdings[i].Account || !bytes.Equal(a.Holdings[i].Chain.Encode(), b.Holdings[i].Chain.Encode()) {
			return false
		}
	}
	return true
}

func TestAuthorityText(t *testing.T) {
	a := sampleAuthority(t)
	text := mustText(t, a)
	for name, pasted := range map[string]string{
		"as written":         string(text),
		"without last line":  strings.TrimSpace(string(text)),
		"Windows line ends":  strings.ReplaceAll(string(text), "\n", "\r\n"),
		"within a letter":    "Dear Bob,\nhere it is:\n\n" + string(text) + "\nYours, Alice\n",
		"twice":              string(text) + string(text),
		"after another kind": "-----BEGIN NOTE-----\nAAAA\n-----END NOTE-----\n" + string(text),
	} {
		got, err := ReadAuthority(strings.NewReader(pasted))
		if err != nil || !sameAuthority(got, a) {
			t.Errorf("%s: %d holdings, %v", name, len(got.Holdings), err)
		}
	}
	for line := range strings.Lines(string(text)) {
		if len(line) > 72 {
			t.Errorf("line of %d characters: a terminal may cut it", len(line))
		}
	}
}

func TestAuthorityFor(t *testing.T) {
	a := sampleAuthority(t)
	account := AccountOf(seedOf("bob"))
	for server, want := range map[string][]int{"S": {0, 2, 3}, "T": {1, 2, 3}, "U": {2, 3}} {
		got := a.For(serverNamed(server))
		if len(got) != len(want) {
			t.Fatalf("%s: %d credentials, want %d", server, len(got), len(want))
		}
		for i, c := range got {
			if !bytes.Equal(c.Chain.Encode(), a.Holdings[want[i]].Chain.Encode()) {
				t.Errorf("%s: credential %d is another chain", server, i)
			}
			if end, ok := c.Chain.End(); ok && end != grid.PublicKeyOf(c.Key) {
				t.Errorf("%s: credential %d can't sign under its chain", server, i)
			}
		}
		if last := got[len(got)-1]; grid.PublicKeyOf(last.Key) != account.PublicKey(serverNamed(server)) {
			t.Errorf("%s: the account's own key is another", server)
		}
	}
}

// A key that is the same everywhere still has no use for a chain that is
// limited, in whichever certificate, to another server.
func TestAuthorityForSkipsOtherServers(t *testing.T) {
	one := OneKeyAccount([SeedSize]byte(keyOf("bob").Seed()))
	atT := Restrictions{Server: new(serverNamed("T"))}
	first := mustSign(t, Chain{}, "alice", Certificate{Delegate: pub("bob"), Restrictions: atT})
	second := mustSign(t, Chain{}, "alice", Certificate{Delegate: pub("carol")})
	second = mustSign(t, second, "carol", Certificate{Delegate: pub("bob"), Restrictions: atT})
	a := Authority{[]Holding{{first, one}, {second, one}}}
	if n := len(a.For(serverNamed("S"))); n != 0 {
		t.Errorf("%d credentials at S", n)
	}
	if n := len(a.For(serverNamed("T"))); n != 2 {
		t.Errorf("%d credentials at T", n)
	}
}

// A card that names no server still fits only the key of one.
func TestAuthorityForFindsTheKey(t *testing.T) {
	account := AccountOf(seedOf("bob"))
	card := mustSign(t, Chain{}, "alice", Certificate{Delegate: account.PublicKey(serverNamed("S"))})
	a := Authority{[]Holding{{card, account}}}
	if n := len(a.For(serverNamed("S"))); n != 1 {
		t.Errorf("%d credentials at S", n)
	}
	if n := len(a.For(serverNamed("T"))); n != 0 {
		t.Errorf("%d credentials at T, with a key that the card does not name", n)
	}
}

// A credential is all that a login takes.
func TestCredentialLogsIn(t *testing.T) {
	server := serverNamed("S")
	for i, c := range sampleAuthority(t).For(server) {
		r := Request{Beneficiary: pub("P"), SignerGetsLease: true, Restrictions: Restrictions{Server: &server}}
		request, err := r.Sign(c.Chain, c.Key)
		if err != nil {
			t.Fatal(err)
		}
		in := inputAt("S", "P", "alice")
		known := in.Roots
		own := AccountOf(seedOf("bob")).PublicKey(server)
		in.Roots = func(k grid.PublicKey) (Root, bool) {
			if k == own {
				return Root{Key: k}, true
			}
			return known(k)
		}
		if g, _, err := Verify(c.Chain.Encode(), request, in); err != nil || g.Label != grid.PublicKeyOf(c.Key) {
			t.Errorf("credential %d: %v", i, err)
		}
	}
}

func TestAuthorityDamaged(t *testing.T) {
	text := mustText(t, sampleAuthority(t))
	for i := range len(text) - 1 {
		if _, err := ReadAuthority(bytes.NewReader(text[:i])); !errors.Is(err, ErrAuthority) {
			t.Fatalf("first %d bytes: %v", i, err)
		}
	}
	block, _ := pem.Decode(text)
	for i := range block.Bytes {
		mutant := bytes.Clone(block.Bytes)
		mutant[i] ^= 4
		damaged := pem.EncodeToMemory(&pem.Block{Type: authorityKind.block, Bytes: mutant})
		if _, err := ReadAuthority(bytes.NewReader(damaged)); !errors.Is(err, ErrAuthority) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
}

func TestAuthorityRefused(t *testing.T) {
	good := string(mustText(t, sampleAuthority(t)))
	armour := func(version byte, body []byte) string {
		payload := append(append([]byte{version}, authorityKind.sum(body)...), body...)
		return string(pem.EncodeToMemory(&pem.Block{Type: authorityKind.block, Bytes: payload}))
	}
	record := func(account, chain []byte) []byte { return encode([]holdingRecord{{Account: account, Chain: chain}}) }
	seed := AccountOf(seedOf("bob")).payload()
	foreign := mustSign(t, Chain{}, "alice", Certificate{Delegate: pub("mallory"), Restrictions: Restrictions{Server: new(serverNamed("S"))}})
	for _, c := range []struct{ name, text, says string }{
		{"nothing", "", "no line -----BEGIN TARN AUTHORITY-----"},
		{"something else", "hello", "no line -----BEGIN"},
		{"second block cut", good + good[:len(good)/2], "copy it whole"},
		{"too large", strings.Repeat(" ", MaxAuthoritySize+1), "larger than"},
		{"empty block", armour(1, nil), "too short"},
		{"newer version", armour(2, record(seed, []byte{0x80})), "version 2, and it knows version 1"},
		{"unknown kind of account", armour(1, record(append([]byte{7}, seed[1:]...), []byte{0x80})), "unknown kind"},
		{"short seed", armour(1, record(seed[:9], []byte{0x80})), "unknown kind"},
		{"bad chain", armour(1, record(seed, []byte{0x81})), "cut short"},
		{"null chain", armour(1, record(seed, []byte{0xf6})), "canonical"},
		{"not canonical", armour(1, append(record(seed, []byte{0x80}), 0)), "extraneous"},
		{"chain for a key that it lacks", armour(1, record(seed, foreign.Encode())), "does not end at this key"},
		{"one key, chain for another", armour(1, record(OneKeyAccount(seedOf("bob")).payload(), foreign.Encode())), "does not end at this key"},
	} {
		_, err := ReadAuthority(strings.NewReader(c.text))
		if !errors.Is(err, ErrAuthority) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want one that says %q", c.name, err, c.says)
		}
	}
}

func TestAuthorityThatCannotBeRead(t *testing.T) {
	if _, err := ReadAuthority(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

func TestAuthorityThatCannotBeWritten(t *testing.T) {
	foreign := mustSign(t, Chain{}, "alice", Certificate{Delegate: pub("mallory")})
	a := Authority{[]Holding{{foreign, OneKeyAccount(seedOf("bob"))}}}
	if _, err := a.Text(); !errors.Is(err, ErrNotSigner) {
		t.Errorf("got %v", err)
	}
	many := Authority{make([]Holding, MaxHoldings+1)}
	if _, err := many.Text(); !errors.Is(err, ErrAuthority) {
		t.Errorf("got %v", err)
	}
}

func TestAuthorityOfEveryServer(t *testing.T) {
	var a Authority
	for i := range MaxHoldings {
		a.Holdings = append(a.Holdings, Holding{Account: AccountOf([SeedSize]byte{byte(i), byte(i >> 8)})})
	}
	text := mustText(t, a)
	if got, err := ReadAuthority(bytes.NewReader(text)); err != nil || !sameAuthority(got, a) {
		t.Errorf("%d holdings, %v", len(got.Holdings), err)
	}
	more := append(text, mustText(t, sampleAuthority(t))...)
	if _, err := ReadAuthority(bytes.NewReader(more)); !errors.Is(err, ErrAuthority) {
		t.Errorf("more than %d: %v", MaxHoldings, err)
	}
}
