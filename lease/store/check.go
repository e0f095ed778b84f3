package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/tarn-grid/tarn/lease"
)

// Problem is something in the table, or between table and files, that should
// not be.
type Problem struct {
	What string // for a person
	// Loss says that mending it gives up what it is about; else nothing is lost.
	Loss bool
}

// Checked is how much a Check looked at.
type Checked struct {
	Shares, Leases, Files int64
}

// Check looks at every record and every file: bodies that are not where the
// table says, leases and shares that don't know each other, chains and keys
// that are missing, and sums that are wrong. With repair it mends what it
// finds: leases on shares without a body end, leases of an unknown holder
// become Starter leases, and all sums are made anew. Nothing else may use the
// store meanwhile. A repair that is interrupted can be repeated.
func (s *Store) Check(repair bool) (Checked, []Problem, error) {
	c := &checker{s: s, repair: repair}
	for _, step := range []func() error{c.keys, c.flush, c.forgetIDs, c.records, c.flush, c.shares, c.leases, c.bodies, c.flush, c.files, c.sums} {
		if err := step(); err != nil {
			return c.checked, c.found, fmt.Errorf("check the store: %w", err)
		}
	}
	return c.checked, c.found, nil
}

type checker struct {
	s       *Store
	repair  bool
	checked Checked
	found   []Problem
	edits   batch
	// broken is the shares whose leases all end.
	broken map[lease.ShareID]bool
}

func (c *checker) problem(loss bool, format string, args ...any) {
	c.found = append(c.found, Problem{fmt.Sprintf(format, args...), loss})
}

// editsAtOnce bounds a batch of repairs.
const editsAtOnce = 10_000

// put and delete note a repair; it is made once the scan that led to it is over.
func (c *checker) put(key, value []byte) { c.edits.put(key, value) }
func (c *checker) delete(key []byte)     { c.edits.delete(key) }

// flush writes what was noted, if it is to be.
func (c *checker) flush() error {
	edits := c.edits
	c.edits = nil
	if !c.repair {
		return nil
	}
	for len(edits) > 0 {
		n := min(len(edits), editsAtOnce)
		if err := write(c.s.eng, edits[:n]); err != nil {
			return err
		}
		c.s.follow(edits[:n])
		edits = edits[n:]
	}
	return nil
}

// readChain also refuses a chain that is there twice: by which of them a lease
// was made, its number does not tell then.
func (c *checker) readChain() func(key, value []byte) error {
	seen := map[lease.ChainKey]bool{}
	return func(key, _ []byte) error {
		id := be32(key[1:])
		chain, _, err := c.s.Chain(id)
		if err != nil {
			return err
		}
		found, ok, err := c.s.ChainID(chain.Key())
		if err != nil && !unreadable(err) {
			return err
		}
		if seen[chain.Key()] || ok && err == nil && found != id && c.isChain(found, chain.Key()) {
			return fmt.Errorf("%w: another one is the same", ErrDamaged)
		}
		seen[chain.Key()] = true
		return nil
	}
}

func (c *checker) isChain(id uint32, key lease.ChainKey) bool {
	chain, ok, err := c.s.Chain(id)
	return ok && err == nil && chain.Key() == key
}

// forgetIDs follows a repair of keys.
func (c *checker) forgetIDs() error {
	c.s.ids.forgetAll()
	return nil
}

func (c *checker) readTraffic(key, value []byte) error {
	if len(key) != trafficSize(key) {
		return fmt.Errorf("%w: traffic of nobody", ErrDamaged)
	}
	_, err := decodeTraffic(value)
	if err == nil {
		_, err = c.s.trafficOf(key)
	}
	return err
}

// unreadable reports whether a record is damaged, where err is about that and
// not about the disk.
func unreadable(err error) bool { return errors.Is(err, ErrDamaged) || errors.Is(err, ErrNewer) }

// records holds that what sums and chains are read from can be read. Sums are
// made anew later; who used a chain that can't be read is charged without it.
func (c *checker) records() error {
	for _, r := range []struct {
		tag  byte
		what string
		loss bool
		read func(key, value []byte) error
	}{
		{tagRoot, "an account", true, func(_, value []byte) error { _, err := decodeRoot(value); return err }},
		{tagTraffic, "a day of traffic", true, c.readTraffic},
		{tagMoved, "a day of traffic", true, c.readTraffic},
		{tagCounter, "a counter", false, func(_, value []byte) error { _, err := decodeCounter(value); return err }},
		{tagChainRef, "the uses of a chain", false, func(_, value []byte) error { _, err := decodeNumber(value); return err }},
		{tagChainID, "the number of a chain", false, func(_, value []byte) error { _, err := decodeNumber32(value); return err }},
		{tagChain, "a chain", false, c.readChain()},
	} {
		err := c.s.scanAll([]byte{r.tag}, func(key, value []byte) error {
			err := r.read(key, value)
			if !unreadable(err) {
				return err
			}
			c.problem(r.loss, "%s can't be read (%v)", r.what, err)
			c.delete(append([]byte{}, key...))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// shares holds that each share has its body and each of its holders a lease.
func (c *checker) shares() error {
	c.broken = map[lease.ShareID]bool{}
	var at lease.ShareID
	known := false
	return c.s.scanAll([]byte{tagShare}, func(key, value []byte) error {
		id := shareOf(key[1:])
		if len(key) == shareKeySize {
			at, known = id, true
			return c.share(id, value)
		}
		if !known || at != id {
			c.problem(false, "share %v: a holder is noted, and there is no such share", id)
			c.delete(append([]byte{}, key...))
			return nil
		}
		column := be32(key[shareKeySize:])
		_, ok, err := c.s.eng.get(leaseKey(column, id))
		if err == nil && !ok {
			c.problem(false, "share %v: a holder is noted who has no lease", id)
			c.delete(append([]byte{}, key...))
		}
		return err
	})
}

func (c *checker) share(id lease.ShareID, value []byte) error {
	c.checked.Shares++
	share, err := decodeShare(value)
	if err != nil {
		c.problem(true, "share %v: its record can't be read (%v)", id, err)
		c.broken[id] = true
		return nil
	}
	if share.State == lease.Going {
		_, noted, err := c.s.eng.get(withShare(tagGoing, id))
		if err == nil && !noted {
			c.problem(false, "share %v: it is being deleted, and nothing says so", id)
			c.put(withShare(tagGoing, id), encodeNumber(share.File))
		}
		return err
	}
	if share.State != lease.Stable {
		c.problem(true, "share %v: its state is %d, which there is not", id, share.State)
		c.broken[id] = true
		return nil
	}
	what, err := c.body(id, share)
	if what != "" {
		c.problem(true, "share %v: %s", id, what)
		c.broken[id] = true
	}
	return err
}

// body says what is wrong with a share's body, if anything is.
func (c *checker) body(id lease.ShareID, share lease.Share) (string, error) {
	if share.File == 0 {
		b, ok, err := c.s.eng.get(withShare(tagBody, id))
		switch {
		case err != nil:
			return "", err
		case !ok:
			return "its bytes are missing", nil
		case int64(len(b)) != share.Size:
			return fmt.Sprintf("it has %d bytes, and should have %d", len(b), share.Size), nil
		}
		return "", nil
	}
	c.checked.Files++
	path := c.s.sharePath(id)
	if c.s.files.isPending(id, share.File) {
		path = c.s.incomingPath(share.File)
	}
	info, err := c.s.fs.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "its file is missing", nil
	case err != nil:
		return "", err
	case info.Size() != share.Size:
		return fmt.Sprintf("its file has %d bytes, and should have %d", info.Size(), share.Size), nil
	}
	return "", nil
}

// leases holds that each lease has a share, a holder, a chain and its place
// among the share's holders.
func (c *checker) leases() error {
	return c.s.scanAll([]byte{tagLease}, func(key, value []byte) error {
		c.checked.Leases++
		if len(key) != leaseKeySize {
			c.problem(true, "a lease has an impossible name")
			c.delete(append([]byte{}, key...))
			return nil
		}
		return c.lease(append([]byte{}, key...), value)
	})
}

func (c *checker) lease(key, value []byte) error {
	column, id := be32(key[1:]), shareOf(key[5:])
	l, err := decodeLease(value)
	if err != nil {
		c.problem(true, "share %v: a lease can't be read (%v)", id, err)
		c.dropLease(column, id)
		return nil
	}
	share, ok, err := c.s.Share(id)
	switch {
	case err != nil && !unreadable(err):
		return err
	case !ok:
		c.problem(true, "share %v: there is a lease, and no share", id)
		c.dropLease(column, id)
		return nil
	case c.broken[id] || share.State != lease.Stable:
		if !c.broken[id] {
			c.problem(true, "share %v: there is a lease, and the share is being deleted", id)
		}
		c.dropLease(column, id)
		return nil
	}
	return c.holder(column, id, l)
}

func (c *checker) dropLease(column uint32, id lease.ShareID) {
	c.delete(leaseKey(column, id))
	c.delete(holderKey(id, column))
}

// holder holds that whoever has the lease is known, by the chain too.
func (c *checker) holder(column uint32, id lease.ShareID, l lease.Lease) error {
	if _, err := c.s.columnOf(column); errors.Is(err, ErrDamaged) {
		c.problem(true, "share %v: a lease is of an unknown holder, number %d; it becomes a starter lease", id, column)
		c.dropLease(column, id)
		l.Chain = 0
		c.put(leaseKey(lease.StarterID, id), encodeLease(l))
		c.put(holderKey(id, lease.StarterID), nil)
		return nil
	} else if err != nil {
		return err
	}
	if _, ok, err := c.s.eng.get(holderKey(id, column)); err != nil {
		return err
	} else if !ok {
		c.problem(false, "share %v: it does not know one of its leases", id)
		c.put(holderKey(id, column), nil)
	}
	if l.Chain == 0 {
		return nil
	}
	chain, ok, err := c.s.Chain(l.Chain)
	if of, ofErr := c.s.columnOf(column); err == nil && ofErr == nil && ok && chain.Column == of {
		return nil
	}
	if err != nil && !unreadable(err) {
		return err
	}
	c.problem(true, "share %v: nobody knows by whose grant a lease was made; only its holder is charged for it", id)
	l.Chain = 0
	c.put(leaseKey(column, id), encodeLease(l))
	return nil
}

// bodies holds that every body in the table belongs to a share, and removes
// what broken shares leave behind.
func (c *checker) bodies() error {
	for id := range c.broken {
		c.delete(withShare(tagShare, id))
		c.delete(withShare(tagBody, id))
		c.delete(withShare(tagGoing, id))
	}
	err := c.s.scanAll([]byte{tagBody}, func(key, _ []byte) error {
		share, ok, err := c.s.Share(shareOf(key[1:]))
		if err == nil && (!ok || share.File != 0) {
			c.problem(false, "share %v: bytes in the table that belong to nothing", shareOf(key[1:]))
			c.delete(append([]byte{}, key...))
		}
		if unreadable(err) {
			return nil // its share is broken
		}
		return err
	})
	return errors.Join(err, c.going())
}

// going holds that the list of what is to be deleted is right.
func (c *checker) going() error {
	return c.s.scanAll([]byte{tagGoing}, func(key, value []byte) error {
		id := shareOf(key[1:])
		if c.broken[id] {
			return nil
		}
		share, ok, err := c.s.Share(id)
		if err != nil {
			return err
		}
		file, err := decodeNumber(value)
		switch {
		case !ok || share.State == lease.Stable && share.File != 0:
			c.problem(false, "share %v: it is to be deleted, and is no share without a lease", id)
			c.delete(append([]byte{}, key...))
		case err != nil || share.State == lease.Going && file != share.File:
			c.problem(false, "share %v: it is to be deleted, and which file of it can't be read", id)
			c.put(append([]byte{}, key...), encodeNumber(share.File))
		}
		return nil
	})
}

// files deletes those of broken shares.
func (c *checker) files() error {
	if !c.repair {
		return nil
	}
	for id := range c.broken {
		if err := c.s.removeShareFile(id); err != nil {
			return err
		}
	}
	return nil
}

// sums holds that all sums are right, and makes them anew if they are to be.
func (c *checker) sums() error {
	if !c.repair && len(c.found) > 0 {
		return nil // what was found is reason enough for sums to be wrong
	}
	r, err := c.s.recount()
	if err != nil {
		return err
	}
	for _, d := range r.found {
		c.problem(false, "%v", d)
	}
	if !c.repair || len(r.found) == 0 {
		return nil
	}
	for _, step := range []func(*recount) error{c.mendShares, c.mendChains, c.mendKeys, c.mendCounters} {
		if err := step(r); err != nil {
			return err
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
	left, err := c.s.Recount()
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%w: %v, after the sums were made anew", ErrDamaged, left[0])
	}
	return err
}

// mendShares writes how many leases each has; one without begins to go.
func (c *checker) mendShares(r *recount) error {
	for _, e := range r.wrong {
		if e.Share.Leases == 0 && e.Share.State == lease.Stable {
			e.Share.State = lease.Going
			c.put(withShare(tagGoing, e.ID), encodeNumber(e.Share.File))
			c.s.files.claim(nil, []lease.ShareID{e.ID}, nil)
		}
		c.put(withShare(tagShare, e.ID), encodeShare(e.Share))
	}
	return nil
}

// mendChains writes how often each is used, and forgets those that are not.
func (c *checker) mendChains(r *recount) error {
	for _, tag := range []byte{tagChainID, tagChainRef} {
		err := c.s.scanAll([]byte{tag}, func(key, _ []byte) error {
			c.delete(append([]byte{}, key...))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return c.s.scanAll([]byte{tagChain}, func(key, _ []byte) error {
		id := be32(key[1:])
		if r.chains[id] == 0 {
			c.delete(withID(tagChain, id))
			c.delete(withID(tagShown, id))
			return nil
		}
		chain, _, err := c.s.Chain(id)
		if err != nil {
			return err
		}
		at, _, err := c.s.chainIDKey(chain.Key(), c.s.columnID)
		c.put(withID(tagChainRef, id), encodeNumber32(uint32(r.chains[id])))
		c.put(at, encodeNumber32(id))
		return err
	})
}

// mendKeys writes how often each is used, and forgets those that are not.
func (c *checker) mendKeys(r *recount) error {
	known, gone := map[lease.Column]bool{}, map[lease.Column]uint32{}
	err := c.s.scanAll([]byte{tagKeyID}, func(key, _ []byte) error {
		id := be32(key[1:])
		column, err := c.s.columnOf(id)
		if err != nil {
			return err
		}
		known[column] = true
		if uses := r.keys[column]; uses > 0 {
			c.put(withPublicKey(tagKey, column.Key), encodeKey(lease.KeyEntry{ID: id, Refs: uint32(uses)}))
		} else {
			c.delete(withPublicKey(tagKey, column.Key))
			c.delete(withID(tagKeyID, id))
			gone[column] = id
		}
		return nil
	})
	if err == nil {
		err = c.mendTraffic(r, gone)
	}
	for column, id := range gone {
		c.s.ids.forget(column, id)
	}
	if err != nil {
		return err
	}
	return c.newKeys(r, known)
}

// mendTraffic leaves nothing of keys that are gone and of pairs that hold
// nothing.
func (c *checker) mendTraffic(r *recount, gone map[lease.Column]uint32) error {
	return c.s.scanTraffic(func(key, _ []byte) error {
		k, err := c.s.trafficOf(key)
		_, held := r.counters[k.Of]
		if _, forgotten := gone[k.Of.Of]; forgotten || k.Of.Kind == lease.PairCounter && !held {
			c.delete(append([]byte{}, key...))
		}
		return err
	})
}

// newKeys gives an id to roots that have none.
func (c *checker) newKeys(r *recount, known map[lease.Column]bool) error {
	last, err := c.s.LastID(lease.KeySequence)
	if err != nil {
		return err
	}
	for _, column := range slices.SortedFunc(maps.Keys(r.keys), lease.Column.Compare) {
		if known[column] {
			continue
		}
		last = max(last+1, lease.FirstKeyID)
		c.put(withPublicKey(tagKey, column.Key), encodeKey(lease.KeyEntry{ID: last, Refs: uint32(r.keys[column])}))
		c.put(withID(tagKeyID, last), append([]byte{}, column.Key[:]...))
		c.put(sequenceKey(lease.KeySequence), encodeNumber32(last))
	}
	return nil
}

// mendCounters writes all of them anew.
func (c *checker) mendCounters(r *recount) error {
	err := c.s.scanAll([]byte{tagCounter}, func(key, _ []byte) error {
		c.delete(append([]byte{}, key...))
		return nil
	})
	for _, k := range slices.SortedFunc(maps.Keys(r.counters), lease.CounterKey.Compare) {
		key, ok, keyErr := c.s.counterKey(k, c.s.columnID)
		if keyErr == nil && !ok {
			keyErr = fmt.Errorf("%w: %v has no id", ErrDamaged, k)
		}
		if err = errors.Join(err, keyErr); err != nil {
			return err
		}
		c.put(key, encodeCounter(r.counters[k]))
	}
	return err
}
