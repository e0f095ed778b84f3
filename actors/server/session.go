package server

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/inbound"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// session serves one client over one connection. It reads shares itself; what
// needs a login goes to the facet.
//
// Owns: the connection, its one storage conversation, the credit that the client has.
// On failure: closes the connection; the client comes back by itself.
type session struct {
	inbound.Talk
	config *Config
	peers  peers

	hello   *wire.Hello // the client's
	credit  int         // how many requests the client may have outstanding
	sent    int         // bytes of shares since the last look
	waiting []wire.Frame
	finding map[uint64]*wire.Find // by request: waits for the ledger
	sending int                   // bytes of answers that are not written yet
	held    map[*memory]int       // of them, those that are still to be read from the disk
	trying  bool                  // a timer will look for room again

	loggingIn uint64 // the request, 0 when none
	refused   int    // logins, before the first that was not
	login     *lease.Reference
	facet     *actor.PID
	facets    int
}

func newSession(e *env.Env, c *Config, p peers, a inbound.Arrival) env.Producer {
	return func() actor.Actor {
		terms := inbound.Terms{Protocol: transport.Storage, Credit: earlyRequests, HelloWithin: helloWithin}
		return &session{
			Talk: inbound.NewTalk(e, a, terms), config: c, peers: p, credit: earlyRequests,
			finding: map[uint64]*wire.Find{}, held: map[*memory]int{},
		}
	}
}

// The session's own messages.
type (
	lookAgain struct{} // whether the client reads
	// lateLogin says that a login has taken long enough.
	lateLogin struct{ request uint64 }
	written   struct{ bytes int }
	tryAgain  struct{} // whether there is room for an answer
)

// Receive implements actor.Actor.
func (s *session) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		s.Env.Clock.After(idleWithoutLogin, ctx.Self(), lookAgain{})
		s.Hear(ctx)
	case inbound.Frame:
		s.frame(ctx, m)
	case *actor.Terminated:
		s.ended(ctx, m.Who)
	case lookAgain:
		s.look(ctx)
	case lateLogin:
		s.lateLogin(ctx, m)
	case written:
		s.written(ctx, m)
	case tryAgain:
		s.trying = false
		s.readWaiting(ctx)
	case answer:
		s.answer(ctx, m.request, m.message, m.body)
	case notice:
		s.Conv.Conversation.Send(wire.Frame{Message: m.message})
	case loginDone:
		s.loginDone(ctx, m)
	case room:
		s.find(ctx, m)
	case readDone:
		s.readDone(ctx, m)
	case *actor.Restarting, *actor.Stopping:
		s.giveBack()
		s.Hear(ctx)
	default:
		s.Hear(ctx)
	}
}

// giveBack the room of what is still being read. The transport gives back the
// rest.
func (s *session) giveBack() {
	for of, n := range s.held {
		of.give(n)
	}
	s.held = nil
}

// ended stops the actor when its facet keeps failing. One that was replaced is
// no matter.
func (s *session) ended(ctx actor.Context, who *actor.PID) {
	if who.Equal(s.facet) {
		ctx.Stop(ctx.Self())
	}
}

// look ends a connection that never logged in and hardly reads.
func (s *session) look(ctx actor.Context) {
	if s.login == nil && s.sent < earlyFloor {
		s.Log.Debug("connection closed: the client hardly reads", "address", s.Conn.Address())
		s.Conn.Close()
		return
	}
	s.sent = 0
	s.Env.Clock.After(idleWithoutLogin, ctx.Self(), lookAgain{})
}

func (s *session) frame(ctx actor.Context, m inbound.Frame) {
	switch {
	case !s.InOrder(m):
		m.Release()
	case m.BodySize() > maxRequestBody:
		m.Release()
		s.Break("a body that is longer than hello says")
	default:
		s.serve(ctx, m.Frame)
	}
}

// serve answers one request, now or later. Each is answered exactly once.
func (s *session) serve(ctx actor.Context, f wire.Frame) {
	switch m := f.Message.(type) {
	case *wire.Hello:
		s.hello = m
		s.answer(ctx, f.ID, &wire.Hello{Version: wire.Version, MaxBody: maxRequestBody, MaxRequests: sessionRequests})
	case *wire.Login:
		s.logIn(ctx, verifyLogin{request: f.ID, chain: m.Chain, message: m.Request})
	case *wire.Resume:
		s.logIn(ctx, verifyLogin{request: f.ID, reference: m.Reference})
	case *wire.LoginWithoutKey:
		s.logIn(ctx, verifyLogin{request: f.ID, withoutKey: true})
	case *wire.Find, *wire.Read:
		s.read(ctx, f)
	case *wire.PassOn:
		ctx.Send(s.peers.storage, passOn{ctx.Self(), f.ID, m.Secret})
	case *wire.Enumerate:
		s.enumerate(ctx, f)
	case *wire.Allocate, *wire.Abandon, *wire.AddLease, *wire.RenewLease, *wire.RenewShares, *wire.CancelShares,
		*wire.Usage, *wire.UsageBelow, *wire.Mutate, *wire.Stage, *wire.Unstage:
		s.delegate(ctx, f)
		return // the body is the facet's now
	default:
		s.refuse(ctx, f.ID, fmt.Errorf("%w: not a request for a storage server", errOutOfOrder))
	}
	f.Release()
}

// delegate gives a request to the facet.
func (s *session) delegate(ctx actor.Context, f wire.Frame) {
	if s.facet == nil {
		f.Release()
		s.refuse(ctx, f.ID, errLoginRequired)
		return
	}
	ctx.Send(s.facet, request{f, s.Log.With("request", f.ID)})
}

func (s *session) logIn(ctx actor.Context, m verifyLogin) {
	if s.loggingIn != 0 {
		s.refuse(ctx, m.request, fmt.Errorf("%w: one login at a time", errOutOfOrder))
		return
	}
	if s.refused >= maxRefusals {
		s.Break("one login after the other, and none that is accepted")
		return
	}
	s.loggingIn = m.request
	m.session, m.peer = ctx.Self(), s.Conn.Remote()
	ctx.Send(s.peers.login, m)
	s.Env.Clock.After(loginWithin, ctx.Self(), lateLogin{m.request})
}

// lateLogin answers where login forgot the request because it failed.
func (s *session) lateLogin(ctx actor.Context, m lateLogin) {
	if s.loggingIn == m.request {
		s.loggingIn = 0
		s.refuse(ctx, m.request, errBusy)
	}
}

// loginDone replaces an earlier login of the connection.
func (s *session) loginDone(ctx actor.Context, m loginDone) {
	if s.loggingIn != m.request {
		return // it came too late
	}
	s.loggingIn = 0
	if m.err != nil {
		s.Log.Debug("login refused", "error", m.err, "address", s.Conn.Address())
		if s.login == nil {
			s.refused++
		}
		s.refuse(ctx, m.request, m.err)
		return
	}
	ref := m.reference
	s.Log.Log(context.Background(), onceInfo(s.facets), "logged in", "account", accountName(ref.Grant), "address", s.Conn.Address())
	if s.facet != nil {
		ctx.Send(s.facet, retire{})
	}
	s.facets++
	s.login = &ref
	s.facet = s.Env.Spawn.Child(ctx, fmt.Sprintf("facet/%d", s.facets),
		newFacet(s.Env, s.config, s.peers, ctx.Self(), s.Conn, ref))
	if s.credit < sessionRequests {
		s.Conn.Admit()
		s.Conv.Conversation.Grant(sessionRequests - s.credit)
		s.credit = sessionRequests
	}
	s.answer(ctx, m.request, &wire.LoggedIn{
		Reference: ref.Secret, Expires: ref.Expires, Label: ref.Grant.Label,
		Operations: uint(ref.Grant.Effective.Operations()),
	})
}

// accountName is a grant's label for the log.
func accountName(g lease.Grant) string {
	if g.Label.IsZero() {
		return AnonymousPetname
	}
	return g.Label.Short()
}

// onceInfo is for lines that the other side decides how often there are.
func onceInfo(before int) slog.Level {
	if before > 0 {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func (s *session) refuse(ctx actor.Context, request uint64, err error) {
	s.answer(ctx, request, wireError(err, s.login != nil && mayReadUsage(s.login.Grant)))
}

func (s *session) answer(ctx actor.Context, request uint64, m wire.Message, body ...[]byte) {
	if e, ok := m.(*wire.Error); ok {
		s.Log.Debug("request refused", "request", request, "error", e)
	}
	s.send(ctx, wire.Frame{ID: request, Answer: true, Message: m}, nil, body)
}

// send answers. The client may ask once more when the answer is written, so
// one that asks and does not listen fills nobody's memory.
func (s *session) send(ctx actor.Context, f wire.Frame, release func(), parts [][]byte) {
	e, self, n := s.Env, ctx.Self(), 0
	for _, p := range parts {
		n += len(p)
	}
	s.sending += n
	s.Conv.Conversation.Send(f.WithBody(func() {
		if release != nil {
			release()
		}
		e.Spawn.Send(self, written{n})
	}, parts...))
}

func (s *session) written(ctx actor.Context, m written) {
	s.sending -= m.bytes
	s.Conv.Conversation.Grant(1)
	s.readWaiting(ctx)
}
