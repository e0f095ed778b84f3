package client_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/manager"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

var managerKey = key(250)

// office is a real account manager in the rig's world, whose key the servers
// accept, and no other.
type office struct {
	*rig
	in       *introducer
	pid      *actor.PID
	store    *book
	sessions []transport.Session
	state    *membershipState
	logins   map[*peer]time.Time          // the last of each
	keys     map[grid.PublicKey]time.Time // the last login with each
	// managerBy and serverBy are by how much their clocks are wrong.
	managerBy time.Duration
	serverBy  map[*peer]time.Duration
}

// book is a manager.Store.
type book struct{ state membership.State }

func (b *book) Load() (membership.State, error) { return b.state, nil }

func (b *book) Save(c membership.Change) error {
	if c.Member != nil {
		b.state.Members = append(slices.DeleteFunc(slices.Clone(b.state.Members), func(m membership.Member) bool { return m.Name == c.Member.Name }), *c.Member)
	}
	if c.Keys != nil {
		b.state.Keys = append(slices.DeleteFunc(slices.Clone(b.state.Keys), func(k membership.KeyList) bool { return k.Member == c.Keys.Member }), *c.Keys)
	}
	if c.Remove != nil {
		b.state.Members = slices.DeleteFunc(slices.Clone(b.state.Members), func(m membership.Member) bool { return m.Name == c.Remove.Name })
	}
	if c.Grid != nil {
		b.state.Servers, b.state.Sequence = c.Grid.Servers, c.Grid.Sequence
	}
	return nil
}

// membershipState is a client.MembershipStore.
type membershipState struct {
	state            client.MembershipState
	saves, forgotten int
	broken           error
}

func (m *membershipState) Load() (client.MembershipState, error) { return m.state, nil }
func (m *membershipState) Save(s client.MembershipState) error {
	m.state, m.saves = s, m.saves+1
	return nil
}
func (m *membershipState) Forget() error {
	if m.broken != nil {
		return m.broken
	}
	m.state, m.forgotten = client.MembershipState{}, m.forgotten+1
	return nil
}

// newOffice is a grid of servers that all accept the manager; the first
// members of it are made known by him.
func newOffice(t *testing.T, servers, inGrid int) *office {
	t.Helper()
	r := newRig(t, servers)
	in := r.introducer()
	r.config.Account = account(1)
	o := &office{rig: r, in: in, store: &book{}, serverBy: map[*peer]time.Duration{}, state: &membershipState{}, logins: map[*peer]time.Time{}, keys: map[grid.PublicKey]time.Time{}}
	o.open()
	for i, p := range r.peers {
		p.instead = o.acceptCards(p)
		if i < inGrid {
			o.addServer(p)
		}
	}
	return o
}

func (o *office) open() {
	e := *o.world.Env()
	e.Clock = wrongClock{e.Clock, o.managerBy}
	o.pid, _ = o.world.Sys.Root("manager", manager.New(&e, manager.Config{
		Key: managerKey, Store: o.store, Fatal: func(err error) { o.Error(err) },
		Listen: func(accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
			return o.net.Listen("manager", managerKey, func(s transport.Session) transport.SessionEvents {
				o.sessions = append(o.sessions, s)
				return accept(s)
			})
		},
	}))
	o.ask(manager.AskStatus{})
}

func (o *office) ask(message any) (answer any) {
	o.Helper()
	inbox := o.inbox(func(m any) { answer = m })
	o.world.Env().Spawn.Send(o.pid, &actor.MessageEnvelope{Message: message, Sender: inbox})
	o.until("the manager's answer", time.Minute, func() bool { return answer != nil })
	return answer
}

func (o *office) addServer(p *peer) {
	o.Helper()
	if a := o.ask(manager.AddServer{Server: membership.Server{ID: p.id()}}); a != (manager.Done{}) {
		o.Fatal(a)
	}
}

// acceptCards has a server log in whoever verifies under the manager's key.
func (o *office) acceptCards(p *peer) func(*peerSession, wire.Frame) bool {
	root := lease.Root{Key: grid.PublicKeyOf(managerKey)}
	return func(s *peerSession, f wire.Frame) bool {
		m, ok := f.Message.(*wire.Login)
		if !ok {
			return false
		}
		grant, _, err := lease.Verify(m.Chain, m.Request, lease.VerifyInput{
			Standing: lease.Standing{
				Roots:   func(k grid.PublicKey) (lease.Root, bool) { return root, k == root.Key },
				Revoked: func(grid.PublicKey) bool { return false },
			},
			Server: p.id(), Peer: s.session.Remote(), Now: o.world.Now().Add(o.serverBy[p]),
		})
		if err != nil {
			s.answer(f, wire.NewError(wire.NotAccepted, err.Error()))
			return true
		}
		o.logins[p] = o.world.Now()
		o.keys[grant.Keys[len(grant.Keys)-1]] = o.world.Now()
		s.answer(f, s.loggedIn())
		return true
	}
}

func (o *office) membership(secret membership.Secret) client.Membership {
	return client.Membership{
		Manager: transport.Target{Server: idOf(managerKey), Hints: []grid.Hint{"/dns/manager/tcp/1"}, Connections: transport.DirectConnections},
		Secret:  wire.Secret(secret), Store: o.state,
	}
}

// join makes the client a member named alice.
func (o *office) join(quota *int64) membership.Secret {
	o.Helper()
	added := o.ask(manager.Add{Name: "alice", Quota: quota}).(manager.Added)
	if s, ok := o.tryJoin(added.Secret).(client.MembershipStatus); !ok || s.Terms.Name != "alice" {
		o.Fatalf("joined %+v", s)
	}
	return added.Secret
}

func (o *office) tryJoin(secret membership.Secret) (answer any) {
	o.Helper()
	o.send(client.Join{ReplyTo: o.inbox(func(m any) { answer = m }), Membership: o.membership(secret)})
	o.until("the join", time.Minute, func() bool { return answer != nil })
	return answer
}

func (o *office) memberships() (list client.Memberships) {
	o.Helper()
	got := false
	o.send(client.AskMemberships{ReplyTo: o.inbox(func(m any) { list, got = m.(client.Memberships) })})
	o.until("memberships", time.Minute, func() bool { return got })
	return list
}

// cards are those that the client has now.
func (o *office) cards() map[grid.ServerID]lease.Card {
	o.Helper()
	cards := map[grid.ServerID]lease.Card{}
	for _, b := range o.state.state.Cards {
		c, err := lease.ReadCard(b, grid.PublicKeyOf(managerKey))
		o.must(err)
		cards[c.Server] = c
	}
	return cards
}

func (o *office) untilCards(n int, within time.Duration) {
	o.Helper()
	o.until(fmt.Sprint(n, " cards"), within, func() bool { return len(o.cards()) == n })
}

// One secret is enough: the client learns the servers, has its keys signed,
// logs in everywhere by itself and stores.
func TestJoinLogsIn(t *testing.T) {
	o := newOffice(t, 4, 4)
	o.start()
	o.untilState(client.Connected, 30*time.Second)
	o.join(new(int64(5e9)))
	o.untilState(client.LoggedIn, 30*time.Second)
	j := o.put(content(100000), wide(4, 4))
	o.finish(j, time.Minute)
	if j.err != nil {
		t.Fatal(j.err)
	}
	s := o.memberships()
	if len(s) != 1 || s[0].Servers != 4 || s[0].Cards != 4 || s[0].Err != nil || s[0].CardsUntil != lease.CardUntil(o.world.Now()) {
		t.Errorf("memberships %+v", s)
	}
	for id, card := range o.cards() {
		if card.Key != account(1).PublicKey(id) {
			t.Errorf("card of %v at %v", card.Key, id)
		}
	}
}

// Every question comes over a connection of its own, under an identity of its
// own, and no two at the same time.
func TestQuestionsCannotBeTiedTogether(t *testing.T) {
	o := newOffice(t, 5, 5)
	o.start()
	o.join(nil)
	o.untilCards(5, time.Minute)
	seen := map[grid.PublicKey]bool{}
	for _, s := range o.sessions {
		if seen[s.Remote()] {
			t.Error("an identity was used twice")
		}
		seen[s.Remote()] = true
	}
	if len(seen) != 7 { // the servers, the keys, five cards
		t.Errorf("%d connections", len(seen))
	}
}

// A client that is on gets newer cards long before the old ones end, at times
// that are spread; a new server is met and joined to the rest.
func TestNewerCardsComeByThemselves(t *testing.T) {
	o := newOffice(t, 4, 3)
	o.start()
	o.join(new(int64(5e9)))
	o.untilCards(3, time.Minute)
	o.addServer(o.peers[3])
	o.untilCards(4, 24*time.Hour)
	for range 4 {
		o.pass(lease.CardPeriod / 2)
		for id, card := range o.cards() {
			if left := time.Unix(card.Until, 0).Sub(o.world.Now()); left < lease.CardPeriod-5*24*time.Hour {
				t.Errorf("card for %s has %v left", id.Short(), left)
			}
		}
	}
	for _, p := range o.peers { // references last a day, so the newer cards were shown
		if ago := o.world.Now().Sub(o.logins[p]); ago > 25*time.Hour {
			t.Errorf("after two months: the last login at %s was %v ago", p.name, ago)
		}
	}
}

// What was kept is used again, without the manager.
func TestCardsOutlastTheManager(t *testing.T) {
	o := newOffice(t, 3, 3)
	o.start()
	secret := o.join(nil)
	o.untilCards(3, time.Minute)
	o.world.Crash("client")
	o.net.Crash("client")
	o.world.Crash("manager")
	o.net.Crash("manager")
	o.config.Memberships = []client.Membership{o.membership(secret)}
	o.start()
	o.untilState(client.LoggedIn, 30*time.Second)
	// It comes back after the cards have been refused for days.
	o.pass(40 * 24 * time.Hour)
	o.open()
	o.until("newer cards", 24*time.Hour, func() bool {
		for _, c := range o.cards() {
			if c.Until != lease.CardUntil(o.world.Now()) {
				return false
			}
		}
		return true
	})
}

// Shares go to the servers of the grid, and to those that the owner named, even
// if others would take them.
func TestSharesStayInTheGrid(t *testing.T) {
	o := newOffice(t, 5, 3)
	for _, p := range o.peers[3:] {
		p.instead = nil // takes anybody
	}
	o.config.Named = []grid.ServerID{o.peers[3].id()}
	o.start()
	o.untilStates(o.peers[3:], client.LoggedIn)
	o.join(nil)
	o.untilState(client.LoggedIn, 30*time.Second)
	j := o.put(content(100000), wide(5, 4))
	o.finish(j, time.Minute)
	if j.err != nil || j.stored.Happiness != 4 {
		t.Fatalf("%+v, %v", j.stored, j.err)
	}
	if n := o.peers[4].asked[wire.KindAllocate]; n != 0 {
		t.Errorf("a server outside of the grid was offered %d shares", n)
	}
	o.wantOutside(o.peers[4])
	// A server that leaves the grid gets no new shares as soon as that is known.
	if a := o.ask(manager.RemoveServer{ID: o.peers[0].id()}); a != (manager.Done{}) {
		t.Fatal(a)
	}
	o.pass(12 * time.Hour)
	o.wantOutside(o.peers[0], o.peers[4])
}

// wantOutside holds that those servers, and no others, are said to get no new
// shares.
func (o *office) wantOutside(peers ...*peer) {
	o.Helper()
	for _, s := range o.status(false).Servers {
		outside := slices.ContainsFunc(peers, func(p *peer) bool { return p.id() == s.Announcement.Server })
		if told := s.Err != nil && strings.Contains(s.Err.Error(), "not a server of the account manager's grid"); told != outside {
			o.Errorf("%s: %v", s.Announcement.Nickname, s.Err)
		}
	}
}

func (o *office) untilStates(peers []*peer, want client.State) {
	o.Helper()
	o.until("states", time.Minute, func() bool {
		for _, s := range o.status(false).Servers {
			for _, p := range peers {
				if s.Announcement.Server == p.id() && s.State != want {
					return false
				}
			}
		}
		return true
	})
}

// A secret that is none, or was used, makes no membership, and restricts
// nothing.
func TestJoinRefused(t *testing.T) {
	o := newOffice(t, 2, 0)
	for _, p := range o.peers {
		p.instead = nil
	}
	o.start()
	o.untilState(client.LoggedIn, 30*time.Second)
	e, ok := o.tryJoin(membership.Secret{1}).(error)
	if !ok || !strings.Contains(e.Error(), "not known to the account manager") {
		t.Errorf("joined with a guess: %v", e)
	}
	o.pass(time.Second)
	if s := o.memberships(); len(s) != 0 {
		t.Errorf("memberships %+v", s)
	}
	j := o.put(content(100000), wide(2, 2))
	o.finish(j, time.Minute)
	if j.err != nil {
		t.Error(j.err)
	}
}

// A manager that can't be reached is asked until it can be.
func TestJoinLater(t *testing.T) {
	o := newOffice(t, 2, 2)
	added := o.ask(manager.Add{Name: "alice"}).(manager.Added)
	o.net.Partition("client", "manager")
	o.start()
	if err, failed := o.tryJoin(added.Secret).(error); !failed {
		t.Errorf("joined: %v", err)
	}
	o.net.Heal("client", "manager")
	o.untilCards(2, 10*time.Minute)
	o.untilState(client.LoggedIn, time.Minute)
}

// Who was removed is told so, and keeps what he has until it ends.
func TestRemovedMemberIsTold(t *testing.T) {
	o := newOffice(t, 2, 2)
	o.start()
	o.join(nil)
	o.untilCards(2, time.Minute)
	if a := o.ask(manager.Remove{Name: "alice"}); a != (manager.Done{}) {
		t.Fatal(a)
	}
	o.pass(10 * 24 * time.Hour)
	s := o.memberships()
	if len(s) != 1 || s[0].Err == nil || s[0].Cards != 2 {
		t.Errorf("memberships %+v", s)
	}
	asked := len(o.sessions)
	o.pass(24 * time.Hour)
	if more := len(o.sessions) - asked; more > 20 {
		t.Errorf("%d connections in a day of a member who was removed", more)
	}
}

// enrol makes an account a member whose client is off.
func (o *office) enrol(name string, a lease.Account, servers ...grid.ServerID) {
	o.Helper()
	added := o.ask(manager.Add{Name: name}).(manager.Added)
	list, err := a.SignKeyList(grid.PublicKeyOf(managerKey), servers)
	o.must(err)
	enrolled := false
	o.net.Dialer(name).Dial(transport.Target{Server: idOf(managerKey), Hints: []grid.Hint{"/dns/manager/tcp/1"}, Connections: transport.DirectConnections}, transport.SessionEvents{},
		func(s transport.Session, err error) {
			o.must(err)
			c := s.Open(transport.Membership, func(ev transport.Event) {
				if m, ok := ev.(transport.Received); ok {
					_, is := m.Frame.Message.(*wire.Enrolled)
					enrolled = enrolled || is
				}
			}, 10)
			c.Send(wire.Frame{ID: 1, Message: &wire.Hello{Version: wire.Version}})
			c.Send(wire.Frame{ID: 2, Message: &wire.Enrol{Secret: wire.Secret(added.Secret), KeyList: list}})
		})
	o.until("the enrolment", time.Minute, func() bool { return enrolled })
}

// What a member gave to this node goes on under the newer cards of that member,
// whose laptop is off for good, and outlasts a restart.
func TestOthersCardsAreRefreshed(t *testing.T) {
	o := newOffice(t, 2, 2)
	alice, fresh, s := account(2), lease.OneKeyAccount([lease.SeedSize]byte{9}), o.peers[0].id()
	o.enrol("alice", alice, s)
	card, err := lease.SignCard(managerKey, s, alice.PublicKey(s), lease.CardTerms{}, o.world.Now())
	o.must(err)
	chain, err := lease.Credential{Chain: card.Chain, Key: alice.Key(s)}.Delegate(fresh.PublicKey(s), lease.Delegation{SignerGetsLease: true})
	o.must(err)
	o.config.Authority.Holdings = append([]lease.Holding{{Chain: chain, Account: fresh}}, o.config.Authority.Holdings...)
	o.start()
	added := o.ask(manager.Add{Name: "friend"}).(manager.Added)
	if st, ok := o.tryJoin(added.Secret).(client.MembershipStatus); !ok {
		t.Fatalf("joined %+v", st)
	}
	o.config.Memberships = []client.Membership{o.membership(added.Secret)}
	for n := range 4 {
		o.pass(lease.CardPeriod)
		if n == 2 {
			o.world.Crash("client")
			o.net.Crash("client")
			o.start()
			o.pass(time.Hour)
		}
		if ago := o.world.Now().Sub(o.keys[fresh.PublicKey(s)]); ago > 25*time.Hour {
			t.Errorf("after %d periods: what alice gave was last used %v ago", n+1, ago)
		}
		if st := o.state.state; len(st.Below) != 1 || len(st.Cards) != 2 {
			t.Fatalf("%d cards of others, %d own", len(st.Below), len(st.Cards))
		}
	}
}

// Who leaves has nothing left of a membership: no card is shown, nothing is
// asked, and new shares may go anywhere. Joining again makes him a member again.
func TestLeave(t *testing.T) {
	o := newOffice(t, 3, 2)
	o.start()
	secret := o.join(nil)
	o.untilCards(2, time.Hour)
	leave := func() (answer any) {
		t.Helper()
		o.send(client.Leave{ReplyTo: o.inbox(func(m any) { answer = m }), Manager: idOf(managerKey)})
		o.until("the end of the membership", time.Minute, func() bool { return answer != nil })
		return answer
	}
	o.state.broken = errors.New("read-only disk")
	if err, ok := leave().(error); !ok || !errors.Is(err, o.state.broken) || len(o.memberships()) != 1 {
		t.Errorf("what could not be forgotten: %v", err)
	}
	o.state.broken = nil
	if a := leave(); a != (client.Left{}) || len(o.memberships()) != 0 || o.state.forgotten != 1 {
		t.Fatalf("answered by %v; %d memberships", a, len(o.memberships()))
	}
	left, sessions := o.world.Now(), len(o.sessions)
	o.untilState(client.Connected, time.Minute)
	if err := o.world.For(100 * 24 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if len(o.sessions) != sessions || len(o.state.state.Cards) != 0 || o.state.saves > 100 {
		t.Errorf("the manager was asked %d times", len(o.sessions)-sessions)
	}
	for p, at := range o.logins {
		if at.After(left) {
			t.Errorf("%s let it log in", p.name)
		}
	}
	if err, ok := leave().(error); !ok || !errors.Is(err, client.ErrNoMembership) {
		t.Errorf("twice: %v", err)
	}
	if s, ok := o.tryJoin(secret).(client.MembershipStatus); !ok || s.Terms.Name != "alice" {
		t.Fatalf("joined again: %+v", s)
	}
	o.untilCards(2, time.Hour)
	o.until("logins", time.Hour, func() bool {
		n := 0
		for _, at := range o.logins {
			if at.After(left) {
				n++
			}
		}
		return n == 2
	})
}

// wrongClock is one that was set wrongly.
type wrongClock struct {
	env.Clock
	by time.Duration
}

func (c wrongClock) Now() time.Time { return c.Clock.Now().Add(c.by) }

// Where the clocks of the account manager, a member and the servers are up to two
// days apart, newer cards come in time all the same, and no server ever refuses
// one.
func TestMembershipWhereClocksDiffer(t *testing.T) {
	for _, by := range []time.Duration{-24 * time.Hour, -time.Hour, time.Hour, 24 * time.Hour} {
		o := newOffice(t, 3, 0)
		o.world.Crash("manager")
		o.net.Crash("manager")
		o.managerBy = by
		o.open()
		for i, p := range o.peers {
			o.serverBy[p] = time.Duration(1-i) * by // one like the manager's, one right, one the other way
			o.addServer(p)
		}
		o.start()
		o.join(new(int64(5e9)))
		o.untilState(client.LoggedIn, 2*time.Minute)
		for range 200 {
			o.pass(12 * time.Hour)
			for _, p := range o.peers {
				if ago := o.world.Now().Sub(o.logins[p]); ago > 25*time.Hour {
					t.Fatalf("clocks %v apart: the last login at %s was %v ago", by, p.name, ago)
				}
			}
		}
		if s := o.memberships()[0]; s.Cards != 3 || s.Err != nil {
			t.Errorf("clocks %v apart: %+v", by, s)
		}
	}
}
