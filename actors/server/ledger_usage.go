package server

import (
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// PutRoot adds an account or changes what the operator decided about it;
// answered by Done or an error, when it is durable.
type PutRoot struct {
	Root lease.Root
	// New refuses (ErrExists) a key or a petname that is there already.
	New bool
}

// RemoveRoot forgets an account; its leases stay until they lapse. Answered by
// Done or an error.
type RemoveRoot struct{ Key grid.PublicKey }

// Revoke refuses, or with Again accepts again, everything in which a key
// stands. Answered by Done or an error.
type Revoke struct {
	Key   grid.PublicKey
	Again bool
}

// Done answers what has no other answer.
type Done struct{}

// ListUsage asks for what every account holds; answered by UsageList or an
// error.
type ListUsage struct{}

// UsageList is one line for each root, by key, and one for clients without a
// key if they hold anything.
type UsageList []AccountUsage

// AccountUsage is what one account holds.
type AccountUsage struct {
	Root   lease.Root
	Column lease.Column
	// Own is the account's own column, Below all that was made under its root,
	// that included.
	Own, Below lease.Usage
	// Today is the traffic of this UTC day.
	Today lease.Traffic
}

// operate carries out what the operator asks for.
func (l *ledger) operate(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case PutRoot:
		l.putRoot(ctx, m)
	case RemoveRoot:
		change, err := l.rules.RemoveRoot(m.Key)
		l.respond(ctx, change, err)
	case Revoke:
		change, err := l.rules.SetRevoked(m.Key, !m.Again)
		l.respond(ctx, change, err)
	case ListUsage:
		l.listUsage(ctx)
	case askLedger:
		l.status(ctx, m)
	}
}

// respond answers the operator once the change is durable.
func (l *ledger) respond(ctx actor.Context, change lease.Change, err error) {
	if err != nil {
		ctx.Respond(err)
		return
	}
	l.settle(ctx, change, nil, ctx.Sender(), Done{})
}

func (l *ledger) putRoot(ctx actor.Context, m PutRoot) {
	if m.New {
		if err := l.unknown(m.Root); err != nil {
			ctx.Respond(err)
			return
		}
	}
	change, err := l.rules.PutRoot(m.Root)
	l.respond(ctx, change, err)
}

func (l *ledger) listUsage(ctx actor.Context) {
	list, err := ListUsageOf(l.config.Store, l.rules, l.env.Clock.Now())
	if err != nil {
		ctx.Respond(err)
		return
	}
	ctx.Respond(list)
}

// ListUsageOf is what ListUsage answers, for a server that is not running.
func ListUsageOf(s Store, rules *lease.Ledger, now time.Time) (UsageList, error) {
	roots, err := s.Roots()
	if err != nil {
		return nil, err
	}
	list := UsageList{}
	for _, root := range roots {
		u, err := usageOf(rules, lease.ColumnOf(root.Key), now)
		if err != nil {
			return nil, err
		}
		u.Root = root
		if u.Below, err = rules.Usage(lease.RootCounterKey(root.Key)); err != nil {
			return nil, err
		}
		list = append(list, u)
	}
	anonymous, err := usageOf(rules, lease.Anonymous, now)
	if err == nil && anonymous.Own != (lease.Usage{}) {
		anonymous.Below = anonymous.Own
		list = append(list, anonymous)
	}
	return list, err
}

func usageOf(rules *lease.Ledger, c lease.Column, now time.Time) (AccountUsage, error) {
	own, err := rules.Usage(lease.ColumnCounterKey(c))
	if err != nil {
		return AccountUsage{}, err
	}
	days, err := rules.TrafficByDay(c)
	return AccountUsage{Column: c, Own: own, Today: days[lease.DayOf(now)]}, err
}

// usage answers a client.
func (l *ledger) usage(ctx actor.Context, now time.Time, m askUsage) {
	report, err := l.report(now, m.grant)
	l.settle(ctx, lease.Change{}, err, m.replyTo, usage{m.tag, report, err})
}

func (l *ledger) report(now time.Time, g lease.Grant) (*wire.UsageReport, error) {
	if err := l.rules.MayReadUsage(now, g); err != nil {
		return nil, err
	}
	own, err := usageOf(l.rules, g.Column(), now)
	if err != nil {
		return nil, err
	}
	r := &wire.UsageReport{
		Label: g.Label, Bytes: uint64(own.Own.Stored.Bytes), Shares: uint64(own.Own.Stored.Leases),
		Reserved: uint64(own.Own.Reserved.Bytes), BytesIn: uint64(own.Today.In), BytesOut: uint64(own.Today.Out),
	}
	return r, l.reportBudget(r, g)
}

// below answers with what is held below a key.
func (l *ledger) below(ctx actor.Context, now time.Time, m askBelow) {
	report, err := l.belowReport(now, m.grant, m.of)
	l.settle(ctx, lease.Change{}, err, m.replyTo, below{m.tag, report, err})
}

func (l *ledger) belowReport(now time.Time, g lease.Grant, of wire.UsageBelow) (*wire.UsageBelowReport, error) {
	if err := l.rules.MayReadUsage(now, g); err != nil {
		return nil, err
	}
	if of.Signer.IsZero() {
		of.Signer = g.Label
	}
	if of.Signer != g.Label && of.Signer != uploader(g) {
		return nil, errOthersUsage
	}
	all, err := l.rules.Below(of.Signer)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(d lease.Delegated) bool { return slices.Compare(d.Delegate[:], of.After[:]) <= 0 })
	slices.SortFunc(all, func(a, b lease.Delegated) int { return slices.Compare(a.Delegate[:], b.Delegate[:]) })
	r := &wire.UsageBelowReport{Signer: of.Signer, More: len(all) > wire.MaxBelow}
	for _, d := range all[:min(len(all), wire.MaxBelow)] {
		r.Delegates = append(r.Delegates, wire.DelegatedUsage{
			Delegate: d.Delegate, Bytes: uint64(d.Usage.Stored.Bytes), Shares: uint64(d.Usage.Stored.Leases), Reserved: uint64(d.Usage.Reserved.Bytes),
		})
	}
	return r, nil
}

// reportBudget tells of the budget that is the asker's own: the root's quota
// to the root itself, to a delegate the space that was given to him. What
// others hold below the same root is not his to know.
func (l *ledger) reportBudget(r *wire.UsageReport, g lease.Grant) error {
	b, ok, err := l.budgetOf(g)
	if err != nil || !ok {
		return err
	}
	u, err := l.rules.Usage(b.counter)
	r.RootBytes, r.RootShares = uint64(u.Bytes()), uint64(u.Stored.Leases)
	if b.limit != nil {
		r.Quota, r.HasQuota = uint64(*b.limit), true
	}
	return err
}

// budget is a counter and its limit, nil for none.
type budget struct {
	counter lease.CounterKey
	limit   *int64
}

// budgetOf is the budget of the key that acts.
func (l *ledger) budgetOf(g lease.Grant) (budget, bool, error) {
	asker := g.Keys[len(g.Keys)-1]
	if asker == g.Root {
		root, _, err := l.config.Store.Root(g.Root)
		return budget{lease.RootCounterKey(g.Root), root.Quota}, true, err
	}
	for i := len(g.Pairs) - 1; i >= 0; i-- {
		if p := g.Pairs[i]; p.Delegate == asker {
			return budget{lease.PairCounterKey(p.Signer, p.Delegate), p.Space}, true, nil
		}
	}
	return budget{}, false, nil
}

// room is the largest share that an upload under the grant could store now.
func (l *ledger) room(now time.Time, g lease.Grant, of lease.ShareID) int64 {
	ask := lease.Ask{Operation: lease.OpUpload, StorageIndex: &of.StorageIndex, UEBHash: g.Effective.UEBHash}
	root, err := g.Permit(ask, l.config.standing(), now)
	if err != nil {
		return 0
	}
	budgets := []budget{{lease.RootCounterKey(g.Root), root.Quota}}
	for _, p := range g.Pairs {
		budgets = append(budgets, budget{lease.PairCounterKey(p.Signer, p.Delegate), p.Space})
	}
	left := l.free - l.config.Policy.ReservedSpace - l.rules.Reserved().Bytes
	for _, b := range budgets {
		if left, err = l.least(left, b); err != nil {
			return 0
		}
	}
	left -= lease.LeaseOverhead + lease.CertificateOverhead*int64(len(g.Keys)-1)
	if most := g.Effective.MaxSize; most != nil {
		left = min(left, *most)
	}
	return max(0, min(left, wire.MaxShareSize))
}

func (l *ledger) least(left int64, b budget) (int64, error) {
	if b.limit == nil {
		return left, nil
	}
	u, err := l.rules.Usage(b.counter)
	return min(left, *b.limit-u.Bytes()), err
}
