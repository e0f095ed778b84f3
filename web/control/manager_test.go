package control_test

import (
	"errors"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease/membership"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

// TestManagerOverTheSocket: what the node's account manager says and refuses
// arrives as it was.
func TestManagerOverTheSocket(t *testing.T) {
	book, err := membership.NewBook(grid.PublicKey{1}, membership.State{})
	if err != nil {
		t.Fatal(err)
	}
	m := start(t, &memnode.Node{Book: book}, t.TempDir()).Manager()
	ctx := t.Context()
	want := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
	}
	member, ref, err := m.Add(ctx, "alice", new(int64(45e9)), new(int64(1<<33)))
	if err != nil || member.Name != "alice" || *member.Quota != 50e9 || *member.Until != 1<<33 || member.Added != 1000 {
		t.Fatalf("added %+v, %v", member, err)
	}
	if string(ref.Secret[:5]) != "alice" || ref.Manager.Server != (grid.ServerID{9}) {
		t.Errorf("reference of %v", ref.Manager)
	}
	_, _, err = m.Add(ctx, "b b", nil, nil)
	want(err, membership.ErrTerms)
	want(m.SetQuota(ctx, "bob", nil), membership.ErrUnknown)
	want(m.SetQuota(ctx, "alice", nil), nil)
	want(m.SetUntil(ctx, "alice", nil), nil)
	list, err := m.Members(ctx)
	if err != nil || len(list) != 1 || list[0].Quota != nil || list[0].Until != nil || list[0].Joined != 0 || !list[0].Account.IsZero() {
		t.Errorf("members %+v, %v", list, err)
	}
	server := membership.Server{ID: grid.ServerID{7}, Name: "cellar"}
	want(m.AddServer(ctx, server), nil)
	want(m.AddServer(ctx, server), tarn.ErrExists)
	servers, err := m.Servers(ctx)
	if err != nil || len(servers) != 1 || servers[0] != server {
		t.Errorf("servers %+v, %v", servers, err)
	}
	want(m.RemoveServer(ctx, server.ID), nil)
	want(m.Remove(ctx, "alice"), nil)
	want(m.Remove(ctx, "alice"), membership.ErrUnknown)

	_, err = start(t, &memnode.Node{}, t.TempDir()).Manager().Members(ctx)
	want(err, tarn.ErrNoManager)
}

func TestJoinOverTheSocket(t *testing.T) {
	c := start(t, &memnode.Node{}, t.TempDir())
	if _, err := c.Join(t.Context(), "tarn:membership/x"); !errors.Is(err, tarn.ErrMembershipRef) {
		t.Errorf("a damaged reference: %v", err)
	}
	var ref tarn.MembershipRef
	ref.Manager.Server, ref.Manager.Hints = grid.ServerID{9}, []grid.Hint{"/dns/manager/tcp/1"}
	text, err := ref.Text()
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Join(t.Context(), text)
	if err != nil || !m.Joined || m.Manager != ref.Manager.Server.String() {
		t.Errorf("joined %+v, %v", m, err)
	}
	list, err := c.Memberships(t.Context())
	if err != nil || len(list) != 1 || list[0] != m {
		t.Errorf("memberships %+v, %v", list, err)
	}
	refusing := start(t, &memnode.Node{PutError: tarn.ErrClosed}, t.TempDir())
	if _, err := refusing.Join(t.Context(), text); !errors.Is(err, tarn.ErrClosed) {
		t.Errorf("refused: %v", err)
	}
}
