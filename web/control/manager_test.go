package control_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease/membership"
	"github.com/tarn-grid/tarn/lease/tally"
	"github.com/tarn-grid/tarn/web/control"
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
	member, ref, err := m.Add(ctx, "alice", new(int64(45e9)), new(int64(1<<33)), 2000)
	if err != nil || member.Name != "alice" || *member.Quota != 50e9 || *member.Until != 1<<33 || member.Added != 1000 || member.ClaimUntil != 2000 {
		t.Fatalf("added %+v, %v", member, err)
	}
	if string(ref.Secret[:5]) != "alice" || ref.Manager.Server != (grid.ServerID{9}) {
		t.Errorf("reference of %v", ref.Manager)
	}
	_, _, err = m.Add(ctx, "b b", nil, nil, 0)
	want(err, membership.ErrTerms)
	want(m.SetQuota(ctx, "bob", nil), membership.ErrUnknown)
	want(m.SetQuota(ctx, "alice", nil), nil)
	want(m.SetUntil(ctx, "alice", nil), nil)
	member, _, err = m.Reissue(ctx, "alice", 3000, false)
	if err != nil || member.ClaimUntil != 3000 {
		t.Errorf("another reference for %+v, %v", member, err)
	}
	_, _, err = m.Reissue(ctx, "bob", 0, true)
	want(err, membership.ErrUnknown)
	_, _, err = m.Add(ctx, "zoe", nil, nil, 0)
	want(err, nil)
	var names []string
	want(tarn.EachMember(ctx, m, true, func(m tarn.Member) error { names = append(names, m.Name); return nil }), nil)
	if !slices.Equal(names, []string{"alice", "zoe"}) {
		t.Errorf("members, part after part: %v", names)
	}
	list, more, err := m.Members(ctx, "", false)
	if err != nil || !more || len(list) != 1 || list[0].Quota != nil || list[0].Until != nil || list[0].Joined != 0 || !list[0].Account.IsZero() {
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

	_, _, err = start(t, &memnode.Node{}, t.TempDir()).Manager().Members(ctx, "", false)
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
	left, err := c.Leave(t.Context(), control.LeaveAsk{Manager: m.Manager})
	if err != nil || left.Left != 3 || left.LastEnd.Unix() != 5000 {
		t.Errorf("left %+v, %v", left, err)
	}
	if _, err := c.Leave(t.Context(), control.LeaveAsk{Manager: m.Manager, Cancel: true}); !errors.Is(err, tarn.ErrNoMembership) {
		t.Errorf("twice: %v", err)
	}
	refusing := start(t, &memnode.Node{PutError: tarn.ErrClosed}, t.TempDir())
	if _, err := refusing.Join(t.Context(), text); !errors.Is(err, tarn.ErrClosed) {
		t.Errorf("refused: %v", err)
	}
}

// sums is a tarn.Aggregator.
type sums struct {
	summary tally.Summary
	since   time.Time
	asked   int
}

func (s *sums) Usage(context.Context, bool) (tally.Summary, error) { return s.summary, nil }
func (s *sums) Collect(context.Context) error                      { s.asked++; return nil }
func (s *sums) History(_ context.Context, since time.Time) ([]tally.Day, error) {
	s.since = since
	return []tally.Day{{Day: 20000, Accounts: []tally.DayAccount{{Name: "alice", Bytes: 5}}}}, nil
}

func TestAggregatorOverTheSocket(t *testing.T) {
	row := tally.Row{Key: grid.PublicKey{2}, Bytes: 5, Reserved: 6, Shares: 7}
	s := &sums{summary: tally.Summary{
		At: 100, Bytes: 5, Shares: 7,
		Accounts: []tally.Account{{Name: "alice", Bytes: 5, Reserved: 6, Shares: 7, Keys: 1, At: []tally.At{{Server: grid.ServerID{1}, Row: row, Doubtful: true}}}},
		Servers:  []tally.Server{{ID: grid.ServerID{1}, Nickname: "cellar", State: tally.Stale, Answered: 90, Err: "gone", Bytes: 5, Shares: 7, Keys: 1, UnknownKeys: 2, DoubtfulOf: 3}},
	}}
	c := start(t, &memnode.Node{Grid: s}, t.TempDir())
	u, err := c.Sums(t.Context(), true)
	if err != nil || u.Bytes != 5 || len(u.Accounts) != 1 || len(u.Accounts[0].At) != 1 || !u.Accounts[0].At[0].Doubtful || u.Accounts[0].At[0].Server != (grid.ServerID{1}).String() {
		t.Errorf("usage %+v, %v", u, err)
	}
	if v := u.Servers[0]; v.State != "stale" || v.Answered.Unix() != 90 || v.LastError != "gone" || v.UnknownKeys != 2 || v.Doubtful != 3 {
		t.Errorf("server %+v", v)
	}
	if u, err := c.Sums(t.Context(), false); err != nil || u.Accounts[0].At != nil {
		t.Errorf("usage without detail %+v, %v", u, err)
	}
	if err := c.Collect(t.Context()); err != nil || s.asked != 1 {
		t.Errorf("collect: %v", err)
	}
	since := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	days, err := c.History(t.Context(), since)
	if err != nil || len(days) != 1 || days[0].Day != "2024-10-04" || days[0].Accounts[0].Bytes != 5 || !s.since.Equal(since) {
		t.Errorf("days %+v, %v", days, err)
	}
	_, err = start(t, &memnode.Node{}, t.TempDir()).Sums(t.Context(), false)
	if !errors.Is(err, tarn.ErrNoAggregator) {
		t.Errorf("a node that is none: %v", err)
	}
}
