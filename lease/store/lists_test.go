package store

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// A list that is remembered is the one that a scan would find, whatever was stored,
// written and given up since it was made.
func TestRememberedListsFollowChanges(t *testing.T) {
	s := serve(t, NewMemory())
	s.addRoot(1, 1<<30)
	rng := rand.New(rand.NewPCG(1, 2))
	held := map[lease.ShareID]bool{}
	for range 2000 {
		id := lease.ShareID{StorageIndex: grid.StorageIndex{byte(rng.IntN(4))}, Num: grid.ShareNum(rng.IntN(10))}
		switch mutable := id.StorageIndex[0]%2 == 0; {
		case held[id] && rng.IntN(2) == 0:
			change, _, going, err := s.ledger.CancelLeases(start, own(1), []lease.ShareID{id})
			s.apply(change, err)
			mustDelete(t, s.Store, going...)
			s.apply(s.ledger.Gone(going...))
			delete(held, id)
		case mutable:
			s.apply(s.write(own(1), id, make([]byte, 1+rng.IntN(100))))
			held[id] = true
		case !held[id]:
			s.put(own(1), id, make([]byte, 1+rng.IntN(100)))
			held[id] = true
		}
		got, err := s.ListShares(id.StorageIndex)
		must(t, err)
		want, err := s.scanShares(id.StorageIndex)
		must(t, err)
		if !slices.Equal(got, want) {
			t.Fatalf("remembered %+v, there is %+v", got, want)
		}
	}
}
