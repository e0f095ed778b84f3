package introducer

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

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
	env        *env.Env
	log        *slog.Logger
	introducer *actor.PID
	conn       transport.Session
	conv       *inbound.Opened

	greeted      bool
	publications int
	subscribed   bool
	owes         uint64          // the Subscribe to be answered after what is queued, 0 when none
	queue        []grid.ServerID // whose announcements are to be sent
	newest       map[grid.ServerID]known
	unwritten    int
}

func newSession(e *env.Env, introducer *actor.PID, a inbound.Arrival) env.Producer {
	return func() actor.Actor {
		return &session{
			env: e, log: e.Log.With("session", a.Number), introducer: introducer, conn: a.Session,
			newest: map[grid.ServerID]known{},
		}
	}
}

// The session's own messages.
type (
	silence  struct{}
	answered struct{} // an answer was written
	noticed  struct{} // a notice was
	opened   struct {
		request uint64
		known   known
		err     error
	}
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
	case opened:
		s.verified(ctx, m)
	case published:
		s.published(ctx, m)
	case known:
		s.enqueue(ctx, m)
	case caughtUp:
		s.owes = m.request
		s.flush(ctx)
	case answered:
		s.conv.Conversation.Grant(1)
	case noticed:
		s.unwritten--
		s.flush(ctx)
	case *actor.Restarting:
		s.leave(ctx)
		ctx.Stop(ctx.Self()) // a fresh self would not know the conversation
	case *actor.Stopping:
		s.leave(ctx)
	}
}

func (s *session) leave(ctx actor.Context) {
	s.conn.Close()
	if s.subscribed {
		ctx.Send(s.introducer, unsubscription{ctx.Self()})
	}
	if s.publications > 0 {
		ctx.Send(s.introducer, departed{ctx.Self()})
	}
}

// sourceOf is what of an address one person can't have many of: not its port,
// and the network only where a home gets a whole network (IPv6).
func sourceOf(address string) string {
	source, _, _ := strings.Cut(address, "/tcp/")
	ip, err := netip.ParseAddr(strings.TrimPrefix(source, "/ip6/"))
	if err != nil || !ip.Is6() {
		return source
	}
	return netip.PrefixFrom(ip, 64).Masked().String()
}

// opened takes the one conversation that a session needs.
func (s *session) opened(ctx actor.Context, o *inbound.Opened) {
	if s.conv != nil || o.Protocol != transport.Introduction {
		o.Conversation.Close(transport.ErrRefused)
		return
	}
	s.conv = o
	o.Take(ctx.Self(), requests)
}

func (s *session) frame(ctx actor.Context, m inbound.Frame) {
	m.Release()
	_, hello := m.Message.(*wire.Hello)
	if m.Of != s.conv || m.Answer || m.ID == 0 || hello == s.greeted {
		s.log.Debug("connection closed", "error", "out of order", "address", s.conn.Address())
		s.conn.Close()
		return
	}
	switch msg := m.Message.(type) {
	case *wire.Hello:
		s.greeted = true
		s.answer(ctx, m.ID, &wire.Hello{Version: wire.Version, MaxRequests: requests})
	case *wire.Publish:
		s.publish(ctx, m.ID, msg.Announcement)
	case *wire.Subscribe:
		s.subscribe(ctx, m.ID)
	default:
		s.answer(ctx, m.ID, &wire.Error{Code: wire.BadRequest, Text: "not a request for an introducer"})
	}
}

// publish checks the announcement outside of Receive.
func (s *session) publish(ctx actor.Context, request uint64, signed []byte) {
	if s.publications++; s.publications > maxPublications {
		s.answer(ctx, request, &wire.Error{Code: wire.Busy, Text: "too many announcements over one connection"})
		return
	}
	s.env.Exec.Do(env.CPU, ctx.Self(), func() any {
		k, err := open(signed)
		return opened{request, k, err}
	})
}

func (s *session) verified(ctx actor.Context, m opened) {
	if m.err != nil {
		s.log.Debug("announcement refused", "error", m.err, "address", s.conn.Address())
		s.answer(ctx, m.request, &wire.Error{Code: wire.BadRequest, Text: fmt.Sprintf("the announcement is refused: %v", m.err)})
		return
	}
	ctx.Send(s.introducer, publication{ctx.Self(), sourceOf(s.conn.Address()), m.request, m.known})
}

func (s *session) published(ctx actor.Context, m published) {
	switch {
	case m.err == nil:
		s.answer(ctx, m.request, &wire.Done{})
	case errors.Is(m.err, errStale):
		s.answer(ctx, m.request, &wire.Error{Code: wire.BadRequest, Text: m.err.Error()})
	case errors.Is(m.err, errFull):
		s.answer(ctx, m.request, &wire.Error{Code: wire.Busy, Text: m.err.Error()})
	default:
		s.answer(ctx, m.request, &wire.Error{Code: wire.Internal, Text: "the introducer could not save the announcement"})
	}
}

// subscribe may be repeated; the second time it asks for nothing new. It is
// answered after all that is known now, so that the subscriber knows when it
// has heard of everybody.
func (s *session) subscribe(ctx actor.Context, request uint64) {
	if s.subscribed {
		s.answer(ctx, request, &wire.Done{})
		return
	}
	s.subscribed = true
	ctx.Send(s.introducer, subscription{ctx.Self(), request})
}

func (s *session) answer(ctx actor.Context, request uint64, m wire.Message) {
	s.send(ctx, wire.Frame{ID: request, Answer: true, Message: m}, answered{})
}

// send tells the actor itself when the frame is written.
func (s *session) send(ctx actor.Context, f wire.Frame, then any) {
	e, self := s.env, ctx.Self()
	s.conv.Conversation.Send(f.WithBody(func() { e.Spawn.Send(self, then) }))
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
		s.send(ctx, wire.Frame{Message: &wire.Announce{Announcement: k.signed}}, noticed{})
	}
	if len(s.queue) == 0 && s.owes != 0 {
		s.answer(ctx, s.owes, &wire.Done{})
		s.owes = 0
	}
}
