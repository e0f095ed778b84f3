package control_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/container"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

// openOperator is a real one, of a server that does not run.
func openOperator(t testing.TB) tarn.Operator {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	o, err := tarn.OpenOperator(t.Context(), tarn.Config{Dir: t.TempDir(), Nickname: "s", Storage: &tarn.StorageConfig{Key: key}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// TestOperator goes through every call, over the socket and in this process.
func TestOperator(t *testing.T) {
	t.Run("over the socket", func(t *testing.T) {
		testOperator(t, start(t, &memnode.Node{Server: openOperator(t)}, t.TempDir()).Operator())
	})
	t.Run("in this process", func(t *testing.T) { testOperator(t, control.OperatorOf(openOperator(t))) })
}

func testOperator(t *testing.T, o control.Operator) {
	ctx, quota, key := t.Context(), int64(5e9), grid.PublicKey{1}
	alice := control.NewAccount{Petname: "alice", Key: key.String(), Quota: &quota}
	added, err := o.AddAccount(ctx, alice)
	if err != nil || added.Key != key.String() || *added.Quota != quota || added.Authority != "" {
		t.Errorf("AddAccount = %+v, %v", added, err)
	}
	if _, err := o.AddAccount(ctx, alice); !errors.Is(err, tarn.ErrExists) {
		t.Errorf("a second alice: %v", err)
	}
	bob, err := o.AddAccount(ctx, control.NewAccount{Petname: "bob"})
	if err != nil || bob.Authority == "" || bob.Quota != nil {
		t.Errorf("AddAccount without a key = %+v, %v", bob, err)
	}
	another, err := o.AddAccount(ctx, control.NewAccount{Petname: "bob", Another: true})
	if err != nil || another.Key == bob.Key {
		t.Errorf("another key of bob: %+v, %v", another, err)
	}
	for _, name := range []string{"anonymous", "starter", key.String(), ""} {
		if _, err := o.AddAccount(ctx, control.NewAccount{Petname: name}); err == nil {
			t.Errorf("an account called %q", name)
		}
	}
	if _, err := o.SetQuota(ctx, "bob", &quota); !errors.Is(err, tarn.ErrAmbiguous) {
		t.Errorf("a quota for two keys: %v", err)
	}
	if c, err := o.SetQuota(ctx, bob.Key, &quota); err != nil || *c.Accounts[0].Quota != quota {
		t.Errorf("SetQuota = %+v, %v", c, err)
	}
	if c, err := o.SetDisabled(ctx, "bob", true); err != nil || len(c.Accounts) != 2 || !c.Accounts[1].Disabled {
		t.Errorf("SetDisabled = %+v, %v", c, err)
	}
	if c, err := o.SetRevoked(ctx, "pub-v0-"+grid.EncodeBase32(make([]byte, 31))+"aa", true); err == nil {
		t.Errorf("revoked nonsense: %+v", c)
	}
	if c, err := o.SetRevoked(ctx, grid.PublicKey{9}.String(), true); err != nil || len(c.Keys) != 1 {
		t.Errorf("SetRevoked = %+v, %v", c, err)
	}
	if _, err := o.Rekey(ctx, "alice", grid.PublicKey{1}); !errors.Is(err, tarn.ErrKeyInUse) {
		t.Errorf("rekey to the same key: %v", err)
	}
	if c, err := o.Rekey(ctx, "alice", grid.PublicKey{2}); err != nil || c.Accounts[0].Key != (grid.PublicKey{2}).String() {
		t.Errorf("Rekey = %+v, %v", c, err)
	}
	if c, err := o.SetAmbient(ctx, true, &quota); err != nil || c.Accounts[0].Petname != tarn.AnonymousPetname {
		t.Errorf("SetAmbient = %+v, %v", c, err)
	}
	list, err := o.Accounts(ctx)
	if err != nil || len(list.Accounts) != 4 || list.Accounts[0].Key != "" || len(list.Revoked) != 1 {
		t.Errorf("Accounts = %+v, %v", list, err)
	}
	usage, err := o.Usage(ctx)
	if err != nil || len(usage) != 4 {
		t.Errorf("Usage = %+v, %v", usage, err)
	}
	if traffic, err := o.Traffic(ctx, time.Now()); err != nil || len(traffic) != 0 {
		t.Errorf("Traffic = %+v, %v", traffic, err)
	}
	if list, err := o.Audit(ctx, grid.StorageIndex{1}); err != nil || len(list) != 0 {
		t.Errorf("Audit = %+v, %v", list, err)
	}
	if r, err := o.Removal(ctx, "alice"); err != nil || len(r.Accounts) != 1 || r.Shares != 0 {
		t.Errorf("Removal = %+v, %v", r, err)
	}
	if c, err := o.Remove(ctx, "alice", true); err != nil || len(c.Accounts) != 1 {
		t.Errorf("Remove = %+v, %v", c, err)
	}
	if _, err := o.Remove(ctx, "alice", false); !errors.Is(err, tarn.ErrNoAccount) {
		t.Errorf("remove twice: %v", err)
	}
	if _, err := o.SetAmbient(ctx, false, nil); err != nil {
		t.Errorf("SetAmbient off: %v", err)
	}
}

// A share comes as a server of Tahoe-LAFS has it, and goes so; and what is wrong
// with one is told in its words.
func TestOperatorShares(t *testing.T) {
	t.Run("over the socket", func(t *testing.T) {
		testShares(t, start(t, &memnode.Node{Server: openOperator(t)}, t.TempDir()).Operator())
	})
	t.Run("in this process", func(t *testing.T) { testShares(t, control.OperatorOf(openOperator(t))) })
}

// smallShare is the one share of a file, and its file.
func smallShare(t *testing.T) (id lease.ShareID, hash lease.UEBHash, content []byte) {
	t.Helper()
	data := bytes.Repeat([]byte("share"), 20)
	layout, err := immutable.NewLayout(int64(len(data)), file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	key := file.Key{7}
	e, err := immutable.NewEncoder(layout, key)
	if err != nil {
		t.Fatal(err)
	}
	body := e.Head()
	segment, err1 := e.EncodeSegment(0, data)
	body = append(body, segment.Blocks[0]...)
	err2 := e.Add(segment)
	c, err3 := e.Finish()
	tail, err4 := e.Tail(0)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	body = append(body, tail...)
	var b bytes.Buffer
	if err := container.Write(&b, container.Share{Size: int64(len(body))}, bytes.NewReader(body), 4_000_000_000); err != nil {
		t.Fatal(err)
	}
	return lease.ShareID{StorageIndex: c.StorageIndex}, lease.UEBHash(c.UEBHash), b.Bytes()
}

func testShares(t *testing.T, o control.Operator) {
	ctx := t.Context()
	id, hash, content := smallShare(t)
	offer := tarn.ShareOffer{UEBHash: hash, Ends: time.Unix(4_000_000_000, 0)}
	if wanted, err := o.OfferShare(ctx, id, offer); err != nil || !wanted {
		t.Errorf("wanted: %v, %v", wanted, err)
	}
	if _, err := o.ImportShare(ctx, id, bytes.NewReader(content[:100]), 100); !errors.Is(err, tarn.ErrImport) {
		t.Errorf("import a part: %v", err)
	}
	broken := errors.New("broken disk")
	if _, err := o.ImportShare(ctx, id, io.MultiReader(bytes.NewReader(content[:100]), iotest.ErrReader(broken)), int64(len(content))); !errors.Is(err, broken) {
		t.Errorf("import from a broken disk: %v", err)
	}
	for _, want := range []bool{true, false} {
		if stored, err := o.ImportShare(ctx, id, bytes.NewReader(content), int64(len(content))); err != nil || stored != want {
			t.Errorf("stored: %v, %v; want %v", stored, err, want)
		}
	}
	if wanted, err := o.OfferShare(ctx, id, offer); err != nil || wanted {
		t.Errorf("wanted again: %v, %v", wanted, err)
	}
	offer.UEBHash[0]++
	if _, err := o.OfferShare(ctx, id, offer); !errors.Is(err, tarn.ErrOtherShare) {
		t.Errorf("another one: %v", err)
	}
	list, err := o.Shares(ctx, id.StorageIndex)
	if err != nil || len(list) != 1 || list[0].UEBHash != grid.EncodeBase32(hash[:]) || list[0].Ends.Unix() != 4_000_000_000 || list[0].Mutable {
		t.Errorf("shares: %+v, %v", list, err)
	}
	if has, err := o.HasMutable(ctx); err != nil || has {
		t.Errorf("has mutable ones: %v, %v", has, err)
	}
	var back bytes.Buffer
	if err := o.ExportShare(ctx, id, &back); err != nil || !bytes.Equal(back.Bytes(), content) {
		t.Errorf("%d bytes came back of %d, %v", back.Len(), len(content), err)
	}
	id.Num++
	if err := o.ExportShare(ctx, id, &back); !errors.Is(err, tarn.ErrNoShare) {
		t.Errorf("export what is not there: %v", err)
	}
}
