package server_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/container"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// tahoeFile is a share in a file as a Tahoe-LAFS server has it.
func tahoeFile(t testing.TB, s container.Share, body []byte, ends time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	s.Size = int64(len(body))
	if err := container.Write(&b, s, bytes.NewReader(body), ends.Unix()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// takeIn reads such a file for the server's store.
func (r *rig) takeIn(id lease.ShareID, content []byte) (lease.Imported, error) {
	s, file, err := server.TakeIn(r.table, id, bytes.NewReader(content), int64(len(content)))
	if file != nil {
		r.Cleanup(func() {
			if err := file.Discard(); err != nil {
				r.Errorf("discard: %v", err)
			}
		})
	}
	return s, err
}

// imports takes it in altogether.
func (r *rig) imports(id lease.ShareID, content []byte) (lease.Importing, error) {
	r.Helper()
	s, err := r.takeIn(id, content)
	if err != nil {
		return 0, err
	}
	switch reply := r.ask(server.ImportShare{ID: id, Share: s, Free: lease.NoLimit}).(type) {
	case lease.Importing:
		return reply, nil
	case error:
		return 0, reply
	default:
		r.Fatalf("answered %T", reply)
		return 0, nil
	}
}

// giveOut is the share in such a file.
func (r *rig) giveOut(id lease.ShareID) []byte {
	r.Helper()
	var b bytes.Buffer
	if err := server.GiveOut(r.table, id, grid.NodeID{9}, &b); err != nil {
		r.Fatal(err)
	}
	return b.Bytes()
}

// TestImport: what is taken in is read, kept until its lease ends, given out as
// it came, and never changed by another import.
func TestImport(t *testing.T) {
	for name, size := range map[string]int{"in the table": 5_000, "a file": 100_000} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 71)
			ends := r.world.Now().Add(10 * 24 * time.Hour).Truncate(time.Second)
			id, body := lease.ShareID{StorageIndex: grid.StorageIndex{7}, Num: 2}, shareNumber(2, "old", size)
			content := tahoeFile(t, container.Share{}, body, ends)
			for _, want := range []lease.Importing{lease.ImportStored, lease.ImportKnown} {
				if got, err := r.imports(id, content); err != nil || got != want {
					t.Fatalf("%v came of it, %v; want %v", got, err, want)
				}
			}
			if got := r.giveOut(id); !bytes.Equal(got, content) {
				t.Errorf("given out, it has %d bytes and not the %d that came", len(got), len(content))
			}
			other := tahoeFile(t, container.Share{}, shareNumber(2, "another", size), ends)
			if _, err := r.imports(id, other); !errors.Is(err, lease.ErrOtherShare) {
				t.Errorf("another share under its number: %v", err)
			}
			c := r.dial("reader")
			read, ok := c.do(&wire.Read{StorageIndex: id.StorageIndex, Num: id.Num, Ranges: []wire.Range{{Length: uint64(len(body))}}}).(*wire.Data)
			if !ok || read.Lengths[0] != uint64(len(body)) {
				t.Errorf("read: %v", read)
			}
			shares := r.ask(server.FileShares{StorageIndex: id.StorageIndex}).([]server.FileShare)
			if len(shares) != 1 || shares[0].Ends != ends.Unix() || shares[0].ID != id {
				t.Errorf("listed: %+v", shares)
			}
			if err := r.world.For(11 * 24 * time.Hour); err != nil {
				t.Fatal(err)
			}
			if u := r.usage(t); len(u) != 0 {
				t.Errorf("usage after its end: %+v", u)
			}
			if err := server.GiveOut(r.table, id, grid.NodeID{}, io.Discard); !errors.Is(err, lease.ErrNoShare) {
				t.Errorf("given out after its end: %v", err)
			}
		})
	}
}

// TestImportOfWhatIsNone: nothing comes of a file in which one byte is wrong,
// whichever it is, or that is another share's.
func TestImportOfWhatIsNone(t *testing.T) {
	r := newRig(t, 72)
	id, body := lease.ShareID{StorageIndex: grid.StorageIndex{7}}, shareOf("old", 40_000)
	content := tahoeFile(t, container.Share{}, body, r.world.Now())
	const header, leases = 12, 72
	for at := 0; at < len(content)-leases; at += 997 {
		if at >= 4 && at < 8 {
			continue // nobody reads that
		}
		wrong := bytes.Clone(content)
		wrong[at] ^= 0x40
		if _, err := r.takeIn(id, wrong); !errors.Is(err, server.ErrImport) {
			t.Errorf("byte %d of %d changed: %v", at, len(content), err)
		}
	}
	for name, wrong := range map[string][]byte{
		"empty": {}, "cut": content[:len(content)-leases-1], "no header": content[header:], "more": append(bytes.Clone(content), 0),
	} {
		if _, err := r.takeIn(id, wrong); !errors.Is(err, server.ErrImport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.takeIn(lease.ShareID{Num: grid.ShareNum(params.Total)}, content); !errors.Is(err, server.ErrImport) {
		t.Errorf("under another number: %v", err)
	}
	if got := r.ask(server.FileShares{StorageIndex: id.StorageIndex}).([]server.FileShare); len(got) != 0 {
		t.Errorf("there are %+v", got)
	}
}

// TestImportMutable: a share that can be changed brings its write enabler along.
func TestImportMutable(t *testing.T) {
	r := newRig(t, 73)
	if has := r.ask(server.AskMutable{}); has != false {
		t.Errorf("has shares that can be changed: %v", has)
	}
	private, err := rsa.GenerateKey(rand.Reader, mutable.KeyBits)
	must(err)
	k, err := mutable.NewKey(private)
	must(err)
	layout, err := mutable.NewLayout(mutable.SDMF, 5, file.Params{Needed: 1, Happy: 1, Total: 1})
	must(err)
	_, bodies, err := mutable.Encode(layout, k, 1, []byte("hello"), rand.Reader)
	must(err)
	slot := container.Share{Mutable: true, Enabler: [32]byte{5}, NodeID: grid.NodeID{9}}
	id := lease.ShareID{StorageIndex: k.Capability(mutable.SDMF).StorageIndex()}
	content := tahoeFile(t, slot, bodies[0], r.world.Now().Add(time.Hour))
	if _, err := r.imports(id, content[:len(content)-10]); !errors.Is(err, server.ErrImport) {
		t.Errorf("cut: %v", err)
	}
	short := tahoeFile(t, slot, bodies[0][:len(bodies[0])-1], r.world.Now())
	if _, err := r.imports(id, short); !errors.Is(err, server.ErrImport) {
		t.Errorf("a share that ends early: %v", err)
	}
	if got, err := r.imports(id, content); err != nil || got != lease.ImportStored {
		t.Fatalf("%v came of it, %v", got, err)
	}
	if got := r.giveOut(id); !bytes.Equal(got, content) {
		t.Errorf("given out, it has %d bytes and not the %d that came", len(got), len(content))
	}
	slot.Enabler[0]++
	if _, err := r.imports(id, tahoeFile(t, slot, bodies[0], r.world.Now())); !errors.Is(err, lease.ErrOtherShare) {
		t.Errorf("with another write enabler: %v", err)
	}
	if has := r.ask(server.AskMutable{}); has != true {
		t.Errorf("has shares that can be changed: %v", has)
	}
}

// TestImportNeedsRoom says so before it takes anything.
func TestImportNeedsRoom(t *testing.T) {
	r := newRig(t, 74)
	r.table.freeSpace = func() int64 { return 1000 }
	content := tahoeFile(t, container.Share{}, shareOf("old", 40_000), r.world.Now())
	if _, _, err := server.TakeIn(r.table, lease.ShareID{}, bytes.NewReader(content), int64(len(content))); !errors.Is(err, lease.ErrServerFull) {
		t.Errorf("on a full disk: %v", err)
	}
}
