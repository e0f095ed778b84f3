package lease_test

import (
	"testing"

	"github.com/tarn-grid/tarn/lease"
)

// A chain is kept as it was shown, whenever that was, once, and goes with its
// last lease.
func TestCertificatesAreKept(t *testing.T) {
	b := newBank()
	b.addRoot(t, "alice", 1<<20)
	byReference := chainOf("alice>bob", noSpace)
	shown := byReference
	shown.Certificates = []byte("certificates")
	want := func(n int) {
		t.Helper()
		if len(b.view.certificates) != n {
			t.Errorf("%d chains are kept as shown, want %d", len(b.view.certificates), n)
		}
		for id, c := range b.view.chains {
			if c.Certificates != nil {
				t.Errorf("the record of chain %d has it, too", id)
			}
		}
	}
	store := func(g lease.Grant, name string) {
		t.Helper()
		_, err := b.Reserve(epoch, g, shareNamed(name), 10, lease.NoLimit)
		b.must(t, err)
		b.must(t, b.commit(epoch, g, shareNamed(name), 10))
	}
	store(byReference, "one")
	want(0)
	change, _, err := b.RenewLeases(epoch, shown, []lease.ShareID{shareNamed("one")})
	b.must(t, b.done(change, err))
	want(1)
	store(shown, "two")
	want(1)
	for _, name := range []string{"one", "two"} {
		change, _, err := b.Drop([]lease.LeaseID{{Column: shown.Column(), Share: shareNamed(name)}})
		b.must(t, b.done(change, err))
	}
	want(0)
	store(shown, "three")
	want(1)
}
