package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// A new key has everything that the old one had, at once and after a restart.
func TestRekey(t *testing.T) {
	forAll(t, func(t *testing.T, im implementation) {
		s := serve(t, im.open(t))
		s.addRoot(1, 1<<30)
		s.addRoot(3, 1<<30)
		s.put(own(1), testShare(1), content(500))
		s.put(under(1, 2, 9), testShare(2), content(SmallShare+1))
		s.apply(s.ledger.SetRevoked(true, testKey(8)))
		change, _, err := s.ledger.AddLease(start, under(3, 1, 7), testShare(2), nil, lease.NoLimit)
		s.apply(change, err)
		s.ledger.CountTraffic(start, own(1), lease.Traffic{In: 5})
		s.apply(s.ledger.FlushTraffic())
		before, err := s.ledger.Usage(lease.RootCounterKey(testKey(1)))
		must(t, err)

		s.apply(s.ledger.Rekey(testKey(1), testKey(4)))
		for range 2 {
			s.wantConsistent()
			s.wantUsage(lease.RootCounterKey(testKey(4)), before.Stored)
			s.wantUsage(lease.RootCounterKey(testKey(1)), lease.Counter{})
			s.wantUsage(lease.PairCounterKey(testKey(3), testKey(4)), lease.Counter{Bytes: SmallShare + 1 + 256, Leases: 1})
			leases, _, err := s.LeasesOf(lease.ColumnOf(testKey(4)), nil, 10)
			must(t, err)
			if len(leases) != 2 {
				t.Errorf("%d leases in the column, want 2", len(leases))
			}
			chain, _, err := s.Chain(leases[1].Lease.Chain)
			must(t, err)
			if len(chain.Keys) != 2 || chain.Keys[0] != testKey(3) || chain.Keys[1] != testKey(4) {
				t.Errorf("chain of the lease below another root: %v", chain.Keys)
			}
			for _, k := range []lease.CounterKey{lease.ColumnCounterKey(lease.ColumnOf(testKey(4))), lease.RootCounterKey(testKey(4))} {
				if moved, err := s.ledger.Traffic(k, lease.DayOf(start)); moved != (lease.Traffic{In: 5}) || err != nil {
					t.Errorf("traffic of %v is %v (%v)", k, moved, err)
				}
			}
			if _, known, err := s.Key(lease.ColumnOf(testKey(1))); known || err != nil {
				t.Errorf("the old key is still known (%v)", err)
			}
			s = serve(t, im.reopen(t, s.Store))
		}
	})
}

func (s *server) wantUsage(k lease.CounterKey, want lease.Counter) {
	s.t.Helper()
	u, err := s.ledger.Usage(k)
	must(s.t, err)
	if u.Stored != want {
		s.t.Errorf("%v is %+v, want %+v", k, u.Stored, want)
	}
}

// A rekey that a power cut interrupts has happened whole or not at all.
func TestRekeySurvivesPowerCuts(t *testing.T) {
	for _, synced := range []bool{false, true} {
		s := serve(t, NewMemory())
		s.addRoot(1, 1<<30)
		s.put(own(1), testShare(1), content(500))
		change, err := s.ledger.Rekey(testKey(1), testKey(4))
		must(t, err)
		commit, err := s.Apply(change)
		must(t, err)
		if synced {
			must(t, commit.Wait())
		}
		again, err := s.AfterCrash()
		must(t, err)
		s = serve(t, again)
		s.wantConsistent()
		holder := map[bool]byte{false: 1, true: 4}[synced]
		s.wantUsage(lease.RootCounterKey(testKey(holder)), lease.Counter{Bytes: 500 + lease.LeaseOverhead, Leases: 1})
	}
}

// What is to be cancelled is found again after a restart, and nothing else.
func TestScanUnderARemovedRoot(t *testing.T) {
	forAll(t, func(t *testing.T, im implementation) {
		s := serve(t, im.open(t))
		s.addRoot(1, 1<<30)
		s.addRoot(3, 1<<30)
		s.apply(s.ledger.PutRoots(lease.Root{Petname: "anonymous"}))
		s.put(own(1), testShare(1), content(10))
		s.put(under(1, 2, 9), testShare(2), content(10))
		s.put(under(3, 2, 7), testShare(3), content(10))
		s.put(lease.Grant{}, testShare(4), content(10))
		s.apply(s.ledger.RemoveRoots(true, testKey(1)))
		s.apply(s.ledger.RemoveRoots(true, grid.PublicKey{}))
		s = serve(t, im.reopen(t, s.Store))
		roots, err := s.CancellingRoots()
		must(t, err)
		if len(roots) != 2 || roots[0] != (grid.PublicKey{}) || roots[1] != testKey(1) {
			t.Fatalf("roots to be cancelled: %v", roots)
		}
		for i, want := range [][]lease.ShareID{{testShare(4)}, {testShare(1), testShare(2)}} {
			found := s.cancelAll(roots[i])
			if len(found) != len(want) || found[0] != want[0] || found[len(found)-1] != want[len(want)-1] {
				t.Errorf("found under %v: %v, want %v", roots[i], found, want)
			}
		}
		s.wantConsistent()
		if left, err := s.CancellingRoots(); len(left) != 0 || err != nil {
			t.Errorf("still to be cancelled: %v, %v", left, err)
		}
		s.wantContent(testShare(3), content(10))
	})
}

// cancelAll goes through the leases one by one.
func (s *server) cancelAll(root grid.PublicKey) (found []lease.ShareID) {
	s.t.Helper()
	var cursor Cursor
	for {
		entries, next, err := s.ScanUnder(root, cursor, 1)
		must(s.t, err)
		for _, e := range entries {
			found = append(found, e.ID.Share)
			change, _, err := s.ledger.CancelUnder(root, []lease.LeaseID{e.ID})
			s.apply(change, err)
		}
		if next == nil {
			s.apply(s.ledger.EndCancelling(root))
			return found
		}
		cursor = next
	}
}

// What a server is asked about usage costs the same whatever the table holds.
func TestUsageIsNoScan(t *testing.T) {
	s := serve(t, mustOpen(t, vfs.Default, t.TempDir()))
	s.addRoot(1, 1<<40)
	ask := func() int64 {
		before := s.Scanned()
		_, err := s.ledger.Usage(lease.RootCounterKey(testKey(1)))
		must(t, err)
		_, err = s.ledger.Usage(lease.ColumnCounterKey(own(1).Column()))
		must(t, err)
		return s.Scanned() - before
	}
	if n := ask(); n != 0 {
		t.Errorf("%d records were scanned for the usage of an account that holds nothing", n)
	}
	for i := range uint32(300) {
		s.put(own(1), testShare(i), content(1))
	}
	if n := ask(); n != 0 {
		t.Errorf("%d records were scanned for the usage of one with 300 leases", n)
	}
	if _, _, err := s.LeasesOf(own(1).Column(), nil, 1000); err != nil || s.Scanned() < 300 {
		t.Errorf("a scan of 300 leases shows as %d records (%v)", s.Scanned(), err)
	}
}
