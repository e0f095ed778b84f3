package server

import (
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// workOnLeases takes a few leases at once, and works on many in turns. There is
// one turn at a time, whoever asked, and each request has its own in its order:
// so who has a million leases worked on waits for himself.
func (l *ledger) workOnLeases(ctx actor.Context, now time.Time, m workOnLeases) {
	if len(m.ids) <= leaseFew {
		l.workOnSome(ctx, now, m)
		return
	}
	l.works = append(l.works, m)
	if len(l.works) == 1 {
		ctx.Send(ctx.Self(), leaseTurn{})
	}
}

// leaseTurn goes on with the first of the requests for work on many leases.
type leaseTurn struct{}

func (l *ledger) takeLeaseTurn(ctx actor.Context, now time.Time) {
	if len(l.works) == 0 {
		return // who failed has forgotten them
	}
	m := l.works[0]
	l.works = l.works[1:]
	if m, more := l.workOnSome(ctx, now, m); more {
		l.works = append(l.works, m)
	}
	if len(l.works) > 0 {
		ctx.Send(ctx.Self(), leaseTurn{})
	}
}

// workOnSome takes a step, and returns what is left to do, if there is more.
// What is refused in the middle of it leaves what was done before.
func (l *ledger) workOnSome(ctx actor.Context, now time.Time, m workOnLeases) (workOnLeases, bool) {
	n := min(len(m.ids), leaseStep)
	ids := m.ids[:n]
	m.ids = m.ids[n:]
	err := l.leaseStep(ctx, now, &m, ids)
	switch {
	case l.failed:
	case err != nil:
		ctx.Send(m.replyTo, leased{tag: m.tag, err: err})
	case len(m.ids) > 0:
		return m, true
	default:
		l.answerLeases(ctx, m)
	}
	return m, false
}

func (l *ledger) leaseStep(ctx actor.Context, now time.Time, m *workOnLeases, ids []lease.ShareID) error {
	switch m.work {
	case renewLeases:
		change, results, err := l.rules.RenewLeases(now, m.grant, ids)
		if err == nil && l.apply(ctx, change) {
			m.done.add(results)
		}
		return err
	case cancelLeases:
		change, results, going, err := l.rules.CancelLeases(now, m.grant, ids)
		if err == nil {
			m.done.add(results)
			l.settle(ctx, change, nil, m.collector, expired{going: going})
		}
		return err
	default:
		l.addLeases(ctx, now, m, ids)
		return nil
	}
}

// addLeases makes leases one by one: each may be refused for its size. A file
// of which only some shares could be leased is answered with their number.
func (l *ledger) addLeases(ctx actor.Context, now time.Time, m *workOnLeases, ids []lease.ShareID) {
	if l.stale(now) {
		l.askDisk(ctx) // for those that come later: a lease is small
	}
	for _, id := range ids {
		change, done, err := l.rules.AddLease(now, m.grant, id, m.content, l.free)
		if err == nil && !l.apply(ctx, change) {
			return
		}
		if err == nil && !done.Renewed {
			l.free -= lease.LeaseOverhead
		}
		m.done.add([]lease.LeaseResult{{Committed: done, Err: err}})
	}
}

func (l *leased) add(results []lease.LeaseResult) {
	for _, r := range results {
		if l.outcomes != nil {
			l.outcomes = append(l.outcomes, byte(outcome(r.Err)))
		}
		if r.Err != nil {
			l.err = firstOf(l.err, r.Err)
			continue
		}
		if l.count == 0 || r.Expires < l.expires {
			l.expires = r.Expires
		}
		l.count++
	}
}

func outcome(err error) wire.ShareOutcome {
	switch {
	case err == nil:
		return wire.ShareDone
	case errors.Is(err, lease.ErrNoLease), errors.Is(err, lease.ErrNoShare):
		return wire.ShareNoLease
	default:
		return wire.ShareRefused
	}
}

// answerLeases tells what became of each lease, or how many there are; then
// none at all is an error.
func (l *ledger) answerLeases(ctx actor.Context, m workOnLeases) {
	answer := m.done
	answer.tag = m.tag
	if answer.outcomes != nil || answer.count > 0 {
		answer.err = nil
	} else {
		answer.err = firstOf(answer.err, lease.ErrNoShare)
	}
	l.settle(ctx, lease.Change{}, answer.err, m.replyTo, answer)
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// expire and cancelUnder take some of the leases in one step, and then let
// others have a turn.
func (l *ledger) expire(ctx actor.Context, now time.Time, m expire) {
	some, rest := firstStep(m.leases)
	change, going, err := l.rules.Expire(now, some)
	l.settle(ctx, change, err, m.replyTo, expired{going, len(rest) == 0, err})
	if len(rest) > 0 && !l.failed {
		ctx.Send(ctx.Self(), expire{m.replyTo, rest})
	}
}

func (l *ledger) cancelUnder(ctx actor.Context, m cancelUnder) {
	some, rest := firstStep(m.leases)
	change, going, err := l.rules.CancelUnder(m.root, some)
	l.settle(ctx, change, err, m.replyTo, expired{going, len(rest) == 0, err})
	if len(rest) > 0 && !l.failed {
		ctx.Send(ctx.Self(), cancelUnder{m.replyTo, m.root, rest})
	}
}

func firstStep(all []lease.LeaseID) (some, rest []lease.LeaseID) {
	n := min(len(all), leaseStep)
	return all[:n], all[n:]
}
