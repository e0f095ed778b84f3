package server_test

import (
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// stand makes a standing offer of a share.
func (c *client) stand(a *wire.Allocate, share []byte) {
	c.Helper()
	c.offers[a.Secret] = share
	standing := *a
	standing.Standing = true
	if got, ok := c.do(&standing).(*wire.Done); !ok {
		c.Fatalf("a standing offer is answered by %v", got)
	}
}

// wantNotTaken fails unless m says that the share is not taken, and no more.
func wantNotTaken(t testing.TB, m wire.Message) {
	t.Helper()
	if e := wantCode(t, m, wire.NoSuchShare); e.Text != "the share is not taken here" || e.Limit != "" || e.Free != nil {
		t.Errorf("a server that passes on hears %+v", e)
	}
}

// A share that another server passes on is pulled over the client's own
// connection, and the lease is the client's.
func TestStandingOfferIsTaken(t *testing.T) {
	r := newRig(t, 1)
	alice := r.addAccount(1, nil)
	c := r.dial("alice")
	c.logIn(1)
	share := shareOf("passed on ", 300_000)
	c.stand(allocate(9, 0, share), share)
	if r.status().Uploads != 0 {
		t.Fatal("a standing offer is being pulled")
	}
	other := r.dial("another server")
	if got, ok := other.do(&wire.PassOn{Secret: wire.Secret{9, 0}}).(*wire.Done); !ok {
		t.Fatalf("passing on is answered by %v", got)
	}
	r.until("the notice", func() bool { return len(c.stored) > 0 })
	if s := c.stored[0]; s.Code != 0 || s.UEBHash != uebOf(0, share) {
		t.Errorf("the client is told %+v", s)
	}
	holders, err := r.table.Holders(lease.ShareID{StorageIndex: grid.StorageIndex{9}})
	if err != nil || len(holders) != 1 || holders[0].ID.Column.Key != alice {
		t.Errorf("leases of %v (%v)", holders, err)
	}
	wantNotTaken(t, other.do(&wire.PassOn{Secret: wire.Secret{9, 0}})) // it stood once
	wantCode(t, other.do(&wire.Usage{}), wire.LoginRequired)           // and that opened nothing else
	r.freed()
}

// What is here already may be another content: the client decides, so it is not
// taken, and no lease is made.
func TestStandingOfferOfWhatIsHere(t *testing.T) {
	r := newRig(t, 1)
	r.addAccount(1, nil)
	second := r.addAccount(2, nil)
	share := shareOf("there before ", 200_000)
	first := r.dial("first")
	first.logIn(1)
	first.offer(allocate(9, 0, share), share)
	r.until("the share", func() bool { return len(first.stored) > 0 })
	c := r.dial("second")
	c.logIn(2)
	c.stand(allocate(9, 0, share), share)
	wantNotTaken(t, r.dial("another server").do(&wire.PassOn{Secret: wire.Secret{9, 0}}))
	holders, err := r.table.Holders(lease.ShareID{StorageIndex: grid.StorageIndex{9}})
	if err != nil || len(holders) != 1 || holders[0].ID.Column.Key == second || c.pulls != 0 {
		t.Errorf("leases of %v (%v), %d pulls", holders, err, c.pulls)
	}
	r.freed()
}

// Whoever passes on learns nothing of why a share is not taken.
func TestStandingOfferIsRefused(t *testing.T) {
	quota := int64(100_000)
	share := shareOf("too much ", 300_000)
	secret := wire.Secret{9, 0}
	tests := map[string]func(r *rig, c *client){
		"over quota": func(*rig, *client) {},
		"disabled": func(r *rig, _ *client) {
			r.ask(server.SetDisabled{Name: "account 1", Disabled: true})
		},
		"abandoned":  func(_ *rig, c *client) { c.do(&wire.Abandon{StorageIndex: grid.StorageIndex{9}}) },
		"too old":    func(r *rig, _ *client) { must(r.world.For(3 * time.Minute)) },
		"superseded": func(_ *rig, c *client) { a := allocate(9, 0, share); a.Secret = wire.Secret{8}; c.stand(a, share) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			q := &quota
			if name != "over quota" {
				q = nil
			}
			r.addAccount(1, q)
			c := r.dial("alice")
			c.logIn(1)
			c.stand(allocate(9, 0, share), share)
			change(r, c)
			wantNotTaken(t, r.dial("another server").do(&wire.PassOn{Secret: secret}))
			if len(c.stored) > 0 {
				t.Errorf("the client is told %+v", c.stored[0])
			}
			r.freed()
		})
	}
	t.Run("never offered", func(t *testing.T) {
		wantNotTaken(t, newRig(t, 1).dial("another server").do(&wire.PassOn{Secret: secret}))
	})
}

// A client that has gone is not waited for longer than one that is cut off in
// mid-upload, and what it reserved is free again.
func TestStandingOfferOfOneThatIsGone(t *testing.T) {
	r := newRig(t, 1)
	r.addAccount(1, nil)
	c := r.dial("alice")
	c.logIn(1)
	share := shareOf("gone ", 300_000)
	c.stand(allocate(9, 0, share), share)
	c.session.Close()
	r.until("the end of the connection", func() bool { return c.closed != nil })
	r.dial("another server").do(&wire.PassOn{Secret: wire.Secret{9, 0}})
	must(r.world.For(11 * time.Minute))
	r.freed()
}

// No account fills the list for others.
func TestStandingOffersAreBounded(t *testing.T) {
	r := newRig(t, 1)
	r.addAccount(1, nil)
	r.addAccount(2, nil)
	share := shareOf("many ", 100_000)
	c := r.dial("greedy")
	c.logIn(1)
	refused := 0
	for i := range 600 {
		a := allocate(byte(i), grid.ShareNum(i/256), share)
		a.Standing = true
		if _, no := c.do(a).(*wire.Error); no {
			refused++
		}
	}
	if refused != 600-512 {
		t.Errorf("%d of 600 refused", refused)
	}
	other := r.dial("other")
	other.logIn(2)
	a := allocate(1, 77, share)
	other.stand(a, share)
	thief := allocate(2, 78, share) // of the secret
	thief.Secret, thief.Standing = a.Secret, true
	wantCode(t, other.do(thief), wire.Busy)
	must(r.world.For(3 * time.Minute))
	a = allocate(5, 5, share)
	c.stand(a, share) // those of before are too old by now
}
