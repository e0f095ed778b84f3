package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

var _ lease.View = (*Store)(nil)

// read gets and decodes one record.
func read[T any](s *Store, key []byte, decode func([]byte) (T, error)) (T, bool, error) {
	var zero T
	b, ok, err := s.get(key)
	if err != nil || !ok {
		return zero, false, err
	}
	v, err := decode(b)
	if err != nil {
		return zero, false, fmt.Errorf("read record %c: %w", key[0], err)
	}
	return v, true, nil
}

// Share implements lease.View.
func (s *Store) Share(id lease.ShareID) (lease.Share, bool, error) {
	return read(s, withShare(tagShare, id), decodeShare)
}

// Lease implements lease.View.
func (s *Store) Lease(id lease.LeaseID) (lease.Lease, bool, error) {
	column, ok, err := s.columnID(id.Column)
	if err != nil || !ok {
		return lease.Lease{}, false, err
	}
	return read(s, leaseKey(column, id.Share), decodeLease)
}

// Shares implements lease.View.
func (s *Store) Shares(ids []lease.ShareID, yield func(lease.ShareID, lease.Share)) error {
	many := make(records[lease.ShareID], len(ids))
	for i, id := range ids {
		many[i] = named[lease.ShareID]{withShare(tagShare, id), id}
	}
	return readMany(s, many, decodeShare, yield)
}

// Leases implements lease.View.
func (s *Store) Leases(ids []lease.LeaseID, yield func(lease.LeaseID, lease.Lease)) error {
	many := make(records[lease.LeaseID], 0, len(ids))
	for _, id := range ids {
		column, ok, err := s.columnID(id.Column)
		if err != nil {
			return err
		}
		if ok {
			many = append(many, named[lease.LeaseID]{leaseKey(column, id.Share), id})
		}
	}
	return readMany(s, many, decodeLease, yield)
}

// records are keys of the table, and what they stand for.
type records[K any] []named[K]

type named[K any] struct {
	key  []byte
	name K
}

// readMany gets and decodes many records.
func readMany[K, V any](s *Store, many records[K], decode func([]byte) (V, error), yield func(K, V)) error {
	slices.SortFunc(many, func(a, b named[K]) int { return bytes.Compare(a.key, b.key) })
	keys := make([][]byte, len(many))
	for i, r := range many {
		keys[i] = r.key
	}
	return s.eng.getMany(keys, func(i int, value []byte) error {
		v, err := decode(value)
		if err != nil {
			return fmt.Errorf("read record %c: %w", keys[i][0], err)
		}
		yield(many[i].name, v)
		return nil
	})
}

// Counter implements lease.View.
func (s *Store) Counter(k lease.CounterKey) (lease.Counter, bool, error) {
	key, ok, err := s.counterKey(k, s.columnID)
	if err != nil || !ok {
		return lease.Counter{}, false, err
	}
	return read(s, key, decodeCounter)
}

// Key implements lease.View.
func (s *Store) Key(c lease.Column) (lease.KeyEntry, bool, error) {
	if id, ok := fixedID(c); ok {
		return lease.KeyEntry{ID: id}, true, nil
	}
	return read(s, withPublicKey(tagKey, c.Key), decodeKey)
}

// Certificates implements lease.View.
func (s *Store) Certificates(chain uint32) ([]byte, bool, error) {
	return s.get(withID(tagShown, chain))
}

// ChainRefs implements lease.View.
func (s *Store) ChainRefs(id uint32) (uint32, bool, error) {
	return read(s, withID(tagChainRef, id), decodeNumber32)
}

// ChainID implements lease.View.
func (s *Store) ChainID(k lease.ChainKey) (uint32, bool, error) {
	key, ok, err := s.chainIDKey(k, s.columnID)
	if err != nil || !ok {
		return 0, false, err
	}
	return read(s, key, decodeNumber32)
}

// Chain implements lease.View.
func (s *Store) Chain(id uint32) (lease.ChainRecord, bool, error) {
	r, ok, err := read(s, withID(tagChain, id), decodeChain)
	if err != nil || !ok {
		return lease.ChainRecord{}, false, err
	}
	c := lease.ChainRecord{Digest: r.digest}
	if c.Column, err = s.columnOf(r.column); err != nil {
		return c, false, err
	}
	for _, k := range r.keys {
		col, err := s.columnOf(k)
		if err != nil {
			return c, false, err
		}
		c.Keys = append(c.Keys, col.Key)
	}
	for _, p := range r.pairs {
		signer, err := s.columnOf(p[0])
		if err != nil {
			return c, false, err
		}
		delegate, err := s.columnOf(p[1])
		if err != nil {
			return c, false, err
		}
		c.Pairs = append(c.Pairs, lease.Pair{Signer: signer.Key, Delegate: delegate.Key})
	}
	return c, true, nil
}

// Root implements lease.View.
func (s *Store) Root(k grid.PublicKey) (lease.Root, bool, error) {
	r, ok, err := read(s, withPublicKey(tagRoot, k), decodeRoot)
	r.Key = k
	return r, ok, err
}

// Roots lists every root, by key; that of clients without a key first.
func (s *Store) Roots() ([]lease.Root, error) {
	var all []lease.Root
	err := s.scanAll([]byte{tagRoot}, func(key, value []byte) error {
		r, err := decodeRoot(value)
		r.Key = grid.PublicKey(key[1:])
		all = append(all, r)
		return err
	})
	return all, err
}

// Revoked implements lease.View.
func (s *Store) Revoked(k grid.PublicKey) (bool, error) {
	_, ok, err := s.get(withPublicKey(tagRevoked, k))
	return ok, err
}

// RevokedKeys lists every revoked key.
func (s *Store) RevokedKeys() ([]grid.PublicKey, error) { return s.keysUnder(tagRevoked) }

// Cancelling implements lease.View.
func (s *Store) Cancelling(k grid.PublicKey) (bool, error) {
	_, ok, err := s.get(withPublicKey(tagCancel, k))
	return ok, err
}

// CancellingRoots lists every root whose leases are being cancelled.
func (s *Store) CancellingRoots() ([]grid.PublicKey, error) { return s.keysUnder(tagCancel) }

func (s *Store) keysUnder(tag byte) ([]grid.PublicKey, error) {
	var all []grid.PublicKey
	err := s.scanAll([]byte{tag}, func(key, _ []byte) error {
		all = append(all, grid.PublicKey(key[1:]))
		return nil
	})
	return all, err
}

// Traffic implements lease.View.
func (s *Store) Traffic(k lease.TrafficKey) (lease.Traffic, bool, error) {
	days, ok, err := s.trafficPrefix(k.Of, s.columnID)
	if err != nil || !ok {
		return lease.Traffic{}, false, err
	}
	return read(s, appendID(days, uint32(k.Day)), decodeTraffic)
}

// TrafficDays implements lease.View.
func (s *Store) TrafficDays(k lease.CounterKey, yield func(lease.Day, lease.Traffic) error) error {
	days, ok, err := s.trafficPrefix(k, s.columnID)
	if err != nil || !ok {
		return err
	}
	return s.scanAll(days, func(key, value []byte) error {
		t, err := decodeTraffic(value)
		if err != nil {
			return err
		}
		return yield(lease.Day(be32(key[len(days):])), t)
	})
}

// trafficPrefix is what the keys of a counter's days begin with.
func (s *Store) trafficPrefix(k lease.CounterKey, find finder) ([]byte, bool, error) {
	if k.Kind != lease.ColumnCounter {
		key, ok, err := s.counterKey(k, find)
		if ok {
			key[0] = tagMoved
		}
		return key, ok, err
	}
	id, ok, err := find(k.Of)
	return withID(tagTraffic, id), ok, err
}

// trafficOf reads whose day it is from a key of either tag.
func (s *Store) trafficOf(key []byte) (lease.TrafficKey, error) {
	k := lease.CounterKey{Kind: lease.ColumnCounter}
	ids := key[1:]
	if key[0] == tagMoved {
		k.Kind, ids = lease.CounterKind(key[1]), key[2:]
	}
	of, err := s.columnOf(be32(ids))
	k.Of = of
	if err == nil && k.Kind == lease.PairCounter {
		ids = ids[4:]
		var delegate lease.Column
		delegate, err = s.columnOf(be32(ids))
		k.Delegate = delegate.Key
	}
	return lease.TrafficKey{Of: k, Day: lease.Day(be32(ids[4:]))}, err
}

// trafficSize is how long the key of a day must be.
func trafficSize(key []byte) int {
	switch {
	case key[0] == tagTraffic:
		return 1 + 4 + 4
	case len(key) > 1 && key[1] == byte(lease.PairCounter):
		return 1 + 1 + 4 + 4 + 4
	default:
		return 1 + 1 + 4 + 4
	}
}

// scanTraffic yields every day of every counter.
func (s *Store) scanTraffic(yield func(key, value []byte) error) error {
	checked := func(key, value []byte) error {
		if len(key) != trafficSize(key) {
			return fmt.Errorf("%w: traffic of nobody", ErrDamaged)
		}
		return yield(key, value)
	}
	return errors.Join(s.scanAll([]byte{tagTraffic}, checked), s.scanAll([]byte{tagMoved}, checked))
}

// LastID implements lease.View.
func (s *Store) LastID(q lease.Sequence) (uint32, error) {
	id, _, err := read(s, sequenceKey(q), decodeNumber32)
	return id, err
}

// PairsOf implements lease.View.
func (s *Store) PairsOf(signer grid.PublicKey, from []byte, limit int, yield func(grid.PublicKey, lease.Counter)) ([]byte, error) {
	id, ok, err := s.columnID(lease.ColumnOf(signer))
	if err != nil || !ok {
		return nil, err
	}
	prefix := appendID([]byte{tagCounter, byte(lease.PairCounter)}, id)
	return s.scanSome(prefix, from, limit, func(key, value []byte) error {
		c, err := decodeCounter(value)
		if err != nil {
			return err
		}
		delegate, err := s.columnOf(be32(key[6:]))
		if err == nil {
			yield(delegate.Key, c)
		}
		return err
	})
}

// RootsWithLeases lists every key at which the chain of a lease starts.
func (s *Store) RootsWithLeases() ([]grid.PublicKey, error) {
	var all []grid.PublicKey
	err := s.scanAll([]byte{tagCounter, byte(lease.RootCounter)}, func(key, _ []byte) error {
		c, err := s.columnOf(be32(key[2:]))
		all = append(all, c.Key)
		return err
	})
	return all, err
}

// TrafficSince yields all traffic from a day on, by day, then counter.
func (s *Store) TrafficSince(since lease.Day, yield func(lease.TrafficKey, lease.Traffic) error) error {
	type line struct {
		lease.TrafficKey
		lease.Traffic
	}
	var all []line
	err := s.scanTraffic(func(key, value []byte) error {
		if lease.Day(be32(key[len(key)-4:])) < since {
			return nil
		}
		k, keyErr := s.trafficOf(key)
		t, err := decodeTraffic(value)
		all = append(all, line{k, t})
		return errors.Join(keyErr, err)
	})
	slices.SortFunc(all, func(a, b line) int { return cmp.Or(cmp.Compare(a.Day, b.Day), a.Of.Compare(b.Of)) })
	for _, l := range all {
		if err == nil {
			err = yield(l.TrafficKey, l.Traffic)
		}
	}
	return err
}

// CountersWithTraffic lists the counters that have traffic before a day.
func (s *Store) CountersWithTraffic(before lease.Day) ([]lease.CounterKey, error) {
	var all []lease.CounterKey
	err := s.scanTraffic(func(key, _ []byte) error {
		if lease.Day(be32(key[len(key)-4:])) >= before {
			return nil
		}
		k, err := s.trafficOf(key)
		if n := len(all); n == 0 || all[n-1] != k.Of {
			all = append(all, k.Of)
		}
		return err
	})
	return all, err
}

// scanAll yields every key with the prefix.
func (s *Store) scanAll(prefix []byte, yield func(key, value []byte) error) error {
	return s.scan(prefix, after(prefix), yield)
}

func fixedID(c lease.Column) (uint32, bool) {
	switch c.Kind {
	case lease.StarterColumn:
		return lease.StarterID, true
	case lease.AnonymousColumn:
		return lease.AnonymousID, true
	}
	return 0, false
}

// columnID is false for a key that the table does not know: it holds nothing.
func (s *Store) columnID(c lease.Column) (uint32, bool, error) {
	if id, ok := fixedID(c); ok {
		return id, true, nil
	}
	if id, ok := s.ids.id(c); ok {
		return id, true, nil
	}
	e, ok, err := s.Key(c)
	if ok {
		s.ids.put(c, e.ID)
	}
	return e.ID, ok, err
}

func (s *Store) columnOf(id uint32) (lease.Column, error) {
	switch id {
	case lease.StarterID:
		return lease.Starter, nil
	case lease.AnonymousID:
		return lease.Anonymous, nil
	}
	if c, ok := s.ids.column(id); ok {
		return c, nil
	}
	b, ok, err := s.eng.get(withID(tagKeyID, id))
	if err != nil {
		return lease.Column{}, err
	}
	if !ok || len(b) != len(grid.PublicKey{}) {
		return lease.Column{}, fmt.Errorf("%w: key %d is missing", ErrDamaged, id)
	}
	c := lease.ColumnOf(grid.PublicKey(b))
	s.ids.put(c, id)
	return c, nil
}

// finder gives the id of a column: from the table, or from a Change.
type finder func(lease.Column) (uint32, bool, error)

func (s *Store) counterKey(k lease.CounterKey, find finder) ([]byte, bool, error) {
	id, ok, err := find(k.Of)
	if err != nil || !ok {
		return nil, false, err
	}
	key := appendID([]byte{tagCounter, byte(k.Kind)}, id)
	if k.Kind == lease.PairCounter {
		delegate, ok, err := find(lease.ColumnOf(k.Delegate))
		if err != nil || !ok {
			return nil, false, err
		}
		key = appendID(key, delegate)
	}
	return key, true, nil
}

func (s *Store) chainIDKey(k lease.ChainKey, find finder) ([]byte, bool, error) {
	column, ok, err := find(k.Column)
	if err != nil || !ok {
		return nil, false, err
	}
	root, ok, err := find(lease.ColumnOf(k.Root))
	if err != nil || !ok {
		return nil, false, err
	}
	return chainIDKey(column, root, k.Digest), true, nil
}
