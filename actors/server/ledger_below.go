package server

import (
	"bytes"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// belowWalk finds, little by little, the first of those who hold something
// below a key. The table has them in another order, so it sees all of them and
// keeps no more than an answer takes.
type belowWalk struct {
	ask   askBelow
	scope belowScope
	at    time.Time
	from  []byte
	list  []lease.Delegated
}

// belowScope is what may be told.
type belowScope struct {
	// signer is below whom; zero is all accounts of the server.
	signer grid.PublicKey
	// own says that the signer's own column is a part of it, deep that more is
	// told below those who are listed.
	own, deep bool
}

// belowTurn goes on with the first walk after others had a turn. There is one
// at a time, so that who has many walks made waits for himself.
type belowTurn struct{}

// below has what is held below a key listed, if it may be told.
func (l *ledger) below(ctx actor.Context, now time.Time, m askBelow) {
	scope, err := l.scopeOf(now, m)
	if err != nil {
		ctx.Send(m.replyTo, below{tag: m.tag, err: err})
		return
	}
	l.belows = append(l.belows, &belowWalk{ask: m, scope: scope, at: now})
	if len(l.belows) == 1 {
		ctx.Send(ctx.Self(), belowTurn{})
	}
}

// scopeOf is what may be told to who asks: what is below his account's key and
// below his own; to an account manager, whose members all of it is made under,
// what is below those in turn; and everything to an account that the operator
// lets read the usage of all. A delegate of such a root has no more than its
// own.
func (l *ledger) scopeOf(now time.Time, m askBelow) (belowScope, error) {
	if err := l.rules.MayReadUsage(now, m.grant); err != nil {
		return belowScope{}, err
	}
	root, _, err := l.config.Store.Root(m.grant.Root)
	if err != nil {
		return belowScope{}, err
	}
	isRoot := m.grant.Label == m.grant.Root
	all := isRoot && root.UsageOfAll
	s := belowScope{signer: m.of.Signer, own: true, deep: all || isRoot && root.Manager}
	if s.signer.IsZero() && !all {
		s.signer = m.grant.Label
	}
	switch {
	case all, s.signer == m.grant.Label:
		return s, nil
	case s.signer == uploader(m.grant):
		return belowScope{signer: s.signer}, nil
	case s.deep:
		s.own = false
		return s, l.leads(m.grant.Label, append(slices.Clone(m.of.Through), s.signer))
	}
	return belowScope{}, errOthersUsage
}

// leads wants something to be held by way of all of these keys, each of which
// delegated to the next.
func (l *ledger) leads(from grid.PublicKey, through []grid.PublicKey) error {
	for _, k := range through {
		u, err := l.rules.Usage(lease.PairCounterKey(from, k))
		if err != nil {
			return err
		}
		if u == (lease.Usage{}) {
			return errOthersUsage
		}
		from = k
	}
	return nil
}

func (l *ledger) walkBelow(ctx actor.Context) {
	if len(l.belows) == 0 {
		return // who failed has forgotten them
	}
	w := l.belows[0]
	books := Books{l.config.Store, l.rules}
	done, err := w.step(books)
	var page wire.UsagePage
	if done && err == nil {
		page, err = w.page(books, l.config.server())
	}
	if done || err != nil {
		l.settle(ctx, lease.Change{}, err, w.ask.replyTo, below{w.ask.tag, page, err})
		l.belows = l.belows[1:]
	}
	if len(l.belows) > 0 {
		ctx.Send(ctx.Self(), belowTurn{})
	}
}

func (w *belowWalk) step(b Books) (done bool, err error) {
	if w.scope.signer.IsZero() {
		return true, w.accounts(b)
	}
	some, next, err := b.Rules.Below(w.scope.signer, w.from, belowStep)
	for _, d := range some {
		if d.Delegate != w.scope.signer { // a key that signs for itself
			w.take(d)
		}
	}
	if w.from == nil && w.scope.own && err == nil {
		err = w.column(b, w.scope.signer, lease.ColumnOf(w.scope.signer))
	}
	w.keepFirst()
	w.from = next
	return next == nil, err
}

// accounts takes every root that holds something, and clients without a key.
func (w *belowWalk) accounts(b Books) error {
	held, err := b.Store.RootsWithLeases()
	if err != nil {
		return err
	}
	slices.SortFunc(held, compareKeys)
	if err := w.column(b, grid.PublicKey{}, lease.Anonymous); err != nil {
		return err
	}
	for _, k := range held {
		if len(w.list) > wire.MaxBelow {
			break
		}
		u, err := b.Rules.Usage(lease.RootCounterKey(k))
		if err != nil {
			return err
		}
		w.take(lease.Delegated{Delegate: k, Usage: u})
	}
	w.keepFirst()
	return nil
}

// column takes what is in a column, under a key.
func (w *belowWalk) column(b Books, k grid.PublicKey, c lease.Column) error {
	u, err := b.Rules.Usage(lease.ColumnCounterKey(c))
	if err == nil && u != (lease.Usage{}) {
		w.take(lease.Delegated{Delegate: k, Usage: u})
	}
	return err
}

// take adds what comes behind the page before.
func (w *belowWalk) take(d lease.Delegated) {
	if w.ask.of.After.IsZero() || compareKeys(d.Delegate, w.ask.of.After) > 0 {
		w.list = append(w.list, d)
	}
}

// keepFirst keeps the page, and one more that says that there are more.
func (w *belowWalk) keepFirst() {
	slices.SortFunc(w.list, func(a, b lease.Delegated) int { return compareKeys(a.Delegate, b.Delegate) })
	w.list = w.list[:min(len(w.list), wire.MaxBelow+1)]
}

func compareKeys(a, b grid.PublicKey) int { return bytes.Compare(a[:], b[:]) }

func (w *belowWalk) page(b Books, server grid.ServerID) (wire.UsagePage, error) {
	p := wire.UsagePage{Server: server, Of: w.scope.signer, At: w.at.Unix(), After: w.ask.of.After, More: len(w.list) > wire.MaxBelow}
	for _, d := range w.list[:min(len(w.list), wire.MaxBelow)] {
		moved, err := b.Rules.Traffic(w.counter(d.Delegate), lease.DayOf(w.at))
		if err != nil {
			return p, err
		}
		below, err := w.hasBelow(b, d.Delegate)
		if err != nil {
			return p, err
		}
		p.Delegates = append(p.Delegates, wire.DelegatedUsage{
			Delegate: d.Delegate, Bytes: uint64(d.Usage.Stored.Bytes), Shares: uint64(d.Usage.Stored.Leases), Reserved: uint64(d.Usage.Reserved.Bytes),
			BytesIn: uint64(moved.In), BytesOut: uint64(moved.Out), Below: below,
		})
	}
	return p, nil
}

// counter is what counted a line of the page.
func (w *belowWalk) counter(k grid.PublicKey) lease.CounterKey {
	switch {
	case k == w.scope.signer:
		return lease.ColumnCounterKey(lease.ColumnOf(k))
	case w.scope.signer.IsZero():
		return lease.RootCounterKey(k)
	default:
		return lease.PairCounterKey(w.scope.signer, k)
	}
}

// hasBelow reports whether a delegate delegated in turn, to another key than
// his own.
func (w *belowWalk) hasBelow(b Books, k grid.PublicKey) (bool, error) {
	if !w.scope.deep || k == w.scope.signer {
		return false, nil
	}
	some, _, err := b.Rules.Below(k, nil, 2)
	return slices.ContainsFunc(some, func(d lease.Delegated) bool { return d.Delegate != k }), err
}
