package server

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// ListUsage asks for what every account holds; answered by UsageList or an
// error.
type ListUsage struct{}

func (ListUsage) operation() {}

// AnonymousPetname is that of clients without a key, StarterPetname that of
// shares that were found on the disk.
const (
	AnonymousPetname = "anonymous"
	StarterPetname   = "starter"
)

// UsageList is one line for each root, by key, for each key that is no root
// any more and under which there are leases still, for clients without a key
// and for shares that were found, if they hold anything.
type UsageList []AccountUsage

// AccountUsage is what one account holds.
type AccountUsage struct {
	Root    lease.Root
	Removed bool // it is no root any more, and Root has only its key
	Column  lease.Column
	// Own is the account's own column, Below all that was made under its root,
	// that included.
	Own, Below lease.Usage
	// Today is the traffic of this UTC day, of all below the root.
	Today lease.Traffic
	// Delegated is what was made under the certificates that it signed, unless
	// there is too much of it: then More says that there are others.
	Delegated []DelegatedUsage
	More      bool
}

// DelegatedUsage is what one key delegated to another, and what that one
// passed on. A key that stands in the tree of an account several times has
// what is below it shown once.
type DelegatedUsage struct {
	lease.Delegated
	Today lease.Traffic
	Below []DelegatedUsage
}

// usageWalk makes a UsageList little by little.
type usageWalk struct {
	books Books
	now   time.Time
	begun bool
	roots []AccountUsage // still to be asked for
	list  UsageList
	todo  []delegation
	named int                     // delegates of the account at hand
	seen  map[grid.PublicKey]bool // in the tree of the account at hand
}

// delegation is a key whose delegates are still to be listed.
type delegation struct {
	signer grid.PublicKey
	depth  int
	into   *[]DelegatedUsage
	from   []byte // where the list of its pairs goes on
}

func newUsageWalk(b Books, now time.Time) *usageWalk { return &usageWalk{books: b, now: now} }

func (b Books) usage(now time.Time) (UsageList, error) {
	w := newUsageWalk(b, now)
	for {
		if done, err := w.step(usageStep); done || err != nil {
			return w.list, err
		}
	}
}

// step makes so many steps; done says that the list is whole.
func (w *usageWalk) step(n int) (done bool, err error) {
	if !w.begun {
		w.begun = true
		if err := w.begin(); err != nil {
			return false, err
		}
	}
	for ; n > 0; n-- {
		switch {
		case len(w.todo) > 0:
			err = w.below()
		case len(w.roots) > 0:
			err = w.account()
		default:
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// begin lists whom to ask for.
func (w *usageWalk) begin() error {
	roots, err := w.books.Store.Roots()
	if err != nil {
		return err
	}
	known := map[grid.PublicKey]bool{}
	w.list = UsageList{}
	for _, r := range roots {
		known[r.Key] = true
		w.roots = append(w.roots, AccountUsage{Root: r, Column: lease.ColumnOf(r.Key)})
	}
	keys, err := w.books.Store.RootsWithLeases()
	for _, k := range keys {
		if !known[k] {
			w.roots = append(w.roots, AccountUsage{Root: lease.Root{Key: k}, Removed: true, Column: lease.ColumnOf(k)})
		}
	}
	if !known[grid.PublicKey{}] {
		w.roots = append(w.roots, AccountUsage{Root: lease.Root{Petname: AnonymousPetname}, Removed: true, Column: lease.Anonymous})
	}
	w.roots = append(w.roots, AccountUsage{Root: lease.Root{Petname: StarterPetname}, Removed: true, Column: lease.Starter})
	return err
}

// account asks for the next one.
func (w *usageWalk) account() error {
	u := w.roots[0]
	w.roots = w.roots[1:]
	own, err := usageOf(w.books.Rules, lease.ColumnCounterKey(u.Column), w.now)
	if err != nil {
		return err
	}
	u.Own, u.Below, u.Today = own.Usage, own.Usage, own.Today
	if u.Column.Kind == lease.KeyedColumn {
		below, err := usageOf(w.books.Rules, lease.RootCounterKey(u.Root.Key), w.now)
		if err != nil {
			return err
		}
		u.Below, u.Today = below.Usage, below.Today
	} else if u.Removed && u.Own == (lease.Usage{}) {
		return nil
	}
	w.list = append(w.list, u)
	if u.Column.Kind == lease.KeyedColumn {
		w.seen = map[grid.PublicKey]bool{u.Root.Key: true}
		w.todo, w.named = []delegation{{signer: u.Root.Key, depth: 1, into: &w.list[len(w.list)-1].Delegated}}, 0
	}
	return nil
}

// below lists delegates of the next key.
func (w *usageWalk) below() error {
	d := &w.todo[0]
	some, next, err := w.books.Rules.Below(d.signer, d.from, usageStep)
	if err != nil {
		return err
	}
	for _, b := range some {
		if b.Delegate == d.signer { // a key that signs for itself
			continue
		}
		if w.named++; w.named > maxDelegated {
			w.list[len(w.list)-1].More, w.todo = true, nil
			return nil
		}
		today, err := w.books.Rules.Traffic(lease.PairCounterKey(d.signer, b.Delegate), lease.DayOf(w.now))
		if err != nil {
			return err
		}
		*d.into = append(*d.into, DelegatedUsage{Delegated: b, Today: today})
	}
	if d.from = next; next == nil {
		w.deeper(*d)
	}
	return nil
}

// deeper goes on below each of a key's delegates, now that all are listed.
func (w *usageWalk) deeper(d delegation) {
	w.todo = w.todo[1:]
	for i := range *d.into {
		b := &(*d.into)[i]
		if !w.seen[b.Delegate] && d.depth < lease.MaxCertificates {
			w.seen[b.Delegate] = true
			w.todo = append(w.todo, delegation{signer: b.Delegate, depth: d.depth + 1, into: &b.Below})
		}
	}
}

// usageTurn is a walk that goes on after others had a turn.
type usageTurn struct {
	to   *actor.PID
	walk *usageWalk
}

// walk makes some steps of a list, and lets others go first before the next.
func (l *ledger) walk(ctx actor.Context, m usageTurn) {
	done, err := m.walk.step(usageStep)
	switch {
	case err != nil:
		ctx.Send(m.to, err)
	case done:
		ctx.Send(m.to, m.walk.list)
	default:
		ctx.Send(ctx.Self(), m)
	}
}

// counted is what a counter has of leases, and of this day's traffic.
type counted struct {
	lease.Usage
	Today lease.Traffic
}

func usageOf(rules *lease.Ledger, k lease.CounterKey, now time.Time) (counted, error) {
	held, err := rules.Usage(k)
	if err != nil {
		return counted{}, err
	}
	today, err := rules.Traffic(k, lease.DayOf(now))
	return counted{held, today}, err
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
	own, err := usageOf(l.rules, lease.ColumnCounterKey(g.Column()), now)
	if err != nil {
		return nil, err
	}
	r := &wire.UsageReport{
		Label: g.Label, Bytes: uint64(own.Stored.Bytes), Shares: uint64(own.Stored.Leases),
		Reserved: uint64(own.Reserved.Bytes), BytesIn: uint64(own.Today.In), BytesOut: uint64(own.Today.Out),
	}
	return r, l.reportBudget(r, g)
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
	budgets := []budget{{root.Counter(), root.Quota}}
	for _, p := range g.Pairs {
		budgets = append(budgets, budget{lease.PairCounterKey(p.Signer, p.Delegate), p.Space})
	}
	left := l.free - l.config.Policy.ReservedSpace - l.rules.Reserved().Bytes
	for _, b := range budgets {
		if left, err = l.least(left, b); err != nil {
			return 0
		}
	}
	left -= lease.LeaseOverhead + lease.CertificateOverhead*int64(max(0, len(g.Keys)-1))
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
