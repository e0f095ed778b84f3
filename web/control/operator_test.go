package control_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
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
