package introducer

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/inbound"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// session serves one connection: a server that publishes, a client that
// subscribes, or both.
//
// Owns: the connection, what is still to be sent over it.
// On failure: closes the connection; the other side comes back by itself.
type session struct {
	inbound.Talk
	introducer *actor.PID

	publications int
	subscribed   bool
	owes         uint64          // the Subscribe to be answered after what is queued, 0 when none
	queue        []grid.ServerID // whose announcements are to be sent
	newest       map[grid.ServerID]known
	unwritten    int
}

func newSession(e *env.Env, introducer *actor.PID, a inbound.Arrival) env.Producer {
	return func() actor.Actor {
		terms := inbound.Terms{Protocol: transport.Introduction, Credit: requests, HelloWithin: helloWithin}
		return &session{Talk: inbound.NewTalk(e, a, terms), introducer: introducer, newest: map[grid.ServerID]known{}}
	}
}

// The session's own messages.
type (
	noticed struct{} // a notice was written
	opened  struct {
		request uint64
		known   known
		err     error
	}
)

// Receive implements actor.Actor.
func (s *session) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case inbound.Frame:
		s.frame(ctx, m)
	case opened:
		s.verified(ctx, m)
	case published:
		s.published(ctx, m)
	case known:
		s.enqueue(ctx, m)
	case caughtUp:
		s.owes = m.request
		s.flush(ctx)
	case noticed:
		s.unwritten--
		s.flush(ctx)
	case *actor.Restarting, *actor.Stopping:
		s.leave(ctx)
		s.Hear(ctx)
	default:
		s.Hear(ctx)
	}
}

// leave has the introducer forget what came over this connection.
func (s *session) leave(ctx actor.Context) {
	if s.subscribed {
		ctx.Send(s.introducer, unsubscription{ctx.Self()})
	}
	if s.publications > 0 {
		ctx.Send(s.introducer, departed{ctx.Self()})
	}
}

func (s *session) frame(ctx actor.Context, m inbound.Frame) {
	m.Release()
	if !s.InOrder(m) {
		return
	}
	switch msg := m.Message.(type) {
	case *wire.Hello:
		s.Answer(ctx, m.ID, &wire.Hello{Version: wire.Version, MaxRequests: requests})
	case *wire.Publish:
		s.publish(ctx, m.ID, msg.Announcement)
	case *wire.Subscribe:
		s.subscribe(ctx, m.ID)
	default:
		s.Answer(ctx, m.ID, &wire.Error{Code: wire.BadRequest, Text: "not a request for an introducer"})
	}
}

// publish checks the announcement outside of Receive.
func (s *session) publish(ctx actor.Context, request uint64, signed []byte) {
	if s.publications++; s.publications > maxPublications {
		s.Answer(ctx, request, &wire.Error{Code: wire.Busy, Text: "too many announcements over one connection"})
		return
	}
	s.Env.Exec.Do(env.CPU, ctx.Self(), func() any {
		k, err := open(signed)
		return opened{request, k, err}
	})
}

func (s *session) verified(ctx actor.Context, m opened) {
	if m.err != nil {
		s.Log.Debug("announcement refused", "error", m.err, "address", s.Conn.Address())
		s.Answer(ctx, m.request, &wire.Error{Code: wire.BadRequest, Text: fmt.Sprintf("the announcement is refused: %v", m.err)})
		return
	}
	ctx.Send(s.introducer, publication{ctx.Self(), transport.SourceOf(s.Conn.Address()), m.request, m.known})
}

func (s *session) published(ctx actor.Context, m published) {
	switch {
	case m.err == nil:
		s.Answer(ctx, m.request, &wire.Done{})
	case errors.Is(m.err, errStale):
		s.Answer(ctx, m.request, &wire.Error{Code: wire.BadRequest, Text: m.err.Error()})
	case errors.Is(m.err, errFull):
		s.Answer(ctx, m.request, &wire.Error{Code: wire.Busy, Text: m.err.Error()})
	default:
		s.Answer(ctx, m.request, &wire.Error{Code: wire.Internal, Text: "the introducer could not save the announcement"})
	}
}

// subscribe may be repeated; the second time it asks for nothing new. It is
// answered after all that is known now, so that the subscriber knows when it
// has heard of everybody.
func (s *session) subscribe(ctx actor.Context, request uint64) {
	if s.subscribed {
		s.Answer(ctx, request, &wire.Done{})
		return
	}
	s.subscribed = true
	ctx.Send(s.introducer, subscription{ctx.Self(), request})
}

// enqueue keeps the newest announcement of each server until it can be sent.
func (s *session) enqueue(ctx actor.Context, k known) {
	if _, waits := s.newest[k.server]; !waits {
		s.queue = append(s.queue, k.server)
	}
	s.newest[k.server] = k
	s.flush(ctx)
}

func (s *session) flush(ctx actor.Context) {
	for len(s.queue) > 0 && s.unwritten < unwritten {
		server := s.queue[0]
		k := s.newest[server]
		s.queue = s.queue[1:]
		delete(s.newest, server)
		s.unwritten++
		s.Send(ctx, wire.Frame{Message: &wire.Announce{Announcement: k.signed}}, noticed{})
	}
	if len(s.queue) == 0 && s.owes != 0 {
		s.Answer(ctx, s.owes, &wire.Done{})
		s.owes = 0
	}
}
