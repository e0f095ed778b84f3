package store

import (
	"fmt"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Commit is a Change on its way to the disk.
type Commit struct {
	s     *Store
	wait  func() error
	moved []sealed
}

// Wait blocks until the Change is durable; the error then is ErrFailed.
// Concurrent waits share one sync. It then puts the files of shares that the
// Change made STABLE at their place; should that fail, they stay where they
// are, readable and recorded as such, and the next Open moves them.
func (c *Commit) Wait() error {
	if err := c.wait(); err != nil {
		return err
	}
	for _, m := range c.moved {
		_ = c.s.move(m)
	}
	return nil
}

// Apply writes a Change: reads see it when Apply returns, and it is durable
// when the Commit's Wait does. Only the table's owner calls it, one at a time.
func (s *Store) Apply(c lease.Change) (*Commit, error) {
	e := encoder{s: s, fresh: map[lease.Column]uint32{}, ended: map[lease.Column]uint32{}}
	if err := e.change(c); err != nil {
		return nil, fmt.Errorf("write to the lease table: %w", err)
	}
	s.files.claim(e.moved, e.going, e.settled)
	wait, err := s.eng.apply(e.b)
	if err != nil {
		return nil, err
	}
	s.follow(e.b)
	for col, id := range e.ended {
		s.ids.forget(col, id)
	}
	for col, id := range e.fresh {
		s.ids.put(col, id)
	}
	return &Commit{s: s, wait: wait, moved: e.moved}, nil
}

// encoder turns a Change into a batch.
type encoder struct {
	s       *Store
	b       batch
	fresh   map[lease.Column]uint32 // ids that the Change itself gives
	ended   map[lease.Column]uint32 // and those that it takes
	err     error
	moved   []sealed        // files that become shares
	going   []lease.ShareID // shares that begin to go
	settled []lease.ShareID // shares that went, or came back
}

// find prefers the ids that the Change gives.
func (e *encoder) find(c lease.Column) (uint32, bool, error) {
	if id, ok := e.fresh[c]; ok {
		return id, true, nil
	}
	return e.s.columnID(c)
}

// id is the id of a column that must have one.
func (e *encoder) id(c lease.Column) uint32 {
	id, ok, err := e.find(c)
	e.must(ok, err, c)
	return id
}

func (e *encoder) must(ok bool, err error, what any) {
	if err == nil && !ok {
		err = fmt.Errorf("%w: %v has no id", ErrDamaged, what)
	}
	if e.err == nil {
		e.err = err
	}
}

// edit adds a put or a delete.
func edit1[K, V any](e *encoder, key []byte, d lease.Edit[K, V], encode func(V) []byte) {
	if d.Delete {
		e.b.delete(key)
	} else {
		e.b.put(key, encode(d.Value))
	}
}

func (e *encoder) change(c lease.Change) error {
	for _, r := range c.Renames {
		e.rename(r)
	}
	for _, d := range c.Keys {
		e.key(d)
	}
	for _, d := range c.LastIDs {
		edit1(e, sequenceKey(d.Key), d, encodeNumber32)
	}
	for _, d := range c.Roots {
		edit1(e, withPublicKey(tagRoot, d.Key), d, encodeRoot)
	}
	for _, d := range c.Revoked {
		edit1(e, withPublicKey(tagRevoked, d.Key), d, func(bool) []byte { return nil })
	}
	for _, d := range c.Cancelling {
		edit1(e, withPublicKey(tagCancel, d.Key), d, func(bool) []byte { return nil })
	}
	for _, d := range c.Counters {
		key, ok, err := e.s.counterKey(d.Key, e.find)
		e.must(ok, err, d.Key.Of)
		edit1(e, key, d, encodeCounter)
	}
	for _, d := range c.Traffic {
		days, ok, err := e.s.trafficPrefix(d.Key.Of, e.find)
		e.must(ok, err, d.Key.Of)
		edit1(e, appendID(days, uint32(d.Key.Day)), d, encodeTraffic)
	}
	e.chains(c)
	for _, d := range c.Leases {
		e.lease(d)
	}
	for _, d := range c.Inline {
		edit1(e, withShare(tagBody, d.Key), d, func(b []byte) []byte { return b })
	}
	for _, d := range c.Shares {
		e.share(d)
	}
	return e.err
}

func encodeNumber32(n uint32) []byte { return encodeNumber(uint64(n)) }

// rename gives a key's id to another key. Every other record names the id, so
// that is all.
func (e *encoder) rename(r lease.Rename) {
	entry, ok, err := e.s.Key(lease.ColumnOf(r.From))
	e.must(ok, err, r.From)
	e.b.delete(withPublicKey(tagKey, r.From))
	e.b.put(withPublicKey(tagKey, r.To), encodeKey(entry))
	e.b.put(withID(tagKeyID, entry.ID), r.To[:])
	e.ended[lease.ColumnOf(r.From)] = entry.ID
	e.fresh[lease.ColumnOf(r.To)] = entry.ID
}

func (e *encoder) key(d lease.Edit[lease.Column, lease.KeyEntry]) {
	key := withPublicKey(tagKey, d.Key.Key)
	if d.Delete {
		id := e.id(d.Key)
		e.ended[d.Key] = id
		e.b.delete(key)
		e.b.delete(withID(tagKeyID, id))
		return
	}
	e.fresh[d.Key] = d.Value.ID
	e.b.put(key, encodeKey(d.Value))
	e.b.put(withID(tagKeyID, d.Value.ID), d.Key.Key[:])
}

func (e *encoder) chains(c lease.Change) {
	for _, d := range c.Chains {
		edit1(e, withID(tagChain, d.Key), d, func(r lease.ChainRecord) []byte { return e.chain(r).encode() })
	}
	for _, d := range c.Certificates {
		edit1(e, withID(tagShown, d.Key), d, func(b []byte) []byte { return b })
	}
	for _, d := range c.ChainRefs {
		edit1(e, withID(tagChainRef, d.Key), d, encodeNumber32)
	}
	for _, d := range c.ChainIDs {
		key, ok, err := e.s.chainIDKey(d.Key, e.find)
		e.must(ok, err, d.Key.Column)
		edit1(e, key, d, encodeNumber32)
	}
}

func (e *encoder) chain(c lease.ChainRecord) chainRecord {
	r := chainRecord{column: e.id(c.Column), digest: c.Digest}
	for _, k := range c.Keys {
		r.keys = append(r.keys, e.keyID(k))
	}
	for _, p := range c.Pairs {
		r.pairs = append(r.pairs, [2]uint32{e.keyID(p.Signer), e.keyID(p.Delegate)})
	}
	return r
}

func (e *encoder) keyID(k grid.PublicKey) uint32 { return e.id(lease.ColumnOf(k)) }

func (e *encoder) lease(d lease.Edit[lease.LeaseID, lease.Lease]) {
	column := e.id(d.Key.Column)
	edit1(e, leaseKey(column, d.Key.Share), d, encodeLease)
	edit1(e, holderKey(d.Key.Share, column), d, func(lease.Lease) []byte { return nil })
}

// share writes the record, and beside it what must be done with the bytes: a
// file to be put at its place, or to be deleted.
func (e *encoder) share(d lease.Edit[lease.ShareID, lease.Share]) {
	edit1(e, withShare(tagShare, d.Key), d, encodeShare)
	goingKey := withShare(tagGoing, d.Key)
	switch {
	case d.Delete:
		e.b.delete(goingKey)
		e.settled = append(e.settled, d.Key)
	case d.Value.State == lease.Going:
		e.b.put(goingKey, encodeNumber(d.Value.File))
		e.going = append(e.going, d.Key)
	default:
		e.stable(d.Key, d.Value, goingKey)
	}
}

func (e *encoder) stable(id lease.ShareID, share lease.Share, goingKey []byte) {
	if share.File != 0 && e.s.files.isSealed(share.File) {
		e.b.put(pendingKey(id, share.File), nil)
		e.moved = append(e.moved, sealed{id, share.File})
	}
	// A file that replaces one that was going takes its name; a body in the table
	// does not, so there the old file is still to be deleted.
	if share.File != 0 && e.s.files.isGoing(id) {
		e.b.delete(goingKey)
		e.settled = append(e.settled, id)
	}
}
