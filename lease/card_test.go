package lease

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

func mustCard(t testing.TB, terms CardTerms, now time.Time) Card {
	t.Helper()
	c, err := SignCard(keyOf("manager"), serverNamed("S"), pub("alice at S"), terms, now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// All cards of a time end at one midnight, 30 to 60 days ahead, and are the
// same whenever in the period they are asked for.
func TestCardsEndAtACommonMidnight(t *testing.T) {
	for at := noon; at.Before(noon.AddDate(0, 4, 0)); at = at.Add(7*time.Hour + 13*time.Minute) {
		until := time.Unix(CardUntil(at), 0).UTC()
		left := until.Sub(at)
		if until.Truncate(24*time.Hour) != until || left < CardPeriod || left > 2*CardPeriod {
			t.Fatalf("at %v: until %v", at, until)
		}
		if again := mustCard(t, CardTerms{}, at); again.Until != until.Unix() {
			t.Fatalf("card until %d", again.Until)
		}
	}
	first := mustCard(t, CardTerms{Space: new(int64(5))}, noon)
	later := mustCard(t, CardTerms{Space: new(int64(5))}, noon.Add(time.Hour))
	if !bytes.Equal(first.Chain.Encode(), later.Chain.Encode()) {
		t.Error("two cards of one period differ")
	}
	next := mustCard(t, CardTerms{}, noon.Add(CardPeriod))
	if next.Until != first.Until+int64(CardPeriod/time.Second) {
		t.Errorf("the next period's card ends at %d, this one's at %d", next.Until, first.Until)
	}
}

func TestCardOfAMembershipThatEnds(t *testing.T) {
	end := noon.Add(30 * time.Hour).Unix()
	card := mustCard(t, CardTerms{End: &end}, noon)
	if got, want := time.Unix(card.Until, 0).UTC(), time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC); got != want {
		t.Errorf("ends %v, want %v", got, want)
	}
	if _, err := SignCard(keyOf("manager"), serverNamed("S"), pub("a"), CardTerms{End: &end}, noon.AddDate(0, 0, 3)); !errors.Is(err, ErrAuthorityExpired) {
		t.Errorf("a card after the end: %v", err)
	}
}

// The server knows the manager's key alone, and the card is a login for its
// key at its server, with its budget, and for nothing else.
func TestCardLogsIn(t *testing.T) {
	account := AccountOf(seedOf("alice"))
	s := serverNamed("S")
	card, err := SignCard(keyOf("manager"), s, account.PublicKey(s), CardTerms{Space: new(int64(1000))}, noon)
	if err != nil {
		t.Fatal(err)
	}
	holdings := Authority{Holdings: []Holding{{Chain: card.Chain, Account: account}}}
	if len(holdings.For(s)) != 1 || len(holdings.For(serverNamed("T"))) != 0 {
		t.Fatal("a card is for its server alone")
	}
	login := func(now time.Time) error {
		r := Request{Beneficiary: pub("P"), SignerGetsLease: true}
		r.Server = &s
		request, err := r.Sign(card.Chain, account.Key(s))
		if err != nil {
			t.Fatal(err)
		}
		in := inputAt("S", "P", "manager")
		in.Now = now
		grant, _, err := Verify(card.Chain.Encode(), request, in)
		if err == nil && (grant.Label != account.PublicKey(s) || len(grant.Pairs) != 1 || *grant.Pairs[0].Space != 1000) {
			t.Errorf("grant %+v", grant)
		}
		return err
	}
	if err := login(noon); err != nil {
		t.Error(err)
	}
	if err := login(time.Unix(card.Until, 0).Add(ClockSkew + time.Second)); !errors.Is(err, ErrAuthorityExpired) {
		t.Errorf("after its end: %v", err)
	}
}

func TestReadCard(t *testing.T) {
	card := mustCard(t, CardTerms{Space: new(int64(7))}, noon)
	b := card.Chain.Encode()
	got, err := ReadCard(b, pub("manager"))
	if err != nil || got.Server != card.Server || got.Key != card.Key || got.Until != card.Until {
		t.Errorf("read %+v, %v", got, err)
	}
	if _, err := ReadCard(b, pub("other manager")); !errors.Is(err, ErrMalformed) {
		t.Errorf("another manager's: %v", err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, err := ReadCard(bad, pub("manager")); err == nil {
			t.Fatalf("byte %d flipped is accepted", i)
		}
	}
	longer := mustSign(t, card.Chain, "alice at S", Certificate{Delegate: pub("bob")})
	if _, err := ReadCard(longer.Encode(), pub("manager")); !errors.Is(err, ErrMalformed) {
		t.Errorf("a chain of two: %v", err)
	}
	boundless := mustSign(t, Chain{}, "manager", Certificate{Delegate: pub("bob")})
	if _, err := ReadCard(boundless.Encode(), pub("manager")); !errors.Is(err, ErrMalformed) {
		t.Errorf("without server and end: %v", err)
	}
}

// What was delegated below a card holds under the newer ones.
func TestDelegationsOutliveCards(t *testing.T) {
	s, alice := serverNamed("S"), AccountOf(seedOf("alice"))
	card := func(at time.Time) Card {
		c, err := SignCard(keyOf("manager"), s, alice.PublicKey(s), CardTerms{}, at)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	cert := Certificate{Delegate: pub("friend"), SignerGetsLease: true}
	cert.Root, cert.Operation = new(pub("manager")), new(OpRenewLease)
	chain, err := card(noon).Chain.Sign(alice.Key(s), cert)
	if err != nil {
		t.Fatal(err)
	}
	later := noon.Add(3 * CardPeriod)
	verify := func(c Chain) error {
		r := Request{Beneficiary: pub("P")}
		r.Server = &s
		in := inputAt("S", "P", "manager")
		in.Now = later
		_, _, err := Verify(c.Encode(), mustRequest(t, c, "friend", r), in)
		return err
	}
	if err := verify(chain); !errors.Is(err, ErrAuthorityExpired) {
		t.Errorf("under the old card: %v", err)
	}
	newer, ok := chain.Renew(card(later))
	if !ok {
		t.Fatal("not renewed")
	}
	if err := verify(newer); err != nil {
		t.Errorf("under the newer card: %v", err)
	}
	if _, ok := newer.Renew(card(noon)); ok {
		t.Error("an older card took the place of a newer one")
	}
	other, err := SignCard(keyOf("other manager"), s, alice.PublicKey(s), CardTerms{}, later)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := chain.Renew(other); ok {
		t.Error("another manager's card took its place")
	}
	if _, ok := (Chain{}).Renew(card(later)); ok {
		t.Error("the empty chain has a card")
	}
}

func TestPlanSize(t *testing.T) {
	for _, c := range []struct{ quota, plan int64 }{
		{0, 0}, {-3, -3}, {1, 1}, {2, 2}, {3, 5}, {6, 10}, {45e9, 50e9}, {50e9, 50e9}, {50e9 + 1, 100e9},
		{1 << 30, 2e9}, {5e17, 5e17}, {5e17 + 1, 5e17 + 1}, {math.MaxInt64, math.MaxInt64},
	} {
		if got := PlanSize(c.quota); got != c.plan {
			t.Errorf("PlanSize(%d) = %d, want %d", c.quota, got, c.plan)
		}
	}
}

func TestCardProof(t *testing.T) {
	s := serverNamed("S")
	proof := SignCardProof(keyOf("a"), pub("manager"), s, pub("peer"))
	if !CardProofHolds(proof, pub("a"), pub("manager"), s, pub("peer")) {
		t.Error("the proof does not hold")
	}
	for what, holds := range map[string]bool{
		"another key":        CardProofHolds(proof, pub("b"), pub("manager"), s, pub("peer")),
		"another manager":    CardProofHolds(proof, pub("a"), pub("other"), s, pub("peer")),
		"another server":     CardProofHolds(proof, pub("a"), pub("manager"), serverNamed("T"), pub("peer")),
		"another connection": CardProofHolds(proof, pub("a"), pub("manager"), s, pub("thief")),
		"nothing":            CardProofHolds(nil, pub("a"), pub("manager"), s, pub("peer")),
	} {
		if holds {
			t.Errorf("the proof holds for %s", what)
		}
	}
}

// inOrder are servers in ascending order.
func inOrder(n int) []grid.ServerID {
	list := make([]grid.ServerID, n)
	for i := range list {
		list[i] = grid.ServerID{byte(i >> 8), byte(i), 1}
	}
	return list
}

func TestKeyList(t *testing.T) {
	account, manager := AccountOf(seedOf("alice")), pub("manager")
	signed, err := account.SignKeyList(manager, inOrder(100))
	if err != nil {
		t.Fatal(err)
	}
	list, err := DecodeKeyList(signed)
	if err != nil || !list.Holds() || list.Manager != manager || list.Account != account.PublicKey(grid.ServerID(manager)) {
		t.Fatalf("%+v, %v", list.KeyList.Manager, err)
	}
	for i, id := range inOrder(100) {
		if list.Keys[i].Server != id || list.Keys[i].Key != account.PublicKey(id) {
			t.Fatalf("key %d is %v", i, list.Keys[i])
		}
	}
	changed := bytes.Clone(signed)
	changed[200] ^= 1
	if bad, err := DecodeKeyList(changed); err == nil && bad.Holds() {
		t.Error("a changed list holds")
	}
	for what, servers := range map[string][]grid.ServerID{
		"too many": inOrder(MaxGridServers + 1), "twice": {{1}, {1}}, "out of order": {{2}, {1}},
	} {
		if _, err := account.SignKeyList(manager, servers); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	largest, err := account.SignKeyList(manager, inOrder(MaxGridServers))
	if err != nil || len(largest) > MaxGridList {
		t.Errorf("the largest list has %d bytes, %v", len(largest), err)
	}
}

func TestServerList(t *testing.T) {
	signed, err := ServerList{Sequence: 7, Servers: inOrder(MaxGridServers)}.Sign(keyOf("manager"))
	if err != nil || len(signed) > MaxGridList {
		t.Fatalf("%d bytes, %v", len(signed), err)
	}
	list, err := OpenServerList(signed, pub("manager"))
	if err != nil || list.Sequence != 7 || len(list.Servers) != MaxGridServers {
		t.Errorf("%d, %v", list.Sequence, err)
	}
	if _, err := OpenServerList(signed, pub("other")); !errors.Is(err, ErrForged) {
		t.Errorf("another manager's: %v", err)
	}
	signed[len(signed)/2] ^= 1
	if _, err := OpenServerList(signed, pub("manager")); err == nil {
		t.Error("a changed list is accepted")
	}
	empty, err := ServerList{}.Sign(keyOf("manager"))
	if err != nil {
		t.Fatal(err)
	}
	if list, err := OpenServerList(empty, pub("manager")); err != nil || len(list.Servers) != 0 {
		t.Errorf("an empty list: %v, %v", list, err)
	}
}

// However the clocks of manager, member and server differ, up to a day: a card
// that is asked for days before its end is good at every server all the time, and
// one of a membership that ended is good for no longer than by the server's own
// clock.
func TestCardsWhereClocksDiffer(t *testing.T) {
	account, s := AccountOf(seedOf("alice")), serverNamed("S")
	accepted := func(c Card, now time.Time) bool {
		t.Helper()
		r := Request{Beneficiary: pub("P"), SignerGetsLease: true}
		r.Server = &s
		request, err := r.Sign(c.Chain, account.Key(s))
		if err != nil {
			t.Fatal(err)
		}
		in := inputAt("S", "P", "manager")
		in.Now = now
		_, _, err = Verify(c.Chain.Encode(), request, in)
		if err != nil && !errors.Is(err, ErrAuthorityExpired) {
			t.Fatal(err)
		}
		return err == nil
	}
	apart := []time.Duration{-24 * time.Hour, -time.Hour, 0, time.Hour, 24 * time.Hour}
	end := noon.AddDate(0, 0, 10).Unix()
	for _, manager := range apart {
		for _, server := range apart {
			for day := range 70 {
				now := noon.AddDate(0, 0, day)
				asked := now.AddDate(0, 0, -5) // no card is older when a newer one is asked for
				card, err := SignCard(keyOf("manager"), s, account.PublicKey(s), CardTerms{}, asked.Add(manager))
				if err != nil || !accepted(card, now.Add(server)) {
					t.Errorf("manager %v, server %v, day %d: the card until %d is refused (%v)", manager, server, day, card.Until, err)
				}
			}
			last, err := SignCard(keyOf("manager"), s, account.PublicKey(s), CardTerms{End: &end}, noon.Add(manager))
			if err != nil {
				t.Fatal(err)
			}
			closing := time.Unix(midnightAfter(end), 0).Add(ClockSkew)
			if !accepted(last, closing) || accepted(last, closing.Add(time.Second)) {
				t.Errorf("manager %v: the last card does not end with the membership", manager)
			}
		}
	}
}
