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
// needs; no account holds more of the spool than it leaves to others; a ciphertext
// that came in part is kept for a day, over restarts of both sides; memory does
// not grow with the file.
package helper

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"
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
	// Sweep forgets what nobody has written since some time, but for some jobs,
	// and tells what is left.
	Sweep(before time.Time, spare map[wire.Secret]bool) (Spooled, error)
	// Open is the ciphertext of a job, empty at first. It counts as written now,
	// and is these accounts'.
	Open(wire.Secret, []grid.PublicKey) (File, error)
	// Finish keeps the result of a job in the place of its ciphertext; durable
	// when it returns.
	Finish(wire.Secret, Result) error
	// Remove forgets a job.
	Remove(wire.Secret) error
}

// MaxAccounts is how many accounts a ciphertext can be of: one for each server.
const MaxAccounts = wire.MaxHelpChains

// Spooled is what a spool has.
type Spooled struct {
	// Parts are the ciphertexts of jobs that are not finished.
	Parts    map[wire.Secret]Part
	Finished map[wire.Secret]Result
}

// Part is how many bytes of a ciphertext are there, and whose it is.
type Part struct {
	Size     int64
	Accounts []grid.PublicKey
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
	parts    map[wire.Secret]Part // of jobs that are not admitted
	finished map[wire.Secret]Result
	spawned  int
	sweeping bool
	ended    map[wire.Secret]jobEnded // while it sweeps
	held     []askHelp                // until it has swept
	asking   []*actor.PID             // who waits for a status
}

// jobState is a job under way. Until servers accept it, it is promised nothing.
type jobState struct {
	pid      *actor.PID
	spec     spec
	admitted bool
	accounts []grid.PublicKey // that pay
}

// New makes a Helper.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor {
		return &Helper{env: e, config: c, jobs: map[wire.Secret]*jobState{}, finished: map[wire.Secret]Result{}}
	}
}

type (
	swept struct {
		spooled Spooled
		err     error
	}
	sweepDue struct{}
	// gone says that a child has ended.
	gone struct{ who *actor.PID }
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
	// claim asks for room for a job that servers accept, for the accounts that
	// pay there; answered by room.
	claim struct {
		job      wire.Secret
		accounts []grid.PublicKey
	}
	// room says why there is none, if err is not nil, and whether the result is
	// to be remembered.
	room struct {
		err      error
		remember bool
	}
	// jobEnded says that a job is over; have is what is left in the spool.
	jobEnded struct {
		job        wire.Secret
		result     *Result
		remembered bool
		have       int64

		accounts []grid.PublicKey // the helper's
	}
)

var (
	errBusy  = errors.New("the helper has too much to do; try again later")
	errFull  = errors.New("the helper's disk is full; try again later")
	errLarge = errors.New("the file is larger than what one account may keep on the helper's disk")
	errShare = errors.New("this account may take no more of the helper's disk, of which as much must be left for others; try again later")
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
	case claim:
		ctx.Send(ctx.Sender(), room{h.claim(m), len(h.finished)+len(h.jobs) <= maxFinished})
	case jobEnded:
		h.jobEnded(m)
	case *actor.Terminated:
		ctx.Send(ctx.Self(), gone{m.Who}) // after the last word that it sent
	case gone:
		h.gone(m.who)
	}
}

func (h *Helper) sweep(ctx actor.Context) {
	h.sweeping, h.ended = true, map[wire.Secret]jobEnded{}
	spool, before, spare := h.config.Spool, h.env.Clock.Now().Add(-keepTime), map[wire.Secret]bool{}
	for job := range h.jobs {
		spare[job] = true
	}
	h.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		spooled, err := spool.Sweep(before, spare)
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
		h.takeSpooled(m.spooled)
	}
	h.sweeping = false
	for _, ask := range h.held {
		h.asked(ctx, ask)
	}
	h.held = nil
	h.env.Clock.After(sweepInterval, ctx.Self(), sweepDue{})
	if first {
		h.serve(ctx)
	}
}

// takeSpooled is what is there beside the jobs under way, and what ended while
// it was looked at.
func (h *Helper) takeSpooled(s Spooled) {
	h.parts, h.finished = s.Parts, s.Finished
	for job, j := range h.jobs {
		if j.admitted {
			delete(h.parts, job)
		}
	}
	for _, m := range h.ended {
		h.left(m)
	}
}

func (h *Helper) serve(ctx actor.Context) {
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
	if h.sweeping {
		h.held = append(h.held, m)
		return
	}
	if j := h.jobs[m.job]; j != nil {
		if !j.spec.same(m.spec) {
			ctx.Send(m.session, refused{request: m.request, err: errOther})
			return
		}
		ctx.Send(j.pid, attach{m.session, m.request})
		ctx.Send(m.session, following{j.pid})
		return
	}
	r, finished := h.finished[m.job]
	part, begun := h.parts[m.job]
	switch {
	case finished && !m.anew && r.StorageIndex == m.spec.si && r.Size == m.spec.size:
		ctx.Send(m.session, progress{request: m.request, state: wire.HelpDone, have: r.Size, result: r})
	case finished, begun && (m.anew || part.Size > m.spec.size):
		h.forget(ctx, m)
	default:
		h.begin(ctx, m)
	}
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
		ctx.Send(m.ask.session, refused{request: m.ask.request, err: errBusy})
		return
	}
	m.ask.anew = false
	h.asked(ctx, m.ask)
}

// begin finds out whether servers accept the client.
func (h *Helper) begin(ctx actor.Context, m askHelp) {
	if h.count(false) >= maxChecks {
		ctx.Send(m.session, refused{request: m.request, err: errBusy})
		return
	}
	if most := h.config.Space/2 - partCost; m.spec.size > most {
		ctx.Send(m.session, refused{request: m.request, err: fmt.Errorf("%w: %d bytes, at most %d", errLarge, m.spec.size, most)})
		return
	}
	h.spawned++
	j := &jobState{spec: m.spec}
	j.pid = h.env.Spawn.Child(ctx, fmt.Sprint("job/", h.spawned), newJob(h.env, h.config.Spool, h.connections, m))
	h.jobs[m.job] = j
	ctx.Send(m.session, following{j.pid})
}

// count is how many jobs are admitted, or are not yet.
func (h *Helper) count(admitted bool) (n int) {
	for _, j := range h.jobs {
		if j.admitted == admitted {
			n++
		}
	}
	return n
}

// claim promises room to a job, if there is some, and as much is left to others
// as each of its accounts then has.
func (h *Helper) claim(m claim) error {
	j := h.jobs[m.job]
	if j == nil || h.count(true) >= maxJobs {
		return errBusy
	}
	free := h.config.Space - h.spooled() - cost(j.spec.size)
	if p, ok := h.parts[m.job]; ok {
		free += cost(p.Size)
	}
	if free < 0 {
		return errFull
	}
	for _, account := range m.accounts {
		space, jobs := h.heldBy(account, m.job)
		if space+cost(j.spec.size) > free {
			return errShare
		}
		if jobs >= maxJobs/2 {
			return errBusy
		}
	}
	delete(h.parts, m.job)
	j.admitted, j.accounts = true, m.accounts
	return nil
}

// heldBy is how many bytes are an account's, and in how many jobs under way, one
// left out.
func (h *Helper) heldBy(account grid.PublicKey, but wire.Secret) (space int64, jobs int) {
	for _, j := range h.jobs {
		if slices.Contains(j.accounts, account) {
			space += cost(j.spec.size)
			jobs++
		}
	}
	for job, p := range h.parts {
		if job != but && slices.Contains(p.Accounts, account) {
			space += cost(p.Size)
		}
	}
	return space, jobs
}

// spooled is how many bytes are taken or promised.
func (h *Helper) spooled() int64 {
	var n int64
	for _, j := range h.jobs {
		if j.admitted {
			n += cost(j.spec.size)
		}
	}
	for _, p := range h.parts {
		n += cost(p.Size)
	}
	return n
}

// cost is what a ciphertext takes of the disk.
func cost(size int64) int64 { return size + partCost }

func (h *Helper) jobEnded(m jobEnded) {
	j := h.jobs[m.job]
	delete(h.jobs, m.job)
	if j == nil || !j.admitted {
		return // what is left of an earlier time is in parts
	}
	m.accounts = j.accounts
	h.left(m)
	if h.sweeping {
		h.ended[m.job] = m
	}
}

// left notes what a job has left behind.
func (h *Helper) left(m jobEnded) {
	delete(h.parts, m.job)
	switch {
	case m.result == nil:
		h.parts[m.job] = Part{m.have, m.accounts}
	case m.remembered:
		h.finished[m.job] = *m.result
	}
}

// gone forgets a job that failed. Until the next sweep tells how much of
// its ciphertext is there, all of it is counted.
func (h *Helper) gone(who *actor.PID) {
	for job, j := range h.jobs {
		if j.pid.Equal(who) {
			h.jobEnded(jobEnded{job: job, have: j.spec.size})
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
