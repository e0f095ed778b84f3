package lease

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/grid"
)

// What a server announces decides what it is shown, and in which order.
func TestAuthorityAt(t *testing.T) {
	bob := AccountOf(seedOf("bob"))
	s := serverNamed("S")
	one := OneKeyAccount([SeedSize]byte(keyOf("bob").Seed()))
	card := func(manager string, key grid.PublicKey, at *grid.ServerID) Chain {
		return mustSign(t, Chain{}, manager, Certificate{Delegate: key, Restrictions: Restrictions{Server: at}})
	}
	named := Holding{card("alice", bob.PublicKey(s), &s), bob}
	anywhere := Holding{card("carol", pub("bob"), nil), one}
	managed := Holding{card("dave", pub("bob"), nil), one}
	own := Holding{Account: bob}
	renewal := Holding{mustSign(t, Chain{}, "alice", Certificate{Delegate: bob.PublicKey(s), Restrictions: Restrictions{Server: &s, Operation: new(OpRenewLease)}}), bob}
	useless := Holding{mustSign(t, Chain{}, "alice", Certificate{Delegate: bob.PublicKey(s), Restrictions: Restrictions{Server: &s, Root: new(pub("mallory"))}}), bob}
	a := Authority{[]Holding{useless, renewal, own, anywhere, managed, named}}
	for _, c := range []struct {
		name     string
		announce grid.Announcement
		want     []Holding
	}{
		{"says nothing", grid.Announcement{}, []Holding{named, own, anywhere, managed, renewal}},
		{"a manager of ours", grid.Announcement{Accepts: []grid.PublicKey{pub("dave")}}, []Holding{managed, named, own, renewal}},
		{"another manager", grid.Announcement{Accepts: []grid.PublicKey{pub("mallory")}}, []Holding{named, own, renewal}},
		{"old certificates", grid.Announcement{CertificateVersions: []uint{0}}, []Holding{own}},
		{"our certificates", grid.Announcement{CertificateVersions: []uint{0, 1}}, []Holding{named, own, anywhere, managed, renewal}},
	} {
		c.announce.Server = s
		got := a.At(c.announce)
		if !slices.EqualFunc(got, c.want, func(c Credential, h Holding) bool {
			return c.Chain.Digest() == h.Chain.Digest() && grid.PublicKeyOf(c.Key) == h.Account.PublicKey(s)
		}) {
			t.Errorf("%s: %v", c.name, got)
		}
		if err := a.Fit(c.announce); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for says, c := range map[string]struct {
		a        Authority
		announce grid.Announcement
	}{
		"a certificate wants":                     {Authority{[]Holding{useless}}, grid.Announcement{Server: s}},
		"none of its keys":                        {Authority{[]Holding{named}}, grid.Announcement{Server: serverNamed("T")}},
		"it does not announce that it accepts":    {Authority{[]Holding{managed}}, grid.Announcement{Server: s, Accepts: []grid.PublicKey{pub("mallory")}}},
		"it can't read certificates of version 1": {Authority{[]Holding{named}}, grid.Announcement{Server: s, CertificateVersions: []uint{2}}},
	} {
		if err := c.a.Fit(c.announce); !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want one that says %q", err, says)
		}
	}
}

// Two credentials, or authorities, are told apart by key and chain, and by
// nothing else.
func TestIDs(t *testing.T) {
	a := sampleAuthority(t)
	seen := map[CredentialID]bool{}
	for _, c := range a.For(serverNamed("S")) {
		if seen[c.ID()] || c.ID() != (Credential{c.Chain, c.Key}).ID() {
			t.Errorf("id of %v", c)
		}
		seen[c.ID()] = true
	}
	fewer := Authority{a.Holdings[:len(a.Holdings)-1]}
	if a.ID() == fewer.ID() || a.ID() != sampleAuthority(t).ID() {
		t.Error("ids of authorities")
	}
	if left := a.Without(fewer); len(left.Holdings) != 1 || left.Holdings[0].Account != a.Holdings[len(a.Holdings)-1].Account {
		t.Errorf("%d holdings are left", len(left.Holdings))
	}
}
