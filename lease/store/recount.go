package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tarn-grid/tarn/lease"
)

// Difference is a sum that the table keeps and that its leases contradict: a
// bug, or a damaged disk.
type Difference struct {
	What            string // for a person
	Stored, Counted lease.Counter
}

// String says both sums.
func (d Difference) String() string {
	return fmt.Sprintf("%s: %d bytes, %d leases are stored, %d bytes, %d leases were counted",
		d.What, d.Stored.Bytes, d.Stored.Leases, d.Counted.Bytes, d.Counted.Leases)
}

// Recount compares every sum in the table with what its leases say: counters,
// leases of each share, uses of each chain and key, and whether both orders of
// leases agree. It sees each record once; while it runs nothing should be
// applied.
func (s *Store) Recount() ([]Difference, error) {
	r, err := s.recount()
	if err != nil {
		return nil, err
	}
	return r.found, nil
}

func (s *Store) recount() (*recount, error) {
	r := &recount{s: s, counters: map[lease.CounterKey]lease.Counter{}, chains: map[uint32]int64{},
		records: map[uint32]lease.ChainRecord{}, keys: map[lease.Column]int64{}}
	for _, step := range []func() error{r.leases, r.shares, r.compareChains, r.compareCounters, r.compareKeys} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("recount: %w", err)
		}
	}
	return r, nil
}

type recount struct {
	s        *Store
	counters map[lease.CounterKey]lease.Counter
	chains   map[uint32]int64
	records  map[uint32]lease.ChainRecord
	keys     map[lease.Column]int64
	total    int64               // leases
	wrong    []lease.StoredShare // with the number of leases that they should have
	found    []Difference
}

func (r *recount) differ(stored, counted lease.Counter, format string, args ...any) {
	if stored != counted {
		r.found = append(r.found, Difference{fmt.Sprintf(format, args...), stored, counted})
	}
}

func (r *recount) add(k lease.CounterKey, bytes, leases int64) {
	c := r.counters[k]
	r.counters[k] = lease.Counter{Bytes: c.Bytes + bytes, Leases: c.Leases + leases}
}

func (r *recount) leases() error {
	return r.s.scanAll([]byte{tagLease}, func(key, value []byte) error {
		id, l, err := r.s.leaseEntry(key, value)
		if err != nil {
			return err
		}
		r.total++
		chain, err := r.chain(id.Column, l.Chain)
		for _, k := range chain.Charges() {
			r.add(k, l.Size+lease.LeaseOverhead, 1)
		}
		return err
	})
}

// chain counts a use; its first one counts the chain's own cost.
func (r *recount) chain(c lease.Column, id uint32) (lease.ChainRecord, error) {
	if id == 0 {
		return lease.ChainRecord{Column: c}, nil
	}
	r.chains[id]++
	if chain, ok := r.records[id]; ok {
		return chain, nil
	}
	chain, ok, err := r.s.Chain(id)
	if err == nil && !ok {
		err = fmt.Errorf("%w: chain %d is missing", ErrDamaged, id)
	}
	r.records[id] = chain
	for _, k := range chain.Charges() {
		r.add(k, chain.Cost(), 0)
	}
	return chain, err
}

// shares compares each share's count with the holders that follow it.
func (r *recount) shares() error {
	var id lease.ShareID
	var share lease.Share
	var holders, all int64
	done := func() {
		if int64(share.Leases) == holders {
			return
		}
		r.differ(lease.Counter{Leases: int64(share.Leases)}, lease.Counter{Leases: holders}, "share %v", id)
		right := share
		right.Leases = uint32(holders)
		r.wrong = append(r.wrong, lease.StoredShare{ID: id, Share: right})
	}
	err := r.s.scanAll([]byte{tagShare}, func(key, value []byte) (err error) {
		if len(key) == shareKeySize {
			done()
			id, holders = shareOf(key[1:]), 0
			share, err = decodeShare(value)
			return err
		}
		holders++
		all++
		return nil
	})
	done()
	r.differ(lease.Counter{Leases: all}, lease.Counter{Leases: r.total}, "leases by share")
	return err
}

func (r *recount) compareChains() error {
	stored := map[uint32]bool{}
	err := r.s.scanAll([]byte{tagChainRef}, func(key, value []byte) error {
		refs, err := decodeNumber(value)
		id := be32(key[1:])
		r.differ(lease.Counter{Leases: int64(refs)}, lease.Counter{Leases: r.chains[id]}, "chain %d", id)
		stored[id] = true
		return err
	})
	for _, id := range slices.Sorted(maps.Keys(r.chains)) {
		if !stored[id] {
			r.differ(lease.Counter{}, lease.Counter{Leases: r.chains[id]}, "chain %d", id)
		}
	}
	return errors.Join(err, r.findChains())
}

// findChains holds that each chain in use can be found, and no other is there.
func (r *recount) findChains() error {
	return r.s.scanAll([]byte{tagChain}, func(key, _ []byte) error {
		id := be32(key[1:])
		chain, _, err := r.s.Chain(id)
		if err != nil {
			return err
		}
		found, ok, err := r.s.ChainID(chain.Key())
		if r.chains[id] == 0 || !ok || found != id {
			r.found = append(r.found, Difference{What: fmt.Sprintf("chain %d is in disorder", id), Counted: lease.Counter{Leases: r.chains[id]}})
		}
		return err
	})
}

func (r *recount) compareCounters() error {
	for _, k := range slices.SortedFunc(maps.Keys(r.counters), lease.CounterKey.Compare) {
		stored, _, err := r.s.Counter(k)
		if err != nil {
			return err
		}
		r.differ(stored, r.counters[k], "%v", k)
		r.use(k.Of)
		if k.Kind == lease.PairCounter {
			r.use(lease.ColumnOf(k.Delegate))
		}
	}
	stored := int64(0)
	err := r.s.scanAll([]byte{tagCounter}, func([]byte, []byte) error { stored++; return nil })
	r.differ(lease.Counter{Leases: stored}, lease.Counter{Leases: int64(len(r.counters))}, "number of counters")
	return err
}

func (r *recount) use(c lease.Column) {
	if _, fixed := fixedID(c); !fixed {
		r.keys[c]++
	}
}

func (r *recount) compareKeys() error {
	roots, err := r.s.Roots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		r.use(lease.ColumnOf(root.Key))
	}
	known := int64(0)
	err = r.s.scanAll([]byte{tagKey}, func(key, value []byte) error {
		known++
		e, err := decodeKey(value)
		c := lease.Column{}
		copy(c.Key[:], key[1:])
		r.differ(lease.Counter{Leases: int64(e.Refs)}, lease.Counter{Leases: r.keys[c]}, "uses of key %v", c)
		return err
	})
	r.differ(lease.Counter{Leases: known}, lease.Counter{Leases: int64(len(r.keys))}, "number of keys")
	return err
}
