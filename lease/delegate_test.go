package lease

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/grid"
)

// oneKey is an authority with one key, this person's, and no chain.
func oneKey(name string) Authority {
	return Authority{[]Holding{{Account: OneKeyAccount([SeedSize]byte(keyOf(name).Seed()))}}}
}

func mustDelegate(t testing.TB, a Authority, to Recipient, d Delegation, servers ...grid.ServerID) []Chain {
	t.Helper()
	chains, err := a.Delegate(to, d, servers)
	if err != nil {
		t.Fatal(err)
	}
	return chains
}

// A manager signs, with one key, a member's key at each server of his list;
// the member joins the cards to his account and can use each where it belongs.
func TestDelegateToAList(t *testing.T) {
	bob := AccountOf(seedOf("bob"))
	list := bob.KeysAt(serversSTU)
	cards := mustDelegate(t, oneKey("alice"), Recipient{Keys: list.Keys}, Delegation{Restrictions: Restrictions{Space: new(int64(9))}})
	if len(cards) != 3 {
		t.Fatalf("%d cards for 3 servers", len(cards))
	}
	own := Authority{[]Holding{{Account: bob}}}
	adopted, err := own.Adopt(cards, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range serversSTU {
		usable := adopted.For(s)
		if len(usable) != 1 || grid.PublicKeyOf(usable[0].Key) != bob.PublicKey(s) {
			t.Fatalf("%d credentials at %s", len(usable), s.Short())
		}
		checkLogsIn(t, usable[0], s, "alice")
	}
	if _, err := (Authority{[]Holding{{Account: AccountOf(seedOf("carol"))}}}).Adopt(cards, serversSTU); !errors.Is(err, ErrNotSigner) {
		t.Errorf("another's cards: %v", err)
	}
}

func checkLogsIn(t testing.TB, c Credential, server grid.ServerID, root string) {
	t.Helper()
	_, labelled := c.Chain.Label()
	r := Request{Beneficiary: pub("P"), SignerGetsLease: !labelled, Restrictions: Restrictions{Server: &server}}
	request, err := r.Sign(c.Chain, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	in := inputAt("S", "P", root)
	in.Server = server
	if _, _, err := Verify(c.Chain.Encode(), request, in); err != nil {
		t.Errorf("login at %s: %v", server.Short(), err)
	}
}

// A fresh key is a different one at each server where the signer's is, so that
// no two servers can tell that they serve the same delegate.
func TestHandOver(t *testing.T) {
	mine := Authority{[]Holding{{Account: AccountOf(seedOf("alice"))}, oneKey("carol").Holdings[0]}}
	handed, err := mine.HandOver(strings.NewReader(strings.Repeat("random", 11)), Delegation{}, serversSTU)
	if err != nil || len(handed.Holdings) != 4 {
		t.Fatalf("%d holdings, %v", len(handed.Holdings), err)
	}
	ends := map[grid.PublicKey]bool{}
	for _, h := range handed.Holdings {
		end, _ := h.Chain.End()
		ends[end] = true
	}
	if len(ends) != 4 {
		t.Errorf("%d different keys", len(ends))
	}
	again, err := ReadAuthority(strings.NewReader(string(mustText(t, handed))))
	if err != nil || len(again.For(serverNamed("S"))) != 2 {
		t.Errorf("%d credentials at S, %v", len(again.For(serverNamed("S"))), err)
	}
}

// The root is set unless told otherwise, and a delegate who fills my column is
// not given the rest of it.
func TestDelegateDefaults(t *testing.T) {
	chains := mustDelegate(t, oneKey("alice"), Recipient{Key: pub("bob")}, Delegation{SignerGetsLease: true})
	c := chains[0].Certificates()[0]
	if c.Root == nil || *c.Root != pub("alice") || c.Operations() != OpUpload|OpAddLease|OpRenewLease {
		t.Errorf("certificate %+v", c)
	}
	bob := Authority{[]Holding{{chains[0], OneKeyAccount([SeedSize]byte(keyOf("bob").Seed()))}}}
	below := mustDelegate(t, bob, Recipient{Key: pub("carol")}, Delegation{AnyRoot: true})[0]
	if last := below.Certificates()[1]; last.Root != nil || last.Operation != nil || below.Len() != 2 {
		t.Errorf("certificate %+v", last)
	}
	if label, ok := below.Label(); !ok || label != pub("alice") {
		t.Errorf("label %v, %v", label, ok)
	}
}

func TestDelegateRefused(t *testing.T) {
	limited := Delegation{SignerGetsLease: true, Restrictions: Restrictions{StorageIndex: &grid.StorageIndex{1}, Operation: new(OpUpload)}}
	chains := mustDelegate(t, oneKey("alice"), Recipient{Key: pub("bob")}, limited)
	bob := Authority{[]Holding{{chains[0], OneKeyAccount([SeedSize]byte(keyOf("bob").Seed()))}}}
	for name, c := range map[string]struct {
		d    Delegation
		want error
	}{
		"another file":       {Delegation{Restrictions: Restrictions{StorageIndex: &grid.StorageIndex{2}}}, ErrNotPermitted},
		"another root":       {Delegation{Restrictions: Restrictions{Root: new(pub("mallory"))}}, ErrNotPermitted},
		"nothing in common":  {Delegation{Restrictions: Restrictions{Operation: new(OpMutate)}}, ErrNotPermitted},
		"lists of one file":  {Delegation{Restrictions: Restrictions{Operation: new(OpEnumerate)}}, ErrNotPermitted},
		"two get the lease":  {Delegation{SignerGetsLease: true}, ErrLeaseLabel},
		"less than no space": {Delegation{Restrictions: Restrictions{Space: new(int64(-1))}}, ErrMalformed},
	} {
		if _, err := bob.Delegate(Recipient{Key: pub("carol")}, c.d, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := bob.HandOver(strings.NewReader(strings.Repeat("r", 64)), c.d, nil); !errors.Is(err, c.want) {
			t.Errorf("%s, to a fresh key: %v", name, err)
		}
	}
	list := Recipient{Keys: AccountOf(seedOf("carol")).KeysAt(serversSTU[:1]).Keys}
	atT := Delegation{Restrictions: Restrictions{Server: &serversSTU[1]}}
	if _, err := oneKey("alice").Delegate(list, atT, nil); !errors.Is(err, ErrNoCommonServer) {
		t.Errorf("a server that the list lacks: %v", err)
	}
}

// A holding that excludes what is granted is left out where another one
// allows it.
func TestDelegateLeavesOut(t *testing.T) {
	limited := mustDelegate(t, oneKey("alice"), Recipient{Key: pub("bob")}, Delegation{Restrictions: Restrictions{StorageIndex: &grid.StorageIndex{1}}})
	bob := OneKeyAccount([SeedSize]byte(keyOf("bob").Seed()))
	both := Authority{[]Holding{{limited[0], bob}, {Account: bob}}}
	chains := mustDelegate(t, both, Recipient{Key: pub("carol")}, Delegation{Restrictions: Restrictions{StorageIndex: &grid.StorageIndex{2}}})
	if len(chains) != 1 || chains[0].Len() != 1 {
		t.Errorf("%d chains", len(chains))
	}
}

// What Effective says of a chain is what a server grants under it.
func TestEffectiveIsWhatAServerGrants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Chain
		for i := range rapid.IntRange(1, 4).Draw(t, "length") {
			var err error
			c, err = c.Sign(keyOf(keyName(i)), Certificate{
				Delegate: pub(keyName(i + 1)), SignerGetsLease: rapid.IntRange(0, 3).Draw(t, "lease") == 0, Restrictions: drawRestrictions(t, true)})
			if err != nil {
				t.Fatal(err)
			}
		}
		said, err := c.Effective()
		_, labelled := c.Label()
		granted, ok := loginUnder(t, c, c.Len(), labelled, Restrictions{})
		switch {
		case err != nil && ok && granted.Effective.Operations() != 0:
			t.Fatalf("granted %+v, but %v", granted.Effective, err)
		case err == nil && ok:
			said.Space, said.Server = nil, granted.Effective.Server
			if !slices.Equal(encode(said), encode(granted.Effective)) {
				t.Fatalf("said %+v, granted %+v", said, granted.Effective)
			}
		}
	})
}
