package tarn

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease/membership"
	"github.com/tarn-grid/tarn/transport/wire"
)

func TestMemberFiles(t *testing.T) {
	f := memberFiles{filepath.Join(t.TempDir(), "manager")}
	if s, err := f.Load(); err != nil || len(s.Members) != 0 {
		t.Fatalf("nothing is %+v, %v", s, err)
	}
	save := func(c membership.Change) {
		t.Helper()
		if err := f.Save(c); err != nil {
			t.Fatal(err)
		}
	}
	alice := membership.Member{Name: "alice/../x", Quota: new(int64(5e9)), Until: new(int64(7)), Added: 1, Joined: 2, Claim: [32]byte{3}, Account: grid.PublicKey{4}}
	bob := membership.Member{Name: "bob", Added: 5, Claim: [32]byte{6}}
	g := membership.Grid{Servers: []membership.Server{{ID: grid.ServerID{1}, Name: "cellar"}, {ID: grid.ServerID{2}}}, Sequence: 9}
	save(membership.Change{Member: &bob})
	save(membership.Change{Member: &alice, Keys: &membership.KeyList{Member: alice.Name, Signed: []byte("list")}, Grid: &g})
	s, err := f.Load()
	if err != nil || len(s.Members) != 2 || s.Sequence != 9 || !reflect.DeepEqual(s.Servers, g.Servers) {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, m := range s.Members {
		if m.Name == bob.Name && !reflect.DeepEqual(m, bob) || m.Name != bob.Name && !reflect.DeepEqual(m, alice) {
			t.Errorf("read %+v", m)
		}
	}
	if len(s.Keys) != 1 || s.Keys[0].Member != alice.Name || string(s.Keys[0].Signed) != "list" {
		t.Errorf("keys %+v", s.Keys)
	}
	save(membership.Change{Remove: &alice})
	if s, err := f.Load(); err != nil || len(s.Members) != 1 || len(s.Keys) != 0 {
		t.Errorf("after the removal: %+v, %v", s, err)
	}
	for _, bad := range []string{"{", `{"format":2}`, `{"format":1,"name":"bob","claim":"AAAA"}`} {
		if err := os.WriteFile(f.path("bob", memberSuffix), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), f.dir) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestMembershipFile(t *testing.T) {
	f := membershipFile{filepath.Join(t.TempDir(), "m.json")}
	if s, err := f.Load(); err != nil || !reflect.DeepEqual(s, client.MembershipState{}) {
		t.Fatalf("nothing is %+v, %v", s, err)
	}
	for _, s := range []client.MembershipState{
		{Servers: []byte("servers")},
		{
			Terms:   &wire.Enrolled{Name: "alice", HasQuota: true, Quota: 5e9, Until: 7},
			Servers: []byte("servers"), Listed: []grid.ServerID{{1}, {2}}, Cards: [][]byte{[]byte("one"), []byte("two")}, Below: [][]byte{[]byte("three")},
		},
		{Terms: &wire.Enrolled{Name: "alice"}},
	} {
		if err := f.Save(s); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Load(); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("read %+v, %v; want %+v", got, err, s)
		}
	}
	if err := os.WriteFile(f.path, []byte(`{"format":9}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), "format 9") {
		t.Errorf("a newer format: %v", err)
	}
}
