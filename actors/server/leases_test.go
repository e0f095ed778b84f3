package server_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// store uploads n small shares and names them, in order.
func (c *client) store(n int) []lease.ShareID { return c.storeAs(n, 0) }

// storeAs stores n shares that nobody stored with another number.
func (c *client) storeAs(n int, number byte) []lease.ShareID {
	c.Helper()
	share := shareOf("any", 1000)
	var ids []lease.ShareID
	for i := range n {
		id := lease.ShareID{StorageIndex: grid.StorageIndex{byte(i >> 8), byte(i), number}}
		m := &wire.Allocate{StorageIndex: id.StorageIndex, Size: uint64(len(share)), Secret: wire.Secret{1}}
		got, ok := c.do(m, share).(*wire.Allocated)
		if !ok || got.State == wire.Coming {
			c.Fatal(got)
		}
		if got.State == wire.AlreadyHere {
			c.do(&wire.AddLease{StorageIndex: id.StorageIndex, UEBHash: got.UEBHash})
		}
		ids = append(ids, id)
	}
	return ids
}

func sharesBody(ids ...lease.ShareID) (body []byte) {
	for _, id := range ids {
		body = wire.AppendShare(body, id)
	}
	return body
}

// onShares sends a request about shares and wants these outcomes.
func (c *client) onShares(m wire.Message, ids []lease.ShareID, want func(i int) wire.ShareOutcome) *wire.SharesDone {
	c.Helper()
	request := c.send(m, sharesBody(ids...))
	done, ok := c.wait(request).(*wire.SharesDone)
	if !ok {
		c.Fatalf("answered by %v", c.answers[request])
	}
	for i, b := range c.bodies[request] {
		if got := wire.ShareOutcome(b); got != want(i) {
			c.Fatalf("share %d of %d: outcome %d, want %d", i, len(ids), got, want(i))
		}
	}
	return done
}

func always(o wire.ShareOutcome) func(int) wire.ShareOutcome {
	return func(int) wire.ShareOutcome { return o }
}

// enumerate lists all leases of the account, most of them at a time.
func (c *client) enumerate(most uint) (all []lease.HeldLease, answers int) {
	c.Helper()
	ask := &wire.Enumerate{Most: most}
	for {
		request := c.send(ask)
		part, ok := c.wait(request).(*wire.Enumerated)
		if !ok {
			c.Fatalf("enumerate is answered by %v", c.answers[request])
		}
		leases, err := wire.Leases(c.bodies[request])
		if err != nil || len(leases) != int(part.Count) || len(leases) > int(most) {
			c.Fatalf("%d leases of %d, %v", len(leases), part.Count, err)
		}
		all, answers = append(all, leases...), answers+1
		if !part.More {
			return all, answers
		}
		ask = &wire.Enumerate{Most: most, After: sharesBody(leases[len(leases)-1].Share)}
	}
}

// Each sees the own column and nothing else, in order, in as many parts as it
// likes.
func TestEnumerate(t *testing.T) {
	r := newRig(t, 91)
	r.addAccount(1, nil)
	r.addAccount(2, nil)
	one, two := r.dial("one"), r.dial("two")
	one.logIn(1)
	two.logIn(2)
	if all, _ := one.enumerate(10); len(all) != 0 {
		t.Errorf("an empty column has %d leases", len(all))
	}
	ids := one.store(25)
	two.store(3)
	all, answers := one.enumerate(10)
	if answers != 3 || len(all) != len(ids) {
		t.Fatalf("%d leases in %d answers", len(all), answers)
	}
	for i, l := range all {
		now := r.world.Now()
		if l.Share != ids[i] || l.Size != 1000 || l.Expires <= now.Add(30*24*time.Hour).Unix() || l.Renewed > now.Unix() {
			t.Errorf("lease %d is %+v", i, l)
		}
	}
	if theirs, _ := two.enumerate(wire.MaxEnumerated); len(theirs) != 3 {
		t.Errorf("the other account has %d leases", len(theirs))
	}
	if again, answers := one.enumerate(25); answers != 1 || !slices.Equal(again, all) {
		t.Errorf("in one go: %d leases in %d answers", len(again), answers)
	}
}

func TestEnumerateNeedsPermission(t *testing.T) {
	r := newRig(t, 92)
	r.addAccount(1, nil)
	stranger := r.dial("stranger")
	wantCode(t, stranger.do(&wire.Enumerate{Most: 1}), wire.LoginRequired)
	uploader := r.delegate(10, true, lease.OpUpload|lease.OpRenewLease)
	if e := wantCode(t, uploader.do(&wire.Enumerate{Most: 1}), wire.NotPermitted); e.Limit != "operation" {
		t.Errorf("limit %q", e.Limit)
	}
	ids := uploader.store(2)
	reader := r.delegate(11, true, lease.OpEnumerate)
	if all, _ := reader.enumerate(10); len(all) != 2 {
		t.Errorf("who may enumerate sees %d leases of the account", len(all))
	}
	request := reader.send(&wire.CancelShares{Count: 1}, sharesBody(ids[0]))
	wantCode(t, reader.wait(request), wire.NotPermitted)
	if err := r.world.For(25 * time.Hour); err != nil {
		t.Fatal(err)
	}
	wantCode(t, reader.do(&wire.Enumerate{Most: 1}), wire.AuthorityExpired)
}

// A client that lists its leases and does not read on fills nobody's memory.
func TestEnumerateNobodyReads(t *testing.T) {
	r := newRig(t, 93)
	r.addAccount(1, nil)
	full := r.dialCredit("full", 1<<20)
	full.logIn(1)
	full.store(wire.MaxEnumerated)
	c := r.dialCredit("c", 2) // hello and login
	c.logIn(1)
	const most = 8<<20/(wire.MaxEnumerated*wire.LeaseSize) + 1
	if n := c.served(64, &wire.Enumerate{Most: wire.MaxEnumerated}); n > most+1 {
		t.Errorf("%d answers that may be of 164 KiB wait for a client that does not read", n)
	}
}

// Leases are renewed each by itself, many in one request and over several
// steps of the ledger.
func TestRenewShares(t *testing.T) {
	r := newRig(t, 94)
	r.addAccount(1, nil)
	r.addAccount(2, nil)
	one, two := r.dial("one"), r.dial("two")
	one.logIn(1)
	two.logIn(2)
	ids := one.store(700)
	before, _ := one.enumerate(1000)
	if err := r.world.For(10 * 24 * time.Hour); err != nil {
		t.Fatal(err)
	}
	one = r.dial("one again")
	one.logIn(1)
	ask := append(slices.Clone(ids), lease.ShareID{Num: 7})
	done := one.onShares(&wire.RenewShares{Count: 701}, ask, func(i int) wire.ShareOutcome {
		if i == 700 {
			return wire.ShareNoLease
		}
		return wire.ShareDone
	})
	if want := r.world.Now().Add(lease.LeaseDuration - time.Minute).Unix(); done.Expires < want || done.Count != 701 {
		t.Errorf("renewed: %+v", done)
	}
	after, _ := one.enumerate(1000)
	for i := range after {
		if after[i].Expires < before[i].Expires+9*86400 || after[i].Renewed <= before[i].Renewed {
			t.Fatalf("lease %d was %+v and is %+v", i, before[i], after[i])
		}
	}
	two = r.dial("two again")
	two.logIn(2)
	two.onShares(&wire.RenewShares{Count: 700}, ids, always(wire.ShareNoLease))
	limited := r.dial("limited")
	certificate := lease.Certificate{Delegate: grid.PublicKeyOf(key(12)), SignerGetsLease: true}
	certificate.StorageIndex = &ids[3].StorageIndex
	chain, err := lease.Chain{}.Sign(key(1), certificate)
	must(err)
	limited.loggedIn(chain, key(12), false)
	limited.onShares(&wire.RenewShares{Count: 5}, ids[:5], func(i int) wire.ShareOutcome {
		if i == 3 {
			return wire.ShareDone
		}
		return wire.ShareRefused
	})
}

// What an owner gives up is gone at once, unless somebody else keeps it.
func TestCancelShares(t *testing.T) {
	r := newRig(t, 95)
	r.addAccount(1, nil)
	r.addAccount(2, nil)
	one, two := r.dial("one"), r.dial("two")
	one.logIn(1)
	two.logIn(2)
	ids := one.store(600)
	two.store(2)
	began := r.world.Now()
	one.onShares(&wire.CancelShares{Count: 600}, ids, always(wire.ShareDone))
	if u := one.do(&wire.Usage{}).(*wire.UsageReport); u.Bytes != 0 || u.Shares != 0 {
		t.Errorf("usage after cancelling: %+v", u)
	}
	r.until("the bytes to be gone", func() bool {
		going, err := r.table.Going()
		return err == nil && len(going) == 0
	})
	if took := r.world.Now().Sub(began); took > time.Minute {
		t.Errorf("the bytes went after %v", took)
	}
	for i, id := range ids[:5] {
		left, err := r.table.ListShares(id.StorageIndex)
		if kept := i < 2; err != nil || kept != (len(left) == 1) {
			t.Errorf("share %d: %d are left, %v", i, len(left), err)
		}
	}
	one.onShares(&wire.CancelShares{Count: 2}, ids[:2], always(wire.ShareNoLease))
	r.freed()
}

func TestBadShareLists(t *testing.T) {
	r := newRig(t, 96)
	r.addAccount(1, nil)
	c := r.dial("c")
	wantCode(t, c.do(&wire.RenewShares{Count: 1}, make([]byte, wire.ShareSize)), wire.LoginRequired)
	c.logIn(1)
	c.onShares(&wire.CancelShares{Count: 2}, make([]lease.ShareID, 2), always(wire.ShareNoLease))
}

// below asks for a page of usage.
func (c *client) below(of *wire.UsageBelow) wire.UsagePage {
	c.Helper()
	report, ok := c.do(of).(*wire.UsageBelowReport)
	if !ok {
		c.Fatalf("%+v is not answered by a page", of)
	}
	page, err := wire.OpenUsagePage(report.Page, c.id())
	if err != nil {
		c.Fatal(err)
	}
	return page
}

// id is the server's.
func (r *rig) id() grid.ServerID { return grid.ServerID(grid.PublicKeyOf(r.config.Key)) }

// A reseller sees what each of his customers holds and a manager what the
// reseller's do together; nobody sees what is below somebody else.
func TestUsageBelow(t *testing.T) {
	r := newRig(t, 97)
	manager := r.addAccount(1, nil)
	partner, customer, other := grid.PublicKeyOf(key(2)), grid.PublicKeyOf(key(3)), grid.PublicKeyOf(key(4))
	chain := certify(t, 1, 2, lease.Restrictions{})
	for n, k := range []grid.PublicKey{customer, other} {
		longer, err := chain.Sign(key(2), lease.Certificate{Delegate: k})
		must(err)
		c := r.dial("customer")
		c.loggedIn(longer, key(byte(n+3)), true)
		c.store(n + 1)
	}
	reseller := r.dial("partner")
	reseller.loggedIn(chain, key(2), true)
	got := reseller.below(&wire.UsageBelow{})
	want := map[grid.PublicKey]uint64{customer: 1, other: 2}
	if got.Of != partner || got.Server != r.id() || got.At != r.world.Now().Unix() || len(got.Delegates) != 2 || got.More {
		t.Fatalf("below the partner: %+v", got)
	}
	for _, d := range got.Delegates {
		// Each share has 1000 bytes, and a chain two certificates.
		if n := want[d.Delegate]; d.Shares != n || d.Bytes != n*(1000+128)+2*128 {
			t.Errorf("customer holds %+v, want %d shares", d, n)
		}
	}
	if rest := reseller.below(&wire.UsageBelow{After: got.Delegates[0].Delegate}); len(rest.Delegates) != 1 || rest.Delegates[0] != got.Delegates[1] {
		t.Errorf("behind the first: %+v", rest)
	}
	boss := r.dial("manager")
	boss.logIn(1)
	if all := boss.below(&wire.UsageBelow{Signer: manager}); len(all.Delegates) != 1 || all.Delegates[0].Delegate != partner || all.Delegates[0].Shares != 3 {
		t.Errorf("below the manager: %+v", all)
	}
	wantCode(t, boss.do(&wire.UsageBelow{Signer: partner}), wire.NotPermitted)
	aggregator := r.delegate(9, true, lease.OpReadUsage)
	if all := aggregator.below(&wire.UsageBelow{}); all.Of != manager || len(all.Delegates) != 1 {
		t.Errorf("whom the manager lets read usage sees %+v", all)
	}
	wantCode(t, r.delegate(10, true, lease.OpUpload).do(&wire.UsageBelow{}), wire.NotPermitted)
}

// tree has a manager, key 1, with two partners, keys 2 and 5; customer 3 is the
// first one's, and has a friend, key 4.
func (r *rig) tree() {
	r.Helper()
	for i, path := range [][]byte{{1}, {1, 2}, {1, 2, 3}, {1, 2, 3, 4}, {1, 5}} {
		chain := lease.Chain{}
		for n := 1; n < len(path); n++ {
			var err error
			chain, err = chain.Sign(key(path[n-1]), lease.Certificate{Delegate: grid.PublicKeyOf(key(path[n]))})
			must(err)
		}
		c := r.dial(fmt.Sprint("path ", path))
		if len(path) == 1 {
			c.logIn(1)
		} else {
			c.loggedIn(chain, key(path[len(path)-1]), true)
		}
		c.storeAs(i+1, byte(10*i+1))
	}
}

// An account manager is told what is below its members, by the way that leads
// there; whom the operator lets read the usage of all, everything.
func TestUsageOfTheTree(t *testing.T) {
	r := newRig(t, 98)
	k := func(n byte) grid.PublicKey { return grid.PublicKeyOf(key(n)) }
	r.ask(server.PutRoot{Root: lease.Root{Key: k(1), Petname: "manager", Manager: true}})
	r.ask(server.PutRoot{Root: lease.Root{Key: k(9), Petname: "sums", UsageOfAll: true, Operation: new(lease.OpReadUsage)}})
	r.addAccount(8, nil)
	r.tree()
	shares := func(p wire.UsagePage) map[grid.PublicKey]uint64 {
		held := map[grid.PublicKey]uint64{}
		for _, d := range p.Delegates {
			held[d.Delegate] = d.Shares
			if deeper := d.Delegate != p.Of && (d.Delegate == k(2) || d.Delegate == k(3)) || p.Of.IsZero(); d.Below != deeper {
				t.Errorf("more below %v: %v", d.Delegate.Short(), d.Below)
			}
			if d.BytesIn != 1000*d.Shares {
				t.Errorf("%d bytes came in for %d shares", d.BytesIn, d.Shares)
			}
		}
		return held
	}
	want := func(p wire.UsagePage, held map[grid.PublicKey]uint64) {
		t.Helper()
		if got := shares(p); !maps.Equal(got, held) {
			t.Errorf("below %v: %v, want %v", p.Of.Short(), got, held)
		}
	}
	boss := r.dial("boss")
	boss.logIn(1)
	want(boss.below(&wire.UsageBelow{}), map[grid.PublicKey]uint64{k(1): 1, k(2): 2 + 3 + 4, k(5): 5})
	want(boss.below(&wire.UsageBelow{Signer: k(2)}), map[grid.PublicKey]uint64{k(3): 3 + 4})
	want(boss.below(&wire.UsageBelow{Signer: k(3), Through: []grid.PublicKey{k(2)}}), map[grid.PublicKey]uint64{k(4): 4})
	for _, no := range []wire.UsageBelow{
		{Signer: k(3)}, {Signer: k(3), Through: []grid.PublicKey{k(5)}}, {Signer: k(8)}, {Signer: k(9)},
		{Signer: k(3), Through: []grid.PublicKey{k(2), k(2)}},
	} {
		wantCode(t, boss.do(&no), wire.NotPermitted)
	}
	sums := r.dial("sums")
	sums.logIn(9)
	want(sums.below(&wire.UsageBelow{}), map[grid.PublicKey]uint64{k(1): 15})
	want(sums.below(&wire.UsageBelow{Signer: k(3)}), map[grid.PublicKey]uint64{k(3): 3, k(4): 4})
	wantCode(t, sums.do(allocate(1, 0, shareOf("x", 1000))), wire.NotPermitted)

	// A delegate of such a root is no such root, nor is one who is no manager.
	chain := certify(t, 9, 7, lease.Restrictions{})
	delegate := r.dial("delegate")
	delegate.loggedIn(chain, key(7), true)
	if p := delegate.below(&wire.UsageBelow{}); p.Of != k(7) || len(p.Delegates) != 0 {
		t.Errorf("a delegate is told %+v", p)
	}
	wantCode(t, delegate.do(&wire.UsageBelow{Signer: k(1)}), wire.NotPermitted)
	partner := r.dial("partner")
	partner.loggedIn(certify(t, 1, 2, lease.Restrictions{}), key(2), true)
	wantCode(t, partner.do(&wire.UsageBelow{Signer: k(3)}), wire.NotPermitted)
	wantCode(t, partner.do(&wire.UsageBelow{Signer: k(1)}), wire.NotPermitted)
}
