package helper

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
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

	accepted bool             // by servers enough
	accounts []grid.PublicKey // that pay there
	remember bool             // the result
	file     File
	have     int64
	placing  bool
	placed   int64 // bytes encoded, all passes together
	pass     int64 // of them, in this one
	over     bool

	session *actor.PID
	request uint64 // that waits for the first word
	parts   []part
	next    int64 // where the next part begins
	writing bool
	idle    func() // stops the wait for a client that is away, or sends nothing
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
		done   bool // it will be found again
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

var (
	// errNotAccepted is why nothing is kept for a client.
	errNotAccepted = errors.New("too few servers accept the certificates")
	errStalled     = errors.New("nothing has come of the file for too long")
	errReplaced    = errors.New("the same file is sent over another connection now")
)

// Receive implements actor.Actor.
func (j *job) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		j.env.Clock.After(checkTime, ctx.Self(), uncertain{})
		ctx.Send(j.connections, client.AskStatus{ReplyTo: ctx.Self(), Settled: true, Authority: j.spec.authority})
	case client.Status:
		j.check(ctx, m)
	case room:
		j.open(ctx, m)
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
			j.wait(ctx, idleTime)
		}
	case part:
		j.take(ctx, m)
	case written:
		j.written(ctx, m)
	case client.Progress:
		j.progress(m)
	case client.Stored:
		j.stored(ctx, m)
	case error:
		j.end(ctx, m)
	case kept:
		j.kept(ctx, m)
	case alive:
		j.alive(ctx)
	case alone:
		if !j.placing {
			j.end(ctx, errStalled)
		}
	case *actor.Restarting:
		j.letGo(ctx)
		ctx.Stop(ctx.Self()) // the client asks again
	case *actor.Stopped:
		j.letGo(ctx)
	}
}

// check asks for room if enough servers accept the certificates.
func (j *job) check(ctx actor.Context, m client.Status) {
	if j.accepted {
		return
	}
	for _, s := range m.Servers {
		if s.State == client.LoggedIn && !slices.Contains(j.accounts, s.Label) {
			j.accounts = append(j.accounts, s.Label)
		}
	}
	if n := loggedIn(m); n < j.spec.params.Happy {
		j.end(ctx, fmt.Errorf("%w: %d, and the file needs %d%s", errNotAccepted, n, j.spec.params.Happy, reasons(m)))
		return
	}
	j.accepted = true
	ctx.Request(ctx.Parent(), claim{j.name, j.accounts})
}

func loggedIn(m client.Status) (n int) {
	for _, s := range m.Servers {
		if s.State == client.LoggedIn {
			n++
		}
	}
	return n
}

// open reads how much of the ciphertext is there, if there is room for all of
// it.
func (j *job) open(ctx actor.Context, m room) {
	if m.err != nil {
		j.end(ctx, m.err)
		return
	}
	j.remember = m.remember
	spool, name, accounts := j.spool, j.name, j.accounts
	j.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		f, err := spool.Open(name, accounts)
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
		j.wait(ctx, idleTime)
	} else {
		j.wait(ctx, stallTime)
	}
	j.goOn(ctx)
}

// attach makes another session the one that sends: the connection before it
// was lost, or the client stores the same file twice at a time.
func (j *job) attach(ctx actor.Context, m attach) {
	if j.session != nil && !j.session.Equal(m.session) {
		ctx.Send(j.session, refused{err: errReplaced, over: true})
	}
	j.session, j.request = m.session, m.request
	j.wait(ctx, stallTime)
	for _, p := range j.parts {
		j.next -= int64(p.frame.BodySize())
		p.frame.Release()
	}
	j.parts = nil
	j.goOn(ctx)
}

// wait ends the job unless something comes within a time.
func (j *job) wait(ctx actor.Context, d time.Duration) {
	if j.idle != nil {
		j.idle()
	}
	j.idle = j.env.Clock.After(d, ctx.Self(), alone{})
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
		ctx.Send(j.session, progress{request: request, state: state, have: j.have, placed: j.placed})
	}
}

// take queues a part; those of a session that was replaced are dropped.
func (j *job) take(ctx actor.Context, m part) {
	size := int64(m.frame.BodySize())
	if j.over || j.placing || j.file == nil || !m.session.Equal(j.session) || m.offset != j.next || size > j.spec.size-j.next {
		m.frame.Release()
		if m.session.Equal(j.session) {
			ctx.Send(m.session, refused{request: m.request, err: fmt.Errorf("%w: a part of %d bytes at %d, where %d were to come at %d", errOther, size, m.offset, j.spec.size-j.next, j.next)})
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
	j.wait(ctx, stallTime)
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
		ctx.Send(j.session, progress{request: m.part.request, state: state, have: j.have})
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

// progress counts what is encoded, also where a pass begins over again.
func (j *job) progress(m client.Progress) {
	if m.Done < j.pass {
		j.pass = 0
	}
	j.placed = min(j.placed+m.Done-j.pass, wire.MaxShareSize)
	j.pass = m.Done
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
	spool, name, remember := j.spool, j.name, j.remember
	j.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		if !remember {
			return kept{r, false, spool.Remove(name)}
		}
		err := spool.Finish(name, r)
		return kept{r, err == nil, err}
	})
}

func (j *job) kept(ctx actor.Context, m kept) {
	if m.err != nil {
		j.log.Warn("the result of a job could not be kept; who asks again begins anew", "error", m.err)
	}
	j.over = true
	ctx.Send(ctx.Parent(), jobEnded{job: j.name, result: &m.result, remembered: m.done})
	if j.session != nil {
		ctx.Send(j.session, progress{request: j.request, state: wire.HelpDone, have: j.have, placed: j.placed, result: m.result})
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
		ctx.Send(j.session, refused{request: j.request, err: err, over: true})
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
