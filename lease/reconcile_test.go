package lease_test

import (
	"errors"
	"iter"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/lease"
)

// listed is a list that ends in an error, if there is one.
func listed[T any](list []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range list {
			if !yield(v, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

// A merge says of each share what two maps say.
func TestReconcileAgainstMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mine, theirs := map[lease.ShareID]lease.JournalLease{}, map[lease.ShareID]lease.HeldLease{}
		for i := range 12 {
			id := shareNamed(string(rune('a' + i)))
			if rapid.Bool().Draw(t, "mine") {
				mine[id] = lease.JournalLease{Share: id, Expires: rapid.Int64Range(0, 1000).Draw(t, "expires"), Lapsed: rapid.Int64Range(0, 1).Draw(t, "lapsed")}
			}
			if rapid.Bool().Draw(t, "theirs") {
				theirs[id] = lease.HeldLease{Share: id, Expires: rapid.Int64Range(0, 1000).Draw(t, "expires there")}
			}
		}
		mineList := slices.SortedFunc(maps.Values(mine), func(a, b lease.JournalLease) int { return a.Share.Compare(b.Share) })
		theirList := slices.SortedFunc(maps.Values(theirs), func(a, b lease.HeldLease) int { return a.Share.Compare(b.Share) })
		seen := map[lease.ShareID]bool{}
		err := lease.Reconcile(listed(mineList, nil), listed(theirList, nil), func(m lease.Match) error {
			id := m.Share()
			my, ok := mine[id]
			their, ok2 := theirs[id]
			if seen[id] || ok != (m.Mine != nil) || ok2 != (m.Theirs != nil) || ok && my != *m.Mine || ok2 && their != *m.Theirs {
				t.Fatalf("%v: %+v", id, m)
			}
			if got, want := m.Kind(), kindOf(my, ok, their, ok2); got != want {
				t.Fatalf("%+v, %+v: %v, want %v", my, their, got, want)
			}
			seen[id] = true
			return nil
		})
		if all := len(mine) + len(theirs) - both(mine, theirs); err != nil || len(seen) != all {
			t.Fatalf("%d shares of %d, %v", len(seen), all, err)
		}
	})
}

func both(mine map[lease.ShareID]lease.JournalLease, theirs map[lease.ShareID]lease.HeldLease) (n int) {
	for id := range mine {
		if _, ok := theirs[id]; ok {
			n++
		}
	}
	return n
}

func kindOf(mine lease.JournalLease, known bool, theirs lease.HeldLease, there bool) lease.MatchKind {
	if !known {
		return lease.Unknown
	}
	if !there {
		return map[bool]lease.MatchKind{true: lease.Lapsed, false: lease.Agree}[mine.Lapsed == 0]
	}
	if mine.Lapsed != 0 {
		return lease.Returned
	}
	if mine.Expires-theirs.Expires > 300 {
		return lease.Shorter
	}
	return lease.Agree
}

func TestReconcileStopsAtAnError(t *testing.T) {
	broken := errors.New("broken")
	one := []lease.JournalLease{{Share: shareNamed("a")}}
	all := func(lease.Match) error { return nil }
	if err := lease.Reconcile(listed(one, broken), listed[lease.HeldLease](nil, nil), all); !errors.Is(err, broken) {
		t.Errorf("journal: %v", err)
	}
	if err := lease.Reconcile(listed(one, nil), listed[lease.HeldLease](nil, broken), all); !errors.Is(err, broken) {
		t.Errorf("server: %v", err)
	}
	if err := lease.Reconcile(listed(one, nil), listed[lease.HeldLease](nil, nil), func(lease.Match) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("yield: %v", err)
	}
}
