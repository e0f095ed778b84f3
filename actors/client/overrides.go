package client

import (
	"bytes"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/transport/clause"
)

// overrides watches the file in which the user says of some servers how they are
// to be reached. It is looked at again and again: that works on every file
// system, and in a simulation. A change counts once the file has been the same
// twice, so that one which is being written is not taken for whole.
//
// Owns: the user's file of servers, as it was last good.
// On failure: reads the file again; a clause that has a mistake is then not used, and its server not connected to.
type overrides struct {
	env   *env.Env
	file  OverrideFile
	rules clause.Rules
	seen  readOverrides // the last time
	taken bool          // that is in force
	now   overridden
}

func newOverrides(e *env.Env, f OverrideFile, r clause.Rules) env.Producer {
	return func() actor.Actor { return &overrides{env: e, file: f, rules: r} }
}

type (
	// readOverrides is what the file has in it.
	readOverrides struct {
		content []byte
		err     error
	}
	lookAgain struct{}
)

// overridden tells brokers of the user's file. Before it is known they connect to
// nobody.
type overridden struct {
	clause.Overrides
	known bool
}

// Receive implements actor.Actor.
func (o *overrides) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		o.start(ctx)
	case lookAgain:
		o.look(ctx)
	case readOverrides:
		o.read(ctx, m)
	case sayAgain:
		ctx.Send(ctx.Parent(), o.now)
	}
}

func (o *overrides) start(ctx actor.Context) {
	if o.file == nil {
		o.force(ctx, clause.Overrides{}, true)
		return
	}
	o.look(ctx)
}

func (o *overrides) look(ctx actor.Context) {
	file := o.file
	o.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		content, err := file.Load()
		return readOverrides{content, err}
	})
}

// read takes what the file has in it when it has had it twice. Until something is
// in force it is looked at more often, and no file needs no second look.
func (o *overrides) read(ctx actor.Context, m readOverrides) {
	wait := overridesInterval
	if !o.now.known {
		wait = overridesSoon
	}
	o.env.Clock.After(wait, ctx.Self(), lookAgain{})
	if m.err != nil {
		o.taken = false
		o.force(ctx, o.now.Unreadable(m.err), o.now.known)
		return
	}
	same := (o.seen.content == nil) == (m.content == nil) && bytes.Equal(o.seen.content, m.content)
	o.seen = m
	switch {
	case !o.now.known && m.content == nil, same && !o.taken:
		o.taken = true
		o.force(ctx, o.now.Then(m.content).Under(o.rules), true)
	case !same:
		o.taken = false
	}
}

// force puts something in force, and tells what is wrong with it once.
func (o *overrides) force(ctx actor.Context, next clause.Overrides, known bool) {
	for _, m := range next.Mistakes {
		if !slices.Contains(o.now.Mistakes, m) {
			o.env.Log.Error("mistake in the file of servers", "line", m.Line, "reason", m.Reason)
		}
	}
	o.now = overridden{next, known}
	ctx.Send(ctx.Parent(), o.now)
}
