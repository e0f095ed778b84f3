package server

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Subcontracting, both sides: standing offers that this server takes when
// another one passes them on, and offers that it passes on itself.

// Passing lets the server pass shares on, where clients name others for that.
type Passing struct {
	// Below is how many bytes must be free, beyond what is reserved, for the
	// server to keep a share that it may pass on.
	Below int64
	// Connections are to the other servers. They need no authority and no
	// journal.
	Connections client.Config
}

// errNotTaken is all that a server hears that passes a share on: why another
// account is refused here is not its business.
var errNotTaken = errors.New("the share is not taken here")

// passOn says that another server wants this one to take a standing offer.
type passOn struct {
	session *actor.PID
	request uint64
	secret  wire.Secret
}

// refuse tells the other server no more than that.
func (m passOn) refuse(ctx actor.Context) { m.answer(ctx, wireError(errNotTaken, false)) }

func (m passOn) answer(ctx actor.Context, w wire.Message) {
	ctx.Send(m.session, answer{request: m.request, message: w})
}

// stand keeps a standing offer.
func (s *Storage) stand(ctx actor.Context, m offer) {
	m.frame.Release()
	if !s.standing.add(s.env.Clock.Now(), m) {
		m.refuse(ctx, errBusy)
		return
	}
	m.answer(ctx, &wire.Done{})
}

// passedHere takes a standing offer, as if its client had just made it; the
// server that passed it on is told what came of it.
func (s *Storage) passedHere(ctx actor.Context, m passOn) {
	o, ok := s.standing.take(s.env.Clock.Now(), m.secret)
	if !ok {
		m.refuse(ctx)
		return
	}
	o.share.Standing, o.passed = false, &m
	s.offer(ctx, o)
}

// answerPassed tells the server that passed a share on whether it is pulled
// now. What is here already may be another content, which the client has to
// decide about, so that is not taken.
func (o *offer) answerPassed(ctx actor.Context, m wire.Message) {
	if a, taken := m.(*wire.Allocated); taken && a.State == wire.Coming {
		o.passed.answer(ctx, &wire.Done{})
		return
	}
	o.passed.refuse(ctx)
}

// mayPass reports whether an offer can be passed on: its client named others,
// it is new here, and there are not too many on their way.
func (s *Storage) mayPass(m *offer) bool {
	_, here := s.pulls[m.leaseID()]
	return s.config.Passing != nil && len(m.share.Others) > 0 && !m.stays && !here && m.frame.BodySize() == 0 && len(s.passing) < maxPassing
}

// pass looks for another server. The offer comes back if there is none.
func (s *Storage) pass(ctx actor.Context, m offer) {
	s.lastPass++
	pid := s.env.Spawn.Child(ctx, fmt.Sprintf("passing/%d", s.lastPass), newPassing(s.env, s.config, s.connections, m))
	s.passing[pid.Id] = true
}

// passing passes one offer on, if this server would rather not keep it.
//
// Owns: one offer that is not answered yet.
// On failure: the offer stays here.
type passing struct {
	env         *env.Env
	config      *Config
	connections *actor.PID
	offer       offer
}

func newPassing(e *env.Env, c *Config, connections *actor.PID, o offer) env.Producer {
	return func() actor.Actor { return &passing{e, c, connections, o} }
}

// roomLeft is how much is free beyond what is reserved.
type roomLeft struct {
	bytes int64
	err   error
}

// Receive implements actor.Actor.
func (p *passing) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		store, reserved := p.config.Store, p.config.Policy.ReservedSpace
		p.env.Exec.Do(env.Disk, ctx.Self(), func() any {
			free, err := store.Free()
			return roomLeft{free - reserved, err}
		})
	case roomLeft:
		if m.err != nil || m.bytes >= p.config.Passing.Below {
			p.stay(ctx)
			return
		}
		ctx.Send(p.connections, client.PassOn{ReplyTo: ctx.Self(), To: p.offer.share.Others})
		p.env.Clock.After(passWithin, ctx.Self(), errNotTaken)
	case client.Passed:
		p.offer.frame.Release()
		p.offer.log.Debug("share passed on", "to", m.Server.Short())
		p.offer.answer(ctx, &wire.PassedOn{Server: m.Server})
		ctx.Stop(ctx.Self())
	case error:
		p.offer.log.Debug("share not passed on", "error", m)
		p.stay(ctx)
	case *actor.Restarting:
		p.stay(ctx)
	}
}

// stay gives the offer back, for this server to decide.
func (p *passing) stay(ctx actor.Context) {
	p.offer.stays = true
	ctx.Send(ctx.Parent(), p.offer)
	ctx.Stop(ctx.Self())
}
