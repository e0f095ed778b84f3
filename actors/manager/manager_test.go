package manager_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/manager"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/fake"
	"github.com/tarn-grid/tarn/transport/wire"
)

// disk is a Store that survives the actors.
type disk struct {
	state membership.State
	err   error
}

func (d *disk) Load() (membership.State, error) { return d.state, d.err }

func (d *disk) Save(c membership.Change) error {
	if d.err != nil {
		return d.err
	}
	s := &d.state
	if c.Remove != nil {
		s.Members = slices.DeleteFunc(slices.Clone(s.Members), func(m membership.Member) bool { return m.Name == c.Remove.Name })
	}
	if c.Member != nil {
		s.Members = append(slices.DeleteFunc(slices.Clone(s.Members), func(m membership.Member) bool { return m.Name == c.Member.Name }), *c.Member)
	}
	if c.Keys != nil {
		s.Keys = append(s.Keys, *c.Keys)
	}
	if c.Grid != nil {
		s.Servers, s.Sequence = c.Grid.Servers, c.Grid.Sequence
	}
	return nil
}

// rig is an account manager in a simulated world.
type rig struct {
	*testing.T
	world *sim.World
	net   *fake.Network
	disk  *disk
	pid   *actor.PID
	fatal []error
}

func key(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(append(make([]byte, 31), n)) }

var us = grid.PublicKeyOf(key(0))

func newRig(t *testing.T, seed uint64) *rig {
	t.Helper()
	w := sim.New(seed, nil)
	r := &rig{T: t, world: w, disk: &disk{}}
	r.net = fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
	r.start()
	for n := range 3 {
		r.do(manager.AddServer{Server: membership.Server{ID: server(n), Name: fmt.Sprint("s", n)}})
	}
	return r
}

// server is the n-th of the grid, in order.
func server(n int) grid.ServerID { return grid.ServerID{byte(n), 1} }

func (r *rig) start() {
	r.pid, _ = r.world.Sys.Root("manager", manager.New(r.world.Env(), manager.Config{
		Key: key(0),
		Listen: func(accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
			return r.net.Listen("manager", key(0), accept)
		},
		Store: r.disk,
		Fatal: func(err error) { r.fatal = append(r.fatal, err) },
	}))
	r.ask(manager.AskStatus{}) // answered once it listens
}

func (r *rig) restart() {
	r.net.Crash("manager")
	r.world.Crash("manager")
	r.start()
}

func (r *rig) until(what string, cond func() bool) {
	r.Helper()
	if err := r.world.Until(cond, time.Hour); err != nil {
		r.Fatalf("waiting for %s: %v", what, err)
	}
}

// ask is a question of the operator.
func (r *rig) ask(message any) any {
	r.Helper()
	answer := r.world.Ask(r.pid, message)
	r.until("an answer to the operator", func() bool { return *answer != nil })
	return *answer
}

func (r *rig) do(message any) {
	r.Helper()
	if answer := r.ask(message); answer != (manager.Done{}) {
		r.Fatalf("%T is answered by %v", message, answer)
	}
}

func (r *rig) add(name string, quota, until *int64) membership.Secret {
	r.Helper()
	added, ok := r.ask(manager.Add{Name: name, Quota: quota, Until: until}).(manager.Added)
	if !ok {
		r.Fatalf("%s was not added", name)
	}
	return added.Secret
}

// peer is the other side of one connection.
type peer struct {
	*rig
	session transport.Session
	conv    transport.Conversation
	next    uint64
	answers map[uint64]wire.Message
	closed  error
}

func (r *rig) dial() *peer {
	r.Helper()
	p := &peer{rig: r, answers: map[uint64]wire.Message{}}
	r.net.Dialer("client").Dial(transport.Target{Server: grid.ServerID(us), Hints: []grid.Hint{"/dns/manager/tcp/1"}, Connections: transport.DirectConnections},
		transport.SessionEvents{Closed: func(err error) { p.closed = err }},
		func(s transport.Session, _ error) { p.session = s })
	r.until("a session", func() bool { return p.session != nil })
	p.conv = p.session.Open(transport.Membership, p.event, 1000)
	if m, ok := p.do(&wire.Hello{Version: 1}).(*wire.Hello); !ok {
		r.Fatalf("hello answered by %v", m)
	}
	return p
}

func (p *peer) event(ev transport.Event) {
	if m, ok := ev.(transport.Received); ok {
		m.Frame.Release()
		p.answers[m.Frame.ID] = m.Frame.Message
	}
}

func (p *peer) do(m wire.Message) wire.Message {
	p.Helper()
	p.next++
	id := p.next
	p.conv.Send(wire.Frame{ID: id, Message: m})
	p.until("an answer", func() bool { return p.answers[id] != nil || p.closed != nil })
	return p.answers[id]
}

// once asks over a connection of its own.
func (r *rig) once(m wire.Message) wire.Message {
	r.Helper()
	p := r.dial()
	defer p.session.Close()
	return p.do(m)
}

func account(n byte) lease.Account { return lease.AccountOf([lease.SeedSize]byte{n}) }

func (r *rig) keyList(a lease.Account, servers ...grid.ServerID) []byte {
	r.Helper()
	b, err := a.SignKeyList(us, servers)
	if err != nil {
		r.Fatal(err)
	}
	return b
}

// enrol is what comes of it: a code, 0 when the account is a member now.
func (r *rig) enrol(a lease.Account, secret membership.Secret, servers ...grid.ServerID) wire.Code {
	r.Helper()
	return code(r, r.once(&wire.Enrol{Secret: wire.Secret(secret), KeyList: r.keyList(a, servers...)}))
}

// fetch asks for the card of an account's key, with a proof for this very
// connection.
func (r *rig) fetch(a lease.Account, s grid.ServerID) wire.Message {
	r.Helper()
	p := r.dial()
	defer p.session.Close()
	proof := lease.SignCardProof(a.Key(s), us, s, p.session.Local())
	return p.do(&wire.FetchCard{Server: s, Key: a.PublicKey(s), Proof: [64]byte(proof)})
}

func code(r *rig, m wire.Message) wire.Code {
	r.Helper()
	switch m := m.(type) {
	case *wire.Error:
		return m.Code
	case *wire.Card, *wire.Enrolled, *wire.ServerList:
		return 0
	}
	r.Fatalf("unexpected answer %v", m)
	return 0
}

// card reads a card that the manager gave.
func (r *rig) card(m wire.Message) lease.Card {
	r.Helper()
	c, ok := m.(*wire.Card)
	if !ok {
		r.Fatalf("no card but %v", m)
	}
	card, err := lease.ReadCard(c.Chain, us)
	if err != nil {
		r.Fatal(err)
	}
	return card
}

func (r *rig) pass(d time.Duration) {
	r.Helper()
	if err := r.world.For(d); err != nil {
		r.Fatal(err)
	}
}

func TestJoinAndCards(t *testing.T) {
	r := newRig(t, 1)
	secret := r.add("alice", new(int64(45e9)), nil)
	list, err := lease.OpenServerList(r.once(&wire.AskServers{}).(*wire.ServerList).Signed, us)
	if err != nil || len(list.Servers) != 3 {
		t.Fatalf("%d servers, %v", len(list.Servers), err)
	}
	e, ok := r.once(&wire.Enrol{Secret: wire.Secret(secret), KeyList: r.keyList(account(1), list.Servers...)}).(*wire.Enrolled)
	if !ok || e.Name != "alice" || !e.HasQuota || e.Quota != 50e9 || e.Until != 0 {
		t.Fatalf("enrolled %+v", e)
	}
	for _, s := range list.Servers {
		card := r.card(r.fetch(account(1), s))
		c := card.Chain.Certificates()[0]
		if card.Server != s || card.Key != account(1).PublicKey(s) || *c.Space != 50e9 || card.Until != lease.CardUntil(r.world.Now()) {
			t.Errorf("card %+v", c)
		}
	}
	// The same again, after a restart, grants nothing twice; nobody else gets in.
	r.restart()
	for n, want := range map[byte]wire.Code{1: 0, 2: wire.NotAccepted} {
		if got := r.enrol(account(n), secret, list.Servers...); got != want {
			t.Errorf("account %d: %v", n, got)
		}
	}
	if l := r.ask(manager.List{Keys: true}).(manager.Listing); len(l.Members) != 1 || len(l.Keys[0]) != 3 || l.Members[0].Account != account(1).PublicKey(grid.ServerID(us)) {
		t.Errorf("listing %+v", l)
	}
}

// Whoever shows an older card gets the newest, which the terms of now are in;
// the member's own client may be off for years.
func TestOlderCardGivesTheNewest(t *testing.T) {
	r := newRig(t, 2)
	secret := r.add("alice", new(int64(5e9)), nil)
	r.enrol(account(1), secret, server(0))
	first := r.card(r.fetch(account(1), server(0)))
	r.do(manager.SetTerms{Name: "alice", Terms: func(m membership.Member) (_, _ *int64) { return new(int64(10e9)), m.Until }})
	for range 4 {
		r.pass(45 * 24 * time.Hour)
		newer := r.card(r.once(&wire.RefreshCard{Card: first.Chain.Encode()}))
		if newer.Key != first.Key || newer.Server != first.Server || newer.Until != lease.CardUntil(r.world.Now()) || *newer.Chain.Certificates()[0].Space != 10e9 {
			t.Errorf("at %v: card until %v", r.world.Now(), time.Unix(newer.Until, 0))
		}
	}
	forged, err := lease.SignCard(key(7), server(0), first.Key, lease.CardTerms{}, r.world.Now())
	if err != nil {
		t.Fatal(err)
	}
	bad := first.Chain.Encode()
	bad[len(bad)-40] ^= 1 // in the signature
	for what, b := range map[string][]byte{"another manager's": forged.Chain.Encode(), "a changed one": bad, "junk": []byte("junk")} {
		if got := code(r, r.once(&wire.RefreshCard{Card: b})); got != wire.BadRequest {
			t.Errorf("%s: %v", what, got)
		}
	}
	r.do(manager.Remove{Name: "alice"})
	if got := code(r, r.once(&wire.RefreshCard{Card: first.Chain.Encode()})); got != wire.NotAccepted {
		t.Errorf("a card of who was removed: %v", got)
	}
	if got := code(r, r.fetch(account(1), server(0))); got != wire.NotAccepted {
		t.Errorf("a key of who was removed: %v", got)
	}
}

func TestMembershipEnds(t *testing.T) {
	r := newRig(t, 3)
	end := r.world.Now().Add(36 * time.Hour).Unix()
	secret := r.add("alice", nil, &end)
	r.enrol(account(1), secret, server(0))
	card := r.card(r.fetch(account(1), server(0)))
	if want := sim.Start.AddDate(0, 0, 2).Unix(); card.Until != want {
		t.Errorf("card until %v", time.Unix(card.Until, 0).UTC())
	}
	r.pass(37 * time.Hour)
	if got := code(r, r.fetch(account(1), server(0))); got != wire.AuthorityExpired {
		t.Errorf("after the end: %v", got)
	}
	if got := r.enrol(account(1), secret, server(0)); got != wire.AuthorityExpired {
		t.Errorf("joining after the end: %v", got)
	}
	r.do(manager.SetTerms{Name: "alice", Terms: func(membership.Member) (_, _ *int64) { return nil, nil }})
	if got := code(r, r.fetch(account(1), server(0))); got != 0 {
		t.Errorf("after it was prolonged: %v", got)
	}
}

// A first card wants a proof of the key, made for the connection.
func TestFirstCardWantsAProof(t *testing.T) {
	r := newRig(t, 4)
	r.enrol(account(1), r.add("alice", nil, nil), server(0), server(1))
	p, q := r.dial(), r.dial()
	a, s := account(1), server(0)
	proof := func(key ed25519.PrivateKey, at grid.ServerID, peer transport.Session) *wire.FetchCard {
		return &wire.FetchCard{Server: s, Key: a.PublicKey(s), Proof: [64]byte(lease.SignCardProof(key, us, at, peer.Local()))}
	}
	for what, m := range map[string]*wire.FetchCard{
		"replayed from another connection": proof(a.Key(s), s, q.session),
		"another key's":                    proof(a.Key(server(1)), s, p.session),
		"for another server":               proof(a.Key(s), server(1), p.session),
	} {
		if got := code(r, p.do(m)); got != wire.BadRequest {
			t.Errorf("%s: %v", what, got)
		}
	}
	if got := code(r, p.do(proof(a.Key(s), s, p.session))); got != 0 {
		t.Errorf("the right one: %v", got)
	}
	if got := code(r, r.fetch(account(1), server(2))); got != wire.NotAccepted {
		t.Errorf("a key that was not listed: %v", got)
	}
}

// Signatures that don't hold, lists for others and strangers change nothing.
func TestEnrolmentOfStrangers(t *testing.T) {
	r := newRig(t, 5)
	secret := r.add("alice", nil, nil)
	good := r.keyList(account(1), server(0))
	bad := slices.Clone(good)
	bad[len(bad)-40] ^= 1 // in the signature
	other, err := account(1).SignKeyList(grid.PublicKeyOf(key(9)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, m := range map[string]*wire.Enrol{
		"forged":              {Secret: wire.Secret(secret), KeyList: bad},
		"for another manager": {Secret: wire.Secret(secret), KeyList: other},
		"without the secret":  {KeyList: good},
		"junk":                {Secret: wire.Secret(secret), KeyList: []byte("junk")},
	} {
		if got := code(r, r.once(m)); got != wire.BadRequest && got != wire.NotAccepted {
			t.Errorf("%s: %v", what, got)
		}
	}
	if l := r.ask(manager.List{Keys: true}).(manager.Listing); l.Members[0].Joined != 0 {
		t.Errorf("a stranger is a member: %+v", l.Members[0])
	}
	if got := r.enrol(account(1), secret, server(0)); got != 0 {
		t.Errorf("the right one: %v", got)
	}
}

// What is not on the disk is not acknowledged, nor so.
func TestFullDisk(t *testing.T) {
	r := newRig(t, 6)
	secret := r.add("alice", nil, nil)
	r.disk.err = errors.New("no space")
	if got := r.enrol(account(1), secret, server(0)); got != wire.Internal {
		t.Errorf("acknowledged though it is not on the disk: %v", got)
	}
	if err, failed := r.ask(manager.Add{Name: "bob"}).(error); !failed || !errors.Is(err, r.disk.err) {
		t.Errorf("bob: %v", err)
	}
	if err, failed := r.ask(manager.AddServer{Server: membership.Server{ID: server(7)}}).(error); !failed {
		t.Errorf("server: %v", err)
	}
	if got := code(r, r.fetch(account(1), server(0))); got != wire.NotAccepted {
		t.Errorf("a card for who is no member: %v", got)
	}
	r.disk.err = nil
	if got := r.enrol(account(2), secret, server(0)); got != 0 {
		t.Errorf("the claim that failed holds against another: %v", got)
	}
	list, err := lease.OpenServerList(r.once(&wire.AskServers{}).(*wire.ServerList).Signed, us)
	if err != nil || len(list.Servers) != 3 || list.Sequence != 3 {
		t.Errorf("list %+v, %v", list, err)
	}
}

// Many claim one membership at once: one has it.
func TestClaimedOnce(t *testing.T) {
	r := newRig(t, 7)
	secret := r.add("alice", nil, nil)
	var peers []*peer
	for n := range byte(20) {
		p := r.dial()
		p.conv.Send(wire.Frame{ID: 99, Message: &wire.Enrol{Secret: wire.Secret(secret), KeyList: r.keyList(account(n))}})
		peers = append(peers, p)
	}
	won := 0
	for _, p := range peers {
		r.until("an answer", func() bool { return p.answers[99] != nil })
		if code(r, p.answers[99]) == 0 {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d accounts claimed one membership", won)
	}
}

func TestSilentAndUnruly(t *testing.T) {
	r := newRig(t, 8)
	p := r.dial()
	if e, ok := p.do(&wire.Usage{}).(*wire.Error); !ok || e.Code != wire.BadRequest {
		t.Errorf("a storage request is answered by %v", e)
	}
	if m := p.do(&wire.Hello{Version: 1}); m != nil || p.closed == nil {
		t.Errorf("a second hello is answered by %v", m)
	}
	greedy := r.dial()
	for greedy.closed == nil && greedy.next < 1000 {
		greedy.do(&wire.AskServers{})
	}
	if greedy.next > 100 {
		t.Errorf("%d questions over one connection", greedy.next)
	}
	var silent error
	r.net.Dialer("silent").Dial(transport.Target{Server: grid.ServerID(us), Hints: []grid.Hint{"/dns/manager/tcp/1"}, Connections: transport.DirectConnections},
		transport.SessionEvents{Closed: func(err error) { silent = err }}, func(transport.Session, error) {})
	r.pass(time.Minute)
	if silent == nil {
		t.Error("a connection may stay silent for ever")
	}
	if s := r.ask(manager.AskStatus{}).(manager.Status); s.Sessions != 0 || s.Members != 0 || len(s.Hints) != 1 {
		t.Errorf("status %+v", s)
	}
}

func TestUnreadableBookIsFatal(t *testing.T) {
	r := &rig{T: t, world: sim.New(9, nil), disk: &disk{err: errors.New("torn")}}
	r.net = fake.New(func(d time.Duration, fn func()) { r.world.After(d, fn) }, r.world.Rand())
	r.pid, _ = r.world.Sys.Root("manager", manager.New(r.world.Env(), manager.Config{
		Key: key(0), Store: r.disk, Fatal: func(err error) { r.fatal = append(r.fatal, err) },
	}))
	r.until("the end", func() bool { return len(r.fatal) > 0 })
}

// TestThousandMembers: a hundred servers, a thousand clients who come at once,
// each with a card for one of them at random, and all that in little work: the
// rest of ten thousand would only repeat it (lease/membership has them).
func TestThousandMembers(t *testing.T) {
	r := newRig(t, 10)
	for n := 3; n < 100; n++ {
		r.do(manager.AddServer{Server: membership.Server{ID: server(n)}})
	}
	cards := 0
	for n := range 1000 {
		secret := r.add(fmt.Sprint("member", n), new(int64(5e9)), nil)
		a := lease.AccountOf([lease.SeedSize]byte{byte(n), byte(n >> 8), 1})
		s := server(int(r.world.Rand().Int64N(100)))
		if got := r.enrol(a, secret, s); got != 0 {
			t.Fatalf("member %d: %v", n, got)
		}
		if r.card(r.fetch(a, s)).Key == a.PublicKey(s) {
			cards++
		}
	}
	if s := r.ask(manager.AskStatus{}).(manager.Status); s.Members != 1000 || cards != 1000 {
		t.Errorf("%d members, %d cards", s.Members, cards)
	}
	r.restart()
	if l := r.ask(manager.ListServers{}).([]membership.Server); len(l) != 100 {
		t.Errorf("%d servers after a restart", len(l))
	}
	for _, keys := range []bool{false, true} {
		parts, members, after := 0, 0, ""
		for more := true; more; parts++ {
			l := r.ask(manager.List{After: after, Keys: keys}).(manager.Listing)
			if len(l.KeyCounts) != len(l.Members) || l.KeyCounts[0] != 1 || keys != (len(l.Keys) == len(l.Members)) {
				t.Fatalf("%d members, %d counts, %d with keys", len(l.Members), len(l.KeyCounts), len(l.Keys))
			}
			members, after, more = members+len(l.Members), l.Members[len(l.Members)-1].Name, l.More
		}
		if want := 1000 / map[bool]int{false: 1000, true: 50}[keys]; members != 1000 || parts != want {
			t.Errorf("%d members in %d parts", members, parts)
		}
	}
}

// A reference ends, another is made, and the membership may go to another
// account; the client is told which it is.
func TestReferencesEnd(t *testing.T) {
	r := newRig(t, 11)
	invite := func(message any) membership.Secret {
		t.Helper()
		added, ok := r.ask(message).(manager.Added)
		if !ok {
			t.Fatalf("%T made no reference", message)
		}
		return added.Secret
	}
	in := func(d time.Duration) int64 { return r.world.Now().Add(d).Unix() }
	first := invite(manager.Add{Name: "alice", ClaimUntil: in(time.Hour)})
	r.pass(2 * time.Hour)
	if got := r.enrol(account(1), first, server(1)); got != wire.AuthorityExpired {
		t.Errorf("too late: %v", got)
	}
	second := invite(manager.Reissue{Name: "alice", ClaimUntil: in(time.Hour)})
	if got := r.enrol(account(1), first, server(1)); got != wire.NotAccepted {
		t.Errorf("with the older one: %v", got)
	}
	if got := r.enrol(account(1), second, server(1)); got != 0 {
		t.Fatal(got)
	}
	r.pass(2 * time.Hour)
	if got := r.enrol(account(1), second, server(1)); got != 0 {
		t.Errorf("who has joined: %v", got)
	}
	if err, ok := r.ask(manager.Reissue{Name: "alice"}).(error); !ok || !errors.Is(err, membership.ErrClaimed) {
		t.Errorf("for who has joined: %v", err)
	}
	old := r.card(r.fetch(account(1), server(1)))
	third := invite(manager.Reissue{Name: "alice", Another: true})
	r.restart()
	if got := code(r, r.once(&wire.RefreshCard{Card: old.Chain.Encode()})); got != wire.NotAccepted {
		t.Errorf("a newer card for the account that lost it: %v", got)
	}
	if got := r.enrol(account(1), second, server(1)); got != wire.NotAccepted {
		t.Errorf("the account that lost it: %v", got)
	}
	if got := r.enrol(account(2), third, server(1)); got != 0 {
		t.Errorf("the other account: %v", got)
	}
}
