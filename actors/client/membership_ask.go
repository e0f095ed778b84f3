package client

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// ask is a question to the account manager, for which a connection is made.
type ask struct {
	kind   wire.Kind      // of the request
	server grid.ServerID  // of a card
	below  grid.PublicKey // whose card it is; zero is this node's
}

// spread is over how long the questions for newer cards are strewn: the less
// time is left to a card, the sooner it is asked for.
func spread(until int64, now time.Time) time.Duration {
	return min(max(time.Unix(until, 0).Sub(now)/20, cardSoon), cardSpread)
}

// decide is what to ask next, and when: what a member asks, or newer cards of
// others, one at a time.
func (m *membership) decide(now time.Time) (ask, time.Time) {
	next, at := ask{}, now.Add(listInterval)
	if !m.Guest {
		next, at = m.decideOwn(now)
	}
	for _, key := range m.belowKeys() {
		if due := m.below[key].due; due.Before(at) && at.After(now) {
			next, at = ask{wire.KindRefreshCard, key.Server, key.Key}, due
		}
	}
	return next, at
}

// decideOwn is about the grid's servers, then that the manager know the keys for
// all of them, then cards.
func (m *membership) decideOwn(now time.Time) (ask, time.Time) {
	next, at := ask{kind: wire.KindAskServers}, m.listDue
	if !at.After(now) {
		return next, at
	}
	unlisted := func(id grid.ServerID) bool { return !m.listed[id] }
	if (m.terms == nil || len(m.joining) > 0 || slices.ContainsFunc(m.list.Servers, unlisted)) && m.enrolDue.Before(at) {
		next, at = ask{kind: wire.KindEnrol}, m.enrolDue
	}
	for _, id := range m.list.Servers {
		if due := m.due[id]; m.listed[id] && due.Before(at) && at.After(now) {
			next, at = ask{kind: wire.KindRefreshCard, server: id}, due
			if _, ok := m.cards[id]; !ok {
				next.kind = wire.KindFetchCard
			}
		}
	}
	return next, at
}

// next asks what is due, or waits for it.
func (m *membership) next(ctx actor.Context) {
	if m.link != nil || len(m.leaving) > 0 {
		return
	}
	now := m.env.Clock.Now()
	next, at := m.decide(now)
	if at = later(at, m.quiet); at.After(now) {
		m.wait(ctx, at.Sub(now))
		return
	}
	m.stopTimer()
	m.ask = next
	m.link = dial(m.env, ctx.Self(), m.dialer, m.Manager, false)
	m.timer = m.env.Clock.After(helloTime, ctx.Self(), managerLate{m.link})
}

func (m *membership) wait(ctx actor.Context, d time.Duration) {
	m.stopTimer()
	m.timer = m.env.Clock.After(d, ctx.Self(), askNow{})
}

func (m *membership) stopTimer() {
	if m.timer != nil {
		m.timer()
		m.timer = nil
	}
}

func (m *membership) linkEvent(ctx actor.Context, msg linkEvent) {
	if msg.link != m.link {
		msg.Discard()
		return
	}
	switch e := msg.event.(type) {
	case linkOpen:
		m.link.open(e.session, transport.Membership)
		m.link.send(wire.Frame{ID: 1, Message: &wire.Hello{Version: wire.Version, MaxRequests: 1}})
		m.request(ctx)
	case linkFrame:
		e.frame.Release()
		m.link.grant(1)
		m.heard(ctx, e.frame.Message)
	case linkClosed:
		m.failed(ctx, e.err)
	}
}

// request sends the question, or has the vault sign it first.
func (m *membership) request(ctx actor.Context) {
	switch m.ask.kind {
	case wire.KindAskServers:
		m.link.send(wire.Frame{ID: 2, Message: &wire.AskServers{}})
	case wire.KindRefreshCard:
		m.link.send(wire.Frame{ID: 2, Message: &wire.RefreshCard{Card: m.shown().Chain.Encode()}})
	case wire.KindEnrol:
		ctx.Send(m.vault, signKeyList{ctx.Self(), m.link, m.key(), m.list.Servers})
	case wire.KindFetchCard:
		ctx.Send(m.vault, signCardProof{ctx.Self(), m.link, m.key(), m.ask.server, m.link.session.Local()})
	}
}

// shown is the card that a newer one is asked for with.
func (m *membership) shown() lease.Card {
	if m.ask.below.IsZero() {
		return m.cards[m.ask.server]
	}
	return m.below[m.ask.at()].Card
}

func (a ask) at() lease.ServerKey { return lease.ServerKey{Server: a.server, Key: a.below} }

// send sends what the vault signed.
func (m *membership) send(msg signedForManager) {
	if msg.link != m.link {
		return
	}
	if m.ask.kind == wire.KindEnrol {
		m.link.send(wire.Frame{ID: 2, Message: &wire.Enrol{Secret: m.Secret, KeyList: msg.signed}})
		return
	}
	m.link.send(wire.Frame{ID: 2, Message: &wire.FetchCard{Server: m.ask.server, Key: msg.key, Proof: [64]byte(msg.signed)}})
}

// heard takes the answer and lets the connection go.
func (m *membership) heard(ctx actor.Context, answer wire.Message) {
	var err error
	switch a := answer.(type) {
	case *wire.Hello:
		return
	case *wire.ServerList:
		m.heardServers(a)
		ctx.Send(m.vault, askBelow{ctx.Self(), m.key()})
	case *wire.Enrolled:
		m.enrolled(a)
	case *wire.Card:
		err = m.heardCard(ctx, a)
	case *wire.Error:
		m.refused(ctx, a)
		return
	default:
		err = fmt.Errorf("%w: %T instead of an answer", transport.ErrProtocol, a)
	}
	if err != nil {
		m.failed(ctx, err)
		return
	}
	m.hangUp()
	m.backoff.reset()
	m.err = nil
	if m.ask.kind != wire.KindAskServers && m.ask.below.IsZero() || m.Guest {
		m.refusal = nil
	}
	m.save(ctx)
	m.say(ctx)
	m.wait(ctx, m.draw(cardGap))
}

func (m *membership) hangUp() {
	m.stopTimer()
	m.link.close()
	m.link = nil
}

func (m *membership) heardServers(a *wire.ServerList) {
	m.takeList(a.Signed)
	m.listDue = m.env.Clock.Now().Add(m.env.Jitter(listInterval))
}

func (m *membership) enrolled(a *wire.Enrolled) {
	if m.terms == nil {
		m.log.Info("member of the account manager's grid", "name", a.Name)
	}
	m.terms = a
	for _, id := range m.list.Servers {
		m.listed[id] = true
	}
	m.joined, m.joining = append(m.joined, m.joining...), nil
}

// heardCard takes a card for the key and server that it was asked for.
func (m *membership) heardCard(ctx actor.Context, a *wire.Card) error {
	card, err := lease.ReadCard(a.Chain, m.key())
	if err != nil {
		return err
	}
	if !m.ask.below.IsZero() {
		return m.heardBelow(ctx, card)
	}
	old, had := m.cards[m.ask.server]
	if card.Server != m.ask.server || had && card.Key != old.Key {
		return fmt.Errorf("%w: the card of another key", transport.ErrProtocol)
	}
	now := m.env.Clock.Now()
	wide := max(spread(card.Until, now), leastRefresh)
	m.due[card.Server] = now.Add(wide/2 + m.draw(wide))
	if had && card.Until < old.Until {
		return nil // the one at hand is newer
	}
	m.cards[card.Server] = card
	m.tellVault(ctx)
	if !had {
		ctx.Send(m.broker, tryAgain{})
	}
	return nil
}

// heardBelow takes the newer card of somebody else.
func (m *membership) heardBelow(ctx actor.Context, card lease.Card) error {
	if card.At() != m.ask.at() {
		return fmt.Errorf("%w: the card of another key", transport.ErrProtocol)
	}
	now := m.env.Clock.Now()
	wide := max(spread(card.Until, now), leastRefresh)
	old := m.below[m.ask.at()]
	old.due = now.Add(wide/2 + m.draw(wide))
	if card.Until > old.Until {
		old.Card = card
		m.tellVault(ctx)
		ctx.Send(m.broker, tryAgain{})
	}
	return nil
}

// refused is the manager's no. What it does not know, or no longer, is asked
// again after a long while, as its operator may change his mind.
func (m *membership) refused(ctx actor.Context, e *wire.Error) {
	if e.Code != wire.NotAccepted && e.Code != wire.AuthorityExpired && e.Code != wire.BadRequest {
		m.failed(ctx, e)
		return
	}
	m.log.Info("account manager refuses", "request", m.ask.kind, "error", e)
	m.hangUp()
	m.err = nil
	if !m.ask.below.IsZero() { // is no matter of this membership
		m.below[m.ask.at()].due = m.env.Clock.Now().Add(m.env.Jitter(refusedInterval))
		if m.Guest {
			m.refusal = e
			m.say(ctx)
		}
		m.wait(ctx, m.draw(cardGap))
		return
	}
	m.refusal = e
	if m.ask.kind == wire.KindEnrol && m.terms == nil {
		m.joinFailed(ctx, e)
		ctx.Send(ctx.Parent(), notAMember{m.Manager.Server})
		return
	}
	later := m.env.Clock.Now().Add(m.env.Jitter(refusedInterval))
	switch m.ask.kind {
	case wire.KindAskServers:
		m.listDue = later
	case wire.KindEnrol:
		m.enrolDue = later
		m.joinFailed(ctx, e)
	default: // perhaps the manager has lost our key for this server
		m.due[m.ask.server], m.enrolDue = later, later
		delete(m.listed, m.ask.server)
	}
	m.say(ctx)
	m.wait(ctx, m.draw(cardGap))
}

// failed tries again after a while.
func (m *membership) failed(ctx actor.Context, err error) {
	m.hangUp()
	if !errors.Is(err, transport.ErrClosed) {
		m.log.Info("account manager not reached", "error", err)
	}
	m.err = err
	m.joinFailed(ctx, err)
	m.say(ctx)
	m.wait(ctx, m.backoff.next())
}
