package server_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport/wire"
)

var testEnabler = lease.WriteEnabler{7: 'w'}

// absent is the test for a share that is not there.
var absent = []wire.Test{{Length: 1}}

// writeAt changes one share of file n, if the tests hold.
func writeAt(n byte, num grid.ShareNum, tests []wire.Test, off, length int) *wire.Mutate {
	return &wire.Mutate{StorageIndex: grid.StorageIndex{n}, Enabler: testEnabler, Reads: []wire.Range{{Length: 100}},
		Shares: []wire.MutateShare{{Num: num, Tests: tests, Writes: []wire.Range{{Offset: uint64(off), Length: uint64(length)}}}}}
}

func (c *client) mutate(want bool, m *wire.Mutate, body ...[]byte) *wire.Mutated {
	c.Helper()
	got, ok := c.do(m, body...).(*wire.Mutated)
	if !ok || got.Done != want {
		c.Fatalf("answered by %v, want done: %v", c.answers[c.next], want)
	}
	return got
}

// share reads a whole share.
func (c *client) share(n byte, num grid.ShareNum) []byte {
	c.Helper()
	m := &wire.Read{StorageIndex: grid.StorageIndex{n}, Num: num, Ranges: []wire.Range{{Length: wire.MaxRead}}}
	if _, ok := c.do(m).(*wire.Data); !ok {
		c.Fatalf("read answered by %v", c.answers[c.next])
	}
	return c.bodies[c.next]
}

func (c *client) wantShare(n byte, num grid.ShareNum, want []byte) {
	c.Helper()
	if got := c.share(n, num); !bytes.Equal(got, want) {
		c.Errorf("share %d has %d bytes, want %d, or they differ", num, len(got), len(want))
	}
}

func newWriter(t *testing.T, quota *int64) (*rig, *client) {
	r := newRig(t, 1)
	r.addAccount(1, quota)
	c := r.dial("client")
	c.logIn(1)
	return r, c
}

// A share is made, tested, written in places, with a gap, and cut.
func TestMutate(t *testing.T) {
	_, c := newWriter(t, nil)
	first := c.mutate(true, writeAt(5, 3, absent, 0, 5), []byte("hello"))
	if len(first.Shares) != 0 || first.Expires == 0 {
		t.Errorf("the first write is answered by %+v", first)
	}
	if got := c.mutate(false, writeAt(5, 3, absent, 0, 5), []byte("other")); len(got.Shares) != 1 || string(c.bodies[c.next]) != "hello" {
		t.Errorf("a test that fails is answered by %+v, %q", got, c.bodies[c.next])
	}
	test := []wire.Test{{Offset: 1, Length: 2, Wanted: 2}, {Offset: 4, Length: 9, Wanted: 1}}
	c.mutate(true, writeAt(5, 3, test, 7, 3), []byte("el"), []byte("o"), []byte("abc"))
	if string(c.bodies[c.next]) != "hello" {
		t.Errorf("the answer is not what was there before: %q", c.bodies[c.next])
	}
	c.wantShare(5, 3, []byte("hello\x00\x00abc"))
	cut := &wire.Mutate{StorageIndex: grid.StorageIndex{5}, Enabler: testEnabler, Shares: []wire.MutateShare{{Num: 3, Cut: true, Length: 4}, {Num: 9, Writes: []wire.Range{{Length: 1}}}}}
	c.mutate(true, cut, []byte("x"))
	c.wantShare(5, 3, []byte("hell"))
	c.wantShare(5, 9, []byte("x"))
	f := c.do(&wire.Find{StorageIndex: grid.StorageIndex{5}}).(*wire.Found)
	if len(f.Shares) != 2 || f.Shares[0].UEBHash != [32]byte{} {
		t.Errorf("found %+v", f)
	}
}

// One test that fails keeps every share as it is.
func TestMutateIsAllOrNothing(t *testing.T) {
	_, c := newWriter(t, nil)
	m := &wire.Mutate{StorageIndex: grid.StorageIndex{5}, Enabler: testEnabler, Shares: []wire.MutateShare{
		{Num: 1, Tests: absent, Writes: []wire.Range{{Length: 1}}}, {Num: 2, Tests: []wire.Test{{Length: 1, Wanted: 1}}, Writes: []wire.Range{{Length: 1}}},
	}}
	c.mutate(false, m, []byte("a"), []byte("t"), []byte("b"))
	if f := c.do(&wire.Find{StorageIndex: grid.StorageIndex{5}}).(*wire.Found); len(f.Shares) != 0 {
		t.Errorf("%d shares are there", len(f.Shares))
	}
	if *c.table.files != 0 {
		t.Errorf("%d files are left open", *c.table.files)
	}
}

// Who has not the write enabler writes nothing, and no share that can't be
// changed is.
func TestWriteEnabler(t *testing.T) {
	_, c := newWriter(t, nil)
	c.mutate(true, writeAt(5, 3, absent, 0, 5), []byte("hello"))
	m := writeAt(5, 3, nil, 0, 5)
	m.Enabler[0]++
	wantCode(t, c.do(m, []byte("other")), wire.WrongEnabler)
	c.wantShare(5, 3, []byte("hello"))
	share := shareOf("immutable", 2000)
	if a := c.do(allocate(6, 0, share), share).(*wire.Allocated); a.State != wire.NowStored {
		t.Fatalf("answered by %v", a)
	}
	wantCode(t, c.do(writeAt(6, 0, nil, 0, 1), []byte("x")), wire.WrongEnabler)
	c.wantShare(6, 0, share)
}

// What is permitted and paid is the ledger's to say; what ends an account ends
// this, too.
func TestMutateRefused(t *testing.T) {
	quota := int64(1000 + lease.LeaseOverhead)
	r, c := newWriter(t, &quota)
	wantCode(t, r.dial("stranger").do(writeAt(5, 3, nil, 0, 1), []byte("x")), wire.LoginRequired)
	wantCode(t, c.do(writeAt(5, 3, nil, 0, 1001), make([]byte, 1001)), wire.OverQuota)
	wantCode(t, c.do(writeAt(5, 3, nil, 1<<50, 1), []byte{1}), wire.ServerFull)
	c.mutate(true, writeAt(5, 3, nil, 0, 1000), make([]byte, 1000))
	wantCode(t, c.do(writeAt(5, 3, nil, 1000, 1), []byte{1}), wire.OverQuota)
	usage := r.ask(server.ListUsage{}).(server.UsageList)[0]
	if usage.Below.Stored.Bytes != quota || usage.Today.In != 1001+1+1000+1 {
		t.Errorf("%+v", usage)
	}
	r.changed(server.Revoke{Name: "account 1"})
	wantCode(t, c.do(writeAt(5, 3, nil, 0, 1), []byte("x")), wire.AuthorityRevoked)
}

// A lease on a share that can be changed is found, renewed and cancelled as
// others are, and the share goes with it.
func TestMutableLeases(t *testing.T) {
	r, c := newWriter(t, nil)
	c.mutate(true, writeAt(5, 3, nil, 0, store.SmallShare+1), make([]byte, store.SmallShare+1))
	if got := c.do(&wire.Enumerate{Most: 10}).(*wire.Enumerated); got.Count != 1 {
		t.Errorf("%d leases", got.Count)
	}
	share := sharesBody(lease.ShareID{StorageIndex: grid.StorageIndex{5}, Num: 3})
	if got := c.do(&wire.RenewShares{Count: 1}, share).(*wire.SharesDone); got.Expires == 0 || c.bodies[c.next][0] != byte(wire.ShareDone) {
		t.Errorf("renewed: %+v, %v", got, c.bodies[c.next])
	}
	if got := c.do(&wire.CancelShares{Count: 1}, share).(*wire.SharesDone); c.bodies[c.next][0] != byte(wire.ShareDone) {
		t.Errorf("cancelled: %+v, %v", got, c.bodies[c.next])
	}
	r.until("the share to go", func() bool {
		_, there, err := r.table.Share(lease.ShareID{StorageIndex: grid.StorageIndex{5}, Num: 3})
		return !there && err == nil
	})
}

// Several clients that add to one number at the same time: it ends as how often
// one was told that it had.
func TestManyWritersRace(t *testing.T) {
	r := newRig(t, 3)
	r.addAccount(1, nil)
	writers := make([]*client, 4)
	for i := range writers {
		writers[i] = r.dial("writer")
		writers[i].logIn(1)
	}
	writers[0].mutate(true, writeAt(5, 0, absent, 0, 8), make([]byte, 8))
	acked := uint64(0)
	for range 40 {
		now := binary.BigEndian.Uint64(writers[0].share(5, 0))
		ids := make([]uint64, len(writers))
		for i, w := range writers {
			was, then := binary.BigEndian.AppendUint64(nil, now), binary.BigEndian.AppendUint64(nil, now+1)
			ids[i] = w.send(writeAt(5, 0, []wire.Test{{Length: 8, Wanted: 8}}, 0, 8), was, then)
		}
		won := 0
		for i, w := range writers {
			if m, ok := w.wait(ids[i]).(*wire.Mutated); ok && m.Done {
				won++
			}
		}
		if won != 1 {
			t.Fatalf("%d writers were told that they wrote", won)
		}
		acked++
	}
	if got := binary.BigEndian.Uint64(writers[0].share(5, 0)); got != acked {
		t.Errorf("the number is %d after %d writes", got, acked)
	}
}

func stagePart(n byte, num grid.ShareNum, size, off int) *wire.Stage {
	return &wire.Stage{StorageIndex: grid.StorageIndex{n}, Num: num, Enabler: testEnabler, Secret: wire.Secret{n, byte(num)}, Size: uint64(size), Offset: uint64(off)}
}

func staged(n byte, num grid.ShareNum, size int, writes ...wire.Range) *wire.Mutate {
	return &wire.Mutate{StorageIndex: grid.StorageIndex{n}, Enabler: testEnabler, Shares: []wire.MutateShare{
		{Num: num, Writes: writes, Cut: true, Length: uint64(size), Staged: wire.Secret{n, byte(num)}},
	}}
}

// What is too large for a frame is staged: a whole share, and parts of one.
func TestStage(t *testing.T) {
	r, c := newWriter(t, nil)
	whole := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	var ids []uint64
	for off := 0; off < len(whole); off += 200_000 {
		part := whole[off:min(len(whole), off+200_000)]
		ids = append(ids, c.send(stagePart(5, 1, len(whole), off), part))
	}
	for _, id := range ids {
		if _, ok := c.wait(id).(*wire.Done); !ok {
			t.Fatalf("stage answered by %v", c.answers[id])
		}
	}
	if usage := r.ask(server.ListUsage{}).(server.UsageList)[0]; usage.Below.Reserved.Bytes != int64(len(whole)+lease.LeaseOverhead) {
		t.Errorf("while staged: %+v", usage.Below)
	}
	c.mutate(true, staged(5, 1, len(whole), wire.Range{Length: uint64(len(whole))}))
	c.wantShare(5, 1, whole)
	patch := bytes.Repeat([]byte{0xee}, 1000)
	c.do(stagePart(5, 1, len(whole), 0), patch)
	c.mutate(true, staged(5, 1, len(whole), wire.Range{Offset: 50, Length: 400}, wire.Range{Offset: 100_000, Length: 600}))
	copy(whole[50:], patch[:400])
	copy(whole[100_000:], patch[:600])
	c.wantShare(5, 1, whole)
	wantCode(t, c.do(staged(5, 1, len(whole), wire.Range{Length: 10})), wire.BadRequest)
	usage := r.ask(server.ListUsage{}).(server.UsageList)[0]
	if usage.Below.Reserved != (lease.Counter{}) || usage.Below.Stored.Bytes != int64(len(whole)+lease.LeaseOverhead) {
		t.Errorf("%+v", usage.Below)
	}
}

// What is staged and not written is free again: given up, or when the connection
// ends.
func TestStagedAndLeft(t *testing.T) {
	quota := int64(100_000)
	r, c := newWriter(t, &quota)
	wantCode(t, c.do(stagePart(5, 1, 100_000, 0), []byte("x")), wire.OverQuota)
	nothing := func() bool {
		usage := r.ask(server.ListUsage{}).(server.UsageList)[0]
		return usage.Below.Reserved == (lease.Counter{})
	}
	c.do(stagePart(5, 1, 90_000, 0), []byte("x"))
	if nothing() {
		t.Error("nothing is reserved for what is staged")
	}
	wantCode(t, c.do(stagePart(5, 1, 80_000, 1), []byte("x")), wire.BadRequest)
	wantCode(t, c.do(staged(6, 1, 5, wire.Range{Length: 1})), wire.BadRequest)
	c.do(&wire.Unstage{Secret: wire.Secret{5, 1}})
	r.until("the room to be free", nothing)
	c.do(stagePart(5, 1, 90_000, 0), []byte("x"))
	c.session.Close()
	r.until("the room to be free", nothing)
	must(r.world.For(time.Second))
	if *r.table.files != 0 {
		t.Errorf("%d files are left open", *r.table.files)
	}
	for steps := range 40 { // the connection ends while a write of what was staged is anywhere
		c = r.dial("client")
		c.logIn(1)
		c.do(stagePart(5, 1, 90_000, 0), make([]byte, 90_000))
		c.send(staged(5, 1, 90_000, wire.Range{Length: 80_000}, wire.Range{Offset: 80_000, Length: 10_000}))
		r.world.Run(steps)
		c.session.Close()
		r.until("the room to be free", nothing)
	}
}
