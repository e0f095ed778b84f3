package lease

import (
	"bytes"
	"cmp"

	"github.com/tarn-grid/tarn/grid"
)

// View is the durable table as the Ledger reads it. A missing record is
// (zero, false, nil); an error is a failing disk or a damaged record, and the
// Ledger then decides nothing.
//
// A view shows every Change that was applied before, synced or not: the owner
// of a Ledger applies a step's Change before it takes the next step, and only
// its reply to the client waits for the sync. So what was decided on is at
// least as new as what is decided.
type View interface {
	Share(ShareID) (Share, bool, error)
	Lease(LeaseID) (Lease, bool, error)
	// Shares and Leases yield those of many records that there are, in any
	// order. It costs less than one by one.
	Shares(ids []ShareID, yield func(ShareID, Share)) error
	Leases(ids []LeaseID, yield func(LeaseID, Lease)) error
	Counter(CounterKey) (Counter, bool, error)
	Key(Column) (KeyEntry, bool, error)
	Chain(id uint32) (ChainRecord, bool, error)
	// Certificates is a stored chain as a login showed it. There may be none: it
	// is kept when something is stored or renewed under it after a login with the
	// chain, and most logins show a reference instead.
	Certificates(chain uint32) ([]byte, bool, error)
	ChainID(ChainKey) (uint32, bool, error)
	ChainRefs(id uint32) (uint32, bool, error)
	Root(grid.PublicKey) (Root, bool, error)
	Revoked(grid.PublicKey) (bool, error)
	// Cancelling is a root that is gone and whose leases are being cancelled.
	Cancelling(grid.PublicKey) (bool, error)
	Traffic(TrafficKey) (Traffic, bool, error)
	// LastID is the newest id of a sequence, 0 before the first.
	LastID(Sequence) (uint32, error)
	// TrafficDays yields the days of a counter, oldest first.
	TrafficDays(CounterKey, func(Day, Traffic) error) error
	// PairsOf yields the counters of up to limit pairs with this signer from a
	// cursor on, and returns the cursor for the next call; nil is the beginning,
	// and the end.
	PairsOf(signer grid.PublicKey, from []byte, limit int, yield func(delegate grid.PublicKey, c Counter)) (next []byte, err error)
}

// Edit is one record put or deleted.
type Edit[K, V any] struct {
	Key    K
	Value  V // zero when Delete
	Delete bool
}

// Change is what one step does to the table: all of it in one atomic batch,
// or nothing. It says new values, not differences, so it can be read, tested
// and applied without knowing the rules. Each list is in key order and names
// no key twice.
type Change struct {
	// Renames come first: a key has another name from now on, in every record
	// that names it but Roots, Revoked and Cancelling. The new name was unknown
	// before.
	Renames []Rename

	Shares       []Edit[ShareID, Share]
	Inline       []Edit[ShareID, []byte] // bodies of shares whose File is 0
	Leases       []Edit[LeaseID, Lease]
	Counters     []Edit[CounterKey, Counter]
	Keys         []Edit[Column, KeyEntry]
	Chains       []Edit[uint32, ChainRecord]
	Certificates []Edit[uint32, []byte]
	ChainIDs     []Edit[ChainKey, uint32]
	ChainRefs    []Edit[uint32, uint32]
	Roots        []Edit[grid.PublicKey, Root]
	Revoked      []Edit[grid.PublicKey, bool]
	Cancelling   []Edit[grid.PublicKey, bool]
	Traffic      []Edit[TrafficKey, Traffic]
	LastIDs      []Edit[Sequence, uint32]
}

// Rename gives everything that a key has to another one.
type Rename struct{ From, To grid.PublicKey }

// Empty reports whether there is nothing to apply.
func (c Change) Empty() bool {
	return len(c.Shares)+len(c.Inline)+len(c.Leases)+len(c.Counters)+len(c.Keys)+len(c.Chains)+
		len(c.ChainIDs)+len(c.ChainRefs)+len(c.Roots)+len(c.Revoked)+len(c.Traffic)+len(c.LastIDs)+
		len(c.Renames)+len(c.Cancelling)+len(c.Certificates) == 0
}

// finish resolves what was deferred and lists the edits.
func (t *tx) finish() (Change, error) {
	t.settleKeys()
	t.settleTraffic()
	c := Change{
		Renames:      t.renames,
		Shares:       t.shares.edits(ShareID.Compare),
		Inline:       t.inline.edits(ShareID.Compare),
		Leases:       t.leases.edits(LeaseID.Compare),
		Counters:     t.counters.edits(CounterKey.Compare),
		Keys:         t.keys.edits(Column.Compare),
		Chains:       t.chains.edits(cmp.Compare[uint32]),
		Certificates: t.certificates.edits(cmp.Compare[uint32]),
		ChainIDs:     t.chainIDs.edits(ChainKey.compare),
		ChainRefs:    t.chainRefs.edits(cmp.Compare[uint32]),
		Roots:        t.roots.edits(compareKeys),
		Revoked:      t.revoked.edits(compareKeys),
		Cancelling:   t.cancelling.edits(compareKeys),
		Traffic:      t.traffic.edits(TrafficKey.Compare),
		LastIDs:      t.lastIDs.edits(cmp.Compare[Sequence]),
	}
	return c, t.err
}

func compareKeys(a, b grid.PublicKey) int { return bytes.Compare(a[:], b[:]) }
