package lease

import (
	"bytes"
	"encoding/pem"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

var renewalEnd = noon.AddDate(2, 0, 0).Unix()

// member is alice's account as one of a manager's grid, who also has an account
// of her own at server T.
func member(t testing.TB) (Account, Authority) {
	t.Helper()
	alice := AccountOf(seedOf("alice"))
	card, err := SignCard(keyOf("manager"), serverNamed("S"), alice.PublicKey(serverNamed("S")), CardTerms{Space: new(int64(1e9))}, noon)
	if err != nil {
		t.Fatal(err)
	}
	return alice, Authority{Holdings: []Holding{{card.Chain, alice}, {Account: alice}}}
}

// sampleCap is a renewal cap for alice's leases at S and T.
func sampleCap(t testing.TB) RenewalCap {
	t.Helper()
	alice, mine := member(t)
	c, left, err := mine.RenewalCap(pub("renewer"), renewalEnd, heldAt(alice, serverNamed("S"), serverNamed("T")))
	if err != nil || left != 0 {
		t.Fatalf("%d leases left out, %v", left, err)
	}
	c.Managers = []Place{{Server: grid.ServerID(pub("manager")), Hints: []grid.Hint{"/dns/manager/tcp/1"}}}
	c.Introducers = []Place{{Server: serverNamed("I"), Hints: []grid.Hint{"/dns/introducer/tcp/1", "/ip4/192.0.2.7/tcp/1"}}}
	return c
}

// heldAt is two leases of an account at each server.
func heldAt(a Account, servers ...grid.ServerID) []HeldLeases {
	var held []HeldLeases
	for _, s := range servers {
		held = append(held, HeldLeases{Server: s, Label: a.PublicKey(s), Shares: []ShareID{{grid.StorageIndex{1}, 2}, {grid.StorageIndex{1}, 7}}})
	}
	return held
}

func capText(t testing.TB, c RenewalCap) []byte {
	t.Helper()
	text, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func goldenRenewalCap(t *testing.T) string {
	block, _ := pem.Decode(capText(t, sampleCap(t)))
	return annotateText(t, block)
}

func TestRenewalCapText(t *testing.T) {
	c := sampleCap(t)
	text := append([]byte("Dear Bob, keep my files alive.\n"), capText(t, c)...)
	got, err := ReadRenewalCap(bytes.NewReader(append(text, "Yours, Alice\n"...)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(capText(t, got), capText(t, c)) || !reflect.DeepEqual(got.Held, c.Held) || got.Leases() != 4 || got.Key() != pub("renewer") {
		t.Errorf("read %+v", got)
	}
	// At S there are the chain below the card and one below the account itself.
	if len(c.Chains) != 3 || c.Until() != renewalEnd {
		t.Errorf("%d chains until %v", len(c.Chains), time.Unix(c.Until(), 0))
	}
	if !c.OfSame(got) {
		t.Error("it is not of its own owner")
	}
}

// Under each chain of a cap its holder renews leases of the owner, and can do
// nothing else; a newer card takes the place of the older one.
func TestRenewalCapRenewsAndNothingElse(t *testing.T) {
	c := sampleCap(t)
	renewer := OneKeyAccount([SeedSize]byte(keyOf("renewer").Seed()))
	all, err := c.Authority(renewer)
	if err != nil {
		t.Fatal(err)
	}
	alice, _ := member(t)
	later := noon.AddDate(0, 10, 0)
	for _, s := range []grid.ServerID{serverNamed("S"), serverNamed("T")} {
		accepted := 0
		for _, credential := range all.For(s) {
			in := inputAt("S", "peer", "manager")
			in.Server, in.Now = s, later
			if s == serverNamed("T") {
				own := alice.PublicKey(s)
				in.Roots = func(k grid.PublicKey) (Root, bool) { return Root{Key: k}, k == own }
			}
			chain := credential.Chain
			if card, ok := chain.Card(); ok && c.cards(chain) == 1 {
				newer, err := SignCard(keyOf("manager"), s, card.Key, CardTerms{}, later)
				if err != nil {
					t.Fatal(err)
				}
				if chain, ok = chain.Renew(newer); !ok {
					t.Fatal("the newer card is not taken")
				}
			}
			r := Request{Beneficiary: pub("peer")}
			r.Server = &s
			signed, err := r.Sign(chain, credential.Key)
			if err != nil {
				t.Fatal(err)
			}
			grant, _, err := Verify(chain.Encode(), signed, in)
			if err != nil {
				continue
			}
			accepted++
			if grant.Label != alice.PublicKey(s) || *grant.Effective.Operation != OpRenewLease {
				t.Errorf("%s", showGrant(grant))
			}
		}
		if accepted != 1 {
			t.Errorf("%s accepts %d chains", s.Short(), accepted)
		}
	}
	if _, err := c.Authority(OneKeyAccount(seedOf("mallory"))); !errors.Is(err, ErrNotSigner) {
		t.Errorf("for another renewer: %v", err)
	}
}

// What somebody can't renew himself he does not hand on, and is told of it.
func TestRenewalCapOfOthersLeases(t *testing.T) {
	alice, mine := member(t)
	bob := AccountOf(seedOf("bob"))
	held := heldAt(bob, serverNamed("S"))
	if _, left, err := mine.RenewalCap(pub("renewer"), renewalEnd, held); !errors.Is(err, ErrNoCommonServer) || left != 2 {
		t.Errorf("%d left out, %v", left, err)
	}
	c, left, err := mine.RenewalCap(pub("renewer"), renewalEnd, append(held, heldAt(alice, serverNamed("T"))...))
	if err != nil || left != 2 || c.Leases() != 2 {
		t.Errorf("%d left out of %+v, %v", left, c, err)
	}
	if c.OfSame(RenewalCap{}) {
		t.Error("it is everybody's")
	}
	narrow := Authority{Holdings: []Holding{{
		mustSign(t, Chain{}, "carol", Certificate{Delegate: alice.PublicKey(serverNamed("S")), Restrictions: Restrictions{Operation: new(OpUpload)}}), alice,
	}}}
	var refused *NotPermittedError
	if _, _, err := narrow.RenewalCap(pub("renewer"), renewalEnd, heldAt(alice, serverNamed("S"))); !errors.As(err, &refused) {
		t.Errorf("an authority that may not renew: %v", err)
	}
}

// spoiled is the sample with a change, written without being looked at.
func spoiled(t *testing.T, change func(*renewalRecord)) []byte {
	t.Helper()
	block, _ := pem.Decode(capText(t, sampleCap(t)))
	var r renewalRecord
	if err := renewalKind.decode(manyMode, block.Bytes[textHeader:], &r); err != nil {
		t.Fatal(err)
	}
	change(&r)
	text, err := renewalKind.write(encode(r), len(r.Chains))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestBadRenewalCaps(t *testing.T) {
	good := capText(t, sampleCap(t))
	_, mine := member(t)
	wide, err := mine.Delegate(Recipient{Key: pub("renewer")}, Delegation{SignerGetsLease: true}, []grid.ServerID{serverNamed("T")})
	if err != nil {
		t.Fatal(err)
	}
	unlabelled := Delegation{}
	unlabelled.Operation = new(OpRenewLease)
	nobodys, err := mine.Delegate(Recipient{Key: pub("renewer")}, unlabelled, []grid.ServerID{serverNamed("T")})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text []byte
		says string
	}{
		"nothing":       {nil, "no line -----BEGIN TARN RENEWAL CAP-----"},
		"an authority":  {mustText(t, sampleAuthority(t)), "no line -----BEGIN TARN RENEWAL CAP-----"},
		"cut off":       {good[:len(good)/2], "a block is damaged or its end is missing"},
		"two":           {append(bytes.Clone(good), good...), "there are 2 in it"},
		"damaged":       {bytes.Replace(good, []byte("A"), []byte("B"), 1), ""},
		"too large":     {bytes.Repeat([]byte{' '}, MaxRenewalCapSize+1), "larger than"},
		"no chain":      {spoiled(t, func(r *renewalRecord) { r.Chains = nil }), "no certificate or no lease"},
		"no lease":      {spoiled(t, func(r *renewalRecord) { r.Held = nil }), "no certificate or no lease"},
		"empty chain":   {spoiled(t, func(r *renewalRecord) { r.Chains[1] = Chain{}.Encode() }), "chain 2: it is empty"},
		"garbled chain": {spoiled(t, func(r *renewalRecord) { r.Chains[1] = []byte{1} }), "chain 2"},
		"another's chain": {spoiled(t, func(r *renewalRecord) {
			r.Chains[1] = mustSign(t, Chain{}, "a", Certificate{Delegate: pub("b")}).Encode()
		}), "for another key"},
		"more than wanted": {spoiled(t, func(r *renewalRecord) { r.Chains[1] = wide[0].Encode() }), "lets more be done than renew leases: upload"},
		"nobody's leases":  {spoiled(t, func(r *renewalRecord) { r.Chains[1] = nobodys[0].Encode() }), "does not say whose"},
		"forged":           {spoiled(t, forge), "chain 3"},
		"half a share":     {spoiled(t, func(r *renewalRecord) { r.Held[0].Shares = r.Held[0].Shares[1:] }), "cut short"},
		"no share":         {spoiled(t, func(r *renewalRecord) { r.Held[0].Shares = nil }), "there is none"},
		"one share twice":  {spoiled(t, func(r *renewalRecord) { r.Held[0].Shares = slices.Repeat(r.Held[0].Shares, 2) }), "one twice"},
		"servers twice":    {spoiled(t, func(r *renewalRecord) { r.Held[1] = r.Held[0] }), "out of order"},
		"no certificate":   {spoiled(t, func(r *renewalRecord) { r.Held[0].Label = pub("bob") }), "no certificate is for them"},
		"nowhere":          {spoiled(t, func(r *renewalRecord) { r.Managers[0].Hints = nil }), "0 addresses"},
		"a long address":   {spoiled(t, func(r *renewalRecord) { r.Managers[0].Hints[0] = grid.Hint(strings.Repeat("/", 513)) }), "513 bytes"},
		"many introducers": {spoiled(t, func(r *renewalRecord) { r.Introducers = slices.Repeat(r.Introducers, 65) }), "65 nodes"},
	} {
		_, err := ReadRenewalCap(bytes.NewReader(c.text))
		if !errors.Is(err, ErrRenewalCap) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// forge flips a bit of the last signature of all.
func forge(r *renewalRecord) {
	last := r.Chains[len(r.Chains)-1]
	last[len(last)-1] ^= 1
}
