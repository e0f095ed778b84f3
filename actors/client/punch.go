package client

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/transport"
)

// punching is what a server actor does to reach a server directly that it
// reaches through a relay. It moves when nothing is unanswered: what is asked
// meanwhile waits, and goes on over the new connection. So no request is
// harmed, and never do two connections serve one server.
type punching struct {
	link     *link // what comes of a try
	moving   bool  // nothing is sent until the new connection is logged in
	failures int   // tries in a row
	stop     func()
}

type (
	// punchNow is the time for a try.
	punchNow struct{ generation uint64 }
	// punchLate ends the wait for the answers to what was asked.
	punchLate struct{ link *link }
)

// errMoved is why the connection through the relay ends.
var errMoved = errors.New("there is a direct connection now")

// punchLater tries for a direct connection after a while, if there is none.
func (s *server) punchLater(ctx actor.Context) {
	s.stopPunching()
	if s.link.session.Path() != transport.PathRelay {
		s.punch.failures = 0
		return
	}
	if !s.known.Connections.Punch {
		return
	}
	wait := punchFirst
	if n := s.punch.failures; n > 0 {
		wait = maxPunchWait
		if n < 16 {
			wait = min(maxPunchWait, punchWait<<(n-1))
		}
	}
	s.punch.stop = s.env.Clock.After(s.env.Jitter(wait), ctx.Self(), punchNow{s.generation})
}

// tryPunch begins a try.
func (s *server) tryPunch(ctx actor.Context, m punchNow) {
	if m.generation != s.generation || s.report.state != LoggedIn || s.punch.link != nil {
		return
	}
	session := s.link.session
	s.punch.link = newLink(s.env, ctx.Self(), session.Punch, true)
}

// punchEvent is linkEvent for the link that is not used yet.
func (s *server) punchEvent(ctx actor.Context, m linkEvent) {
	switch e := m.event.(type) {
	case linkOpen:
		s.punch.link.session = e.session
		s.punch.moving = true
		s.punch.stop = s.env.Clock.After(moveTime, ctx.Self(), punchLate{s.punch.link})
		s.moveOn(ctx)
	case linkClosed:
		s.notPunched(ctx, e.err)
	default:
		m.Discard()
	}
}

// notPunched stays on the relay, for a while.
func (s *server) notPunched(ctx actor.Context, err error) {
	s.env.Log.Info("the server stays behind its relay", "server", s.report.server.Short(), "error", err)
	s.punch.failures++
	s.punchLater(ctx)
	s.sendQueued()
}

// punchLate gives up a direct connection rather than what is unanswered.
func (s *server) punchLate(ctx actor.Context, m punchLate) {
	if m.link == s.punch.link && s.punch.link != nil {
		s.notPunched(ctx, fmt.Errorf("%w: too much is unanswered over the relay", transport.ErrNoPunch))
	}
}

// moveOn moves to the direct connection once nothing is unanswered.
func (s *server) moveOn(ctx actor.Context) {
	if s.punch.link == nil || !s.punch.moving || len(s.calls.open) > 0 {
		return
	}
	next, queued := s.punch.link, s.calls.queued
	s.punch.link, s.calls.queued = nil, nil
	s.linkDown(ctx, errMoved)
	s.link, s.calls.queued, s.punch.moving = next, queued, true
	s.say(ctx, Dialing, nil)
	s.greet(ctx, next.session)
}

// moved sends what waited for the move.
func (s *server) moved() {
	if s.punch.moving {
		s.punch.moving = false
		s.sendQueued()
	}
}

// stopPunching lets go of a try.
func (s *server) stopPunching() {
	if s.punch.stop != nil {
		s.punch.stop()
	}
	s.punch.link.close()
	s.punch.link, s.punch.moving, s.punch.stop = nil, false, nil
}
