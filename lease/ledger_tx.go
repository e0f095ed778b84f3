package lease

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/tarn-grid/tarn/grid"
)

// overlay is a table as it will be after the step: what the step wrote, else
// what the view shows.
type overlay[K comparable, V any] struct {
	t    *tx
	load func(K) (V, bool, error)
	m    map[K]slot[V]
}

type slot[V any] struct {
	value   V
	present bool
	dirty   bool
	before  bool // present in the view
}

func overlayOf[K comparable, V any](t *tx, load func(K) (V, bool, error)) overlay[K, V] {
	return overlay[K, V]{t: t, load: load} // most steps use half of them: m is made when it is needed
}

func (o *overlay[K, V]) slot(k K) slot[V] {
	if s, ok := o.m[k]; ok {
		return s
	}
	v, ok, err := o.load(k)
	if err != nil {
		o.t.fail(err)
	}
	s := slot[V]{value: v, present: ok, before: ok}
	if o.m == nil {
		o.m = map[K]slot[V]{}
	}
	o.m[k] = s
	return s
}

// fetch loads at once what will be asked for.
func (o *overlay[K, V]) fetch(keys []K, loadMany func([]K, func(K, V)) error) {
	if o.m == nil {
		o.m = make(map[K]slot[V], len(keys))
	}
	var missing []K
	for _, k := range keys {
		if _, ok := o.m[k]; !ok {
			o.m[k] = slot[V]{}
			missing = append(missing, k)
		}
	}
	err := loadMany(missing, func(k K, v V) { o.m[k] = slot[V]{value: v, present: true, before: true} })
	if err != nil {
		o.t.fail(err)
	}
}

func (o *overlay[K, V]) get(k K) (V, bool) {
	s := o.slot(k)
	return s.value, s.present
}

func (o *overlay[K, V]) put(k K, v V) {
	o.set(k, slot[V]{value: v, present: true, dirty: true, before: o.slot(k).before})
}

func (o *overlay[K, V]) delete(k K) {
	o.set(k, slot[V]{dirty: true, before: o.slot(k).before})
}

func (o *overlay[K, V]) set(k K, s slot[V]) {
	if old := o.m[k]; o.t.trying {
		o.t.undo = append(o.t.undo, func() { o.m[k] = old })
	}
	o.m[k] = s
}

// edits lists what differs from the view; made and deleted in one step is
// nothing.
func (o *overlay[K, V]) edits(compare func(a, b K) int) []Edit[K, V] {
	var edits []Edit[K, V]
	for k, s := range o.m {
		if s.dirty && (s.present || s.before) {
			edits = append(edits, Edit[K, V]{Key: k, Value: s.value, Delete: !s.present})
		}
	}
	slices.SortFunc(edits, func(a, b Edit[K, V]) int { return compare(a.Key, b.Key) })
	return edits
}

// errCorrupt is a table that contradicts itself: a bug, or a damaged disk.
var errCorrupt = errors.New("lease table contradicts itself")

// tx is one step in the making. The first error sticks, and then nothing of
// the step counts.
type tx struct {
	view         View
	err          error
	trying       bool     // what is written now may have to be undone
	undo         []func() // the newest last
	keyRefs      map[Column]int
	shares       overlay[ShareID, Share]
	inline       overlay[ShareID, []byte]
	leases       overlay[LeaseID, Lease]
	counters     overlay[CounterKey, Counter]
	keys         overlay[Column, KeyEntry]
	chains       overlay[uint32, ChainRecord]
	certificates overlay[uint32, []byte]
	chainIDs     overlay[ChainKey, uint32]
	chainRefs    overlay[uint32, uint32]
	roots        overlay[grid.PublicKey, Root]
	revoked      overlay[grid.PublicKey, bool]
	cancelling   overlay[grid.PublicKey, bool]
	renames      []Rename
	traffic      overlay[TrafficKey, Traffic]
	lastIDs      overlay[Sequence, uint32]
}

func newTx(v View) *tx {
	t := &tx{view: v, keyRefs: map[Column]int{}}
	t.shares = overlayOf(t, v.Share)
	// A body is never read by a rule; deleting one that is not there is harmless.
	t.inline = overlayOf(t, func(ShareID) ([]byte, bool, error) { return nil, true, nil })
	t.leases = overlayOf(t, v.Lease)
	t.counters = overlayOf(t, v.Counter)
	t.keys = overlayOf(t, v.Key)
	t.chains = overlayOf(t, v.Chain)
	t.certificates = overlayOf(t, v.Certificates)
	t.chainIDs = overlayOf(t, v.ChainID)
	t.chainRefs = overlayOf(t, v.ChainRefs)
	t.roots = overlayOf(t, v.Root)
	t.revoked = overlayOf(t, present(v.Revoked))
	t.cancelling = overlayOf(t, present(v.Cancelling))
	t.traffic = overlayOf(t, v.Traffic)
	t.lastIDs = overlayOf(t, func(s Sequence) (uint32, bool, error) {
		id, err := v.LastID(s)
		return id, id != 0, err
	})
	return t
}

// fetchLeases loads leases and their shares, fetchShares some shares and the
// leases of a column on them.
func (t *tx) fetchLeases(ids []LeaseID) {
	t.leases.fetch(ids, t.view.Leases)
	shares := make([]ShareID, len(ids))
	for i, id := range ids {
		shares[i] = id.Share
	}
	t.shares.fetch(shares, t.view.Shares)
}

func (t *tx) fetchShares(c Column, ids []ShareID) {
	leases := make([]LeaseID, len(ids))
	for i, id := range ids {
		leases[i] = LeaseID{c, id}
	}
	t.fetchLeases(leases)
}

// try does something that may turn out not to be allowed, and then undoes it.
func (t *tx) try(do func() bool) bool {
	t.trying = true
	ok := do()
	for !ok && len(t.undo) > 0 {
		last := len(t.undo) - 1
		t.undo[last]()
		t.undo = t.undo[:last]
	}
	t.trying, t.undo = false, nil
	return ok
}

// present makes a set into a table whose values say nothing.
func present[K comparable](has func(K) (bool, error)) func(K) (bool, bool, error) {
	return func(k K) (bool, bool, error) {
		yes, err := has(k)
		return yes, yes, err
	}
}

func (t *tx) fail(err error) {
	if t.err == nil {
		t.err = fmt.Errorf("read the lease table: %w", err)
	}
}

func (t *tx) corrupt(format string, args ...any) {
	t.fail(fmt.Errorf("%w: %s", errCorrupt, fmt.Sprintf(format, args...)))
}

// move adds to a counter. One that comes to be, or ceases, holds or frees the
// ids of its keys.
func (t *tx) move(k CounterKey, bytes, leases int64) {
	old, existed := t.counters.get(k)
	now := Counter{Bytes: old.Bytes + bytes, Leases: old.Leases + leases}
	if now.Bytes < 0 || now.Leases < 0 {
		t.corrupt("counter of %v would become negative", k.Of)
		return
	}
	exists := now != Counter{}
	if exists {
		t.counters.put(k, now)
	} else {
		t.counters.delete(k)
	}
	if exists != existed {
		for _, c := range k.columns() {
			t.refKey(c, exists)
		}
	}
}

// refKey notes a use of a key's id, or its end; settleKeys acts on the sum, so
// that an id whose last use ends and begins in one step stays the same.
func (t *tx) refKey(c Column, begins bool) {
	if c.Kind != KeyedColumn {
		return
	}
	n := 1
	if !begins {
		n = -1
	}
	t.keyRefs[c] += n
	if t.trying {
		t.undo = append(t.undo, func() { t.keyRefs[c] -= n })
	}
}

func (t *tx) settleKeys() {
	columns := slices.SortedFunc(maps.Keys(t.keyRefs), Column.Compare)
	for _, c := range columns {
		entry, ok := t.keys.get(c)
		refs := int64(entry.Refs) + int64(t.keyRefs[c])
		switch {
		case refs < 0:
			t.corrupt("key %v is used less than never", c)
		case refs == 0 && ok:
			t.keys.delete(c)
			t.forgetTraffic(ColumnCounterKey(c), math.MaxInt32)
			t.forgetTraffic(RootCounterKey(c.Key), math.MaxInt32)
		case refs > 0:
			if !ok {
				entry.ID = t.nextID(KeySequence, FirstKeyID)
			}
			entry.Refs = uint32(refs)
			t.keys.put(c, entry)
		}
	}
	t.keyRefs = map[Column]int{}
}

func (t *tx) nextID(s Sequence, first uint32) uint32 {
	last, _ := t.lastIDs.get(s)
	if last == ^uint32(0) {
		t.corrupt("all 4-byte ids of sequence %d are used up", s)
		return 0
	}
	id := max(last+1, first)
	t.lastIDs.put(s, id)
	return id
}

// charge counts a lease of this size under the chain, storing the chain where
// it is new. It returns the chain's id.
func (t *tx) charge(c ChainRecord, size int64) uint32 {
	for _, k := range c.Charges() {
		t.move(k, size+LeaseOverhead, 1)
	}
	if len(c.Keys) == 0 {
		return 0
	}
	id, ok := t.chainIDs.get(c.Key())
	if !ok {
		id = t.storeChain(c)
	}
	refs, _ := t.chainRefs.get(id)
	t.chainRefs.put(id, refs+1)
	t.keepCertificates(id, c.Certificates)
	return id
}

// keepCertificates stores a chain as it was shown, unless it is stored already.
func (t *tx) keepCertificates(chain uint32, shown []byte) {
	if len(shown) == 0 {
		return
	}
	if _, stored := t.certificates.get(chain); !stored {
		t.certificates.put(chain, shown)
	}
}

func (t *tx) storeChain(c ChainRecord) uint32 {
	id := t.nextID(ChainSequence, 1)
	record := c
	record.Certificates = nil
	t.chains.put(id, record)
	t.chainIDs.put(c.Key(), id)
	for _, k := range c.Charges() {
		t.move(k, c.Cost(), 0)
	}
	return id
}

// discharge is charge undone, for a lease that ends or moves.
func (t *tx) discharge(column Column, l Lease) {
	c := ChainRecord{Column: column}
	if l.Chain != 0 {
		var ok bool
		if c, ok = t.chains.get(l.Chain); !ok {
			t.corrupt("chain %d of a lease of %v is missing", l.Chain, column)
			return
		}
	}
	for _, k := range c.Charges() {
		t.move(k, -l.Size-LeaseOverhead, -1)
	}
	if l.Chain != 0 {
		t.dropChainRef(l.Chain, c)
	}
}

func (t *tx) dropChainRef(id uint32, c ChainRecord) {
	refs, _ := t.chainRefs.get(id)
	if refs > 1 {
		t.chainRefs.put(id, refs-1)
		return
	}
	if refs == 0 {
		t.corrupt("chain %d is used by more leases than it counts", id)
	}
	t.chainRefs.delete(id)
	t.chains.delete(id)
	t.certificates.delete(id)
	t.chainIDs.delete(c.Key())
	for _, k := range c.Charges() {
		t.move(k, -c.Cost(), 0)
	}
}
