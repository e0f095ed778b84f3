package spooltest

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/helper"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Subject is a spool under test, its clock, and what makes older what it has of a
// job.
type Subject struct {
	helper.Spool
	Now func() time.Time
	Age func(wire.Secret, time.Duration)
}

// Suite is what every helper.Spool passes. fresh makes an empty one.
func Suite(t *testing.T, fresh func(t *testing.T) Subject) {
	for name, test := range map[string]func(*kit){
		"parts": (*kit).parts, "results": (*kit).results, "ages": (*kit).ages,
	} {
		t.Run(name, func(t *testing.T) {
			k := &kit{t, fresh(t)}
			if got := k.sweep(nil); len(got.Parts)+len(got.Finished) > 0 {
				t.Fatalf("a new spool has %v", got)
			}
			test(k)
		})
	}
}

type kit struct {
	*testing.T
	spool Subject
}

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// sweep removes what is older than an hour.
func (k *kit) sweep(spare map[wire.Secret]bool) helper.Spooled {
	k.Helper()
	s, err := k.spool.Sweep(k.spool.Now().Add(-time.Hour), spare)
	k.must(err)
	return s
}

var (
	one, two   = wire.Secret{1}, wire.Secret{2}
	alice, bob = grid.PublicKey{3}, grid.PublicKey{4}
)

// write puts text behind what is there.
func (k *kit) write(job wire.Secret, text string, accounts ...grid.PublicKey) {
	k.Helper()
	f, err := k.spool.Open(job, accounts)
	k.must(err)
	size, err := f.Size()
	k.must(err)
	n, err := f.WriteAt([]byte(text), size)
	k.must(errors.Join(err, f.Close()))
	if n != len(text) {
		k.Errorf("%d bytes of %d were written", n, len(text))
	}
}

// parts go on where they were, and are whose they were opened for last.
func (k *kit) parts() {
	k.write(one, "cipher", alice)
	k.write(two, "other", alice, bob)
	k.write(one, "text", bob, alice)
	want := map[wire.Secret]helper.Part{
		one: {Size: 10, Accounts: []grid.PublicKey{bob, alice}},
		two: {Size: 5, Accounts: []grid.PublicKey{alice, bob}},
	}
	if got := k.sweep(nil); !reflect.DeepEqual(got.Parts, want) {
		k.Errorf("the spool has %+v", got.Parts)
	}
	f, err := k.spool.Open(one, []grid.PublicKey{alice})
	k.must(err)
	all := make([]byte, 20)
	n, err := f.ReadAt(all, 0)
	if !errors.Is(err, io.EOF) || !bytes.Equal(all[:n], []byte("ciphertext")) {
		k.Errorf("%q, %v", all[:n], err)
	}
	if n, err := f.ReadAt(all[:4], 6); err != nil || string(all[:n]) != "text" {
		k.Errorf("%q, %v", all[:n], err)
	}
	k.must(f.Close())
	k.must(k.spool.Remove(one))
	k.must(k.spool.Remove(one))
	if got := k.sweep(nil); len(got.Parts) != 1 {
		k.Errorf("after a job was removed the spool has %+v", got.Parts)
	}
	k.write(one, "x", alice)
	if got := k.sweep(nil).Parts[one].Size; got != 1 {
		k.Errorf("begun anew it has %d bytes", got)
	}
}

// results take the place of the ciphertext.
func (k *kit) results() {
	k.write(one, "cipher", alice)
	k.write(two, "cipher", alice)
	want := helper.Result{StorageIndex: grid.StorageIndex{3}, Size: 6, UEBHash: [32]byte{4}, Pushed: 5, Found: 6, At: 7}
	k.must(k.spool.Finish(two, want))
	got := k.sweep(nil)
	if len(got.Parts) != 1 || got.Parts[one].Size != 6 || len(got.Finished) != 1 || got.Finished[two] != want {
		k.Errorf("the spool has %+v", got)
	}
	k.must(k.spool.Remove(two))
	if got := k.sweep(nil); len(got.Finished) > 0 {
		k.Errorf("a result that was removed: %+v", got)
	}
}

// ages: what is old goes, unless it is spared, or opened again.
func (k *kit) ages() {
	for _, job := range []wire.Secret{one, two, {5}, {6}} {
		k.write(job, "cipher", alice)
	}
	k.must(k.spool.Finish(wire.Secret{5}, helper.Result{Size: 6}))
	for _, job := range []wire.Secret{one, two, {5}} {
		k.spool.Age(job, 2*time.Hour)
	}
	f, err := k.spool.Open(two, []grid.PublicKey{alice})
	k.must(err)
	k.must(f.Close())
	if got := k.sweep(map[wire.Secret]bool{one: true}); len(got.Parts) != 3 || len(got.Finished) > 0 {
		k.Errorf("left: %+v", got)
	}
	if got := k.sweep(nil); len(got.Parts) != 2 || got.Parts[two].Size != 6 || got.Parts[wire.Secret{6}].Size != 6 {
		k.Errorf("left of what is new: %+v", got)
	}
}
