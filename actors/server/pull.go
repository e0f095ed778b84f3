package server

import (
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// pull brings one offered share onto the disk, at the disk's pace: reserve,
// receive, seal, commit. It lives on when the connection is lost, and goes on
// where it was when the same account offers the same share again.
//
// Owns: one upload: its reservation, its incoming file, the verifier's state, the conversation with the client's share reader.
// On failure: ends, its reservation and file with it; the client is told and offers again.
type pull struct {
	env      *env.Env
	config   *Config
	ledger   *actor.PID
	id       lease.LeaseID
	log      *slog.Logger
	readSize int64

	stage  stage
	size   int64
	window int64       // how many bytes beyond have may be asked for
	grant  lease.Grant // under which was reserved
	owed   *offer      // whose Allocate is still to be answered
	to     *actor.PID  // the session that is told how it ends

	sink     *sink // used by one job at a time
	busy     bool  // a job is running, or the ledger has the share
	atLedger bool  // the second
	have     int64 // bytes verified as far as can be, and written
	inJob    int64 // bytes that the running job writes
	handled  []wire.Frame
	link     *link
	losses   int // of links, so that an old timer is known
	mark     progress

	failure  error
	abandons []abandon
	stashed  []offer // came while it was ending
}

// stage is how far the upload is.
type stage uint8

const (
	idle       stage = iota // nothing offered yet
	reserving               // waits for the ledger
	receiving               // waits for bytes
	committing              // all is here: sealing, then the ledger
	ending                  // failed: cleans up
	ended
)

// progress is how many bytes were there when the upload last got on by
// pullFloor. Links come and go, this stays.
type progress struct {
	have int64
	at   time.Time
}

func newPull(e *env.Env, c *Config, ledger *actor.PID, id lease.LeaseID, readSize int64) env.Producer {
	return func() actor.Actor {
		return &pull{env: e, config: c, ledger: ledger, id: id, log: e.Log, readSize: readSize}
	}
}

// The pull's own messages, and those between it and Storage.
type (
	wrote      struct{ err error }
	sealedBody struct {
		body lease.Body
		err  error
	}
	discarded struct{}
	// detached says that the client was away for long since the link's loss.
	detached struct{ losses int }
	// pace says how much one read may ask for.
	pace struct{ bytes int64 }
	// ledgerLost says that the ledger has forgotten the reservation.
	ledgerLost struct{}
	pullEnded  struct{ id lease.LeaseID }
)

// Receive implements actor.Actor.
func (p *pull) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case offer:
		p.offered(ctx, m)
	case abandon:
		p.abandoned(ctx, m)
	case reserved:
		p.reserved(ctx, m)
	case fromClient:
		p.heard(ctx, m)
	case wrote:
		p.wrote(ctx, m)
	case sealedBody:
		p.sealed(ctx, m)
	case committed:
		p.committed(ctx, m)
	case discarded:
		p.cleaned(ctx)
	case bar:
		p.fail(ctx, m.err)
	case floor:
		p.checkFloor(ctx, m)
	case detached:
		if p.stage == receiving && p.link == nil && m.losses == p.losses {
			p.fail(ctx, errDetached)
		}
	case pace:
		p.readSize = m.bytes
	case ledgerLost:
		p.ledgerLost(ctx)
	case *actor.Restarting:
		p.giveUp(ctx)
		ctx.Stop(ctx.Self()) // a fresh self would know nothing
	case *actor.Stopping:
		p.giveUp(ctx)
	}
}

// offered takes the first offer, or the same one again after the connection
// over which it came was lost.
func (p *pull) offered(ctx actor.Context, m offer) {
	switch {
	case p.stage == ending || p.stage == ended:
		p.stash(ctx, m)
		return
	case p.stage != idle && uploader(m.grant) != uploader(p.grant):
		m.refuse(ctx, errOthers)
		m.frame.Release()
		return
	case p.stage != idle && int64(m.share.Size) != p.size:
		m.refuse(ctx, errOtherSize)
		m.frame.Release()
		return
	}
	if p.owed != nil {
		p.owed.refuse(ctx, errSuperseded)
	}
	p.log = m.log.With("storage index", m.share.StorageIndex, "share", m.share.Num)
	p.to = m.session
	switch p.stage {
	case idle:
		p.stage, p.size, p.grant, p.owed = reserving, int64(m.share.Size), m.grant, &m
		p.window = windowOf(m.share)
		ctx.Send(p.ledger, reserve{ctx.Self(), m.grant, p.id.Share, p.size})
	case reserving:
		p.owed.frame.Release()
		p.owed = &m
	default:
		p.owed = nil
		m.frame.Release()
		p.window = windowOf(m.share)
		p.resume(ctx, m)
	}
}

// windowOf is as much as the client offers, but some in any case: to ask for a
// few bytes at a time would cost more than they are worth.
func windowOf(share wire.Allocate) int64 {
	if share.Window == 0 || share.Window > share.Size {
		return int64(share.Size)
	}
	return max(int64(share.Window), leastWindow)
}

// stash keeps an offer that came too late for this pull: Storage gets it back
// once it knows that the pull has ended, and starts another.
func (p *pull) stash(ctx actor.Context, m offer) {
	if p.stage == ended {
		ctx.Send(ctx.Parent(), m)
		return
	}
	p.stashed = append(p.stashed, m)
}

// resume goes on over a new connection.
func (p *pull) resume(ctx actor.Context, m offer) {
	have := p.have + p.inJob
	p.log.Debug("upload resumed", "have", have, "size", p.size)
	m.answer(ctx, &wire.Allocated{State: wire.Coming, Have: uint64(p.have)})
	p.unlink(errSuperseded)
	if p.stage == receiving && have < p.size {
		p.attach(ctx, m)
	}
}

func (p *pull) reserved(ctx actor.Context, m reserved) {
	switch {
	case p.stage != reserving:
	case p.failure != nil && m.err == nil && !m.alreadyHere: // abandoned meanwhile
		p.cleaned(ctx)
	case m.err != nil:
		p.failure = m.err
		p.end(ctx)
	case m.alreadyHere:
		p.owed.answer(ctx, &wire.Allocated{State: wire.AlreadyHere, UEBHash: m.content})
		p.settled()
		p.end(ctx)
	default:
		p.begin(ctx)
	}
}

// begin starts with the bytes that rode along. Where they are the whole share
// the answer waits for the end; else the client must know that it is pulled.
func (p *pull) begin(ctx actor.Context) {
	p.stage, p.mark = receiving, progress{at: p.env.Clock.Now()}
	m := p.owed
	came := int64(m.frame.BodySize())
	p.sink = &sink{size: p.size, num: p.id.Share.Num, store: p.config.Store}
	if came < p.size {
		m.answer(ctx, &wire.Allocated{State: wire.Coming, Have: uint64(came)})
		p.owed = nil
	}
	if came > 0 {
		p.write(ctx, []wire.Frame{m.frame})
	} else {
		m.frame.Release()
	}
	if came < p.size {
		p.attach(ctx, *m)
	}
}

// write hands frames that follow what is there to the disk.
func (p *pull) write(ctx actor.Context, frames []wire.Frame) {
	p.busy, p.handled, p.inJob = true, frames, 0
	for _, f := range frames {
		p.inJob += int64(f.BodySize())
	}
	s := p.sink
	p.env.Exec.Do(env.Disk, ctx.Self(), func() any { return wrote{s.write(frames)} })
}

func (p *pull) wrote(ctx actor.Context, m wrote) {
	for _, f := range p.handled {
		f.Release()
	}
	p.have += p.inJob
	p.busy, p.handled, p.inJob = false, nil, 0
	switch {
	case p.failure != nil:
		p.clean(ctx)
	case m.err != nil:
		p.fail(ctx, m.err)
	case p.have == p.size:
		p.seal(ctx)
	default:
		p.advance(ctx)
	}
}

// seal checks the whole share and makes its bytes durable.
func (p *pull) seal(ctx actor.Context) {
	p.stage, p.busy = committing, true
	p.unlink(nil)
	s := p.sink
	p.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		body, err := s.seal()
		return sealedBody{body, err}
	})
}

func (p *pull) sealed(ctx actor.Context, m sealedBody) {
	p.busy = false
	switch {
	case p.failure != nil:
		p.clean(ctx)
	case m.err != nil:
		p.fail(ctx, m.err)
	default:
		p.busy, p.atLedger = true, true
		ctx.Send(p.ledger, commit{ctx.Self(), p.id.Column, p.id.Share, m.body})
	}
}

// committed ends an upload that went well, or one that lost the race against
// another account's: the ledger then made a lease on the other's share, if that
// is the same.
func (p *pull) committed(ctx actor.Context, m committed) {
	if p.stage != committing {
		return // a new ledger's answer to what the old one was asked
	}
	p.busy, p.failure = false, nil
	if m.err != nil {
		p.fail(ctx, m.err)
		return
	}
	if m.done.Dropped {
		p.discard(nil)
	}
	p.log.Debug("share stored", "size", p.size, "dropped", m.done.Dropped)
	p.tellStored(ctx, m.done)
	p.settled()
	p.end(ctx)
}

func (p *pull) tellStored(ctx actor.Context, done lease.Committed) {
	if p.owed == nil {
		share := p.id.Share
		ctx.Send(p.to, notice{&wire.Stored{StorageIndex: share.StorageIndex, Num: share.Num, UEBHash: done.UEBHash}})
		return
	}
	state := wire.NowStored
	if done.Dropped {
		state = wire.AlreadyHere
	}
	p.owed.answer(ctx, &wire.Allocated{State: state, UEBHash: done.UEBHash})
}

// settled notes that nobody waits for an answer any more, and lets a frame go
// that no job took.
func (p *pull) settled() {
	if p.owed != nil && p.sink == nil {
		p.owed.frame.Release()
	}
	p.owed, p.to = nil, nil
}

// ledgerLost ends the upload: a new ledger knows of no reservation. If it was
// asked in between it answers to nobody, so what it may have reserved is
// released after that.
func (p *pull) ledgerLost(ctx actor.Context) {
	switch p.stage {
	case reserving:
		p.failure = lease.ErrNoReservation
		p.cleaned(ctx)
	case committing:
		if p.atLedger {
			p.busy = false
		}
		p.fail(ctx, lease.ErrNoReservation)
	case receiving:
		p.fail(ctx, lease.ErrNoReservation)
	}
}

// attach opens a conversation with the client's share reader.
func (p *pull) attach(ctx actor.Context, m offer) {
	e, self := p.env, ctx.Self()
	l := &link{next: p.have + p.inJob, outstanding: map[uint64]span{}}
	l.conv = m.conn.Open(transport.Pull, func(ev transport.Event) { e.Spawn.Send(self, fromClient{l, ev}) }, pullReads)
	l.conv.Send(wire.Frame{Message: &wire.OpenOffer{Secret: m.share.Secret}})
	p.link = l
	p.ask()
	e.Clock.After(max(0, min(pullCheck, p.patience()+pullCheck)), self, floor{l, p.have})
}
