package server_test

import (
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// TestRenewManyFiles renews more leases than the ledger does in one go, and
// names each file more than once.
func TestRenewManyFiles(t *testing.T) {
	r := newRig(t, 81)
	r.addAccount(1, nil)
	c := r.dial("c")
	c.logIn(1)
	const files = 300
	share := shareOf("any", 1000)
	var all []grid.StorageIndex
	for i := range files {
		si := grid.StorageIndex{byte(i), byte(i >> 8)}
		m := &wire.Allocate{StorageIndex: si, Size: uint64(len(share)), Secret: wire.Secret{1}}
		if got, ok := c.do(m, share).(*wire.Allocated); !ok || got.State != wire.NowStored {
			t.Fatal(got)
		}
		all = append(all, si, si, si)
	}
	if m, ok := c.do(&wire.RenewLease{StorageIndexes: all}).(*wire.Leased); !ok || m.Count != files || m.Expires == 0 {
		t.Errorf("renewed: %+v", m)
	}
	wantCode(t, c.do(&wire.RenewLease{StorageIndexes: []grid.StorageIndex{{0xff, 0xff}}}), wire.NoSuchShare)
}

// TestBodyBeyondHello breaks the bound that the server's hello set.
func TestBodyBeyondHello(t *testing.T) {
	r := newRig(t, 82)
	r.addAccount(1, nil)
	c := r.dial("c")
	c.logIn(1)
	m := &wire.Allocate{StorageIndex: grid.StorageIndex{9}, Size: 1 << 30, Secret: wire.Secret{1}}
	if got := c.do(m, make([]byte, 256<<10+1)); got != nil || c.closed == nil {
		t.Errorf("answered by %v, closed %v", got, c.closed)
	}
}
