package manager

import (
	"errors"
	"fmt"

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
	inbound.Talk
	manager *actor.PID
	us      grid.PublicKey
	asked   int
}

func newSession(e *env.Env, manager *actor.PID, a inbound.Arrival) env.Producer {
	return func() actor.Actor {
		terms := inbound.Terms{Protocol: transport.Membership, Credit: requests, HelloWithin: helloWithin}
		return &session{Talk: inbound.NewTalk(e, a, terms), manager: manager, us: a.Session.Local()}
	}
}

// Receive implements actor.Actor.
func (s *session) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case inbound.Frame:
		s.frame(ctx, m)
	case reply:
		s.reply(ctx, m)
	default:
		s.Hear(ctx)
	}
}

func (s *session) frame(ctx actor.Context, m inbound.Frame) {
	m.Release()
	if !s.InOrder(m) {
		return
	}
	if s.asked++; s.asked > maxRequests {
		s.Break("too many requests")
		return
	}
	switch msg := m.Message.(type) {
	case *wire.Hello:
		s.Answer(ctx, m.ID, &wire.Hello{Version: wire.Version, MaxRequests: requests})
	case *wire.AskServers:
		ctx.Send(s.manager, askServers{ctx.Self(), m.ID})
	case *wire.Enrol:
		s.enrol(ctx, m.ID, msg)
	case *wire.FetchCard:
		s.fetch(ctx, m.ID, msg)
	case *wire.RefreshCard:
		s.refresh(ctx, m.ID, msg)
	default:
		s.Answer(ctx, m.ID, &wire.Error{Code: wire.BadRequest, Text: "not a request for an account manager"})
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
	us, peer := s.us, s.Conn.Remote()
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
		s.Answer(ctx, r.request, wireError(r.err))
	case r.card != nil:
		s.Answer(ctx, r.request, &wire.Card{Chain: r.card})
	case r.member != nil:
		s.Answer(ctx, r.request, enrolled(*r.member))
	default:
		s.Answer(ctx, r.request, &wire.ServerList{Signed: r.servers})
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
