// Package helper is the helper role: a client sends it the ciphertext of a file
// once, with certificates for that file alone, and the helper encodes it and
// places the shares. The leases are the client's. It can't read what it stores,
// and may do nothing else with the certificates.
//
// Helper is the top. Below it are connections, a client branch that is connected
// to servers only under what clients hand over; the listener with an actor for
// each session; and a job for each file under way.
//
// Promises: nothing is kept for a client that fewer servers accept than the file
// needs; a ciphertext that came in part is kept for a day, over restarts of both
// sides; what is sent is never more than the helper has room for; memory does not
// grow with the file.
package helper

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/inbound"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Config is what a helper needs.
type Config struct {
	// Key is the helper's identity, which clients sign for; the listener must
	// have the same one.
	Key    ed25519.PrivateKey
	Listen inbound.Listen
	// Connections are to servers. They need no authority and no journal.
	Connections client.Config
	Spool       Spool
	// Space is how many bytes the spool may take.
	Space int64
	// Fatal is called when the helper can't go on: it can't listen, or its spool
	// can't be read.
	Fatal func(error)
}

// Spool keeps ciphertext, and what came of it, over restarts. Its methods may
// block; each is called by one goroutine at a time for one job.
type Spool interface {
	// Sweep forgets what nobody has written since some time, and tells what is
	// left.
	Sweep(before time.Time) (Spooled, error)
	// Open is the ciphertext of a job, empty at first.
	Open(wire.Secret) (File, error)
	// Finish keeps the result of a job in the place of its ciphertext; durable
	// when it returns.
	Finish(wire.Secret, Result) error
	// Remove forgets a job.
	Remove(wire.Secret) error
}

// Spooled is what a spool has.
type Spooled struct {
	// Parts is how many bytes of ciphertext there are of each job that is not
	// finished.
	Parts    map[wire.Secret]int64
	Finished map[wire.Secret]Result
}

// File is a ciphertext.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size is how many bytes it has.
	Size() (int64, error)
}

// Result is what came of a job.
type Result struct {
	// StorageIndex and Size are those of the request.
	StorageIndex grid.StorageIndex
	Size         int64
	UEBHash      [32]byte
	// Pushed shares are new, Found ones were there.
	Pushed, Found int
	// At is when, in Unix seconds.
	At int64
}

// AskStatus is answered by Status, once the helper listens.
type AskStatus struct{}

// Status is a picture of the helper.
type Status struct {
	Hints          []grid.Hint // that it listens at
	Jobs, Sessions int
	// Spooled is how many bytes of its disk are taken or promised.
	Spooled int64
}

// Helper knows all jobs.
//
// Owns: which file has which job, how much of the spool is promised, the results of a day.
// On failure: reads its spool again; sessions are closed, come back by themselves and go on where they were.
type Helper struct {
	env         *env.Env
	config      Config
	connections *actor.PID
	listener    *actor.PID
	hints       []grid.Hint
	listens     bool

	jobs     map[wire.Secret]*jobState
	parts    map[wire.Secret]int64 // of jobs that are not under way
	finished map[wire.Secret]Result
	spawned  int
	asking   []*actor.PID // who waits for a status
}

type jobState struct {
	pid  *actor.PID
	spec spec
}

// New makes a Helper.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor {
		return &Helper{env: e, config: c, jobs: map[wire.Secret]*jobState{}, parts: map[wire.Secret]int64{}, finished: map[wire.Secret]Result{}}
	}
}

type (
	swept struct {
		spooled Spooled
		err     error
	}
	sweepDue struct{}
	// removed says that a job was forgotten, and for whom.
	removed struct {
		ask askHelp
		err error
	}
)

// From sessions and jobs.
type (
	// askHelp is answered by taken, done or refused.
	askHelp struct {
		session *actor.PID
		request uint64
		job     wire.Secret
		spec    spec
		anew    bool
	}
	// jobEnded says that a job is over; have is what is left in the spool.
	jobEnded struct {
		job    wire.Secret
		result *Result
		have   int64
	}
)

var (
	errBusy  = errors.New("the helper has too much to do; try again later")
	errFull  = errors.New("the helper's disk is full; try again later")
	errOther = errors.New("another file is under way under that name")
)

// Receive implements actor.Actor.
func (h *Helper) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started, sweepDue:
		h.sweep(ctx)
	case swept:
		h.swept(ctx, m)
	case inbound.Listening:
		h.hints, h.listens = m.Hints, true
		h.countSessions(ctx)
	case inbound.Failed:
		h.config.Fatal(m.Err)
	case AskStatus:
		h.asking = append(h.asking, ctx.Sender())
		h.countSessions(ctx)
	case inbound.Sessions:
		h.status(ctx, int(m))
	case askHelp:
		h.asked(ctx, m)
	case removed:
		h.removed(ctx, m)
	case jobEnded:
		h.ended(m)
	case *actor.Terminated:
		h.terminated(m.Who)
	}
}

func (h *Helper) sweep(ctx actor.Context) {
	spool, before := h.config.Spool, h.env.Clock.Now().Add(-keepTime)
	h.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		spooled, err := spool.Sweep(before)
		return swept{spooled, err}
	})
}

// swept takes what is left; at first it begins to serve.
func (h *Helper) swept(ctx actor.Context, m swept) {
	first := h.listener == nil
	switch {
	case m.err != nil && first:
		h.config.Fatal(fmt.Errorf("read what the helper has kept: %w", m.err))
		return
	case m.err != nil:
		h.env.Log.Warn("what the helper has kept too long could not be removed", "error", m.err)
	default:
		h.parts, h.finished = m.spooled.Parts, m.spooled.Finished
		for job := range h.jobs {
			delete(h.parts, job)
		}
	}
	h.env.Clock.After(sweepInterval, ctx.Self(), sweepDue{})
	if !first {
		return
	}
	h.connections = h.env.Spawn.Child(ctx, "connections", client.New(h.env, h.config.Connections))
	self := ctx.Self()
	h.listener = h.env.Spawn.Child(ctx, "listener", inbound.New(h.env, inbound.Config{
		Listen:      h.config.Listen,
		Session:     func(a inbound.Arrival) env.Producer { return newSession(h.env, h.config.Key, self, a) },
		MaxSessions: maxSessions,
	}))
}

// asked lets the session follow the job of its file, begun if there is none.
func (h *Helper) asked(ctx actor.Context, m askHelp) {
	if j := h.jobs[m.job]; j != nil {
		if !j.spec.same(m.spec) {
			ctx.Send(m.session, refused{m.request, errOther})
			return
		}
		ctx.Send(j.pid, attach{m.session, m.request})
		ctx.Send(m.session, following{j.pid})
		return
	}
	if r, ok := h.finished[m.job]; ok {
		if !m.anew && r.StorageIndex == m.spec.si && r.Size == m.spec.size {
			ctx.Send(m.session, progress{request: m.request, state: wire.HelpDone, have: r.Size, result: r})
			return
		}
		h.forget(ctx, m)
		return
	}
	if h.parts[m.job] > m.spec.size {
		h.forget(ctx, m)
		return
	}
	h.begin(ctx, m)
}

// forget removes what there is of a job, to begin it anew.
func (h *Helper) forget(ctx actor.Context, m askHelp) {
	delete(h.finished, m.job)
	delete(h.parts, m.job)
	spool := h.config.Spool
	h.env.Exec.Do(env.Disk, ctx.Self(), func() any { return removed{m, spool.Remove(m.job)} })
}

func (h *Helper) removed(ctx actor.Context, m removed) {
	if m.err != nil {
		h.env.Log.Error("a job could not be forgotten", "error", m.err)
		ctx.Send(m.ask.session, refused{m.ask.request, errBusy})
		return
	}
	m.ask.anew = false
	h.asked(ctx, m.ask)
}

func (h *Helper) begin(ctx actor.Context, m askHelp) {
	switch {
	case len(h.jobs) >= maxJobs:
		ctx.Send(m.session, refused{m.request, errBusy})
		return
	case m.spec.size > h.config.Space-h.spooled()+h.parts[m.job]:
		ctx.Send(m.session, refused{m.request, errFull})
		return
	}
	delete(h.parts, m.job)
	h.spawned++
	j := &jobState{spec: m.spec}
	j.pid = h.env.Spawn.Child(ctx, fmt.Sprint("job/", h.spawned), newJob(h.env, h.config.Spool, h.connections, m))
	h.jobs[m.job] = j
	ctx.Send(m.session, following{j.pid})
}

// spooled is how many bytes are taken or promised.
func (h *Helper) spooled() int64 {
	var n int64
	for _, j := range h.jobs {
		n += j.spec.size
	}
	for _, have := range h.parts {
		n += have
	}
	return n
}

func (h *Helper) ended(m jobEnded) {
	delete(h.jobs, m.job)
	switch {
	case m.result == nil:
		h.parts[m.job] = m.have
	case len(h.finished) < maxFinished:
		h.finished[m.job] = *m.result
	}
}

// terminated forgets a job that failed; its ciphertext is counted at the next
// sweep.
func (h *Helper) terminated(who *actor.PID) {
	for job, j := range h.jobs {
		if j.pid.Equal(who) {
			delete(h.jobs, job)
			return
		}
	}
	if who.Equal(h.connections) || who.Equal(h.listener) {
		h.config.Fatal(fmt.Errorf("%s keeps failing; this is a bug", who.Id))
	}
}

// countSessions begins the answer to those who ask for a status. Before the
// helper listens they wait.
func (h *Helper) countSessions(ctx actor.Context) {
	if h.listens && len(h.asking) > 0 {
		ctx.Send(h.listener, inbound.Count{ReplyTo: ctx.Self()})
	}
}

func (h *Helper) status(ctx actor.Context, sessions int) {
	for _, to := range h.asking {
		ctx.Send(to, Status{Hints: h.hints, Jobs: len(h.jobs), Sessions: sessions, Spooled: h.spooled()})
	}
	h.asking = nil
}
