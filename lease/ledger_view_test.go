package lease_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// mapView is a table that knows nothing but what Changes say: if they left
// something out, the rules on top of it would break.
type mapView struct {
	shares       map[lease.ShareID]lease.Share
	inline       map[lease.ShareID][]byte
	leases       map[lease.LeaseID]lease.Lease
	counters     map[lease.CounterKey]lease.Counter
	keys         map[lease.Column]lease.KeyEntry
	chains       map[uint32]lease.ChainRecord
	certificates map[uint32][]byte
	chainIDs     map[lease.ChainKey]uint32
	chainRefs    map[uint32]uint32
	roots        map[grid.PublicKey]lease.Root
	revoked      map[grid.PublicKey]bool
	cancelling   map[grid.PublicKey]bool
	traffic      map[lease.TrafficKey]lease.Traffic
	lastIDs      map[lease.Sequence]uint32
}

func newMapView() *mapView {
	return &mapView{
		map[lease.ShareID]lease.Share{}, map[lease.ShareID][]byte{}, map[lease.LeaseID]lease.Lease{},
		map[lease.CounterKey]lease.Counter{}, map[lease.Column]lease.KeyEntry{}, map[uint32]lease.ChainRecord{},
		map[uint32][]byte{}, map[lease.ChainKey]uint32{}, map[uint32]uint32{}, map[grid.PublicKey]lease.Root{},
		map[grid.PublicKey]bool{}, map[grid.PublicKey]bool{}, map[lease.TrafficKey]lease.Traffic{}, map[lease.Sequence]uint32{},
	}
}

func edit[K comparable, V any](m map[K]V, edits []lease.Edit[K, V]) {
	for _, e := range edits {
		if e.Delete {
			delete(m, e.Key)
		} else {
			m[e.Key] = e.Value
		}
	}
}

func (v *mapView) apply(c lease.Change) {
	for _, r := range c.Renames {
		v.rename(r)
	}
	edit(v.shares, c.Shares)
	edit(v.inline, c.Inline)
	edit(v.leases, c.Leases)
	edit(v.counters, c.Counters)
	edit(v.keys, c.Keys)
	edit(v.chains, c.Chains)
	edit(v.certificates, c.Certificates)
	edit(v.chainIDs, c.ChainIDs)
	edit(v.chainRefs, c.ChainRefs)
	edit(v.roots, c.Roots)
	edit(v.revoked, c.Revoked)
	edit(v.cancelling, c.Cancelling)
	edit(v.traffic, c.Traffic)
	edit(v.lastIDs, c.LastIDs)
}

// rename goes through everything that names a key.
func (v *mapView) rename(r lease.Rename) {
	key := func(k grid.PublicKey) grid.PublicKey {
		if k == r.From {
			return r.To
		}
		return k
	}
	column := func(c lease.Column) lease.Column {
		c.Key = key(c.Key)
		return c
	}
	renameKeys(v.leases, func(id lease.LeaseID) lease.LeaseID { return lease.LeaseID{Column: column(id.Column), Share: id.Share} })
	counter := func(k lease.CounterKey) lease.CounterKey {
		return lease.CounterKey{Kind: k.Kind, Of: column(k.Of), Delegate: key(k.Delegate)}
	}
	renameKeys(v.counters, counter)
	renameKeys(v.keys, column)
	renameKeys(v.chainIDs, func(k lease.ChainKey) lease.ChainKey {
		return lease.ChainKey{Column: column(k.Column), Root: key(k.Root), Digest: k.Digest}
	})
	renameKeys(v.traffic, func(k lease.TrafficKey) lease.TrafficKey {
		return lease.TrafficKey{Of: counter(k.Of), Day: k.Day}
	})
	for id, c := range v.chains {
		renamed := lease.ChainRecord{Column: column(c.Column), Digest: c.Digest}
		for _, k := range c.Keys {
			renamed.Keys = append(renamed.Keys, key(k))
		}
		for _, p := range c.Pairs {
			renamed.Pairs = append(renamed.Pairs, lease.Pair{Signer: key(p.Signer), Delegate: key(p.Delegate), Space: p.Space})
		}
		v.chains[id] = renamed
	}
}

func renameKeys[K comparable, V any](m map[K]V, name func(K) K) {
	for old, value := range maps.Clone(m) {
		delete(m, old)
		m[name(old)] = value
	}
}

func get[K comparable, V any](m map[K]V, k K) (V, bool, error) {
	v, ok := m[k]
	return v, ok, nil
}

func (v *mapView) Share(k lease.ShareID) (lease.Share, bool, error) { return get(v.shares, k) }
func (v *mapView) Lease(k lease.LeaseID) (lease.Lease, bool, error) { return get(v.leases, k) }
func (v *mapView) Shares(ids []lease.ShareID, yield func(lease.ShareID, lease.Share)) error {
	return getAll(v.shares, ids, yield)
}

func (v *mapView) Leases(ids []lease.LeaseID, yield func(lease.LeaseID, lease.Lease)) error {
	return getAll(v.leases, ids, yield)
}

func getAll[K comparable, V any](m map[K]V, keys []K, yield func(K, V)) error {
	for _, k := range keys {
		if v, ok := m[k]; ok {
			yield(k, v)
		}
	}
	return nil
}

func (v *mapView) Counter(k lease.CounterKey) (lease.Counter, bool, error) { return get(v.counters, k) }
func (v *mapView) Key(k lease.Column) (lease.KeyEntry, bool, error)        { return get(v.keys, k) }
func (v *mapView) Chain(k uint32) (lease.ChainRecord, bool, error)         { return get(v.chains, k) }
func (v *mapView) Certificates(k uint32) ([]byte, bool, error)             { return get(v.certificates, k) }
func (v *mapView) ChainID(k lease.ChainKey) (uint32, bool, error)          { return get(v.chainIDs, k) }
func (v *mapView) ChainRefs(k uint32) (uint32, bool, error)                { return get(v.chainRefs, k) }
func (v *mapView) Root(k grid.PublicKey) (lease.Root, bool, error)         { return get(v.roots, k) }
func (v *mapView) Revoked(k grid.PublicKey) (bool, error)                  { return v.revoked[k], nil }
func (v *mapView) Cancelling(k grid.PublicKey) (bool, error)               { return v.cancelling[k], nil }
func (v *mapView) Traffic(k lease.TrafficKey) (lease.Traffic, bool, error) { return get(v.traffic, k) }
func (v *mapView) LastID(k lease.Sequence) (uint32, error)                 { return v.lastIDs[k], nil }

func (v *mapView) TrafficDays(c lease.CounterKey, yield func(lease.Day, lease.Traffic) error) error {
	for k, t := range v.traffic {
		if k.Of == c {
			if err := yield(k.Day, t); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *mapView) PairsOf(signer grid.PublicKey, from []byte, limit int, yield func(grid.PublicKey, lease.Counter)) ([]byte, error) {
	keys := slices.SortedFunc(maps.Keys(v.counters), lease.CounterKey.Compare)
	for _, k := range keys {
		if k.Kind != lease.PairCounter || k.Of.Key != signer || slices.Compare(k.Delegate[:], from) < 0 {
			continue
		}
		if limit--; limit < 0 {
			return k.Delegate[:], nil
		}
		yield(k.Delegate, v.counters[k])
	}
	return nil, nil
}

// bank is a ledger on a mapView, as its actor would run it.
type bank struct {
	*lease.Ledger
	view *mapView
}

var testPolicy = lease.LedgerPolicy{Duration: lease.LeaseDuration}

func newBank() *bank {
	v := newMapView()
	return &bank{lease.NewLedger(v, testPolicy), v}
}

// done applies a step's change, if it was one.
func (b *bank) done(c lease.Change, err error) error {
	if err == nil {
		b.view.apply(c)
	}
	return err
}

func (b *bank) commit(now time.Time, g lease.Grant, id lease.ShareID, size int64) error {
	change, _, err := b.Commit(now, g.Column(), id, fileBody(size))
	return b.done(change, err)
}

func fileBody(size int64) lease.Body {
	return lease.Body{Size: size, UEBHash: lease.UEBHash{7}, File: 1}
}

func (b *bank) must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bank) addRoot(t testing.TB, name string, quota int64) {
	t.Helper()
	b.must(t, b.done(b.PutRoots(lease.Root{Key: named(name), Petname: name, Quota: &quota})))
}

// named is a public key whose first letters are its name.
func named(name string) (k grid.PublicKey) {
	copy(k[:], name)
	return k
}

func shareNamed(name string) (id lease.ShareID) {
	copy(id.StorageIndex[:], name)
	return id
}

// chainOf is the grant of the keys "alice>bob>carol", whose leases stand in the
// last one's column; space is what its signer gave each.
func chainOf(path string, space func(string) *int64) lease.Grant {
	names := strings.Split(path, ">")
	g := lease.Grant{Root: named(names[0]), Label: named(names[len(names)-1])}
	for i, name := range names {
		g.Keys = append(g.Keys, named(name))
		if i > 0 {
			pair := lease.Pair{Signer: named(names[i-1]), Delegate: named(name), Space: space(name)}
			if !slices.ContainsFunc(g.Pairs, func(p lease.Pair) bool { return p.Signer == pair.Signer && p.Delegate == pair.Delegate }) {
				g.Pairs = append(g.Pairs, pair) // each once
			}
		}
	}
	if len(names) > 1 {
		copy(g.Chain[:], path)
	}
	return g
}
