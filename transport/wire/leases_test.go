package wire_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

func drawShare(t *rapid.T) lease.ShareID {
	si := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "storage index")
	return lease.ShareID{StorageIndex: grid.StorageIndex(si), Num: grid.ShareNum(rapid.Byte().Draw(t, "number"))}
}

// What is written into a body is what is read from it.
func TestSharesAndLeasesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfN(rapid.Custom(drawShare), 0, 20).Draw(t, "shares")
		var body []byte
		for _, id := range ids {
			body = wire.AppendShare(body, id)
		}
		if got, err := wire.Shares(body); err != nil || !slices.Equal(got, ids) {
			t.Fatalf("shares %v, %v; want %v", got, err, ids)
		}
		slices.SortFunc(ids, lease.ShareID.Compare)
		var leases []lease.HeldLease
		body = nil
		for _, id := range slices.Compact(ids) {
			n := rapid.Int64Range(0, 1<<62)
			leases = append(leases, lease.HeldLease{Share: id, Size: n.Draw(t, "size"), Renewed: n.Draw(t, "renewed"), Expires: n.Draw(t, "expires")})
			body = wire.AppendLease(body, leases[len(leases)-1])
		}
		if got, err := wire.Leases(body); err != nil || !slices.Equal(got, leases) {
			t.Fatalf("leases %v, %v; want %v", got, err, leases)
		}
	})
}

func TestBadLeasesAreRefused(t *testing.T) {
	one := lease.HeldLease{Share: lease.ShareID{Num: 1}, Size: 5}
	twice := wire.AppendLease(wire.AppendLease(nil, one), one)
	if _, err := wire.Leases(twice); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("the same lease twice: %v", err)
	}
	if _, err := wire.Leases(wire.AppendLease(nil, lease.HeldLease{Size: -1})); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a negative size: %v", err)
	}
	if _, err := wire.Shares(make([]byte, wire.ShareSize-1)); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a part of a share: %v", err)
	}
}

func FuzzLeases(f *testing.F) {
	f.Add(leaseBody(grid.StorageIndex{1}))
	f.Add(append(leaseBody(grid.StorageIndex{1}), leaseBody(grid.StorageIndex{2})...))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, body []byte) {
		leases, err := wire.Leases(body)
		if err != nil {
			return
		}
		var again []byte
		for _, l := range leases {
			again = wire.AppendLease(again, l)
		}
		if !bytes.Equal(again, body) {
			t.Errorf("%x was read as %v, which is %x", body, leases, again)
		}
	})
}
