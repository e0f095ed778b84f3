package store

import (
	"math/rand/v2"
	"testing"

	"github.com/tarn-grid/tarn/lease"
)

// What is remembered is what was put last, never more than two generations of
// it, and what is used again and again stays, whatever else passes by.
func TestRecent(t *testing.T) {
	const limit, hot = 100, 10
	r := newRecent(limit, func(_, size int) int { return size })
	rng := rand.New(rand.NewPCG(1, 1))
	last := map[int]int{}
	for n := range 20_000 {
		k := hot + rng.IntN(1000)
		switch rng.IntN(4) {
		case 0:
			r.delete(k)
			delete(last, k)
		default:
			last[k] = 1 + rng.IntN(5)
			r.put(k, last[k])
		}
		if n < hot {
			last[n] = 1
			r.put(n, 1)
		}
		for k := range min(n, hot) {
			if _, ok := r.get(k); !ok {
				t.Fatalf("%d was forgotten after %d others", k, n)
			}
		}
		k = hot + rng.IntN(1000)
		if v, ok := r.get(k); ok && v != last[k] {
			t.Fatalf("%d is %d, want %d", k, v, last[k])
		}
		for _, generation := range []map[int]int{r.young, r.old} {
			sum := 0
			for _, size := range generation {
				sum += size
			}
			if sum > limit {
				t.Fatalf("%d are kept in one generation", sum)
			}
		}
	}
	r.put(1, limit+1)
	if _, ok := r.get(1); ok {
		t.Error("what is too large took all the room")
	}
}

// Many records are read as one by one, whether they are there or not.
func TestManyRecords(t *testing.T) {
	forAll(t, func(t *testing.T, im implementation) {
		s := filled(t, im.open(t))
		rng := rand.New(rand.NewPCG(1, 2))
		for range 50 {
			var leases []lease.LeaseID
			var shares []lease.ShareID
			for range rng.IntN(20) {
				id := testShare(uint32(rng.IntN(8)))
				column := []lease.Column{own(1).Column(), own(3).Column(), under(1, 2, 9).Column(), own(77).Column(), lease.Starter}[rng.IntN(5)]
				leases, shares = append(leases, lease.LeaseID{Column: column, Share: id}), append(shares, id)
			}
			wantMany(t, leases, s.Store.Leases, s.Store.Lease)
			wantMany(t, shares, s.Store.Shares, s.Store.Share)
		}
	})
}

func wantMany[K, V comparable](t *testing.T, keys []K, many func([]K, func(K, V)) error, one func(K) (V, bool, error)) {
	t.Helper()
	found := map[K]V{}
	must(t, many(keys, func(k K, v V) { found[k] = v }))
	asked := map[K]bool{}
	for _, k := range keys {
		asked[k] = true
		got, there := found[k]
		if want, ok, err := one(k); got != want || there != ok || err != nil {
			t.Errorf("%v is %v, %v among many, and %v, %v, %v alone", k, got, there, want, ok, err)
		}
	}
	for k := range found {
		if !asked[k] {
			t.Errorf("nobody asked for %v", k)
		}
	}
}
