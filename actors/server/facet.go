package server

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// facet serves what needs a login, within what the login allows. Whether that
// still stands is asked anew at each use, by the ledger.
//
// Owns: the grant of one login and its requests in progress, what has come for writes that are still to be done.
// On failure: starts anew with the same grant; requests in progress are not answered.
type facet struct {
	env     *env.Env
	config  *Config
	peers   peers
	session *actor.PID
	conn    transport.Session
	grant   lease.Grant
	expires int64 // of the reference, Unix seconds

	open     int                            // requests that it still has to answer
	retiring bool                           // another login has taken its place
	finding  map[uint64][]lease.StoredShare // by request: waits for the ledger
	stages   map[wire.Secret]*staging       // what has come for a Mutate
	mutating map[uint64]*mutation           // by request: in progress
}

// retire ends a facet once it has answered what it was given.
type retire struct{}

// peers are the parts of the server that a session may talk to.
type peers struct {
	storage, ledger, login, collector *actor.PID
	answers, early                    *memory // of sessions with a login, and of those without
}

func newFacet(e *env.Env, c *Config, p peers, session *actor.PID, conn transport.Session, ref lease.Reference) env.Producer {
	return func() actor.Actor {
		return &facet{env: e, config: c, peers: p, session: session, conn: conn, grant: ref.Grant, expires: ref.Expires, finding: map[uint64][]lease.StoredShare{}, stages: map[wire.Secret]*staging{}, mutating: map[uint64]*mutation{}}
	}
}

// found is the list of a file's shares, for leases on all of them.
type found struct {
	ask workOnLeases
	err error
}

// Receive implements actor.Actor.
func (f *facet) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case request:
		f.serve(ctx, m)
	case found:
		f.found(ctx, m)
	case looked:
		f.looked(ctx, m)
	case room:
		f.room(ctx, m)
	case wasPut:
		f.stored(ctx, m)
	case tried:
		f.tried(ctx, m)
	case mutated:
		f.mutated(ctx, m)
	case reservedWrite:
		f.reservedWrite(ctx, m)
	case stageWritten:
		f.stageWritten(ctx, m)
	case *actor.Restarting, *actor.Stopping:
		f.dropStages(ctx)
	case retire:
		f.retiring = true
	case leased:
		if m.err != nil {
			f.refuse(ctx, m.tag, m.err)
			return
		}
		f.leased(ctx, m)
	case below:
		if m.err != nil {
			f.refuse(ctx, m.tag, m.err)
			return
		}
		f.signPage(ctx, m)
	case signedPage:
		if m.err != nil {
			f.refuse(ctx, m.tag, m.err)
			return
		}
		f.answer(ctx, m.tag, &wire.UsageBelowReport{Page: m.page})
	case usage:
		if m.err != nil {
			f.refuse(ctx, m.tag, m.err)
			return
		}
		f.answer(ctx, m.tag, m.report)
	}
	if f.retiring && f.open == 0 {
		ctx.Stop(ctx.Self())
	}
}

func (f *facet) answer(ctx actor.Context, request uint64, m wire.Message) {
	f.answerWith(ctx, answer{request: request, message: m})
}

func (f *facet) answerWith(ctx actor.Context, a answer) {
	f.open--
	ctx.Send(f.session, a)
}

// leased answers for each share, or with their number, as was asked.
func (f *facet) leased(ctx actor.Context, m leased) {
	if m.outcomes == nil {
		f.answer(ctx, m.tag, &wire.Leased{Count: m.count, Expires: m.expires})
		return
	}
	done := &wire.SharesDone{Count: uint(len(m.outcomes)), Expires: m.expires}
	f.answerWith(ctx, answer{m.tag, done, m.outcomes})
}

func (f *facet) refuse(ctx actor.Context, request uint64, err error) {
	f.answer(ctx, request, wireError(err, mayReadUsage(f.grant)))
}

// signedPage is a page of usage that can be passed on.
type signedPage struct {
	tag  uint64
	page []byte
	err  error
}

func (f *facet) signPage(ctx actor.Context, m below) {
	key := f.config.Key
	f.env.Exec.Do(env.CPU, ctx.Self(), func() any {
		page, err := wire.SignUsagePage(key, m.page)
		return signedPage{m.tag, page, err}
	})
}

func (f *facet) serve(ctx actor.Context, m request) {
	f.open++
	if f.env.Clock.Now().Unix() > f.expires {
		f.refuse(ctx, m.frame.ID, lease.ErrAuthorityExpired)
		m.frame.Release()
		return
	}
	switch msg := m.frame.Message.(type) {
	case *wire.Allocate:
		f.take(ctx, offer{session: f.session, conn: f.conn, grant: f.grant, share: *msg, frame: m.frame, log: m.log})
		return // its body is held until it is stored
	case *wire.Mutate:
		f.mutate(ctx, m, msg)
		return // its body is held until it is done
	case *wire.Stage:
		f.stage(ctx, m, msg)
		return // so is this one's
	case *wire.Unstage:
		f.unstage(ctx, msg)
		f.answer(ctx, m.frame.ID, &wire.Done{})
	case *wire.Abandon:
		id := lease.LeaseID{Column: f.grant.Column(), Share: lease.ShareID{StorageIndex: msg.StorageIndex, Num: msg.Num}}
		f.open-- // Storage answers
		ctx.Send(f.peers.storage, abandon{f.session, m.frame.ID, f.grant, id})
	case *wire.AddLease:
		f.addLease(ctx, m.frame.ID, msg)
	case *wire.RenewLease:
		f.list(ctx, workOnLeases{replyTo: ctx.Self(), tag: m.frame.ID, grant: f.grant, work: renewLeases}, distinct(msg.StorageIndexes))
	case *wire.RenewShares:
		f.shares(ctx, m.frame, renewLeases)
	case *wire.CancelShares:
		f.shares(ctx, m.frame, cancelLeases)
	case *wire.UsageBelow:
		ctx.Send(f.peers.ledger, askBelow{ctx.Self(), m.frame.ID, f.grant, *msg})
	case *wire.Usage:
		ctx.Send(f.peers.ledger, askUsage{ctx.Self(), m.frame.ID, f.grant})
	}
	m.frame.Release()
}

func (f *facet) addLease(ctx actor.Context, tag uint64, m *wire.AddLease) {
	ask := workOnLeases{replyTo: ctx.Self(), tag: tag, grant: f.grant, work: addLeases}
	if hash := lease.UEBHash(m.UEBHash); hash != (lease.UEBHash{}) {
		ask.content = &hash
	}
	if len(m.Nums) == 0 {
		f.list(ctx, ask, []grid.StorageIndex{m.StorageIndex})
		return
	}
	for _, n := range m.Nums {
		ask.ids = append(ask.ids, lease.ShareID{StorageIndex: m.StorageIndex, Num: n})
	}
	ctx.Send(f.peers.ledger, ask)
}

// shares does the same to the leases on all shares that a frame's body names.
func (f *facet) shares(ctx actor.Context, frame wire.Frame, work leaseWork) {
	ids, err := wire.Shares(frame.Bytes())
	if err != nil {
		f.refuse(ctx, frame.ID, fmt.Errorf("%w: %w", lease.ErrMalformed, err))
		return
	}
	ask := workOnLeases{replyTo: ctx.Self(), tag: frame.ID, grant: f.grant, ids: ids, work: work, collector: f.peers.collector}
	ask.done.outcomes = make([]byte, 0, len(ids))
	ctx.Send(f.peers.ledger, ask)
}

// distinct names each file once: what is asked for again would cost again.
func distinct(files []grid.StorageIndex) []grid.StorageIndex {
	sorted := slices.SortedFunc(slices.Values(files), func(a, b grid.StorageIndex) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(sorted)
}

// list names all shares of the files in ask.
func (f *facet) list(ctx actor.Context, ask workOnLeases, files []grid.StorageIndex) {
	store := f.config.Store
	f.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		var errs []error
		for _, si := range files {
			shares, err := store.ListShares(si)
			errs = append(errs, err)
			for _, s := range shares {
				ask.ids = append(ask.ids, s.ID)
			}
		}
		return found{ask, errors.Join(errs...)}
	})
}

func (f *facet) found(ctx actor.Context, m found) {
	if m.err != nil {
		f.env.Log.Error("shares could not be listed", "error", m.err)
		f.refuse(ctx, m.ask.tag, m.err)
		return
	}
	ctx.Send(f.peers.ledger, m.ask)
}
