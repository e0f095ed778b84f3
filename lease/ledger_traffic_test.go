package lease_test

import (
	"fmt"
	"testing"

	"github.com/tarn-grid/tarn/lease"
)

// wantTraffic checks what is written for a counter today.
func (b *bank) wantTraffic(t *testing.T, k lease.CounterKey, want lease.Traffic) {
	t.Helper()
	got := b.view.traffic[lease.TrafficKey{Of: k, Day: lease.DayOf(epoch)}]
	if got != want {
		t.Errorf("traffic of %v is %+v, want %+v", k, got, want)
	}
}

// A key that holds nothing costs nothing: its traffic is its root's alone, that
// of a first upload waits, and both end with what they hold.
func TestTrafficStandsWhereSomethingIsHeld(t *testing.T) {
	b := newBank()
	b.addRoot(t, "alice", 1<<20)
	member, reader, stranger := chainOf("alice>bob", noSpace), chainOf("alice>carol", noSpace), chainOf("nobody>stranger", noSpace)
	alice, own := lease.RootCounterKey(named("alice")), lease.ColumnCounterKey(member.Column())
	pair := lease.PairCounterKey(named("alice"), named("bob"))
	_, err := b.Reserve(epoch, member, shareNamed("one"), 10, lease.NoLimit)
	b.must(t, err)
	b.CountTraffic(epoch, member, lease.Traffic{In: 5})
	b.CountTraffic(epoch, reader, lease.Traffic{Out: 7})
	b.CountTraffic(epoch, stranger, lease.Traffic{Out: 9})
	b.must(t, b.done(b.FlushTraffic()))
	b.wantTraffic(t, own, lease.Traffic{})
	b.wantTraffic(t, pair, lease.Traffic{})
	b.wantTraffic(t, alice, lease.Traffic{In: 5, Out: 7})
	b.wantTraffic(t, lease.ColumnCounterKey(lease.Anonymous), lease.Traffic{Out: 9})
	if len(b.view.traffic) != 2 {
		t.Errorf("traffic of who holds nothing: %v", b.view.traffic)
	}

	b.must(t, b.commit(epoch, member, shareNamed("one"), 10))
	b.CountTraffic(epoch, member, lease.Traffic{In: 1, Out: 2})
	for k, want := range map[lease.CounterKey]lease.Traffic{own: {In: 6, Out: 2}, pair: {In: 6, Out: 2}, alice: {In: 6, Out: 9}} {
		if got, err := b.Traffic(k, lease.DayOf(epoch)); got != want || err != nil {
			t.Errorf("traffic of %v, in part not written yet: %+v, want %+v (%v)", k, got, want, err)
		}
	}
	b.must(t, b.done(b.FlushTraffic()))
	b.must(t, b.done(b.FlushTraffic()))
	b.wantTraffic(t, own, lease.Traffic{In: 6, Out: 2})
	b.wantTraffic(t, pair, lease.Traffic{In: 6, Out: 2})
	b.wantTraffic(t, alice, lease.Traffic{In: 6, Out: 9})

	change, _, err := b.Drop([]lease.LeaseID{{Column: member.Column(), Share: shareNamed("one")}})
	b.must(t, b.done(change, err))
	b.wantTraffic(t, own, lease.Traffic{})
	b.wantTraffic(t, pair, lease.Traffic{})
	b.wantTraffic(t, alice, lease.Traffic{In: 6, Out: 9})
	b.must(t, b.done(b.ForgetTraffic(lease.ColumnCounterKey(lease.Anonymous), lease.DayOf(epoch)+1)))
	b.wantTraffic(t, lease.ColumnCounterKey(lease.Anonymous), lease.Traffic{})
	b.must(t, b.done(b.RemoveRoots(false, named("alice"))))
	if len(b.view.traffic) != 0 {
		t.Errorf("traffic that is left: %v", b.view.traffic)
	}
}

// What a partner's customers move is the partner's and the manager's, too, each
// byte once, whoever pays; a new key of one of them takes all of it along.
func TestTrafficOfAllBelow(t *testing.T) {
	b := newBank()
	b.addRoot(t, "manager", 1<<20)
	anna, ben := chainOf("manager>partner>anna", noSpace), chainOf("manager>partner>ben", noSpace)
	own := chainOf("manager>partner", noSpace)
	for i, g := range []lease.Grant{anna, ben, own} {
		_, err := b.Reserve(epoch, g, shareNamed(fmt.Sprint(i)), 100, lease.NoLimit)
		b.must(t, err)
		b.must(t, b.commit(epoch, g, shareNamed(fmt.Sprint(i)), 100))
	}
	b.CountTraffic(epoch, anna, lease.Traffic{In: 1})
	b.CountTraffic(epoch, ben, lease.Traffic{In: 10, Out: 5})
	b.CountTraffic(epoch, own, lease.Traffic{In: 100})
	b.must(t, b.done(b.FlushTraffic()))
	b.CountTraffic(epoch, ben, lease.Traffic{Out: 2})
	b.must(t, b.done(b.Rekey(named("manager"), named("new"))))
	b.must(t, b.done(b.FlushTraffic()))
	for k, want := range map[lease.CounterKey]lease.Traffic{
		lease.RootCounterKey(named("new")):                    {In: 111, Out: 7},
		lease.PairCounterKey(named("new"), named("partner")):  {In: 111, Out: 7},
		lease.PairCounterKey(named("partner"), named("anna")): {In: 1},
		lease.PairCounterKey(named("partner"), named("ben")):  {In: 10, Out: 7},
		lease.ColumnCounterKey(lease.ColumnOf(named("ben"))):  {In: 10, Out: 7},
		lease.RootCounterKey(named("manager")):                {},
		lease.ColumnCounterKey(lease.Anonymous):               {},
	} {
		b.wantTraffic(t, k, want)
	}
}

// Shares that were found or imported stand in the starter column, which nobody
// can renew, and go like all others.
func TestAdoptedSharesLapse(t *testing.T) {
	b := newBank()
	id := shareNamed("found")
	b.must(t, b.done(b.Adopt(epoch, id, fileBody(1000))))
	b.must(t, b.done(b.Adopt(epoch, id, fileBody(5)))) // known already
	u, err := b.Usage(lease.ColumnCounterKey(lease.Starter))
	b.must(t, err)
	if u.Bytes() != 1000+lease.LeaseOverhead || u.Stored.Leases != 1 {
		t.Errorf("usage of starter: %+v", u)
	}
	change, going, err := b.Expire(epoch.Add(lease.LeaseDuration), []lease.LeaseID{{Column: lease.Starter, Share: id}})
	b.must(t, b.done(change, err))
	if len(going) != 1 {
		t.Fatalf("%d shares go", len(going))
	}
	b.must(t, b.done(b.Gone(going[0])))
	if len(b.view.shares)+len(b.view.leases)+len(b.view.counters) != 0 {
		t.Errorf("left over: %+v", b.view)
	}
}
