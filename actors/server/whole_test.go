package server_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport/wire"
)

func ifNone(n byte, num grid.ShareNum, share []byte) *wire.Allocate {
	m := allocate(n, num, share)
	m.IfNone = true
	return m
}

// A share that comes with IfNone is stored where nothing of the file is, and
// answered by what is there elsewhere, which then is all that is.
func TestIfNone(t *testing.T) {
	r := newRig(t, 1)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	first, second := shareNumber(0, "one", 2000), shareNumber(1, "one", 2000)
	got := c.do(ifNone(5, 0, first), first)
	if a, ok := got.(*wire.Allocated); !ok || a.State != wire.NowStored || a.UEBHash != uebOf(0, first) {
		t.Fatalf("first answered by %v", got)
	}
	got = c.do(ifNone(5, 1, second), second)
	f, ok := got.(*wire.Found)
	if !ok || len(f.Shares) != 1 || f.Shares[0].Num != 0 || f.Shares[0].UEBHash != uebOf(0, first) || f.Room == 0 {
		t.Fatalf("second answered by %v", got)
	}
	if f := c.do(&wire.Find{StorageIndex: grid.StorageIndex{5}}).(*wire.Found); len(f.Shares) != 1 {
		t.Errorf("%d shares are there", len(f.Shares))
	}
	if got := c.do(allocate(5, 1, second), second).(*wire.Allocated); got.State != wire.NowStored {
		t.Errorf("offered plainly, it answers %v", got)
	}
}

// A larger one is pulled, as without IfNone.
func TestIfNoneOfALargeShare(t *testing.T) {
	r := newRig(t, 1)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("large", 300<<10)
	m := ifNone(5, 0, share)
	c.offers[m.Secret] = share
	if a := c.do(m, share[:1000]).(*wire.Allocated); a.State != wire.Coming || a.Have != 1000 {
		t.Fatalf("answered by %v", a)
	}
	c.until("the share", func() bool { return len(c.stored) == 1 })
	if c.stored[0].UEBHash != uebOf(0, share) {
		t.Errorf("%+v", c.stored[0])
	}
	if _, ok := c.do(ifNone(5, 1, share)).(*wire.Found); !ok {
		t.Error("an offer without bytes is not answered by what is there")
	}
}

// What is verified, permitted and paid is the same as with a pull.
func TestWholeShareRefused(t *testing.T) {
	r := newRig(t, 1)
	quota := int64(2000 + lease.LeaseOverhead)
	r.addAccount(1, &quota)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("some", 2000)
	bad := bytes.Clone(share)
	bad[500] ^= 1
	wantCode(t, c.do(ifNone(5, 0, share), bad), wire.BadShare)
	if a := c.do(ifNone(5, 0, share), share).(*wire.Allocated); a.State != wire.NowStored {
		t.Fatalf("answered by %v", a)
	}
	other := shareOf("other", 2001)
	wantCode(t, c.do(ifNone(6, 0, other), other), wire.OverQuota)
	r.changed(server.Revoke{Name: "account 1"})
	wantCode(t, c.do(ifNone(7, 0, share), share), wire.AuthorityRevoked)
	usage := r.ask(server.ListUsage{}).(server.UsageList)[0]
	if usage.Below.Stored.Bytes != quota || usage.Below.Reserved != (lease.Counter{}) {
		t.Errorf("%+v", usage.Below)
	}
	if usage.Today.In != 3*2000+2001 {
		t.Errorf("%d bytes came in", usage.Today.In)
	}
}

// A disk that is full by now refuses, and what waits for its word is answered.
func TestWholeShareAsksTheDisk(t *testing.T) {
	r := newRig(t, 1)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	r.free = 1000
	must(r.world.For(10 * time.Second)) // until it is asked anew
	share := shareOf("some", 2000)
	wantCode(t, c.do(ifNone(5, 0, share), share), wire.ServerFull)
	r.free = 1 << 30
	must(r.world.For(10 * time.Second))
	if a, ok := c.do(ifNone(5, 0, share), share).(*wire.Allocated); !ok || a.State != wire.NowStored {
		t.Errorf("answered by %v", a)
	}
}

// A login takes the place of an earlier one while that one's requests are
// under way: each is answered, once.
func TestLoginAgainAnswersWhatWasAsked(t *testing.T) {
	r := newRig(t, 1)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	var ids []uint64
	for n := range 8 {
		share := shareNumber(0, "share", 2000+n)
		ids = append(ids, c.send(ifNone(byte(n), 0, share), share))
	}
	again := c.send(&wire.Login{Chain: lease.Chain{}.Encode(), Request: c.request(key(1), lease.Chain{}, true)})
	for _, id := range ids {
		if a, ok := c.wait(id).(*wire.Allocated); !ok || a.State != wire.NowStored {
			t.Fatalf("request %d answered by %v", id, c.answers[id])
		}
	}
	if _, ok := c.wait(again).(*wire.LoggedIn); !ok {
		t.Errorf("login answered by %v", c.answers[again])
	}
	if a, ok := c.do(ifNone(99, 0, shareOf("last", store.SmallShare)), shareOf("last", store.SmallShare)).(*wire.Allocated); !ok {
		t.Errorf("answered by %v", a)
	}
}
