package lease_test

import (
	"testing"

	"github.com/tarn-grid/tarn/lease"
)

// wantTraffic checks what is written for a column today.
func (b *bank) wantTraffic(t *testing.T, c lease.Column, want lease.Traffic) {
	t.Helper()
	got := b.view.traffic[lease.TrafficKey{Column: c, Day: lease.DayOf(epoch)}]
	if got != want {
		t.Errorf("traffic of %v is %+v, want %+v", c, got, want)
	}
}

// A key that holds nothing costs nothing: its traffic is its root's, that of a
// first upload waits, and both end with what they hold.
func TestTrafficStandsWhereSomethingIsHeld(t *testing.T) {
	b := newBank()
	b.addRoot(t, "alice", 1<<20)
	member, reader := chainOf("alice>bob", noSpace), chainOf("alice>carol", noSpace)
	_, err := b.Reserve(epoch, member, shareNamed("one"), 10, lease.NoLimit)
	b.must(t, err)
	b.CountTraffic(epoch, member.Column(), member.Root, lease.Traffic{In: 5})
	b.CountTraffic(epoch, reader.Column(), reader.Root, lease.Traffic{Out: 7})
	b.CountTraffic(epoch, lease.ColumnOf(named("stranger")), named("nobody"), lease.Traffic{Out: 9})
	b.must(t, b.done(b.FlushTraffic()))
	b.wantTraffic(t, member.Column(), lease.Traffic{})
	b.wantTraffic(t, lease.ColumnOf(named("alice")), lease.Traffic{Out: 7})
	b.wantTraffic(t, lease.Anonymous, lease.Traffic{Out: 9})

	b.must(t, b.commit(epoch, member, shareNamed("one"), 10))
	b.CountTraffic(epoch, member.Column(), member.Root, lease.Traffic{In: 1, Out: 2})
	days, err := b.TrafficByDay(member.Column())
	b.must(t, err)
	if got := days[lease.DayOf(epoch)]; got != (lease.Traffic{In: 6, Out: 2}) {
		t.Errorf("traffic not written yet: %+v", got)
	}
	b.must(t, b.done(b.FlushTraffic()))
	b.must(t, b.done(b.FlushTraffic()))
	b.wantTraffic(t, member.Column(), lease.Traffic{In: 6, Out: 2})

	change, _, err := b.Drop([]lease.LeaseID{{Column: member.Column(), Share: shareNamed("one")}})
	b.must(t, b.done(change, err))
	b.wantTraffic(t, member.Column(), lease.Traffic{})
	b.must(t, b.done(b.ForgetTraffic(lease.Anonymous, lease.DayOf(epoch)+1)))
	b.wantTraffic(t, lease.Anonymous, lease.Traffic{})
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
