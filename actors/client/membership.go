package client

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Membership is one account manager of whose grid this node is a member, or
// wants to be.
type Membership struct {
	Manager transport.Target
	// Secret of the membership reference.
	Secret wire.Secret
	Store  MembershipStore
	// Guest is a node that is no member and wants to be none: it only has newer
	// cards fetched in the place of those under which members gave it something.
	Guest bool
}

// key is what the manager signs with.
func (m Membership) key() grid.PublicKey { return m.Manager.Server.Key() }

// MembershipStore keeps what a manager said. Both methods may block and are
// called by one goroutine at a time.
type MembershipStore interface {
	Load() (MembershipState, error) // the zero state at first
	Save(MembershipState) error
	// Forget removes it, and that the node ever joined.
	Forget() error
}

// MembershipState is what is kept of a membership. None of it is secret.
type MembershipState struct {
	// Terms are what the manager said last; nil before the node is a member.
	Terms *wire.Enrolled
	// Servers is the signed list of the grid's servers (lease.OpenServerList).
	Servers []byte
	// Listed are the servers for which the manager knows this node's key.
	Listed []grid.ServerID
	// Cards are the newest (lease.ReadCard), Below those of others under which
	// something was given to this node.
	Cards, Below [][]byte
}

// MembershipStatus is a picture of a membership.
type MembershipStatus struct {
	Manager grid.ServerID
	Guest   bool
	// Terms are nil before the node is a member.
	Terms *wire.Enrolled
	// Servers is how many the grid has, Cards how many cards there are for them; a
	// guest has those of others.
	Servers, Cards int
	// CardsUntil is when the first of the cards ends, in Unix seconds; 0 where
	// there is none.
	CardsUntil int64
	// Err is why the manager gave no answer, or no card.
	Err error
}

// ErrNoMembership means that the node is no member there.
var ErrNoMembership = errors.New("not a member of that account manager's grid")

// errOtherGrid is why a server gets no new shares of ours.
var errOtherGrid = errors.New("not a server of the account manager's grid, so it gets no new shares; name it under client.servers in tarn.yaml if it should")

// membership keeps a node a member of one account manager's grid: it has the
// manager know the node's keys, and fetches the cards for them, each over a
// connection and under an identity of its own, at random times.
//
// Owns: the connection to the account manager, the cards from it and their file.
// On failure: restarts from its file and asks the manager for what is missing.
type membership struct {
	env    *env.Env
	log    *slog.Logger
	dialer transport.Dialer
	rules  clause.Rules
	Membership
	vault, broker *actor.PID

	terms   *wire.Enrolled
	signed  []byte // the list of servers
	list    lease.ServerList
	listed  map[grid.ServerID]bool
	cards   map[grid.ServerID]lease.Card
	due     map[grid.ServerID]time.Time // when the card of a server is asked for
	below   map[lease.ServerKey]*belowCard
	err     error // why there was no answer
	refusal error // why the answer was no
	// listDue and enrolDue are when the list of servers is asked for, and when
	// the keys are listed if some are not.
	listDue, enrolDue time.Time

	link    *link
	ask     ask
	timer   func() // stops what would happen next
	backoff backoff
	quiet   time.Time // until when nobody is asked, unless somebody joins
	joining []*actor.PID
	joined  []*actor.PID // are told once it is kept
	saving  bool
	unsaved bool
	leaving []*actor.PID // who has it forgotten
}

func newMembership(e *env.Env, d transport.Dialer, r clause.Rules, m Membership, vault, broker *actor.PID) env.Producer {
	return func() actor.Actor {
		return &membership{
			env: e, log: e.Log.With("manager", m.Manager.Server.Short()), dialer: d, rules: r, Membership: m, vault: vault, broker: broker,
			listed: map[grid.ServerID]bool{}, cards: map[grid.ServerID]lease.Card{}, due: map[grid.ServerID]time.Time{},
			below:   map[lease.ServerKey]*belowCard{},
			backoff: backoff{env: e},
		}
	}
}

// belowCard is somebody else's card, under which something was given to this
// node, and when a newer one is asked for.
type belowCard struct {
	lease.Card
	due time.Time
}

// To a membership.
type (
	// joinNow asks the manager at once, with the secret of a reference that was
	// given just now; its end is told to replyTo.
	joinNow struct {
		replyTo *actor.PID
		secret  wire.Secret
	}
	stateLoaded struct {
		state MembershipState
		err   error
	}
	stateSaved struct{ err error }
	// leaveNow ends the membership; its end is told to replyTo.
	leaveNow  struct{ replyTo *actor.PID }
	forgotten struct{ err error }
	// cardsBelow are cards of others, older ones perhaps.
	cardsBelow struct{ cards []lease.Card }
	// askNow is the time for the next question.
	askNow struct{}
	// managerLate ends the wait for an answer.
	managerLate struct{ link *link }
)

// To the parent and the broker.
type (
	// membershipReport is what a membership says of itself after each change.
	membershipReport struct{ status MembershipStatus }
	// notAMember says that the manager refused this node before it ever was one,
	// or that its owner has ended the membership.
	notAMember struct{ manager grid.ServerID }
	// gridServers says which servers a manager's grid has; nil before that is
	// known.
	gridServers struct {
		manager grid.ServerID
		servers map[grid.ServerID]bool
	}
)

// Receive implements actor.Actor.
func (m *membership) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		m.env.Exec.Do(env.Disk, ctx.Self(), func() any {
			state, err := m.Store.Load()
			return stateLoaded{state, err}
		})
	case stateLoaded:
		m.loaded(ctx, msg)
	case joinNow:
		m.join(ctx, msg)
	case askNow:
		m.next(ctx)
	case signedForManager:
		m.send(msg)
	case cardsBelow:
		m.refreshBelow(ctx, msg.cards)
	case linkEvent:
		m.linkEvent(ctx, msg)
	case managerLate:
		if msg.link == m.link {
			m.failed(ctx, fmt.Errorf("%w: no answer within %v", transport.ErrUnreachable, helloTime))
		}
	case stateSaved:
		m.saved(ctx, msg)
	case leaveNow:
		m.leave(ctx, msg)
	case forgotten:
		m.forgotten(ctx, msg)
	case sayAgain:
		m.say(ctx)
	case *actor.Stopping, *actor.Restarting:
		m.link.close()
	}
}

func (m *membership) loaded(ctx actor.Context, msg stateLoaded) {
	if len(m.leaving) > 0 {
		return
	}
	if msg.err != nil {
		m.log.Warn("what the account manager said could not be read; it is asked again", "error", msg.err)
	}
	m.terms = msg.state.Terms
	m.takeList(msg.state.Servers)
	for _, id := range msg.state.Listed {
		m.listed[id] = true
	}
	now := m.env.Clock.Now()
	for _, b := range msg.state.Cards {
		card, err := lease.ReadCard(b, m.key())
		if err != nil {
			m.log.Warn("a card that was kept is dropped", "error", err)
			continue
		}
		m.cards[card.Server] = card
		m.due[card.Server] = now.Add(m.draw(spread(card.Until, now)))
	}
	for _, b := range msg.state.Below {
		if card, err := lease.ReadCard(b, m.key()); err == nil {
			m.below[card.At()] = &belowCard{card, now.Add(m.draw(spread(card.Until, now)))}
		}
	}
	if m.rules.Anonymous {
		m.quiet = now.Add(drawn(m.env))
	}
	m.tellVault(ctx)
	m.say(ctx)
	if m.Guest {
		ctx.Send(m.vault, askBelow{ctx.Self(), m.key()})
	}
	m.next(ctx)
}

// refreshBelow has newer cards asked for in the place of those, too.
func (m *membership) refreshBelow(ctx actor.Context, cards []lease.Card) {
	now := m.env.Clock.Now()
	for _, card := range cards {
		if old := m.below[card.At()]; old == nil && m.cards[card.Server].Key != card.Key {
			m.below[card.At()] = &belowCard{card, now.Add(m.draw(spread(card.Until, now)))}
		}
	}
	if m.link == nil && m.timer != nil {
		m.next(ctx)
	}
}

// belowKeys are those of below, in order.
func (m *membership) belowKeys() []lease.ServerKey {
	return slices.SortedFunc(maps.Keys(m.below), func(a, b lease.ServerKey) int {
		return cmp.Or(slices.Compare(a.Server[:], b.Server[:]), slices.Compare(a.Key[:], b.Key[:]))
	})
}

// takeList takes a list of servers that is newer than the one at hand.
func (m *membership) takeList(signed []byte) bool {
	if len(signed) == 0 {
		return false
	}
	list, err := lease.OpenServerList(signed, m.key())
	if err != nil {
		m.log.Warn("a list of the grid's servers is dropped", "error", err)
		return false
	}
	if m.signed != nil && list.Sequence <= m.list.Sequence {
		return false
	}
	m.signed, m.list = signed, list
	return true
}

// join asks for everything now.
func (m *membership) join(ctx actor.Context, msg joinNow) {
	m.Secret = msg.secret
	m.joining = append(m.joining, msg.replyTo)
	m.backoff.reset()
	m.listDue, m.enrolDue, m.quiet = time.Time{}, time.Time{}, time.Time{}
	m.due = map[grid.ServerID]time.Time{}
	clear(m.listed)
	if m.link == nil && m.timer != nil {
		m.next(ctx)
	}
}

func (m *membership) draw(d time.Duration) time.Duration {
	return time.Duration(m.env.Rand.Int64N(int64(d)))
}

// state is what is kept.
func (m *membership) state() MembershipState {
	s := MembershipState{Terms: m.terms, Servers: m.signed, Listed: sortedServers(m.listed)}
	for _, id := range sortedServers(m.cards) {
		s.Cards = append(s.Cards, m.cards[id].Chain.Encode())
	}
	for _, at := range m.belowKeys() {
		s.Below = append(s.Below, m.below[at].Chain.Encode())
	}
	return s
}

// save writes the state, once at a time.
func (m *membership) save(ctx actor.Context) {
	if len(m.leaving) > 0 {
		return
	}
	if m.saving {
		m.unsaved = true
		return
	}
	m.saving, m.unsaved = true, false
	state, store := m.state(), m.Store
	m.env.Exec.Do(env.Disk, ctx.Self(), func() any { return stateSaved{store.Save(state)} })
}

func (m *membership) saved(ctx actor.Context, msg stateSaved) {
	m.saving = false
	if msg.err != nil {
		m.log.Error("what the account manager said could not be kept; the next start asks again", "error", msg.err)
	}
	if len(m.leaving) > 0 {
		m.forget(ctx)
		return
	}
	if m.unsaved {
		m.save(ctx)
		return
	}
	var answer any = m.status()
	if msg.err != nil {
		answer = fmt.Errorf("keep the membership: %w", msg.err)
	}
	for _, to := range m.joined {
		ctx.Send(to, answer)
	}
	m.joined = nil
}

// leave forgets what is kept, once nothing is being written, and asks for nothing
// more.
func (m *membership) leave(ctx actor.Context, msg leaveNow) {
	m.leaving = append(m.leaving, msg.replyTo)
	m.stopTimer()
	if m.link != nil {
		m.hangUp()
	}
	if len(m.leaving) == 1 && !m.saving {
		m.forget(ctx)
	}
}

func (m *membership) forget(ctx actor.Context) {
	store := m.Store
	m.env.Exec.Do(env.Disk, ctx.Self(), func() any { return forgotten{store.Forget()} })
}

// forgotten takes the cards from the vault, and has the parent end this actor.
// Where they could not be forgotten the node stays a member.
func (m *membership) forgotten(ctx actor.Context, msg forgotten) {
	if msg.err != nil {
		for _, to := range m.leaving {
			ctx.Send(to, fmt.Errorf("forget the membership: %w", msg.err))
		}
		m.leaving = nil
		m.next(ctx)
		return
	}
	m.joinFailed(ctx, ErrNoMembership)
	for _, to := range m.joined {
		ctx.Send(to, ErrNoMembership)
	}
	ctx.Send(m.vault, useCards{m.Manager.Server, nil})
	ctx.Send(ctx.Parent(), notAMember{m.Manager.Server})
	for _, to := range m.leaving {
		ctx.Send(to, Left{})
	}
}

func (m *membership) tellVault(ctx actor.Context) {
	cards := make([]lease.Chain, 0, len(m.cards))
	for _, id := range sortedServers(m.cards) {
		cards = append(cards, m.cards[id].Chain)
	}
	ctx.Send(m.vault, useCards{m.Manager.Server, cards})
	var below []lease.Card
	for _, at := range m.belowKeys() {
		below = append(below, m.below[at].Card)
	}
	ctx.Send(m.vault, useBelow{below})
}

// say tells the broker where shares may go, and the parent how things stand.
func (m *membership) say(ctx actor.Context) {
	defer ctx.Send(ctx.Parent(), membershipReport{m.status()})
	if m.Guest {
		return
	}
	known := gridServers{manager: m.Manager.Server, servers: map[grid.ServerID]bool{}}
	for _, id := range m.list.Servers {
		known.servers[id] = true
	}
	ctx.Send(m.broker, known)
}

func (m *membership) status() MembershipStatus {
	s := MembershipStatus{Manager: m.Manager.Server, Guest: m.Guest, Terms: m.terms, Servers: len(m.list.Servers), Err: cmp.Or(m.err, m.refusal)}
	if m.Guest {
		for _, at := range m.belowKeys() {
			s.until(m.below[at].Until)
		}
		return s
	}
	for _, id := range m.list.Servers {
		card, ok := m.cards[id]
		if !ok {
			continue
		}
		s.until(card.Until)
	}
	return s
}

// until counts a card.
func (s *MembershipStatus) until(end int64) {
	s.Cards++
	if s.CardsUntil == 0 || end < s.CardsUntil {
		s.CardsUntil = end
	}
}

// joinFailed tells who waits for a join why there is none.
func (m *membership) joinFailed(ctx actor.Context, err error) {
	for _, to := range m.joining {
		ctx.Send(to, err)
	}
	m.joining = nil
}
