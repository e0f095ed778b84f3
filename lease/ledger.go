package lease

import (
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// LedgerPolicy is what the operator decided for the whole server.
type LedgerPolicy struct {
	Duration       time.Duration // of a lease; 31 days unless tests say otherwise
	ReservedSpace  int64         // bytes of disk never given away
	AnonymousQuota int64         // bytes for clients without a key; 0 is none
}

// LeaseDuration is how long a lease lasts unless it is made again.
const LeaseDuration = 31 * 24 * time.Hour

// Ledger decides everything about leases, usage and quota. It is a plain
// value with one owner and no lock. What is durable it reads through a View
// and changes by returning a Change; in memory it has only what ends with the
// process anyway: reservations of uploads in progress, and traffic not yet
// written.
//
// The contract with its owner: apply each Change before the next call (View
// says why), reply after it was synced, end the process when that fails. A
// call that returns an error has changed nothing.
type Ledger struct {
	view     View
	policy   LedgerPolicy
	coming   map[LeaseID]reservation
	reserved map[CounterKey]Counter
	pins     map[ChainKey]pin
	total    int64 // of all reservations, without chains
	traffic  map[TrafficKey]pendingTraffic
}

// NewLedger starts with nothing reserved.
func NewLedger(view View, policy LedgerPolicy) *Ledger {
	return &Ledger{
		view:     view,
		policy:   policy,
		coming:   map[LeaseID]reservation{},
		reserved: map[CounterKey]Counter{},
		pins:     map[ChainKey]pin{},
		traffic:  map[TrafficKey]pendingTraffic{},
	}
}

// SetPolicy takes effect with the next call.
func (l *Ledger) SetPolicy(p LedgerPolicy) { l.policy = p }

// expires is when a lease made now ends.
func (l *Ledger) expires(now time.Time) int64 { return now.Add(l.policy.Duration).Unix() }

// chain is under what a grant's leases are stored.
func (g Grant) chain() ChainRecord {
	if g.Label.IsZero() {
		return ChainRecord{Column: Anonymous}
	}
	pairs := make([]Pair, len(g.Pairs))
	for i, p := range g.Pairs {
		pairs[i] = Pair{Signer: p.Signer, Delegate: p.Delegate}
	}
	return ChainRecord{Column: ColumnOf(g.Label), Digest: g.Chain, Keys: g.Keys, Pairs: pairs}
}

// Column is whose column leases under the grant stand in. The zero Grant is a
// client without a key: Anonymous.
func (g Grant) Column() Column { return ColumnOf(g.Label) }

// permit checks what a grant may do to a share now: its own limits, and the
// standing of every key in it.
func (l *Ledger) permit(t *tx, now time.Time, g Grant, op Operation, id ShareID) error {
	if err := l.standing(t, now, g, op); err != nil {
		return err
	}
	if si := g.Effective.StorageIndex; si != nil && *si != id.StorageIndex {
		return notPermitted(LimitStorageIndex, "the grant is for another file")
	}
	return nil
}

// standing checks the grant's own until and operations, then the operator's
// mind about its keys.
func (l *Ledger) standing(t *tx, now time.Time, g Grant, op Operation) error {
	if g.Label.IsZero() {
		return nil // a client without a key; its quota decides
	}
	if g.Effective.expired(now) {
		return ErrAuthorityExpired
	}
	if !g.Effective.Operations().Has(op) {
		return notPermitted(LimitOperation, "the grant has no %v", op)
	}
	for _, k := range g.Keys {
		if revoked, _ := t.revoked.get(k); revoked {
			return ErrAuthorityRevoked
		}
	}
	return l.rootPermits(t, now, g.Root, op)
}

func (l *Ledger) rootPermits(t *tx, now time.Time, key grid.PublicKey, op Operation) error {
	root, ok := t.roots.get(key)
	switch {
	case t.err != nil:
		return t.err
	case !ok:
		return ErrNoSuchRoot
	case root.Disabled:
		return ErrAuthorityRevoked
	case root.Until != nil && *root.Until < now.Unix():
		return ErrAuthorityExpired
	case root.Operation != nil && !root.Operation.Has(op):
		return notPermitted(LimitOperation, "the operator does not allow %v", op)
	}
	return nil
}

// permitContent checks the limits on what is stored.
func permitContent(g Grant, size int64, ueb UEBHash) error {
	if limit := g.Effective.MaxSize; limit != nil && size > *limit {
		return notPermitted(LimitMaxSize, "the share has %d bytes, the grant allows %d", size, *limit)
	}
	if want := g.Effective.UEBHash; want != nil && *want != ueb {
		return notPermitted(LimitUEBHash, "the grant is for another content")
	}
	return nil
}

// budget is a limit on a counter.
type budget struct {
	key   CounterKey
	limit int64
}

// budgets is every limit that a lease under the grant must respect.
func (l *Ledger) budgets(t *tx, g Grant) []budget {
	if g.Label.IsZero() {
		return []budget{{ColumnCounterKey(Anonymous), l.policy.AnonymousQuota}}
	}
	var all []budget
	if root, ok := t.roots.get(g.Root); ok && root.Quota != nil {
		all = append(all, budget{RootCounterKey(g.Root), *root.Quota})
	}
	for _, p := range g.Pairs {
		if p.Space != nil {
			all = append(all, budget{PairCounterKey(p.Signer, p.Delegate), *p.Space})
		}
	}
	return all
}

// fits checks that cost more bytes stay within every budget, counting what is
// stored and what is reserved.
func (l *Ledger) fits(t *tx, g Grant, cost int64) error {
	for _, b := range l.budgets(t, g) {
		stored, _ := t.counters.get(b.key)
		used := stored.Bytes + l.reserved[b.key].Bytes
		if cost > b.limit-used {
			return &OverQuotaError{Counter: b.key, Limit: b.limit, Used: used, Needed: cost}
		}
	}
	return t.err
}

// chainCostNow is what storing the grant's chain would add: nothing where it
// is stored, or already reserved by another upload.
func (l *Ledger) chainCostNow(t *tx, c ChainRecord) int64 {
	if _, stored := t.chainIDs.get(c.Key()); stored || l.pins[c.Key()].held {
		return 0
	}
	return c.Cost()
}
