package sim_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
)

// errDisk is what a failing disk says.
var errDisk = errors.New("input/output error")

// disk is a server's store, and what may go wrong with a disk.
type disk struct {
	*store.Store
	free   int64 // bytes that it says it has left
	full   bool  // it has none, and refuses to write bodies
	coming int   // files for shares that were begun and not ended
	// fault is asked before each operation, by its name; nil is a good disk.
	fault func(op string) error
	// forgetful is a planted bug: what it says is durable is not.
	forgetful bool
	// wrong is a planted bug: what is written instead of a change.
	wrong func(lease.Change) lease.Change
	// applied is told after each change.
	applied func()
}

var _ server.Store = (*disk)(nil)

func newDisk() *disk { return &disk{Store: store.NewMemory(), free: 1 << 40} }

func (d *disk) fails(op string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(op)
}

// crash leaves what a power failure leaves.
func (d *disk) crash() error {
	s, err := d.AfterCrash()
	if err != nil {
		return fmt.Errorf("crash the store: %w", err)
	}
	d.Store, d.coming = s, 0
	return nil
}

func (d *disk) Apply(c lease.Change) (func() error, error) {
	if err := d.fails("apply"); err != nil {
		return nil, err
	}
	if d.wrong != nil {
		c = d.wrong(c)
	}
	commit, err := d.Store.Apply(c)
	if err != nil {
		return nil, err
	}
	if d.applied != nil {
		d.applied()
	}
	return func() error {
		if d.forgetful {
			return nil
		}
		if err := d.fails("sync"); err != nil {
			return err
		}
		return commit.Wait()
	}, nil
}

func (d *disk) Free() (int64, error) {
	if d.full {
		return 0, nil
	}
	return d.free, d.fails("free")
}

func (d *disk) ListShares(si grid.StorageIndex) ([]lease.StoredShare, error) {
	if err := d.fails("list"); err != nil {
		return nil, err
	}
	return d.Store.ListShares(si)
}

func (d *disk) OpenShare(id lease.ShareID) (server.Body, error) {
	if err := d.fails("open"); err != nil {
		return nil, err
	}
	b, err := d.Store.OpenShare(id)
	if err != nil {
		return nil, err
	}
	return body{b}, nil
}

type body struct{ *store.Body }

func (b body) Size() int64 { return b.Body.Size }

func (d *disk) SmallShare() int64 { return store.SmallShare }

func (d *disk) Incoming() (server.Incoming, error) {
	if err := d.fails("incoming"); err != nil {
		return nil, err
	}
	in, err := d.Store.Incoming()
	if err != nil {
		return nil, err
	}
	d.coming++
	return &incoming{Incoming: in, disk: d, store: d.Store}, nil
}

// incoming is a file on the disk.
type incoming struct {
	*store.Incoming
	disk  *disk
	store *store.Store // in which it is
	ended bool
}

func (i *incoming) end() {
	if !i.ended && i.store == i.disk.Store {
		i.ended = true
		i.disk.coming--
	}
}

func (i *incoming) Discard() error {
	i.end()
	return i.Incoming.Discard()
}

func (i *incoming) WriteAt(b []byte, off int64) (int, error) {
	if i.disk.full {
		return 0, fmt.Errorf("%w: no space left on device", errDisk)
	}
	if err := i.disk.fails("write"); err != nil {
		return 0, err
	}
	return i.Incoming.WriteAt(b, off)
}

func (i *incoming) Seal() (uint64, error) {
	i.end()
	if err := i.disk.fails("seal"); err != nil {
		return 0, err
	}
	return i.Incoming.Seal()
}

func (d *disk) ScanExpired(now time.Time, from []byte, limit int) ([]lease.LeaseID, []byte, error) {
	if err := d.fails("scan"); err != nil {
		return nil, nil, err
	}
	return d.Store.ScanExpired(now, from, limit)
}

func (d *disk) LeasesAfter(c lease.Column, share *lease.ShareID, limit int) ([]lease.StoredLease, bool, error) {
	if err := d.fails("list"); err != nil {
		return nil, false, err
	}
	return d.Store.LeasesAfter(c, share, limit)
}

func (d *disk) ScanUnder(root grid.PublicKey, from []byte, limit int) ([]lease.StoredLease, []byte, error) {
	if err := d.fails("scan"); err != nil {
		return nil, nil, err
	}
	return d.Store.ScanUnder(root, from, limit)
}

func (d *disk) OpenLoose(id lease.ShareID) (server.Body, error) {
	b, err := d.Store.OpenLoose(id)
	if err != nil {
		return nil, err
	}
	return body{b}, nil
}
