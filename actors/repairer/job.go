package repairer

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
)

// job looks at one file, and has it repaired where it is not whole.
//
// Owns: what it waits for.
// On failure: ends; the file is looked at again after a while.
type job struct {
	env    *env.Env
	branch *actor.PID
	file   File
	verify bool
	heard  time.Time
	over   bool
}

func newJob(e *env.Env, branch *actor.PID, f File, verify bool) env.Producer {
	return func() actor.Actor { return &job{env: e, branch: branch, file: f, verify: verify} }
}

// looked tells the Repairer how a job ended.
type looked struct {
	job    string
	result client.Repaired
	err    error
}

// tick looks whether anything is still heard.
type tick struct{}

// Receive implements actor.Actor.
func (j *job) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		j.start(ctx)
	case client.Progress:
		j.heard = j.env.Clock.Now()
	case client.Repaired:
		j.end(ctx, looked{result: m})
	case error:
		j.end(ctx, looked{err: m})
	case tick:
		if j.env.Clock.Now().Sub(j.heard) >= silence {
			ctx.Send(j.branch, client.Cancel{ReplyTo: ctx.Self()})
			j.end(ctx, looked{err: fmt.Errorf("nothing came of it for %v", silence)})
			return
		}
		j.env.Clock.After(silence/4, ctx.Self(), tick{})
	case *actor.Terminated:
		j.end(ctx, looked{err: errBranch})
	case *actor.Restarting:
		j.end(ctx, looked{err: client.ErrInterrupted})
	case *actor.Stopping:
		ctx.Unwatch(j.branch)
	}
}

func (j *job) start(ctx actor.Context) {
	j.heard = j.env.Clock.Now()
	ctx.Watch(j.branch)
	ctx.Send(j.branch, client.Repair{
		ReplyTo: ctx.Self(), Authority: j.file.Authority,
		CheckSpec: client.CheckSpec{Cap: j.file.Verifier, Happy: j.file.Cap.Happy, Verify: j.verify, AddLease: true, Patient: true},
	})
	j.env.Clock.After(silence/4, ctx.Self(), tick{})
}

func (j *job) end(ctx actor.Context, m looked) {
	if j.over {
		return
	}
	j.over = true
	m.job = ctx.Self().Id
	ctx.Send(ctx.Parent(), m)
	ctx.Stop(ctx.Self())
}
