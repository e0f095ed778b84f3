package lease

import (
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// LedgerPolicy is what the operator decided for the whole server.
type LedgerPolicy struct {
	Duration      time.Duration // of a lease; 31 days unless tests say otherwise
	ReservedSpace int64         // bytes of disk never given away
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
	total    int64                  // of all reservations, without chains
	traffic  map[TrafficKey]Traffic // not written yet
}

// NewLedger starts with nothing reserved.
func NewLedger(view View, policy LedgerPolicy) *Ledger {
	return &Ledger{
		view:     view,
		policy:   policy,
		coming:   map[LeaseID]reservation{},
		reserved: map[CounterKey]Counter{},
		pins:     map[ChainKey]pin{},
		traffic:  map[TrafficKey]Traffic{},
	}
}

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
	return ChainRecord{Column: ColumnOf(g.Label), Digest: g.Chain, Keys: g.Keys, Pairs: pairs, Certificates: g.Certificates}
}

// Column is whose column leases under the grant stand in. The zero Grant is a
// client without a key: Anonymous.
func (g Grant) Column() Column { return ColumnOf(g.Label) }

// permit checks what a grant may do to a share now: its own limits, and the
// standing of every key in it. The content is checked where it is known.
func (l *Ledger) permit(t *tx, now time.Time, g Grant, op Operation, id ShareID) error {
	return l.allow(t, now, g, Ask{Operation: op, StorageIndex: &id.StorageIndex, UEBHash: g.Effective.UEBHash})
}

func (l *Ledger) allow(t *tx, now time.Time, g Grant, ask Ask) error {
	if len(g.Keys) == 0 && !g.Label.IsZero() {
		return malformed("a grant with a label but without keys")
	}
	_, err := g.Permit(ask, t.standing(), now)
	if t.err != nil {
		return t.err
	}
	return err
}

func (t *tx) standing() Standing {
	return Standing{
		Roots: t.roots.get,
		Revoked: func(k grid.PublicKey) bool {
			revoked, _ := t.revoked.get(k)
			return revoked
		},
	}
}

// permitContent checks a grant's limits on what is stored.
func permitContent(g Grant, op Operation, id ShareID, size int64, ueb UEBHash) error {
	return g.Effective.permit(Ask{Operation: op, StorageIndex: &id.StorageIndex, UEBHash: &ueb, Size: size})
}

// budget is a limit on a counter.
type budget struct {
	key   CounterKey
	limit int64
}

// budgets is every limit that a lease under the grant must respect.
func (l *Ledger) budgets(t *tx, g Grant) []budget {
	var all []budget
	if root, ok := t.roots.get(g.Root); ok && root.Quota != nil {
		all = append(all, budget{root.Counter(), *root.Quota})
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
