package client_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/manager"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
)

// A guest of the grid, who is no member, has the cards of those refreshed who
// gave it something, asks nothing else, and is told when there are none any
// more; what else it has is not bound to that grid.
func TestGuestRefreshesCards(t *testing.T) {
	o := newOffice(t, 2, 2)
	alice, renewer, s := account(2), lease.OneKeyAccount([lease.SeedSize]byte{9}), o.peers[0].id()
	o.enrol("alice", alice, s)
	card, err := lease.SignCard(managerKey, s, alice.PublicKey(s), lease.CardTerms{}, o.world.Now())
	o.must(err)
	mine := lease.Authority{Holdings: []lease.Holding{{Chain: card.Chain, Account: alice}}}
	held := []lease.HeldLeases{{Server: s, Label: alice.PublicKey(s), Shares: []lease.ShareID{{Num: 1}}}}
	given, _, err := mine.RenewalCap(renewer.PublicKey(s), o.world.Now().AddDate(2, 0, 0).Unix(), held)
	o.must(err)
	o.config.Authority, err = given.Authority(renewer)
	o.must(err)
	guest := o.membership(membership.Secret{})
	guest.Guest = true
	o.config.Memberships = []client.Membership{guest}
	before := len(o.sessions)
	o.start()
	for n := range 6 {
		o.pass(lease.CardPeriod)
		if ago := o.world.Now().Sub(o.keys[renewer.PublicKey(s)]); ago > 25*time.Hour {
			t.Fatalf("after %d periods: what alice gave was last used %v ago", n+1, ago)
		}
	}
	if m := o.memberships(); len(m) != 1 || !m[0].Guest || m[0].Cards != 1 || m[0].CardsUntil != lease.CardUntil(o.world.Now()) || m[0].Err != nil || m[0].Terms != nil {
		t.Errorf("memberships %+v", m)
	}
	if asked := len(o.sessions) - before; asked < 40 || asked > 200 {
		t.Errorf("the manager was asked %d times in half a year", asked)
	}
	if st := o.state.state; len(st.Cards) != 0 || len(st.Below) != 1 || st.Terms != nil || len(st.Servers) != 0 {
		t.Errorf("kept %+v", st)
	}

	o.ask(manager.Remove{Name: "alice"})
	o.pass(3 * lease.CardPeriod)
	if m := o.memberships(); m[0].Err == nil || !strings.Contains(m[0].Err.Error(), "not known to the account manager") {
		t.Errorf("after the end of the membership: %+v", m)
	}
	if ago := o.world.Now().Sub(o.keys[renewer.PublicKey(s)]); ago < lease.CardPeriod-5*24*time.Hour {
		t.Errorf("what alice gave was used %v ago", ago)
	}
}
