package server

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// login turns chains into references. It keeps nothing but a count: what a
// login costs is bounded here, for all sessions together.
//
// Owns: the queue of logins.
// On failure: logins in progress are lost; their clients try again.
type login struct {
	env     *env.Env
	config  *Config
	waiting int
}

func newLogin(e *env.Env, c *Config) env.Producer {
	return func() actor.Actor { return &login{env: e, config: c} }
}

type (
	// verifyLogin asks to log in with a chain, or with a reference if that is
	// not nil, or without a key; answered by loginDone.
	verifyLogin struct {
		session        *actor.PID
		request        uint64
		chain, message []byte
		reference      []byte
		withoutKey     bool
		peer           grid.PublicKey
	}
	loginDone struct {
		session   *actor.PID
		request   uint64
		reference lease.Reference
		err       error
	}
)

// Receive implements actor.Actor.
func (l *login) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case verifyLogin:
		l.verify(ctx, m)
	case loginDone:
		l.waiting--
		ctx.Send(m.session, m)
	}
}

func (l *login) verify(ctx actor.Context, m verifyLogin) {
	if l.waiting >= maxLogins {
		ctx.Send(m.session, loginDone{request: m.request, err: errBusy})
		return
	}
	l.waiting++
	config, now := l.config, l.env.Clock.Now()
	work, kind := config.verify, env.CPU
	if m.reference != nil {
		work, kind = config.resume, env.Disk // it reads a few keys' standing
	}
	if m.withoutKey {
		work, kind = config.withoutKey, env.Disk
	}
	l.env.Exec.Do(kind, ctx.Self(), func() any {
		ref, err := work(m, now)
		return loginDone{m.session, m.request, ref, err}
	})
}

// verify checks a chain and mints a reference for it.
func (c *Config) verify(m verifyLogin, now time.Time) (lease.Reference, error) {
	grant, _, err := lease.Verify(m.chain, m.message, lease.VerifyInput{
		Standing: c.standing(), Server: c.server(), Peer: m.peer, Now: now,
	})
	if err != nil {
		return lease.Reference{}, err
	}
	return c.References.Mint(grant, now)
}

// withoutKey admits a client without a key, if the operator does.
func (c *Config) withoutKey(_ verifyLogin, now time.Time) (lease.Reference, error) {
	var nobody lease.Grant
	root, err := nobody.Permit(lease.Ask{}, c.standing(), now)
	if err != nil {
		return lease.Reference{}, err
	}
	nobody.Effective.Operation = root.Operation
	return lease.Reference{Grant: nobody, Expires: now.Add(lease.ReferenceLifetime).Unix()}, nil
}

// resume checks a reference, and replaces one that nears its end unless its
// authority ends there, too.
func (c *Config) resume(m verifyLogin, now time.Time) (lease.Reference, error) {
	ref, err := c.References.Check(m.reference, c.standing(), now)
	if err != nil || time.Unix(ref.Expires, 0).Sub(now) > renewBefore {
		return ref, err
	}
	fresh, err := c.References.Mint(ref.Grant, now)
	if err == nil && fresh.Expires > ref.Expires {
		return fresh, nil
	}
	return ref, err
}
