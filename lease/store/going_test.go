package store

import (
	"errors"
	"io"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// A share that is uploaded anew while its old bytes are being deleted keeps
// the new ones, whichever of the two comes first, large or small.
func TestUploadWhileGoing(t *testing.T) {
	const big, small = SmallShare + 1000, 100
	for _, sizes := range [][2]int{{big, big + 1}, {big, small}, {small, big}, {small, small + 1}} {
		for _, deleteFirst := range []bool{true, false} {
			forAll(t, func(t *testing.T, im implementation) {
				uploadWhileGoing(t, im, sizes[0], sizes[1], deleteFirst)
			})
		}
	}
}

func uploadWhileGoing(t *testing.T, im implementation, before, after int, deleteFirst bool) {
	s := serve(t, im.open(t))
	s.addRoot(1, 1<<30)
	id := testShare(7)
	s.put(own(1), id, content(before))
	change, going, err := s.ledger.Drop([]lease.LeaseID{{Column: own(1).Column(), Share: id}})
	s.apply(change, err)
	if deleteFirst {
		mustDelete(t, s.Store, going[0])
	}
	s.put(own(1), id, content(after))
	mustDelete(t, s.Store, going[0])
	s.apply(s.ledger.Gone(going[0]))
	s.wantContent(id, content(after))
	s = serve(t, im.reopen(t, s.Store))
	s.wantContent(id, content(after))
	left, err := s.Going()
	must(t, err)
	if len(left) != 0 {
		t.Errorf("still to be deleted: %v", left)
	}
	s.wantNoStrays()
	s.wantConsistent()
}

func mustDelete(t *testing.T, s *Store, all ...lease.GoingShare) {
	t.Helper()
	gone, err := s.Delete(all...)
	must(t, err)
	if len(gone) != len(all) {
		t.Fatalf("%d of %d shares are gone", len(gone), len(all))
	}
}

// Shares of one file go together, with their folder.
func TestSharesOfAFileGoTogether(t *testing.T) {
	forAll(t, func(t *testing.T, im implementation) {
		s := serve(t, im.open(t))
		s.addRoot(1, 1<<30)
		var ids []lease.LeaseID
		for num := range grid.ShareNum(4) {
			id := lease.ShareID{StorageIndex: grid.StorageIndex{7}, Num: num}
			s.put(own(1), id, content(SmallShare+1))
			ids = append(ids, lease.LeaseID{Column: own(1).Column(), Share: id})
		}
		change, going, err := s.ledger.Drop(ids[:2])
		s.apply(change, err)
		mustDelete(t, s.Store, going...)
		s.apply(s.ledger.Gone(going...))
		s.wantContent(ids[2].Share, content(SmallShare+1))
		change, going, err = s.ledger.Drop(ids[2:])
		s.apply(change, err)
		mustDelete(t, s.Store, going...)
		mustDelete(t, s.Store, going...) // again, as after a crash
		s.apply(s.ledger.Gone(going...))
		s.wantNothingLeft(testKey(1))
		if left, err := s.fs.List(s.shareDirs(ids[0].Share)[1]); len(left) > 0 || err != nil {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// A reader that is half-way through reads the rest though the share goes.
func TestReaderOutlivesShare(t *testing.T) {
	forAll(t, func(t *testing.T, im implementation) {
		s := serve(t, im.open(t))
		s.addRoot(1, 1<<30)
		id := testShare(7)
		s.put(own(1), id, content(100_000))
		body, err := s.OpenShare(id)
		must(t, err)
		change, going, err := s.ledger.Drop([]lease.LeaseID{{Column: own(1).Column(), Share: id}})
		s.apply(change, err)
		mustDelete(t, s.Store, going[0])
		n, err := io.Copy(io.Discard, io.NewSectionReader(body, 0, body.Size))
		if n != 100_000 || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		must(t, body.Close())
	})
}

// Two labels upload one content side by side: the first is it, the other gets a
// lease on it, and its file leaves no trace.
func TestTwoUploadsOfOneShare(t *testing.T) {
	forAll(t, func(t *testing.T, im implementation) {
		s := serve(t, im.open(t))
		s.addRoot(1, 1<<30)
		id, big := testShare(7), content(80_000)
		first, second := own(1), under(1, 2, 1)
		for _, g := range []lease.Grant{first, second} {
			_, err := s.ledger.Reserve(start, g, id, 80_000, lease.NoLimit)
			must(t, err)
		}
		in, err := s.Incoming()
		must(t, err)
		_, err = in.WriteAt(big, 0)
		must(t, err)
		file, err := in.Seal()
		must(t, err)
		change, _, err := s.ledger.Commit(start, first.Column(), id, s.body(big))
		s.apply(change, err)
		change, done, err := s.ledger.Commit(start, second.Column(), id, lease.Body{Size: 80_000, UEBHash: lease.UEBHash{1}, File: file})
		s.apply(change, err)
		if !done.Dropped {
			t.Error("the second upload was not told that it came second")
		}
		must(t, in.Discard())
		holders, err := s.Holders(id)
		must(t, err)
		if len(holders) != 2 {
			t.Errorf("%d holders", len(holders))
		}
		shares, err := s.ListShares(id.StorageIndex)
		must(t, err)
		if len(shares) != 1 || shares[0].Share.Leases != 2 {
			t.Errorf("shares %v", shares)
		}
		s.wantContent(id, big)
		s.wantNoStrays()
		s.wantConsistent()
	})
}

// A power cut in memory takes what nobody waited for, and nothing else.
func TestMemoryForgetsWhatWasNotWaitedFor(t *testing.T) {
	s := serve(t, NewMemory())
	s.addRoot(1, 1<<30)
	s.put(own(1), testShare(1), content(50_000))
	_, err := s.ledger.Reserve(start, own(1), testShare(2), 10, lease.NoLimit)
	must(t, err)
	change, _, err := s.ledger.Commit(start, own(1).Column(), testShare(2), s.body(content(10)))
	must(t, err)
	_, err = s.Apply(change)
	must(t, err)
	s.wantContent(testShare(2), content(10))
	again, err := s.AfterCrash()
	must(t, err)
	after := serve(t, again)
	after.wantContent(testShare(1), content(50_000))
	if _, err := again.OpenShare(testShare(2)); !errors.Is(err, lease.ErrNoShare) {
		t.Errorf("a share that was not waited for: %v", err)
	}
	after.wantConsistent()
}

// Cursors bring a scan through the whole table, in pieces of any size.
func TestScansInPieces(t *testing.T) {
	forAll(t, func(t *testing.T, im implementation) {
		s := serve(t, im.open(t))
		s.addRoot(1, 1<<30)
		for i := range uint32(10) {
			s.put(own(1), testShare(i), content(1))
		}
		for _, limit := range []int{1, 3, 10, 11} {
			seen, cursor := 0, Cursor(nil)
			for first := true; first || cursor != nil; first = false {
				ids, next, err := s.ScanExpired(start.Add(lease.LeaseDuration), cursor, limit)
				must(t, err)
				seen, cursor = seen+len(ids), next
			}
			if seen != 10 {
				t.Errorf("in pieces of %d: saw %d of 10", limit, seen)
			}
		}
		entries, next, err := s.LeasesOf(own(1).Column(), nil, 4)
		must(t, err)
		if len(entries) != 4 || next == nil {
			t.Errorf("listed %d, next %x", len(entries), next)
		}
	})
}
