package client

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Repair checks a file and, unless it is healthy, makes its shares once more from
// those that are good, with the verify capability alone, and brings them to as
// many servers as can be; answered by Repaired or an error, with Progress before.
type Repair struct {
	ReplyTo *actor.PID
	CheckSpec
	// Authority to store under; the node's own where it is empty.
	Authority lease.Authority
}

// Repaired answers Repair.
type Repaired struct {
	// Before is what was found, After what there is now. What was found damaged on
	// the way counts as it is in both.
	Before, After Checked
	// Attempted is whether anything was to be done. Pushed shares are new.
	Attempted bool
	Pushed    int
	// Labels is whose leases the shares have, by server.
	Labels map[grid.ServerID]grid.PublicKey
	// LeftOut are the servers that got nothing, or nothing more, and why.
	LeftOut []LeftOut
	// Err is why not all was done that could be; nil where it was.
	Err error
}

// repair has a file checked and then stored from its own shares. Where some of
// those turn out to be damaged as they are read, it does so again.
//
// Owns: what is known of one file's shares.
// On failure: ends with an error; shares that were stored stay, nothing that was there is harmed.
type repair struct {
	env    *env.Env
	log    *slog.Logger
	config Config
	broker *actor.PID
	repair Repair

	work     *actor.PID // the check, or the upload
	rounds   int
	result   Repaired
	bad      []health.Fault // found in this round
	answered bool
}

// repairing is what an upload is born with that makes shares once more.
type repairing struct {
	cap file.CHKVerifier
	*provenLayout
	found  Checked
	reader *actor.PID // of the file
}

func newRepair(e *env.Env, c Config, broker *actor.PID, log *slog.Logger, m Repair) env.Producer {
	return func() actor.Actor { return &repair{env: e, log: log, config: c, broker: broker, repair: m} }
}

// Receive implements actor.Actor.
func (r *repair) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		check := Check{ReplyTo: ctx.Self(), CheckSpec: r.repair.CheckSpec}
		r.work = r.env.Spawn.Child(ctx, "check", newCheck(r.env, r.config, r.broker, r.log, check, true))
	case brokerUp:
		ctx.Send(r.work, m)
	case Progress:
		ctx.Send(r.repair.ReplyTo, m)
	case Checked:
		r.checked(ctx, m)
	case badShare:
		r.foundBad(m)
	case Stored:
		r.stored(ctx, m)
	case error:
		r.failed(ctx, m)
	case Cancel:
		r.answered = true
		ctx.Send(r.work, Cancel{ReplyTo: ctx.Self()})
		ctx.Stop(ctx.Self())
	case *actor.Restarting, *actor.Stopping:
		r.interrupted(ctx)
	}
}

// checked begins the repair of what needs it.
func (r *repair) checked(ctx actor.Context, m Checked) {
	r.result.Before, r.result.After = m, m
	if m.Healthy() {
		r.end(ctx, nil)
		return
	}
	r.result.Attempted = true
	r.round(ctx)
}

// round stores what is missing, if it can be made.
func (r *repair) round(ctx actor.Context) {
	now := r.result.After
	if !now.Recoverable() || now.proven == nil {
		r.end(ctx, &transfer.NotEnoughShares{Needed: now.Needed, Found: now.Shares(), Asked: len(now.Responding)})
		return
	}
	r.rounds++
	r.bad = nil
	put := Put{ReplyTo: ctx.Self(), File: PutSpec{Size: r.repair.Cap.Size, Params: r.params()}}
	job := repairing{cap: r.repair.Cap, provenLayout: now.proven, found: now}
	r.work = r.env.Spawn.Child(ctx, "upload/"+itoa(r.rounds), newRepairUpload(r.env, r.config, r.broker, r.log, put, job))
}

func (r *repair) params() file.Params {
	c := r.repair.Cap
	return file.Params{Needed: c.Needed, Total: c.Total, Happy: max(1, min(r.repair.Happy, c.Total))}
}

// foundBad notes a share that proved to be damaged as it was read.
func (r *repair) foundBad(m badShare) {
	f := health.Fault{Copy: health.Copy{Server: m.server, Num: m.num}, Err: m.err}
	if !slices.ContainsFunc(r.bad, func(g health.Fault) bool { return g.Copy == f.Copy }) {
		r.bad = append(r.bad, f)
	}
}

// stored takes what the upload did into account.
func (r *repair) stored(ctx actor.Context, m Stored) {
	r.result.Pushed += m.Pushed
	r.result.Labels, r.result.LeftOut = m.Labels, m.LeftOut
	for n := range r.repair.Cap.Total {
		for _, id := range m.Placement[grid.ShareNum(n)] {
			r.result.After.add(health.Copy{Server: id, Num: grid.ShareNum(n)})
		}
	}
	r.goOn(ctx, nil)
}

// failed ends the repair, unless what was found on the way lets it be tried with
// what is left.
func (r *repair) failed(ctx actor.Context, err error) {
	if !r.result.Attempted {
		r.answered = true
		ctx.Send(r.repair.ReplyTo, err) // it could not even be checked
		ctx.Stop(ctx.Self())
		return
	}
	r.goOn(ctx, err)
}

// goOn does it again where shares proved bad that were counted on.
func (r *repair) goOn(ctx actor.Context, err error) {
	for _, f := range r.bad {
		r.result.Before.spoil(f)
		r.result.After.spoil(f)
	}
	if len(r.bad) > 0 && !r.result.After.Healthy() && r.rounds <= r.repair.Cap.Total {
		r.round(ctx)
		return
	}
	r.end(ctx, err)
}

// add counts a share that was stored.
func (c *Checked) add(at health.Copy) {
	if !slices.Contains(c.Good, at) {
		c.Good = append(slices.Clip(c.Good), at)
	}
}

// spoil counts a share no more.
func (c *Checked) spoil(f health.Fault) {
	c.Good = slices.DeleteFunc(slices.Clone(c.Good), func(g health.Copy) bool { return g == f.Copy })
	if !slices.ContainsFunc(c.Corrupt, func(g health.Fault) bool { return g.Copy == f.Copy }) {
		c.Corrupt = append(slices.Clip(c.Corrupt), f)
	}
}

func (r *repair) end(ctx actor.Context, err error) {
	r.result.Err = err
	r.log.Info("file repaired", "storage-index", r.repair.Cap.StorageIndex.String(), "before", r.result.Before.Summary(), "after", r.result.After.Summary(), "pushed", r.result.Pushed)
	r.answered = true
	ctx.Send(r.repair.ReplyTo, r.result)
	ctx.Stop(ctx.Self())
}

// interrupted tells who waits that the actor ends before the repair does.
func (r *repair) interrupted(ctx actor.Context) {
	if !r.answered {
		r.answered = true
		ctx.Send(r.repair.ReplyTo, fmt.Errorf("repair the file: %w", ErrInterrupted))
	}
	ctx.Stop(ctx.Self())
}

// survey is what the decisions are told of what was found: at servers that may
// get shares, which are these, and at others.
func (r *repairing) survey(order []grid.ServerID) *transfer.Repair {
	s := &transfer.Repair{At: map[grid.ServerID]transfer.Surveyed{}}
	good := r.found.GoodAt()
	for _, id := range r.found.Responding {
		if slices.Contains(order, id) {
			s.At[id] = r.surveyed(id, good[id])
		} else if len(good[id]) > 0 {
			s.Kept = append(s.Kept, placement.Server{ID: id, Shares: good[id]})
		}
	}
	return s
}

func (r *repairing) surveyed(id grid.ServerID, good []grid.ShareNum) transfer.Surveyed {
	s := transfer.Surveyed{Good: good, Room: r.found.rooms[id]}
	for _, f := range slices.Concat(r.found.Corrupt, r.found.Unread) {
		if f.Server == id {
			s.Bad = append(s.Bad, f.Num)
		}
	}
	return s
}

// readShares begins to read the file from its start.
func (u *upload) readShares(ctx actor.Context) {
	r := u.repair
	if r.reader == nil {
		// Child: client.download
		r.reader = u.env.Spawn.Child(ctx, "download", newRepairDownload(u.env, u.broker, u.log, ctx.Self(), r.cap))
	}
	ctx.Send(r.reader, ReadRange{ReplyTo: ctx.Self(), Length: r.cap.Size})
}

// pieceRead encodes the next segment once its ciphertext is there.
func (u *upload) pieceRead(ctx actor.Context, m Piece) {
	if u.ended || u.pass == nil {
		m.Release()
		return
	}
	p := u.pass
	i := int64(p.read)
	p.read++
	u.env.Exec.Do(env.CPU, ctx.Self(), func() any {
		defer m.Release()
		s, err := p.encoder.EncodeSegment(i, m.Data)
		return segmentEncoded{p, s, err}
	})
}
