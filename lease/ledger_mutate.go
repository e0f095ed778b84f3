package lease

import (
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// Seen is a share as it was when it was decided what to write: how often it had
// been written, 0 if it was not there.
type Seen struct {
	Num    grid.ShareNum
	Writes uint64
}

// ShareWrite is what a share is to be from now on. The body is all of it, its
// UEBHash zero; where the share is a file, so is the body, however short.
type ShareWrite struct {
	Num  grid.ShareNum
	Body Body
}

// Mutation changes shares of one file, all of them or none. Both lists name no
// share twice.
type Mutation struct {
	StorageIndex grid.StorageIndex
	Enabler      WriteEnabler
	// Seen is every share that what is written depends on, those in Writes among
	// them.
	Seen   []Seen
	Writes []ShareWrite
}

// Mutated is the answer to Mutate.
type Mutated struct {
	Expires int64 // of the writer's leases, the earliest, Unix seconds
}

// Mutate writes, where nothing of what was seen has changed. A share that is new
// takes the write enabler, one that is there must have it. The writer gets a
// lease on each, or his lease is made again; it stands under the chain that he
// writes by, at the share's new size, and every budget of the grant must have
// room for what it gains by that. Leases of others keep their size until they
// are made again. What ReserveWrite had promised for these shares ends with it.
// Errors: those of a grant that does not permit it, ErrWriteEnabler, ErrRaced,
// ErrOverQuota, ErrServerFull. After one of them reservations are as they were.
func (l *Ledger) Mutate(now time.Time, g Grant, m Mutation, free int64) (Change, Mutated, error) {
	t := newTx(l.view)
	held := l.suspend(t, g, m)
	change, done, err := l.mutate(t, now, g, m, free)
	if err != nil {
		for _, h := range held {
			l.hold(newTx(l.view), h.id, h.reservation)
		}
		return Change{}, Mutated{}, err
	}
	l.settlePins(t)
	return change, done, nil
}

// held is a reservation that a write takes the place of.
type held struct {
	id LeaseID
	reservation
}

func (l *Ledger) suspend(t *tx, g Grant, m Mutation) (all []held) {
	for _, w := range m.Writes {
		id := LeaseID{g.Column(), ShareID{m.StorageIndex, w.Num}}
		if r, ok := l.coming[id]; ok && r.writes {
			l.release(t, id, r)
			all = append(all, held{id, r})
		}
	}
	return all
}

func (l *Ledger) mutate(t *tx, now time.Time, g Grant, m Mutation, free int64) (Change, Mutated, error) {
	if err := l.mutable(t, now, g, m); err != nil {
		return Change{}, Mutated{}, err
	}
	if !l.roomFor(m.disk(), free) {
		return Change{}, Mutated{}, ErrServerFull
	}
	budgets := l.budgets(t, g)
	before := t.stored(budgets)
	var done Mutated
	for _, w := range m.Writes {
		expires := l.write(t, now, g, m, w)
		if done.Expires == 0 || expires < done.Expires {
			done.Expires = expires
		}
	}
	if err := l.gains(t, g, budgets, before); err != nil {
		return Change{}, Mutated{}, err
	}
	change, err := t.finish()
	return change, done, err
}

// mutable checks that a grant may change the shares, and that they are as they
// were seen.
func (l *Ledger) mutable(t *tx, now time.Time, g Grant, m Mutation) error {
	if m.Enabler == (WriteEnabler{}) {
		return malformed("no write enabler")
	}
	if err := l.permit(t, now, g, OpMutate, ShareID{StorageIndex: m.StorageIndex}); err != nil {
		return err
	}
	for _, w := range m.Writes {
		if w.Body.Size < 0 || w.Body.Size > maxShareSize || w.Body.File == 0 && int64(len(w.Body.Inline)) != w.Body.Size {
			return malformed("a body of %d bytes that should have %d", len(w.Body.Inline), w.Body.Size)
		}
		if err := permitSize(g, w.Body.Size); err != nil {
			return err
		}
	}
	for _, w := range m.Writes {
		old, ok := t.shares.get(ShareID{m.StorageIndex, w.Num})
		if ok && old.State == Stable && old.File != 0 && w.Body.File == 0 {
			return malformed("share %d is a file and stays one", w.Num)
		}
	}
	for _, s := range m.Seen {
		if err := t.unchanged(ShareID{m.StorageIndex, s.Num}, s.Writes, m.Enabler); err != nil {
			return err
		}
	}
	return t.err
}

func (t *tx) unchanged(id ShareID, writes uint64, enabler WriteEnabler) error {
	share, ok := t.shares.get(id)
	there := ok && share.State == Stable
	switch {
	case t.err != nil:
		return t.err
	case there && !share.Enabler.Equal(enabler):
		return ErrWriteEnabler
	case there && share.Writes != writes, !there && writes != 0:
		return ErrRaced
	}
	return nil
}

// disk is how much of the disk is written anew.
func (m Mutation) disk() (n int64) {
	for _, w := range m.Writes {
		n += w.Body.Size + LeaseOverhead
	}
	return n
}

// write makes a share what it is to be, with the writer's lease on it, and says
// when that ends.
func (l *Ledger) write(t *tx, now time.Time, g Grant, m Mutation, w ShareWrite) int64 {
	id := ShareID{m.StorageIndex, w.Num}
	old, ok := t.shares.get(id)
	share := Share{State: Stable, Size: w.Body.Size, Enabler: m.Enabler, Writes: 1, File: w.Body.File}
	if ok && old.State == Stable {
		share.Leases, share.Writes = old.Leases, old.Writes+1
	}
	if w.Body.File == 0 {
		t.inline.put(id, w.Body.Inline)
	} else if ok && old.File == 0 {
		t.inline.delete(id)
	}
	key := LeaseID{g.Column(), id}
	lease, had := t.leases.get(key)
	before := lease
	if !had {
		lease = Lease{Made: now.Unix(), Renewed: now.Unix(), Expires: l.expires(now)}
		share.Leases++
	}
	l.prolong(now, &lease)
	lease.Chain, lease.Size = t.charge(g.chain(), share.Size), share.Size
	if had {
		t.discharge(key.Column, before)
	}
	t.leases.put(key, lease)
	t.shares.put(id, share)
	return lease.Expires
}

// gains checks that no budget has gained more than it has room for. A chain that
// is stored by this step needs no place among what is reserved any more.
func (l *Ledger) gains(t *tx, g Grant, budgets []budget, before []int64) error {
	chain := g.chain()
	pinned := int64(0)
	if l.pins[chain.Key()].held {
		pinned = chain.Cost()
	}
	for i, after := range t.stored(budgets) {
		b := budgets[i]
		reserved := l.reserved[b.key].Bytes - pinned
		if after > before[i] && after > b.limit-reserved {
			return &OverQuotaError{Counter: b.key, Limit: b.limit, Used: before[i] + reserved, Needed: after - before[i]}
		}
	}
	return t.err
}

// ReserveWrite promises room for a share that is on its way and will be written
// by Mutate: size is what it will have, and what it grows by beyond the writer's
// lease is charged meanwhile. It ends with Mutate or Release. Errors are those of
// Mutate, but for ErrRaced, and ErrComing.
func (l *Ledger) ReserveWrite(now time.Time, g Grant, id ShareID, enabler WriteEnabler, size, free int64) error {
	t := newTx(l.view)
	share, ok := t.shares.get(id)
	seen := Seen{Num: id.Num, Writes: share.Writes}
	if !ok || share.State != Stable {
		seen.Writes = 0
	}
	if err := l.mutable(t, now, g, Mutation{StorageIndex: id.StorageIndex, Enabler: enabler, Seen: []Seen{seen}}); err != nil {
		return err
	}
	if size < 0 || size > maxShareSize {
		return malformed("a share of %d bytes", size)
	}
	if err := permitSize(g, size); err != nil {
		return err
	}
	growth := size
	if lease, ok := t.leases.get(LeaseID{g.Column(), id}); ok {
		growth = max(0, size-lease.Size-LeaseOverhead)
	}
	if !l.roomFor(size+LeaseOverhead, free) {
		return ErrServerFull
	}
	if err := l.reservable(t, g, id, growth, free); err != nil {
		return err
	}
	l.hold(t, LeaseID{g.Column(), id}, reservation{grant: g, size: growth, writes: true})
	return t.err
}
