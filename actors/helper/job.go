package helper

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/transport/wire"
)

// job is one file: its ciphertext comes, is kept, and is then stored by an
// upload under the client's certificates.
//
// Owns: the ciphertext of the file, as far as it came, and who sends it.
// On failure: ends; the client asks again, and what came is still there.
type job struct {
	env         *env.Env
	log         *slog.Logger
	spool       Spool
	connections *actor.PID
	name        wire.Secret
	spec        spec

	accepted bool // by servers enough
	file     File
	have     int64
	placing  bool
	over     bool

	session *actor.PID
	request uint64 // that waits for the first word
	parts   []part
	next    int64 // where the next part begins
	writing bool
	idle    func() // stops the wait for a client
}

func newJob(e *env.Env, s Spool, connections *actor.PID, m askHelp) env.Producer {
	return func() actor.Actor {
		return &job{
			env: e, log: e.Log.With("storage-index", m.spec.si.String()), spool: s, connections: connections,
			name: m.job, spec: m.spec, session: m.session, request: m.request,
		}
	}
}

// To a job.
type (
	// attach makes a session the one that sends.
	attach struct {
		session *actor.PID
		request uint64
	}
	// detach says that a session is over.
	detach struct{ session *actor.PID }
	// part is some of the ciphertext.
	part struct {
		session *actor.PID
		request uint64
		offset  int64
		frame   wire.Frame
	}
)

// Discard gives the body back when the job is gone.
func (p part) Discard() { p.frame.Release() }

// The job's own messages.
type (
	opened struct {
		file File
		have int64
		err  error
	}
	written struct {
		part part
		size int64
		err  error
	}
	kept struct {
		result Result
		err    error
	}
	uncertain struct{} // servers have said nothing
	alive     struct{}
	alone     struct{}
)

// Discard closes a file that came too late.
func (m opened) Discard() {
	if m.file != nil {
		_ = m.file.Close() // nothing was written
	}
}

// errNotAccepted is why nothing is kept for a client.
var errNotAccepted = errors.New("too few servers accept the certificates")

// Receive implements actor.Actor.
func (j *job) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		j.env.Clock.After(checkTime, ctx.Self(), uncertain{})
		ctx.Send(j.connections, client.AskStatus{ReplyTo: ctx.Self(), Settled: true, Authority: j.spec.authority})
	case client.Status:
		j.check(ctx, m)
	case opened:
		j.opened(ctx, m)
	case uncertain:
		if !j.accepted {
			j.end(ctx, errBusy)
		}
	case attach:
		j.attach(ctx, m)
	case detach:
		if j.session.Equal(m.session) {
			j.session = nil
			j.waitForClient(ctx)
		}
	case part:
		j.take(ctx, m)
	case written:
		j.written(ctx, m)
	case client.Stored:
		j.stored(ctx, m)
	case error:
		j.end(ctx, m)
	case kept:
		j.kept(ctx, m)
	case alive:
		j.alive(ctx)
	case alone:
		if j.session == nil && !j.placing {
			j.end(ctx, nil)
		}
	case *actor.Restarting:
		ctx.Stop(ctx.Self()) // the client asks again
	case *actor.Stopped:
		j.letGo(ctx)
	}
}

// check goes on if enough servers accept the certificates.
func (j *job) check(ctx actor.Context, m client.Status) {
	n := 0
	for _, s := range m.Servers {
		if s.State == client.LoggedIn {
			n++
		}
	}
	if n < j.spec.params.Happy {
		j.end(ctx, fmt.Errorf("%w: %d, and the file needs %d%s", errNotAccepted, n, j.spec.params.Happy, reasons(m)))
		return
	}
	j.accepted = true
	spool, name := j.spool, j.name
	j.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		f, err := spool.Open(name)
		if err != nil {
			return opened{err: err}
		}
		have, err := f.Size()
		return opened{f, have, err}
	})
}

// reasons is what the first servers said.
func reasons(m client.Status) string {
	text := ""
	for _, s := range m.Servers {
		if s.State != client.LoggedIn && s.Err != nil && len(text) < wire.MaxText/2 {
			text += fmt.Sprintf("; %s: %v", s.Announcement.Server.Short(), s.Err)
		}
	}
	return text
}

func (j *job) opened(ctx actor.Context, m opened) {
	if m.err != nil {
		m.Discard()
		j.log.Error("the helper's spool failed", "error", m.err)
		j.end(ctx, errBusy)
		return
	}
	j.file, j.have, j.next = m.file, m.have, m.have
	if j.session == nil {
		j.waitForClient(ctx)
	}
	j.goOn(ctx)
}

// attach makes another session the one that sends: the connection before it
// was lost.
func (j *job) attach(ctx actor.Context, m attach) {
	if j.idle != nil {
		j.idle()
		j.idle = nil
	}
	j.session, j.request = m.session, m.request
	for _, p := range j.parts {
		j.next -= int64(p.frame.BodySize())
		p.frame.Release()
	}
	j.parts = nil
	j.goOn(ctx)
}

func (j *job) waitForClient(ctx actor.Context) {
	if j.idle != nil {
		j.idle()
	}
	j.idle = j.env.Clock.After(idleTime, ctx.Self(), alone{})
}

// goOn says how far the job is to a session that waits for the first word, and
// places the file once it is whole.
func (j *job) goOn(ctx actor.Context) {
	if j.over || j.writing || !j.placing && j.file == nil {
		return
	}
	if j.have == j.spec.size && !j.placing {
		j.place(ctx)
	}
	if j.request != 0 {
		j.say(ctx, j.request)
		j.request = 0
	}
}

// say tells how far the job is, as an answer or a notice.
func (j *job) say(ctx actor.Context, request uint64) {
	state := wire.HelpWants
	if j.placing {
		state = wire.HelpPlaces
	}
	if j.session != nil {
		ctx.Send(j.session, progress{request: request, state: state, have: j.have})
	}
}

// take queues a part; those of a session that was replaced are dropped.
func (j *job) take(ctx actor.Context, m part) {
	size := int64(m.frame.BodySize())
	if j.over || j.placing || j.file == nil || !m.session.Equal(j.session) || m.offset != j.next || size > j.spec.size-j.next {
		m.frame.Release()
		if m.session.Equal(j.session) {
			ctx.Send(m.session, refused{m.request, fmt.Errorf("%w: a part at %d, want one at %d", errOther, m.offset, j.next)})
		}
		return
	}
	j.next += size
	j.parts = append(j.parts, m)
	j.write(ctx)
}

func (j *job) write(ctx actor.Context) {
	if j.writing || len(j.parts) == 0 {
		return
	}
	j.writing = true
	p, f := j.parts[0], j.file
	j.parts = j.parts[1:]
	j.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		defer p.frame.Release()
		n, err := f.WriteAt(p.frame.Bytes(), p.offset)
		return written{p, int64(n), err}
	})
}

func (j *job) written(ctx actor.Context, m written) {
	j.writing = false
	if m.err != nil {
		j.log.Error("the helper's spool failed", "error", m.err)
		j.end(ctx, errFull)
		return
	}
	j.have += m.size
	whole := j.have == j.spec.size
	j.goOn(ctx)
	if j.over {
		return
	}
	if m.part.session.Equal(j.session) {
		state := wire.HelpWants
		if whole {
			state = wire.HelpPlaces
		}
		ctx.Send(j.session, progress{request: m.part.request, state: state, have: j.have, part: true})
	}
	j.write(ctx)
}

// place has the file stored, which is told when it is done.
func (j *job) place(ctx actor.Context) {
	j.placing = true
	s := j.spec
	ctx.Send(j.connections, client.Put{ReplyTo: ctx.Self(), Authority: s.authority, File: client.PutSpec{
		Source: j.file, Size: s.size, Params: s.params, Ciphertext: true, StorageIndex: s.si,
	}})
	j.env.Clock.After(lifeSign, ctx.Self(), alive{})
}

func (j *job) alive(ctx actor.Context) {
	if j.over {
		return
	}
	if j.request == 0 {
		j.say(ctx, 0)
	}
	j.env.Clock.After(lifeSign, ctx.Self(), alive{})
}

// stored keeps the result before anybody is told of it.
func (j *job) stored(ctx actor.Context, m client.Stored) {
	j.file = nil // the upload closed it
	r := Result{
		StorageIndex: j.spec.si, Size: j.spec.size, UEBHash: m.Cap.UEBHash,
		Pushed: m.Pushed, Found: m.Found, At: j.env.Clock.Now().Unix(),
	}
	spool, name := j.spool, j.name
	j.env.Exec.Do(env.Disk, ctx.Self(), func() any { return kept{r, spool.Finish(name, r)} })
}

func (j *job) kept(ctx actor.Context, m kept) {
	if m.err != nil {
		j.log.Warn("the result of a job could not be kept; who asks again begins anew", "error", m.err)
	}
	j.over = true
	ctx.Send(ctx.Parent(), jobEnded{job: j.name, result: &m.result})
	if j.session != nil {
		ctx.Send(j.session, progress{request: j.request, state: wire.HelpDone, have: j.have, result: m.result})
	}
	ctx.Stop(ctx.Self())
}

// end ends the job without a result; what came of the ciphertext stays.
func (j *job) end(ctx actor.Context, err error) {
	if j.over {
		return
	}
	j.over = true
	j.log.Info("a file was not stored for a client", "have", j.have, "size", j.spec.size, "error", err)
	ctx.Send(ctx.Parent(), jobEnded{job: j.name, have: j.have})
	if j.session != nil {
		ctx.Send(j.session, refused{j.request, err})
	}
	ctx.Stop(ctx.Self())
}

// letGo closes the file, unless an upload has it, which ends.
func (j *job) letGo(ctx actor.Context) {
	for _, p := range j.parts {
		p.frame.Release()
	}
	j.parts = nil
	if j.placing {
		if !j.over {
			ctx.Send(j.connections, client.Cancel{ReplyTo: ctx.Self()})
		}
		return
	}
	if f := j.file; f != nil {
		j.env.Exec.Do(env.Disk, nil, func() any {
			_ = f.Close() // what matters of it is read again
			return nil
		})
	}
}
