package server

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// ledger is the only writer of the lease table. It applies each step when it
// takes it, and answers once the disk has it.
//
// Owns: the lease table, all reservations, traffic that is not written yet, lists of what is below a key in the making, work on many leases that is not done.
// On failure: reservations are forgotten and all uploads in progress end; the table is as it was. A failed sync ends the process.
type ledger struct {
	env    *env.Env
	config *Config
	rules  *lease.Ledger
	failed bool

	free   int64     // bytes on the disk, as last heard less what was stored since
	heard  time.Time // when that was; zero before the first time
	asking bool      // the disk is being asked
	held   []any     // what wants room and waits for its answer

	flushing bool // traffic will be written

	works  []workOnLeases // of clients, on many leases: the first has the next turn
	belows []*belowWalk   // of clients, the first of which is being walked

	waits   []func() error // of steps that are applied and not durable
	replies []reply        // to be sent once they are
	syncing bool
}

// reply is an answer that waits for the disk.
type reply struct {
	to  *actor.PID
	msg any
}

func newLedger(e *env.Env, c *Config) env.Producer {
	return func() actor.Actor {
		return &ledger{env: e, config: c, rules: lease.NewLedger(c.Store, c.Policy)}
	}
}

// The ledger's own messages.
type (
	synced struct {
		replies []reply
		err     error
	}
	freeSpace struct {
		bytes int64
		err   error
	}
	flushTraffic struct{}
)

// Receive implements actor.Actor.
func (l *ledger) Receive(ctx actor.Context) {
	if l.failed {
		return
	}
	switch m := ctx.Message().(type) {
	case *actor.Started:
		l.askDisk(ctx)
	case freeSpace:
		l.heardOfDisk(ctx, m)
	case diskFull:
		l.free = 0
	case syncSoon:
		l.sync(ctx)
	case synced:
		l.synced(ctx, m)
	case flushTraffic:
		l.flush(ctx)
	case *actor.Stopping:
		l.lastFlush()
	default:
		l.serve(ctx)
	}
}

// serve takes a step for somebody else.
func (l *ledger) serve(ctx actor.Context) {
	now := l.env.Clock.Now()
	switch m := ctx.Message().(type) {
	case reserve:
		l.reserve(ctx, now, m)
	case put:
		l.put(ctx, now, m)
	case commit:
		l.commit(ctx, now, m)
	case reserveWrite:
		l.reserveWrite(ctx, now, m)
	case mutate:
		l.mutate(ctx, now, m)
	case release:
		l.rules.Release(m.column, m.id)
	case workOnLeases:
		l.workOnLeases(ctx, now, m)
	case leaseTurn:
		l.takeLeaseTurn(ctx, now)
	case askUsage:
		l.usage(ctx, now, m)
	case askBelow:
		l.below(ctx, now, m)
	case belowTurn:
		l.walkBelow(ctx)
	case askRoom:
		if l.stale(now) {
			l.askDisk(ctx) // who asks for room next is told the truth
		}
		ctx.Send(m.replyTo, room{m.tag, l.room(now, m.grant, m.of)})
	case traffic:
		l.count(ctx, now, m)
	case expire:
		l.expire(ctx, now, m)
	case cancelUnder:
		l.cancelUnder(ctx, m)
	case endCancelling:
		change, err := l.rules.EndCancelling(m.root)
		l.settle(ctx, change, err, nil, nil)
	case adopt:
		change, err := l.rules.Adopt(now, m.id, m.body)
		l.settle(ctx, change, err, nil, nil)
	case forgetTraffic:
		change, err := l.rules.ForgetTraffic(m.of, m.before)
		l.settle(ctx, change, err, nil, nil)
	case gone:
		change, err := l.rules.Gone(m.shares...)
		l.settle(ctx, change, err, nil, nil)
	case askLedger:
		l.status(ctx, m)
	case usageTurn:
		l.walk(ctx, m)
	case queried:
		l.settle(ctx, lease.Change{}, nil, m.to, m.reply)
	case Operation:
		l.operate(ctx, m)
	}
}

// settle applies a step and sends msg when it is durable; a refusal changed
// nothing and is told at once.
func (l *ledger) settle(ctx actor.Context, change lease.Change, err error, to *actor.PID, msg any) {
	if err == nil && !l.apply(ctx, change) {
		return
	}
	if to == nil {
		return
	}
	// What was decided on may be younger than what is durable, so an answer
	// that changed nothing waits, too.
	if err == nil && (l.syncing || len(l.waits) > 0) {
		l.replies = append(l.replies, reply{to, msg})
		return
	}
	ctx.Send(to, msg)
}

func (l *ledger) apply(ctx actor.Context, change lease.Change) bool {
	if change.Empty() {
		return true
	}
	wait, err := l.config.Store.Apply(change)
	if err != nil {
		l.fail(fmt.Errorf("write the lease table: %w", err))
		return false
	}
	l.waits = append(l.waits, wait)
	if len(change.Roots) > 0 {
		l.replies = append(l.replies, reply{ctx.Parent(), l.managers()})
	}
	// The answer to this very step must not miss the sync that covers it.
	ctx.Send(ctx.Self(), syncSoon{})
	return true
}

// syncSoon starts a sync once the step that asked for it is complete.
type syncSoon struct{}

// sync waits for the disk outside of Receive. Steps that are taken meanwhile
// share the next sync.
func (l *ledger) sync(ctx actor.Context) {
	if l.syncing || len(l.waits) == 0 {
		return
	}
	waits, replies := l.waits, l.replies
	l.waits, l.replies, l.syncing = nil, nil, true
	l.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		for _, wait := range waits {
			if err := wait(); err != nil {
				return synced{nil, err}
			}
		}
		return synced{replies, nil}
	})
}

func (l *ledger) synced(ctx actor.Context, m synced) {
	if m.err != nil {
		l.fail(fmt.Errorf("make the lease table durable: %w", m.err))
		return
	}
	l.syncing = false
	for _, r := range m.replies {
		ctx.Send(r.to, r.msg)
	}
	if len(l.waits) == 0 {
		l.flushReplies(ctx)
		return
	}
	l.sync(ctx)
}

// flushReplies sends those that had nothing of their own to wait for.
func (l *ledger) flushReplies(ctx actor.Context) {
	for _, r := range l.replies {
		ctx.Send(r.to, r.msg)
	}
	l.replies = nil
}

// fail ends the server: what memory says is no longer what the disk says.
func (l *ledger) fail(err error) {
	l.failed = true
	l.env.Log.Error("the server can't go on", "error", err)
	l.config.Fatal(err)
}

// managers is what the server may announce. A table that can't be read has
// none: that is found out elsewhere.
func (l *ledger) managers() managers {
	roots, err := l.config.Store.Roots()
	if err != nil {
		l.env.Log.Error("the accounts can't be listed, so no manager is announced", "error", err)
	}
	var list managers
	for _, r := range roots {
		if r.Manager && !r.Disabled {
			list = append(list, r.Key)
		}
	}
	if len(list) > wire.MaxAccepts {
		l.env.Log.Warn("more account managers than can be announced", "announced", wire.MaxAccepts, "of", len(list))
		list = list[:wire.MaxAccepts]
	}
	return list
}

// askDisk asks how much is free. An idle server asks nothing.
func (l *ledger) askDisk(ctx actor.Context) {
	if l.asking {
		return
	}
	l.asking = true
	store := l.config.Store
	l.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		free, err := store.Free()
		return freeSpace{free, err}
	})
}

// heardOfDisk goes on with what waited for the answer. The parent is told once
// that there is a ledger.
func (l *ledger) heardOfDisk(ctx actor.Context, m freeSpace) {
	if m.err != nil {
		l.env.Log.Error("the disk does not tell its free space; nothing is stored until it does", "error", m.err)
		m.bytes = 0
	}
	if l.heard.IsZero() {
		ctx.Send(ctx.Parent(), ledgerUp{l.managers()})
	}
	if m.bytes == 0 && (l.free > 0 || l.heard.IsZero()) {
		l.env.Log.Warn("the disk is full: nothing new is stored until there is room")
	}
	now := l.env.Clock.Now()
	l.free, l.heard, l.asking = m.bytes, now, false
	held := l.held
	l.held = nil
	for _, m := range held {
		switch m := m.(type) {
		case reserve:
			l.reserve(ctx, now, m)
		case put:
			l.put(ctx, now, m)
		case reserveWrite:
			l.reserveWrite(ctx, now, m)
		case mutate:
			l.mutate(ctx, now, m)
		}
	}
}

// stale reports whether the disk must be asked before bytes of it are given
// away: where little is left, each time, since others use it, too.
func (l *ledger) stale(now time.Time) bool {
	since := now.Sub(l.heard)
	return since > freeEvery || since > 0 && l.free-l.config.Policy.ReservedSpace < nearlyFull
}

// count gathers traffic, to be written a while later.
func (l *ledger) count(ctx actor.Context, now time.Time, m traffic) {
	l.rules.CountTraffic(now, m.grant, m.moved)
	if !l.flushing {
		l.flushing = true
		l.env.Clock.After(trafficEvery, ctx.Self(), flushTraffic{})
	}
}

func (l *ledger) flush(ctx actor.Context) {
	l.flushing = false
	change, err := l.rules.FlushTraffic()
	if err != nil {
		l.env.Log.Error("traffic could not be counted", "error", err)
	}
	l.settle(ctx, change, err, nil, nil)
}

// lastFlush is the one moment at which waiting in Receive is right: nothing
// comes after it.
func (l *ledger) lastFlush() {
	change, err := l.rules.FlushTraffic()
	if err != nil || change.Empty() {
		return
	}
	if wait, err := l.config.Store.Apply(change); err == nil {
		l.waits = append(l.waits, wait)
	}
	for _, wait := range l.waits {
		if err := wait(); err != nil {
			l.env.Log.Error("the last lines of the lease table may be lost", "error", err)
			return
		}
	}
}

// reserve decides with a fresh number of free bytes.
func (l *ledger) reserve(ctx actor.Context, now time.Time, m reserve) {
	if l.stale(now) {
		l.held = append(l.held, m)
		l.askDisk(ctx)
		return
	}
	got, err := l.rules.Reserve(now, m.grant, m.id, m.size, l.free)
	if err != nil || !got.AlreadyHave {
		ctx.Send(m.replyTo, reserved{err: err}) // a promise in memory: nothing to wait for
		return
	}
	l.settle(ctx, lease.Change{}, nil, m.replyTo, reserved{alreadyHere: true, content: got.UEBHash})
}

// put stores in one step what needs no reservation.
func (l *ledger) put(ctx actor.Context, now time.Time, m put) {
	if l.stale(now) {
		l.held = append(l.held, m)
		l.askDisk(ctx)
		return
	}
	change, done, err := l.rules.Put(now, m.grant, m.id, m.body, l.free)
	if err == nil && !done.Dropped {
		l.free -= onDisk(m.body)
	}
	l.settle(ctx, change, err, m.replyTo, wasPut{m.tag, done, err})
}

func (l *ledger) reserveWrite(ctx actor.Context, now time.Time, m reserveWrite) {
	if l.stale(now) {
		l.held = append(l.held, m)
		l.askDisk(ctx)
		return
	}
	err := l.rules.ReserveWrite(now, m.grant, m.id, m.enabler, m.size, l.free)
	ctx.Send(m.replyTo, reservedWrite{m.secret, err}) // a promise in memory: nothing to wait for
}

// mutate writes shares that can be changed.
func (l *ledger) mutate(ctx actor.Context, now time.Time, m mutate) {
	if l.stale(now) {
		l.held = append(l.held, m)
		l.askDisk(ctx)
		return
	}
	change, done, err := l.rules.Mutate(now, m.grant, m.of.rule, l.free)
	if err == nil {
		for _, w := range m.of.rule.Writes {
			l.free -= onDisk(w.Body)
		}
	}
	l.settle(ctx, change, err, m.replyTo, mutated{m.of, done, err})
}

func (l *ledger) commit(ctx actor.Context, now time.Time, m commit) {
	change, done, err := l.rules.Commit(now, m.column, m.id, m.body)
	if err == nil && !done.Dropped {
		l.free -= onDisk(m.body)
	}
	l.settle(ctx, change, err, m.replyTo, committed{done, err})
}

// onDisk is about what a share takes of the disk: one in the table is also in
// its log for a while.
func onDisk(b lease.Body) int64 {
	if b.File == 0 {
		return 2 * (b.Size + lease.LeaseOverhead)
	}
	return b.Size + lease.LeaseOverhead
}
