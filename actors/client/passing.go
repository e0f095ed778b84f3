package client

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/wire"
)

// PassOn asks servers, one after the other, to take a share that another client
// allowed to be passed on to them; answered by Passed or an error.
type PassOn struct {
	ReplyTo *actor.PID
	To      []wire.Other
}

// Passed names the server that took the share.
type Passed struct{ Server grid.ServerID }

// ErrNobodyTakes is why a share could not be passed on.
var ErrNobodyTakes = errors.New("no other server takes the share")

// errUnknownServer is why a server is not asked.
var errUnknownServer = errors.New("no introducer knows the server")

// passing hands a share on. The server learns nothing but the secret, over a
// connection under an identity that is used for nothing else.
//
// Owns: the connection to the server that is being asked.
// On failure: ends with an error; whoever asked keeps the share.
type passing struct {
	env   *env.Env
	parts serverParts
	ask   PassOn
	next  int // of ask.To
	child *actor.PID
	asked bool
	why   error
	stop  func()
}

func newPassing(e *env.Env, p serverParts, m PassOn) env.Producer {
	return func() actor.Actor { return &passing{env: e, parts: p, ask: m, why: ErrNobodyTakes} }
}

// passLate ends the wait for one server.
type passLate struct{ next int }

// Receive implements actor.Actor.
func (p *passing) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		p.tryNext(ctx)
	case noServer:
		p.failed(ctx, errUnknownServer)
	case serverNews:
		p.connect(ctx, m.server)
	case serverReport:
		p.reported(ctx, m)
	case Reply:
		p.reply(ctx, m)
	case passLate:
		if m.next == p.next {
			p.failed(ctx, ErrNoAnswer)
		}
	case *actor.Terminated:
		if p.child != nil && m.Who.Equal(p.child) {
			p.failed(ctx, ErrInterrupted)
		}
	case *actor.Restarting:
		p.end(ctx, ErrInterrupted)
	}
}

func (p *passing) tryNext(ctx actor.Context) {
	if p.next == len(p.ask.To) {
		p.end(ctx, p.why)
		return
	}
	p.next++
	p.asked = false
	ctx.Send(p.parts.broker, askServer{ctx.Self(), p.other().Server})
	p.stop = p.env.Clock.After(passTime, ctx.Self(), passLate{p.next})
}

// other is the server that is being asked.
func (p *passing) other() wire.Other { return p.ask.To[p.next-1] }

func (p *passing) connect(ctx actor.Context, s clause.Server) {
	if s.Announcement.Server != p.other().Server || p.child != nil {
		return // it came too late
	}
	parts := p.parts
	parts.broker = ctx.Self()
	p.child = p.env.Spawn.Child(ctx, "server/"+itoa(p.next), newServer(p.env, parts, s))
}

func (p *passing) reported(ctx actor.Context, m serverReport) {
	switch {
	case p.child == nil || !p.child.Equal(m.pid) || !m.settled || p.asked:
	case m.state == Connected || m.state == LoggedIn:
		p.asked = true
		ctx.Send(p.child, Call{ReplyTo: ctx.Self(), Tag: p.next, Frame: wire.Frame{Message: &wire.PassOn{Secret: p.other().Secret}}})
	default:
		p.failed(ctx, m.err)
	}
}

func (p *passing) reply(ctx actor.Context, m Reply) {
	m.Frame.Release()
	if m.Tag != p.next || p.child == nil {
		return
	}
	if _, ok := m.Frame.Message.(*wire.Done); ok && m.Err == nil {
		p.end(ctx, Passed{p.other().Server})
		return
	}
	p.failed(ctx, unexpected(m))
}

// failed goes on to the next server.
func (p *passing) failed(ctx actor.Context, err error) {
	p.why = fmt.Errorf("%w (%s: %w)", ErrNobodyTakes, p.other().Server.Short(), err)
	p.stop()
	if p.child != nil {
		ctx.Stop(p.child)
		p.child = nil
	}
	p.tryNext(ctx)
}

func (p *passing) end(ctx actor.Context, answer any) {
	if p.stop != nil {
		p.stop()
	}
	ctx.Send(p.ask.ReplyTo, answer)
	ctx.Stop(ctx.Self())
}
