package server_test

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// delegate is a connection that is logged in with account 1's certificate for
// key n. With payer set account 1 gets the leases, else key n.
func (r *rig) delegate(n byte, payer bool, may lease.Operation) *client {
	r.Helper()
	certificate := lease.Certificate{Delegate: grid.PublicKeyOf(key(n)), SignerGetsLease: payer}
	certificate.Operation = &may
	chain, err := lease.Chain{}.Sign(key(1), certificate)
	if err != nil {
		r.Fatal(err)
	}
	c := r.dialCredit(fmt.Sprint("delegate ", n), 1<<20)
	c.loggedIn(chain, key(n), !payer)
	return c
}

func (c *client) loggedIn(chain lease.Chain, k ed25519.PrivateKey, labelled bool) {
	c.Helper()
	got := c.do(&wire.Login{Chain: chain.Encode(), Request: c.request(k, chain, labelled)})
	if _, ok := got.(*wire.LoggedIn); !ok {
		c.Fatalf("login answered by %v", got)
	}
}

// TestDelegatesLeaveEachOthersUploadsAlone has two who upload for one account,
// of whom one may not even upload.
func TestDelegatesLeaveEachOthersUploadsAlone(t *testing.T) {
	r := newRig(t, 71)
	r.addAccount(1, nil)
	good, other := r.delegate(10, true, lease.OpUpload), r.delegate(11, true, lease.OpRenewLease)
	share := shareOf("mine", 400000)
	a := allocate(5, 0, share)
	good.offers[a.Secret], good.holding = share, true
	good.do(a)
	r.until("the first reads", func() bool { return len(good.reads) > 0 })

	theirs := *a
	theirs.Secret = wire.Secret{77}
	wantCode(t, other.do(&theirs), wire.Busy)
	if m := other.do(&wire.Abandon{StorageIndex: a.StorageIndex, Num: a.Num}); *m.(*wire.Done) != (wire.Done{}) {
		t.Fatal(m)
	}
	if good.pulls != 1 || len(good.stored) != 0 || r.status().Uploads != 1 {
		t.Errorf("%d pulls, told %v, %d uploads", good.pulls, good.stored, r.status().Uploads)
	}
	if m := good.do(&wire.Abandon{StorageIndex: a.StorageIndex, Num: a.Num}); *m.(*wire.Done) != (wire.Done{}) {
		t.Fatal(m)
	}
	if s := r.status(); s.Uploads != 0 {
		t.Errorf("its own: %d uploads", s.Uploads)
	}
}

// TestRootsShareTheUploads has a root that signs for more and more keys, each
// an account of its own: together they get no more uploads than one.
func TestRootsShareTheUploads(t *testing.T) {
	r := newRig(t, 72)
	r.addAccount(1, nil)
	r.addAccount(2, nil)
	coming := 0
	for n := byte(10); n < 13; n++ {
		c := r.delegate(n, false, lease.AllOperations)
		c.holding = true
		for i := range 600 {
			a := &wire.Allocate{StorageIndex: grid.StorageIndex{n, byte(i), byte(i >> 8)}, Size: 1, Secret: wire.Secret{1}}
			c.offers[a.Secret] = []byte{0}
			switch m := c.do(a).(type) {
			case *wire.Allocated:
				coming++
			default:
				wantCode(t, m, wire.Busy)
			}
		}
	}
	if coming != 1024 {
		t.Errorf("one root has %d uploads", coming)
	}
	c := r.dial("another account")
	c.logIn(2)
	share := shareOf("another's", 5000)
	if m, ok := c.do(allocate(99, 0, share), share).(*wire.Allocated); !ok || m.State != wire.NowStored {
		t.Errorf("another account's upload: %v", m)
	}
}
