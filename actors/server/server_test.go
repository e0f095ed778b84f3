package server_test

import (
	"bytes"
	"testing"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

func (r *rig) usage(t testing.TB) server.UsageList {
	t.Helper()
	list, ok := r.ask(server.ListUsage{}).(server.UsageList)
	if !ok {
		t.Fatal("no usage list")
	}
	return list
}

func TestUploadInline(t *testing.T) {
	r := newRig(t, 1)
	pub := r.addAccount(1, nil)
	c := r.dial("client")
	in := c.logIn(1)
	if in.Label != pub || in.Expires == 0 {
		t.Errorf("logged in as %+v", in)
	}
	share := shareNumber(3, "small", 5000)
	got, ok := c.do(allocate(1, 3, share), share).(*wire.Allocated)
	if !ok || got.State != wire.NowStored || got.UEBHash != uebOf(3, share) {
		t.Fatalf("allocate answered by %+v", got)
	}
	report := c.do(&wire.Usage{}).(*wire.UsageReport)
	if report.Label != pub || report.Bytes != 5000+128 || report.Shares != 1 || report.Reserved != 0 || report.RootBytes != 5128 {
		t.Errorf("usage %+v", report)
	}
	id := c.send(&wire.Read{StorageIndex: grid.StorageIndex{1}, Num: 3, Ranges: []wire.Range{{Offset: 10, Length: 20}, {Offset: 4990, Length: 99}}})
	data, ok := c.wait(id).(*wire.Data)
	if want := append(append([]byte{}, share[10:30]...), share[4990:]...); !ok || !bytes.Equal(c.bodies[id], want) {
		t.Errorf("read %v %x, want %x", data, c.bodies[id], want)
	}
	if list := r.usage(t); len(list) != 1 || list[0].Own.Stored.Bytes != 5128 || list[0].Today.Out != 30 || list[0].Today.In != 5000 {
		t.Errorf("operator sees %+v", list)
	}
}

func TestUploadByPull(t *testing.T) {
	r := newRig(t, 2)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("large", 3_000_000)
	a := allocate(1, 0, share)
	c.offers[a.Secret] = share
	got, ok := c.do(a, share[:1000]).(*wire.Allocated)
	if !ok || got.State != wire.Coming || got.Have != 1000 {
		t.Fatalf("allocate answered by %+v", got)
	}
	r.until("Stored", func() bool { return len(c.stored) > 0 })
	if s := c.stored[0]; s.Code != 0 || s.UEBHash != uebOf(0, share) || s.StorageIndex != a.StorageIndex {
		t.Fatalf("stored %+v", s)
	}
	if c.reads[0].Offset != 1000 {
		t.Errorf("first read at %d: bytes that rode along were asked for again", c.reads[0].Offset)
	}
	find := c.send(&wire.Find{StorageIndex: a.StorageIndex, Ranges: []wire.Range{{Offset: 2_999_990, Length: 100}}})
	found := c.wait(find).(*wire.Found)
	if len(found.Shares) != 1 || found.Shares[0].Size != 3_000_000 || !bytes.Equal(c.bodies[find], share[2_999_990:]) {
		t.Errorf("found %+v, body %x", found, c.bodies[find])
	}
	if status := r.status(); status.Reserved != 0 || status.Uploads != 0 || status.Sessions != 1 || status.Accounts != 1 {
		t.Errorf("status %+v", status)
	}
}
