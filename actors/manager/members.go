package manager

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
)

// From a session.
type (
	// enrol is a list of keys that is well-formed; answered by reply.
	enrol struct {
		session *actor.PID
		request uint64
		list    lease.SignedKeyList
		signed  []byte
		secret  membership.Secret
	}
	// askCard wants the card of a key, if check holds; answered by reply.
	askCard struct {
		session *actor.PID
		request uint64
		server  grid.ServerID
		key     grid.PublicKey
		// check is what costs: whether the asker has shown what he must.
		check func() error
	}
	askServers struct {
		session *actor.PID
		request uint64
	}
	// verifiedList is an enrol whose signature was looked at.
	verifiedList struct {
		enrol
		holds bool
	}
)

// reply answers a session's request: with err, or what it asked for.
type reply struct {
	request uint64
	err     error
	member  *membership.Member
	card    []byte
	servers []byte
}

// enrol looks into the book first: a stranger's signature is never verified.
func (m *Manager) enrol(ctx actor.Context, msg enrol) {
	if _, err := m.book.Find(msg.list.Account, &msg.secret, m.env.Clock.Now()); err != nil {
		m.env.Log.Info("enrolment refused", "account", msg.list.Account.Short(), "error", err)
		ctx.Send(msg.session, reply{request: msg.request, err: err})
		return
	}
	m.env.Exec.Do(env.CPU, ctx.Self(), func() any { return verifiedList{msg, msg.list.Holds()} })
}

func (m *Manager) verified(ctx actor.Context, msg verifiedList) {
	if !msg.holds {
		ctx.Send(msg.session, reply{request: msg.request, err: fmt.Errorf("key list: %w", lease.ErrForged)})
		return
	}
	now := m.env.Clock.Now()
	m.enqueue(ctx, decision{
		replyTo: msg.session, request: msg.request,
		decide: func(b *membership.Book) (membership.Change, error) {
			return b.Enrol(msg.list, msg.signed, &msg.secret, now)
		},
		answer: func(b *membership.Book) any {
			member, err := b.Find(msg.list.Account, nil, now)
			return reply{request: msg.request, member: &member, err: err}
		},
	})
}

// card signs the card of a member's key, outside of Receive.
func (m *Manager) card(ctx actor.Context, msg askCard) {
	now := m.env.Clock.Now()
	terms, err := m.book.Card(msg.server, msg.key, now)
	if err != nil {
		ctx.Send(msg.session, reply{request: msg.request, err: err})
		return
	}
	key := m.config.Key
	m.env.Exec.Do(env.CPU, msg.session, func() any {
		if err := msg.check(); err != nil {
			return reply{request: msg.request, err: err}
		}
		card, err := lease.SignCard(key, msg.server, msg.key, terms, now)
		if err != nil {
			return reply{request: msg.request, err: err}
		}
		return reply{request: msg.request, card: card.Chain.Encode()}
	})
}
