package lease_test

import (
	"errors"
	"testing"

	"github.com/tarn-grid/tarn/lease"
)

// imports takes in a share and wants that to come of it.
func (b *bank) imports(t *testing.T, id lease.ShareID, s lease.Imported, want lease.Importing) {
	t.Helper()
	change, got, err := b.Import(epoch, id, s, lease.NoLimit)
	b.must(t, b.done(change, err))
	if got != want {
		t.Errorf("%v came of the import, want %v", got, want)
	}
}

// An imported share ends with the last lease that it had, or with the month of
// what is found; and is never shorter kept by a second import.
func TestImportedSharesLapse(t *testing.T) {
	b := newBank()
	soon, later := epoch.Unix()+100, epoch.Unix()+1000
	ends := func(id lease.ShareID) int64 {
		return b.view.leases[lease.LeaseID{Column: lease.Starter, Share: id}].Expires
	}
	kept, lapsed := shareNamed("kept"), shareNamed("lapsed")
	b.imports(t, kept, lease.Imported{Body: fileBody(1000), Expires: soon}, lease.ImportStored)
	b.imports(t, lapsed, lease.Imported{Body: fileBody(10), Expires: epoch.Unix()}, lease.ImportStored)
	if ends(kept) != soon || ends(lapsed) != epoch.Add(lease.LeaseDuration).Unix() {
		t.Errorf("they end at %d and %d", ends(kept), ends(lapsed))
	}
	b.imports(t, kept, lease.Imported{Body: fileBody(1000), Bare: true, Expires: later}, lease.ImportKnown)
	b.imports(t, kept, lease.Imported{Body: fileBody(1000), Expires: soon}, lease.ImportKnown)
	b.imports(t, lapsed, lease.Imported{Body: fileBody(10), Expires: 5}, lease.ImportKnown)
	if ends(kept) != later || ends(lapsed) != epoch.Add(lease.LeaseDuration).Unix() {
		t.Errorf("after another import they end at %d and %d", ends(kept), ends(lapsed))
	}
	u, err := b.Usage(lease.ColumnCounterKey(lease.Starter))
	b.must(t, err)
	if u.Bytes() != 1010+2*lease.LeaseOverhead || u.Stored.Leases != 2 {
		t.Errorf("usage of starter: %+v", u)
	}
	for _, id := range []lease.ShareID{kept, lapsed} {
		change, going, err := b.Expire(epoch.Add(2*lease.LeaseDuration), []lease.LeaseID{{Column: lease.Starter, Share: id}})
		b.must(t, b.done(change, err))
		if len(going) != 1 {
			t.Fatalf("%d shares go", len(going))
		}
		b.must(t, b.done(b.Gone(going[0])))
	}
	if len(b.view.shares)+len(b.view.leases)+len(b.view.counters) != 0 {
		t.Errorf("left over: %+v", b.view)
	}
}

// A share that is here is never another one after an import, whoever keeps it;
// what its holders pay for does not change.
func TestImportLeavesShares(t *testing.T) {
	b := newBank()
	b.addRoot(t, "alice", 10_000)
	id := shareNamed("hers")
	change, _, err := b.Put(epoch, chainOf("alice", nil), id, fileBody(1000), lease.NoLimit)
	b.must(t, b.done(change, err))
	before := b.view.shares[id]
	for _, other := range []lease.Imported{
		{Body: lease.Body{UEBHash: lease.UEBHash{1}, Size: 1000, File: 7}},
		{Body: lease.Body{Size: 4, Inline: []byte("slot")}, Enabler: lease.WriteEnabler{1}},
	} {
		if _, _, err := b.Import(epoch, id, other, lease.NoLimit); !errors.Is(err, lease.ErrOtherShare) {
			t.Errorf("another share: %v", err)
		}
	}
	b.imports(t, id, lease.Imported{Body: lease.Body{UEBHash: before.UEBHash, Size: 1000}, Bare: true, Expires: epoch.Unix() + 5}, lease.ImportKnown)
	after := b.view.shares[id]
	if after.Leases != before.Leases+1 || after.File != before.File || after.Size != before.Size {
		t.Errorf("the share was %+v and is %+v", before, after)
	}
	u, err := b.Usage(lease.ColumnCounterKey(lease.Starter))
	b.must(t, err)
	if u.Bytes() != 1000+lease.LeaseOverhead {
		t.Errorf("usage of starter: %+v", u)
	}
}

// A share that can be changed brings its write enabler along, and is changed by
// whoever has that, as if it had been written here.
func TestImportedSharesAreChanged(t *testing.T) {
	b := newBank()
	b.addRoot(t, "alice", 10_000)
	id, enabler := shareNamed("slot"), lease.WriteEnabler{9}
	slot := lease.Imported{Body: lease.Body{Size: 4, Inline: []byte("slot")}, Enabler: enabler}
	if _, got, err := b.Import(epoch, id, lease.Imported{Body: lease.Body{Size: 4}, Bare: true, Enabler: enabler}, lease.NoLimit); err != nil || got != lease.ImportWanted || len(b.view.shares) != 0 {
		t.Errorf("said, and not sent: %v, %v", got, err)
	}
	b.imports(t, id, slot, lease.ImportStored)
	another := slot
	another.Enabler[0]++
	if _, _, err := b.Import(epoch, id, another, lease.NoLimit); !errors.Is(err, lease.ErrOtherShare) {
		t.Errorf("imported with another write enabler: %v", err)
	}
	written := lease.Mutation{
		StorageIndex: id.StorageIndex, Enabler: enabler, Seen: []lease.Seen{{Num: id.Num, Writes: 1}},
		Writes: []lease.ShareWrite{{Num: id.Num, Body: lease.Body{Size: 5, Inline: []byte("newer")}}},
	}
	wrong := written
	wrong.Enabler = lease.WriteEnabler{8}
	if _, _, err := b.Mutate(epoch, chainOf("alice", nil), wrong, lease.NoLimit); !errors.Is(err, lease.ErrWriteEnabler) {
		t.Errorf("with another write enabler: %v", err)
	}
	change, _, err := b.Mutate(epoch, chainOf("alice", nil), written, lease.NoLimit)
	b.must(t, b.done(change, err))
	b.imports(t, id, slot, lease.ImportKnown) // the older bytes do not come back
	if got := string(b.view.inline[id]); got != "newer" {
		t.Errorf("the share is %q after a second import", got)
	}
}

func TestImportNeedsRoom(t *testing.T) {
	b := newBank()
	id := shareNamed("large")
	if _, _, err := b.Import(epoch, id, lease.Imported{Body: fileBody(1000)}, 1000); !errors.Is(err, lease.ErrServerFull) {
		t.Errorf("on a disk without room: %v", err)
	}
	if _, _, err := b.Import(epoch, id, lease.Imported{Body: lease.Body{Size: 5}}, lease.NoLimit); !errors.Is(err, lease.ErrMalformed) {
		t.Errorf("without its bytes: %v", err)
	}
	if len(b.view.shares)+len(b.view.leases) != 0 {
		t.Errorf("left over: %+v", b.view)
	}
}
