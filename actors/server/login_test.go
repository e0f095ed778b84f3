package server_test

import (
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// certify makes a chain of one certificate from one account to another.
func certify(t testing.TB, from, to byte, r lease.Restrictions) lease.Chain {
	t.Helper()
	chain, err := lease.Chain{}.Sign(key(from), lease.Certificate{Delegate: grid.PublicKeyOf(key(to)), Restrictions: r})
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func TestLoginRefused(t *testing.T) {
	past := sim.Start.Add(-time.Hour).Unix()
	elsewhere := grid.ServerID{9}
	type login struct {
		chain    lease.Chain
		as       byte
		labelled bool
		spoil    func([]byte)
	}
	for name, c := range map[string]struct {
		prepare func(*rig)
		login   login
		code    wire.Code
		limit   string
	}{
		"unknown key":  {login: login{as: 2, labelled: true}, code: wire.NotAccepted},
		"unknown root": {login: login{chain: certify(t, 2, 3, lease.Restrictions{}), as: 3, labelled: true}, code: wire.NotAccepted},
		"expired certificate": {
			login: login{chain: certify(t, 1, 3, lease.Restrictions{Until: &past}), as: 3, labelled: true}, code: wire.AuthorityExpired},
		"certificate for another server": {
			login: login{chain: certify(t, 1, 3, lease.Restrictions{Server: &elsewhere}), as: 3, labelled: true}, code: wire.NotPermitted, limit: "server"},
		"nobody gets the lease": {login: login{as: 1}, code: wire.BadRequest},
		"forged":                {login: login{as: 1, labelled: true, spoil: func(b []byte) { b[len(b)-40] ^= 1 }}, code: wire.BadRequest},
		"garbage":               {login: login{as: 1, labelled: true, spoil: func(b []byte) { clear(b) }}, code: wire.BadRequest},
		"revoked delegate": {
			prepare: func(r *rig) { r.ask(server.Revoke{Name: grid.PublicKeyOf(key(3)).String()}) },
			login:   login{chain: certify(t, 1, 3, lease.Restrictions{}), as: 3, labelled: true}, code: wire.AuthorityRevoked},
		"disabled root": {
			prepare: func(r *rig) {
				r.ask(server.PutRoot{Root: lease.Root{Key: grid.PublicKeyOf(key(1)), Disabled: true}})
			},
			login: login{as: 1, labelled: true}, code: wire.AuthorityRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 3)
			r.addAccount(1, nil)
			if c.prepare != nil {
				c.prepare(r)
			}
			cl := r.dial("client")
			req := cl.request(key(c.login.as), c.login.chain, c.login.labelled)
			if c.login.spoil != nil {
				c.login.spoil(req)
			}
			e := wantCode(t, cl.do(&wire.Login{Chain: c.login.chain.Encode(), Request: req}), c.code)
			if e.Limit != c.limit || e.Text == "" {
				t.Errorf("refused with limit %q, text %q", e.Limit, e.Text)
			}
			share := shareOf("x", 1000)
			wantCode(t, cl.do(allocate(1, 0, share), share), wire.LoginRequired)
		})
	}
}

// TestLoginOverAndOver: a connection is not there to have the server verify
// signatures all day. One that has logged in may fail to do so again.
func TestLoginOverAndOver(t *testing.T) {
	r := newRig(t, 7)
	r.addAccount(1, nil)
	stranger, c := r.dial("stranger"), r.dial("client")
	no := &wire.Login{Chain: lease.Chain{}.Encode(), Request: stranger.request(key(2), lease.Chain{}, true)}
	for range 4 {
		wantCode(t, stranger.do(no), wire.NotAccepted)
	}
	if got := stranger.do(no); got != nil || stranger.closed == nil {
		t.Errorf("the fifth login is answered by %v, closed %v", got, stranger.closed)
	}
	c.logIn(1)
	for range 10 {
		wantCode(t, c.do(&wire.Login{Chain: lease.Chain{}.Encode(), Request: c.request(key(2), lease.Chain{}, true)}), wire.NotAccepted)
	}
}

func TestLoginReplayedAtAnotherConnection(t *testing.T) {
	r := newRig(t, 4)
	r.addAccount(1, nil)
	first, second := r.dial("client"), r.dial("thief")
	login := &wire.Login{Chain: lease.Chain{}.Encode(), Request: first.request(key(1), lease.Chain{}, true)}
	if e := wantCode(t, second.do(login), wire.NotPermitted); e.Limit != "beneficiary" {
		t.Errorf("refused by %q", e.Limit)
	}
	if _, ok := first.do(login).(*wire.LoggedIn); !ok {
		t.Error("the very request does not work where it belongs, so the test shows nothing")
	}
}

func TestResume(t *testing.T) {
	r := newRig(t, 5)
	pub := r.addAccount(1, nil)
	ref := r.dial("client").logIn(1).Reference
	again, ok := r.dial("client").do(&wire.Resume{Reference: ref}).(*wire.LoggedIn)
	if !ok || again.Label != pub || string(again.Reference) != string(ref) {
		t.Fatalf("resumed as %+v", again)
	}
	spoilt := append([]byte{}, ref...)
	spoilt[len(spoilt)-1] ^= 1
	wantCode(t, r.dial("client").do(&wire.Resume{Reference: spoilt}), wire.BadRequest)

	if err := r.world.For(20 * time.Hour); err != nil {
		t.Fatal(err)
	}
	fresh, ok := r.dial("client").do(&wire.Resume{Reference: ref}).(*wire.LoggedIn)
	if !ok || fresh.Expires <= again.Expires {
		t.Errorf("near its end the reference was not replaced: %+v", fresh)
	}
	if err := r.world.For(5 * time.Hour); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.dial("client").do(&wire.Resume{Reference: ref}), wire.AuthorityExpired)
}

func TestReferenceEndsWhileInUse(t *testing.T) {
	r := newRig(t, 6)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	if err := r.world.For(24*time.Hour + time.Minute); err != nil {
		t.Fatal(err)
	}
	wantCode(t, c.do(&wire.Usage{}), wire.AuthorityExpired)
}

func TestRootRemovedWhileFacetIsOpen(t *testing.T) {
	r := newRig(t, 7)
	pub := r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("x", 1000)
	if got, ok := c.do(allocate(1, 0, share), share).(*wire.Allocated); !ok || got.State != wire.NowStored {
		t.Fatal("could not upload before")
	}
	if got, ok := r.ask(server.RemoveRoot{Name: pub.String()}).(server.Changed); !ok || len(got.Roots) != 1 {
		t.Fatal(got)
	}
	wantCode(t, c.do(allocate(2, 0, share), share), wire.NotAccepted)
	wantCode(t, c.do(&wire.Usage{}), wire.NotAccepted)
	wantCode(t, c.do(&wire.AddLease{StorageIndex: grid.StorageIndex{1}}), wire.NotAccepted)
	wantCode(t, c.do(&wire.RenewLease{StorageIndexes: []grid.StorageIndex{{1}}}), wire.NotAccepted)
	if found := c.do(&wire.Find{StorageIndex: grid.StorageIndex{1}}).(*wire.Found); found.Room != 0 || len(found.Shares) != 1 {
		t.Errorf("found %+v", found)
	}
}

func TestReadsNeedAccount(t *testing.T) {
	r := newRig(t, 8, func(c *server.Config) { c.ReadsNeedAccount = true })
	pub := r.addAccount(1, nil)
	c := r.dial("client")
	find := &wire.Find{StorageIndex: grid.StorageIndex{1}}
	wantCode(t, c.do(find), wire.LoginRequired)
	c.logIn(1)
	if _, ok := c.do(find).(*wire.Found); !ok {
		t.Error("an account may not read")
	}
	r.ask(server.Revoke{Name: pub.String()})
	wantCode(t, c.do(find), wire.AuthorityRevoked)
}

func TestOneConnectionOneConversation(t *testing.T) {
	r := newRig(t, 9)
	c := r.dial("client")
	for _, m := range []wire.Message{&wire.Usage{}, &wire.Abandon{}, &wire.AddLease{}, &wire.RenewLease{StorageIndexes: []grid.StorageIndex{{}}}} {
		wantCode(t, c.do(m), wire.LoginRequired)
	}
	wantCode(t, c.do(&wire.Subscribe{}), wire.BadRequest)
	wantCode(t, c.do(&wire.Read{StorageIndex: grid.StorageIndex{1}, Ranges: []wire.Range{{Length: 1}}}), wire.NoSuchShare)
}

func TestDelegateSeesHisBudgetAlone(t *testing.T) {
	r := newRig(t, 10)
	r.addAccount(1, nil)
	space := int64(10_000)
	owner, member := r.dial("owner"), r.dial("member")
	owner.logIn(1)
	share := shareOf("x", 7000)
	owner.do(allocate(1, 0, share), share)

	chain := certify(t, 1, 3, lease.Restrictions{Space: &space})
	login := &wire.Login{Chain: chain.Encode(), Request: member.request(key(3), chain, true)}
	if _, ok := member.do(login).(*wire.LoggedIn); !ok {
		t.Fatal("delegate can't log in")
	}
	report := member.do(&wire.Usage{}).(*wire.UsageReport)
	if !report.HasQuota || report.Quota != 10_000 || report.RootBytes != 0 || report.Bytes != 0 {
		t.Errorf("delegate sees %+v", report)
	}
	found := member.do(&wire.Find{StorageIndex: grid.StorageIndex{5}}).(*wire.Found)
	if want := uint64(10_000 - 128 - 128); found.Room != want {
		t.Errorf("room %d, want %d", found.Room, want)
	}
	fits, over := shareOf("y", int(found.Room)), shareOf("y", int(found.Room)+1)
	if e := wantCode(t, member.do(allocate(5, 0, over), over), wire.OverQuota); e.Free == nil || *e.Free != 10_000 {
		t.Errorf("over quota: %+v", e)
	}
	if got, ok := member.do(allocate(5, 0, fits), fits).(*wire.Allocated); !ok || got.State != wire.NowStored {
		t.Errorf("a share of the room that was told is answered by %v", got)
	}
}

func TestOverQuotaHidesNumbers(t *testing.T) {
	r := newRig(t, 11)
	r.addAccount(1, new(int64(1000)))
	c := r.dial("helper")
	op := lease.OpUpload
	chain := certify(t, 1, 3, lease.Restrictions{Operation: &op})
	if _, ok := c.do(&wire.Login{Chain: chain.Encode(), Request: c.request(key(3), chain, true)}).(*wire.LoggedIn); !ok {
		t.Fatal("can't log in")
	}
	share := shareOf("x", 2000)
	if e := wantCode(t, c.do(allocate(1, 0, share), share), wire.OverQuota); e.Free != nil {
		t.Errorf("numbers without read-usage: %+v", e)
	}
	if e := wantCode(t, c.do(&wire.Usage{}), wire.NotPermitted); e.Limit != "operation" {
		t.Errorf("limit %q", e.Limit)
	}
}
