package client

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// renewer keeps alive the leases that the journal lists. It goes through those
// at each server now and then, in the order of their shares, and has those made
// again that are due, thousands at a time. What a server has no more is noted
// as lapsed, and told. Leases of another account than the one that is logged in
// there, which this node has the authority for all the same, are renewed over a
// connection of their own; those of a key that it has not, where the server
// says that they are this account's now, are noted as such.
//
// Owns: how far it is at each server, what came of the last time, who waits for all of them, connections for other accounts.
// On failure: begins anew; what was renewed is in the journal.
type renewer struct {
	env     *env.Env
	journal Journal
	parts   serverParts // of the connections of its own
	broker  *actor.PID
	rounds  map[grid.ServerID]*round
	number  uint64 // of the newest round, so that messages of an older one are known
	waiting []*actor.PID
}

// round is a walk through the leases at one server, or the wait for the next.
type round struct {
	server serverNews
	number uint64
	stage  roundStage
	all    bool           // whether what is not due is renewed, too
	asked  bool           // somebody waits for its end
	stop   func()         // the timer, while waiting
	after  *lease.ShareID // behind which to go on; nil for the beginning
	more   bool
	due    []lease.JournalLease // that the server was asked for
	began  int64                // Unix seconds
	errands
	adoption
	now  Renewal // of this round
	last Renewal // of the one before
}

func (o *round) id() grid.ServerID { return o.server.report.server }

// roundStage is where a round stands.
type roundStage uint8

const (
	unplanned roundStage = iota // until the server is there
	planned                     // a timer runs
	walking
)

// Renewal is what a walk through the leases at one server came to.
type Renewal struct {
	Server grid.ServerID
	// Ended is when; zero for none yet.
	Ended time.Time
	// Held leases are there, Renewed ones of them were made again. Lapsed ones
	// the server has no more, Fresh ones of them since the last time.
	Held, Renewed, Lapsed, Fresh int
	// Others are leases of an account that this node is not logged in with,
	// Refused ones those that its login may not renew. Nobody renews either.
	Others, Refused int
	// Next is when the first of those that are held will be due, in Unix
	// seconds; 0 where none is.
	Next int64
	// Err is why it was broken off; nil where it was not.
	Err error
}

// newRenewer makes one that dials with these parts; their broker is the
// client's.
func newRenewer(e *env.Env, j Journal, p serverParts) env.Producer {
	return func() actor.Actor {
		return &renewer{env: e, journal: j, parts: p, broker: p.broker, rounds: map[grid.ServerID]*round{}}
	}
}

// AskRenewals is answered by Renewals: what was last renewed, by server.
type AskRenewals struct{ ReplyTo *actor.PID }

// Renewals answers AskRenewals, by server.
type Renewals []Renewal

// RenewNow has all leases renewed at once, due or not, where this node is
// logged in; answered by Renewals.
type RenewNow struct{ ReplyTo *actor.PID }

// The renewer's own messages; number is that of the round.
type (
	beginRound struct {
		server grid.ServerID
		number uint64
	}
	// leasesRead is a part of the journal.
	leasesRead struct {
		server grid.ServerID
		number uint64
		due    []lease.JournalLease
		part   Renewal
		others map[grid.PublicKey]othersLeases
		last   *lease.ShareID
		more   bool
		err    error
	}
	renewTag struct {
		server grid.ServerID
		number uint64
	}
	leasesNoted struct {
		server grid.ServerID
		number uint64
		err    error
	}
)

// Receive implements actor.Actor.
func (r *renewer) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started, sayAgain:
		ctx.Send(r.broker, watchServers{ctx.Self()})
	case serverNews:
		r.heard(ctx, m)
	case labelsKnown:
		if o := r.round(m.server, m.number); o != nil {
			r.runErrands(ctx, o, m.labels)
		}
	case serverReport:
		r.errandReport(ctx, m)
	case RenewNow:
		r.renewNow(ctx, m)
	case beginRound:
		if o := r.round(m.server, m.number); o != nil {
			r.begin(ctx, o)
		}
	case leasesRead:
		if o := r.round(m.server, m.number); o != nil {
			r.read(ctx, o, m)
		}
	case Reply:
		r.reply(ctx, m)
	case leasesAdopted:
		if o := r.round(m.server, m.number); o != nil {
			r.adopted(ctx, o, m)
		}
	case leasesNoted:
		if o := r.round(m.server, m.number); o != nil {
			r.goOn(ctx, o, m.err)
		}
	case AskRenewals:
		ctx.Send(m.ReplyTo, r.renewals())
	case *actor.Terminated:
		r.errandGone(ctx, m.Who)
	case *actor.Restarting, *actor.Stopping:
		for _, to := range r.waiting {
			ctx.Send(to, fmt.Errorf("renew the leases: %w", ErrInterrupted))
		}
	}
}

// round is that of a message, nil if it is over.
func (r *renewer) round(server grid.ServerID, number uint64) *round {
	if o := r.rounds[server]; o != nil && o.number == number {
		return o
	}
	return nil
}

// heard plans a round as soon as a server is there, unless one is planned.
func (r *renewer) heard(ctx actor.Context, m serverNews) {
	o := r.rounds[m.report.server]
	if o == nil {
		o = &round{last: Renewal{Server: m.report.server}}
		r.rounds[m.report.server] = o
	}
	was := o.server.server
	o.server = m
	if o.child != nil && (m.report.state == Idle && m.report.settled || !was.SameRoad(m.server)) {
		o.queue = nil
		r.endErrand(ctx, o, ErrNotConnected) // its connection is not one to make now
	}
	if m.report.state == LoggedIn && o.stage == unplanned {
		r.plan(ctx, o, r.env.Jitter(firstRound))
	}
}

// renewNow begins a round at every server that is there. One that is under way
// there goes on first.
func (r *renewer) renewNow(ctx actor.Context, m RenewNow) {
	r.waiting = append(r.waiting, m.ReplyTo)
	for _, id := range sortedServers(r.rounds) {
		if o := r.rounds[id]; o.server.report.state == LoggedIn {
			o.asked = true
			r.plan(ctx, o, 0)
		}
	}
	r.answer(ctx)
}

// answer tells those who wait, once nothing is left that they wait for.
func (r *renewer) answer(ctx actor.Context) {
	for _, o := range r.rounds {
		if o.asked {
			return
		}
	}
	for _, to := range r.waiting {
		ctx.Send(to, r.renewals())
	}
	r.waiting = nil
}

// plan lets the next round begin later, unless one is under way.
func (r *renewer) plan(ctx actor.Context, o *round, after time.Duration) {
	if o.stage == walking {
		return
	}
	if o.stop != nil {
		o.stop()
	}
	r.number++
	o.number, o.stage = r.number, planned
	o.stop = r.env.Clock.After(after, ctx.Self(), beginRound{o.id(), o.number})
}

// begin starts the walk, unless the server is away: then it is begun when that
// comes back.
func (r *renewer) begin(ctx actor.Context, o *round) {
	o.stop = nil
	if o.server.report.state != LoggedIn {
		o.stage, o.asked = unplanned, false
		r.answer(ctx)
		return
	}
	o.all = o.asked
	o.stage, o.after, o.now = walking, nil, Renewal{Server: o.id()}
	o.began, o.since = r.env.Clock.Now().Unix(), 0
	o.errands = errands{pid: o.server.report.pid, label: o.server.report.label, others: map[grid.PublicKey]othersLeases{}}
	r.walk(ctx, o)
}

// walk reads the next part of the journal.
func (r *renewer) walk(ctx actor.Context, o *round) {
	journal, id, number, after, all := r.journal, o.id(), o.number, o.after, o.all
	label, errand, since := o.label, o.child != nil, o.since
	now := r.env.Clock.Now().Unix()
	r.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		leases, more, err := journal.LeasesAfter(id, after, wire.MaxShares)
		part := leasesRead{server: id, number: number, more: more, err: err, others: map[grid.PublicKey]othersLeases{}}
		for _, l := range leases {
			if !errand || l.Label == label && l.Lapsed == 0 {
				part.add(l, label, all && (since == 0 || l.Renewed < since) || l.Due(now))
			}
		}
		if n := len(leases); n > 0 {
			part.last = &leases[n-1].Share
		}
		return part
	})
}

// add sorts a lease in.
func (m *leasesRead) add(l lease.JournalLease, label grid.PublicKey, due bool) {
	switch {
	case l.Lapsed != 0:
		m.part.Lapsed++
	case !l.Label.IsZero() && l.Label != label:
		m.others[l.Label] = m.others[l.Label].plus(othersLeases{1, due})
	case due:
		m.due = append(m.due, l)
	default:
		m.part.Held++
		m.part.heldUntil(l.DueAt())
	}
}

// heldUntil notes when a lease that is held will be due.
func (n *Renewal) heldUntil(due int64) {
	if n.Next == 0 || due != 0 && due < n.Next {
		n.Next = due
	}
}

func (r *renewer) read(ctx actor.Context, o *round, m leasesRead) {
	o.now.Held += m.part.Held
	o.now.Lapsed += m.part.Lapsed
	o.now.heldUntil(m.part.Next)
	for label, n := range m.others {
		o.others[label] = o.others[label].plus(n)
	}
	o.after, o.more = m.last, m.more
	if m.err != nil || len(m.due) == 0 {
		r.goOn(ctx, o, m.err)
		return
	}
	body := make([]byte, 0, len(m.due)*wire.ShareSize)
	for _, l := range m.due {
		body = wire.AppendShare(body, l.Share)
	}
	o.due = m.due
	f := wire.Frame{Message: &wire.RenewShares{Count: uint(len(m.due))}}.WithBody(nil, body)
	ctx.Send(o.pid, Call{ReplyTo: ctx.Self(), Tag: renewTag{o.id(), o.number}, Frame: f})
}

// reply notes what became of the leases.
func (r *renewer) reply(ctx actor.Context, m Reply) {
	defer m.Frame.Release()
	tag, ok := m.Tag.(renewTag)
	if !ok {
		r.listed(ctx, m)
		return
	}
	o := r.round(tag.server, tag.number)
	if o == nil {
		return
	}
	done, ok := m.Frame.Message.(*wire.SharesDone)
	if !ok || int(done.Count) != len(o.due) {
		r.goOn(ctx, o, unexpected(m))
		return
	}
	noted := o.note(done, m.Frame.Bytes(), r.env.Clock.Now().Unix())
	journal := r.journal
	r.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		return leasesNoted{tag.server, tag.number, journal.SetLeases(tag.server, noted)}
	})
}

// note counts the outcomes and returns what is new of the leases.
func (o *round) note(done *wire.SharesDone, outcomes []byte, now int64) []lease.JournalLease {
	noted := o.due[:0]
	for i, l := range o.due {
		switch wire.ShareOutcome(outcomes[i]) {
		case wire.ShareDone:
			o.now.Held++
			o.now.Renewed++
			l.Renewed, l.Expires, l.Label = now, done.Expires, o.label
			o.now.heldUntil(l.DueAt())
		case wire.ShareNoLease:
			o.now.Lapsed++
			o.now.Fresh++
			l.Lapsed = now
		default:
			o.now.Refused++
			continue
		}
		noted = append(noted, l)
	}
	o.due = nil
	return noted
}

// goOn walks on, for the next account where there is none left, or ends the
// round.
func (r *renewer) goOn(ctx actor.Context, o *round, err error) {
	o.due = nil
	switch {
	case err == nil && o.more:
		r.walk(ctx, o)
	case o.child != nil:
		r.endErrand(ctx, o, err)
	case err == nil && len(o.others) > 0:
		ctx.Send(r.parts.vault, askLabels{ctx.Self(), o.server.server.Announcement, o.number})
	default:
		r.end(ctx, o, err)
	}
}

// end ends the round, and plans the next one.
func (r *renewer) end(ctx actor.Context, o *round, err error) {
	o.stage = unplanned
	for _, n := range o.others {
		o.now.Others += n.leases
	}
	o.now.Ended, o.now.Err = r.env.Clock.Now(), err
	o.last = o.now
	r.tell(o)
	if o.asked && !o.all && err == nil { // somebody asked while it was under way
		r.plan(ctx, o, 0)
		return
	}
	o.asked, o.all = false, false
	r.answer(ctx)
	switch {
	case err == nil:
		r.plan(ctx, o, r.env.Jitter(roundInterval))
	case isLinkLoss(err) && o.server.report.state != LoggedIn: // it is begun when the server is back
	default:
		r.plan(ctx, o, r.env.Jitter(roundRetry))
	}
}

// tell logs what a person should know.
func (r *renewer) tell(o *round) {
	n := o.now
	log := r.env.Log.With("server", n.Server.Short())
	switch {
	case n.Err != nil && !isLinkLoss(n.Err):
		log.Warn("leases could not be renewed", "error", n.Err)
	case n.Renewed > 0:
		log.Info("leases renewed", "leases", n.Renewed, "of", n.Held)
	}
	if n.Fresh > 0 {
		log.Warn("leases have lapsed: the server keeps these shares no more for this account; tarn leases shows which", "leases", n.Fresh, "left", n.Held)
	}
	if left := n.Others + n.Refused; left > 0 && n.Err == nil {
		log.Warn("leases are renewed by nobody: this node's login there may not; tarn reconcile shows what the server has", "leases", left)
	}
}

func (r *renewer) renewals() Renewals {
	all := make(Renewals, 0, len(r.rounds))
	for _, id := range sortedServers(r.rounds) {
		all = append(all, r.rounds[id].last)
	}
	return all
}
