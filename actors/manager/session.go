package manager

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/inbound"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// session serves one connection: of a member who enrols, or of whoever wants a
// card.
//
// Owns: the connection.
// On failure: closes the connection; the other side comes back by itself.
type session struct {
	env     *env.Env
	log     *slog.Logger
	manager *actor.PID
	us      grid.PublicKey
	conn    transport.Session
	conv    *inbound.Opened

	greeted bool
	asked   int
}

func newSession(e *env.Env, manager *actor.PID, a inbound.Arrival) env.Producer {
	return func() actor.Actor {
		return &session{
			env: e, log: e.Log.With("session", a.Number), manager: manager, us: a.Session.Local(), conn: a.Session,
		}
	}
}

// The session's own messages.
type (
	silence  struct{}
	answered struct{} // an answer was written
)

// Receive implements actor.Actor.
func (s *session) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		s.env.Clock.After(helloWithin, ctx.Self(), silence{})
	case *inbound.Opened:
		s.opened(ctx, m)
	case inbound.Frame:
		s.frame(ctx, m)
	case inbound.Ended:
		if m.Of == s.conv {
			s.conn.Close()
		}
	case inbound.Closed:
		ctx.Stop(ctx.Self())
	case silence:
		if !s.greeted {
			s.conn.Close()
		}
	case reply:
		s.reply(ctx, m)
	case answered:
		s.conv.Conversation.Grant(1)
	case *actor.Restarting:
		s.conn.Close()
		ctx.Stop(ctx.Self()) // a fresh self would not know the conversation
	case *actor.Stopping:
		s.conn.Close()
	}
}

// opened takes the one conversation that a session needs.
func (s *session) opened(ctx actor.Context, o *inbound.Opened) {
	if s.conv != nil || o.Protocol != transport.Membership {
		o.Conversation.Close(transport.ErrRefused)
		return
	}
	s.conv = o
	o.Take(ctx.Self(), requests)
}

func (s *session) frame(ctx actor.Context, m inbound.Frame) {
	m.Release()
	s.asked++
	_, hello := m.Message.(*wire.Hello)
	if m.Of != s.conv || m.Answer || m.ID == 0 || hello == s.greeted || s.asked > maxRequests {
		s.log.Debug("connection closed", "error", "out of order", "address", s.conn.Address())
		s.conn.Close()
		return
	}
	switch msg := m.Message.(type) {
	case *wire.Hello:
		s.greeted = true
		s.answer(ctx, m.ID, &wire.Hello{Version: wire.Version, MaxRequests: requests})
	case *wire.AskServers:
		ctx.Send(s.manager, askServers{ctx.Self(), m.ID})
	case *wire.Enrol:
		s.enrol(ctx, m.ID, msg)
	case *wire.FetchCard:
		s.fetch(ctx, m.ID, msg)
	case *wire.RefreshCard:
		s.refresh(ctx, m.ID, msg)
	default:
		s.answer(ctx, m.ID, &wire.Error{Code: wire.BadRequest, Text: "not a request for an account manager"})
	}
}

func (s *session) enrol(ctx actor.Context, request uint64, m *wire.Enrol) {
	list, err := lease.DecodeKeyList(m.KeyList)
	if err != nil {
		s.reply(ctx, reply{request: request, err: err})
		return
	}
	ctx.Send(s.manager, enrol{ctx.Self(), request, list, m.KeyList, membership.Secret(m.Secret)})
}

func (s *session) fetch(ctx actor.Context, request uint64, m *wire.FetchCard) {
	us, peer := s.us, s.conn.Remote()
	ctx.Send(s.manager, askCard{ctx.Self(), request, m.Server, m.Key, func() error {
		if !lease.CardProofHolds(m.Proof[:], m.Key, us, m.Server, peer) {
			return fmt.Errorf("proof of the key: %w", lease.ErrForged)
		}
		return nil
	}})
}

// refresh reads from the older card whose it is; that the manager signed it is
// verified only where the key is a member's.
func (s *session) refresh(ctx actor.Context, request uint64, m *wire.RefreshCard) {
	us := s.us
	older, err := lease.PeekCard(m.Card, us)
	if err != nil {
		s.reply(ctx, reply{request: request, err: err})
		return
	}
	ctx.Send(s.manager, askCard{ctx.Self(), request, older.Server, older.Key, func() error {
		_, err := lease.ReadCard(m.Card, us)
		return err
	}})
}

func (s *session) reply(ctx actor.Context, r reply) {
	switch {
	case r.err != nil:
		s.answer(ctx, r.request, wireError(r.err))
	case r.card != nil:
		s.answer(ctx, r.request, &wire.Card{Chain: r.card})
	case r.member != nil:
		s.answer(ctx, r.request, enrolled(*r.member))
	default:
		s.answer(ctx, r.request, &wire.ServerList{Signed: r.servers})
	}
}

func enrolled(m membership.Member) *wire.Enrolled {
	e := &wire.Enrolled{Name: m.Name}
	if m.Quota != nil {
		e.HasQuota, e.Quota = true, uint64(*m.Quota)
	}
	if m.Until != nil {
		e.Until = *m.Until
	}
	return e
}

// wireError is why something was refused, in a code that the client acts on.
func wireError(err error) *wire.Error {
	for _, c := range []struct {
		err  error
		code wire.Code
	}{
		{lease.ErrMalformed, wire.BadRequest},
		{lease.ErrForged, wire.BadRequest},
		{lease.ErrAuthorityExpired, wire.AuthorityExpired},
		{membership.ErrClaimEnded, wire.AuthorityExpired},
		{membership.ErrUnknown, wire.NotAccepted},
		{membership.ErrClaimed, wire.NotAccepted},
		{membership.ErrKeyTaken, wire.NotAccepted},
		{errBusy, wire.Busy},
	} {
		if errors.Is(err, c.err) {
			return wire.NewError(c.code, err.Error())
		}
	}
	return wire.NewError(wire.Internal, "the account manager failed")
}

// answer has the next request come once it is written.
func (s *session) answer(ctx actor.Context, request uint64, m wire.Message) {
	e, self := s.env, ctx.Self()
	f := wire.Frame{ID: request, Answer: true, Message: m}
	s.conv.Conversation.Send(f.WithBody(func() { e.Spawn.Send(self, answered{}) }))
}
