package main

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
)

// pebble is the table of a server.
type pebble struct {
	store  *store.Store
	ledger *lease.Ledger
}

var root = grid.PublicKey{'r'}

func openPebble(dir string) (table, error) {
	s, err := store.Open(filepath.Join(dir, "storage"), store.Options{})
	if err != nil {
		return nil, err
	}
	p := &pebble{s, lease.NewLedger(s, lease.LedgerPolicy{Duration: lease.LeaseDuration})}
	if err := p.durably(p.ledger.PutRoots(lease.Root{Key: root, Petname: "root"})); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return p, nil
}

func (p *pebble) durably(c lease.Change, err error) error {
	if err != nil {
		return err
	}
	commit, err := p.store.Apply(c)
	if err != nil {
		return err
	}
	return commit.Wait()
}

func (p *pebble) add(first, end int) error {
	var last *store.Commit
	for i := first; i < end; i++ {
		change, _, err := p.ledger.Put(made, grantOf(i%accounts), shareOf(i), lease.Body{}, lease.NoLimit)
		if err != nil {
			return err
		}
		if last, err = p.store.Apply(change); err != nil {
			return err
		}
	}
	return last.Wait()
}

func (p *pebble) usage(account int) (lease.Counter, error) {
	u, err := p.ledger.Usage(lease.ColumnCounterKey(lease.ColumnOf(accountOf(account))))
	return u.Stored, err
}

func (p *pebble) expire(now time.Time) (ended int, err error) {
	for cursor := store.Cursor(nil); ; {
		expired, next, err := p.store.ScanExpired(now, cursor, step)
		if err != nil {
			return ended, err
		}
		change, _, err := p.ledger.Expire(now, expired)
		if err := p.durably(change, err); err != nil {
			return ended, err
		}
		ended += len(expired)
		if next == nil {
			return ended, nil
		}
		cursor = next
	}
}

func (p *pebble) close() error { return p.store.Close() }

func accountOf(n int) (k grid.PublicKey) {
	binary.BigEndian.PutUint64(k[:], uint64(n+1)*0x9e3779b97f4a7c15)
	return k
}

// grantOf is what the root signed for an account.
func grantOf(n int) lease.Grant {
	k := accountOf(n)
	return lease.Grant{
		Root: root, Keys: []grid.PublicKey{root, k}, Label: k, Chain: lease.Digest(k),
		Pairs: []lease.Pair{{Signer: root, Delegate: k}},
	}
}
