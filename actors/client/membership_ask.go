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
	kind   wire.Kind     // of the request
	server grid.ServerID // of a card
}

// spread is over how long the questions for newer cards are strewn: the less
// time is left to a card, the sooner it is asked for.
func spread(until int64, now time.Time) time.Duration {
	return min(max(time.Unix(until, 0).Sub(now)/20, cardSoon), cardSpread)
}

// decide is what to ask next, and when: the grid's servers, then that the
// manager know the keys for all of them, then cards, one at a time.
func (m *membership) decide(now time.Time) (ask, time.Time) {
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
			next, at = ask{wire.KindRefreshCard, id}, due
			if _, ok := m.cards[id]; !ok {
				next.kind = wire.KindFetchCard
			}
		}
	}
	return next, at
}

// next asks what is due, or waits for it.
func (m *membership) next(ctx actor.Context) {
	if m.link != nil {
		return
	}
	now := m.env.Clock.Now()
	next, at := m.decide(now)
	if at.After(now) {
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
		m.link.send(wire.Frame{ID: 2, Message: &wire.RefreshCard{Card: m.cards[m.ask.server].Chain.Encode()}})
	case wire.KindEnrol:
		ctx.Send(m.vault, signKeyList{ctx.Self(), m.link, m.key(), m.list.Servers})
	case wire.KindFetchCard:
		ctx.Send(m.vault, signCardProof{ctx.Self(), m.link, m.key(), m.ask.server, m.link.session.Local()})
	}
}

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
	case *wire.Enrolled:
		m.enrolled(ctx, a)
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
	if m.ask.kind != wire.KindAskServers {
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

func (m *membership) enrolled(ctx actor.Context, a *wire.Enrolled) {
	if m.terms == nil {
		m.log.Info("member of the account manager's grid", "name", a.Name)
	}
	m.terms = a
	for _, id := range m.list.Servers {
		m.listed[id] = true
	}
	m.answerJoin(ctx, m.status())
}

// heardCard takes a card for the key and server that it was asked for.
func (m *membership) heardCard(ctx actor.Context, a *wire.Card) error {
	card, err := lease.ReadCard(a.Chain, m.key())
	if err != nil {
		return err
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

// refused is the manager's no. What it does not know, or no longer, is asked
// again after a long while, as its operator may change his mind.
func (m *membership) refused(ctx actor.Context, e *wire.Error) {
	if e.Code != wire.NotAccepted && e.Code != wire.AuthorityExpired && e.Code != wire.BadRequest {
		m.failed(ctx, e)
		return
	}
	m.log.Info("account manager refuses", "request", m.ask.kind, "error", e)
	m.hangUp()
	m.err, m.refusal = nil, e
	if m.ask.kind == wire.KindEnrol && m.terms == nil {
		m.answerJoin(ctx, error(e))
		ctx.Send(ctx.Parent(), notAMember{m.Manager.Server})
		return
	}
	later := m.env.Clock.Now().Add(m.env.Jitter(refusedInterval))
	switch m.ask.kind {
	case wire.KindAskServers:
		m.listDue = later
	case wire.KindEnrol:
		m.enrolDue = later
		m.answerJoin(ctx, error(e))
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
	m.answerJoin(ctx, err)
	m.say(ctx)
	m.wait(ctx, m.backoff.next())
}
