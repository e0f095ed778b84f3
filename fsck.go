package tarn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
)

// CheckReport is what a look at everything that a server keeps has found.
type CheckReport struct {
	// Shares and Leases are records that were looked at, Files bodies outside of
	// the table.
	Shares, Leases, Files int64
	Problems              []CheckProblem
}

// CheckProblem is something that should not be.
type CheckProblem struct {
	What string // a sentence
	// Loss says that mending it gives up what it is about; Mended that this was
	// done, Left that nothing can be done here.
	Loss, Mended, Left bool
}

// Check looks at every record and file of the server and compares them, and
// mends what is wrong with repair set: sums are made anew, leases on shares
// whose bytes are gone end, and shares on the disk that no lease knows get
// starter leases. It can be repeated, after an interruption too.
func (o *OfflineOperator) Check(ctx context.Context, repair bool) (CheckReport, error) {
	checked, found, err := o.store.Check(repair)
	r := CheckReport{Shares: checked.Shares, Leases: checked.Leases, Files: checked.Files}
	for _, p := range found {
		r.Problems = append(r.Problems, CheckProblem{What: p.What, Loss: p.Loss, Mended: repair && err == nil})
	}
	if err != nil {
		return r, public(o.folder.storageError(err))
	}
	folders, err := o.store.LooseFolders()
	if err != nil {
		return r, err
	}
	for _, folder := range folders {
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		if err := o.checkLoose(folder, repair, &r); err != nil {
			return r, err
		}
	}
	if repair {
		err = o.store.EndAdopting()
	}
	return r, err
}

// checkLoose looks at the files of a folder that the table does not know.
func (o *OfflineOperator) checkLoose(folder string, repair bool, r *CheckReport) error {
	loose, strays, err := o.store.LooseShares(folder)
	if err != nil {
		return err
	}
	for _, path := range strays {
		r.Problems = append(r.Problems, CheckProblem{What: path + ": a file that is no share", Left: true})
	}
	for _, id := range loose {
		r.Files++
		body, err := server.VerifyLoose(serverStore{o.store}, id)
		if errors.Is(err, server.ErrNoLooseShare) {
			r.Problems = append(r.Problems, CheckProblem{What: err.Error(), Left: true})
			continue
		}
		if err != nil {
			return err
		}
		r.Problems = append(r.Problems, CheckProblem{
			What: fmt.Sprintf("share %v: its file is here, and the lease table does not know it", id), Mended: repair,
		})
		if !repair {
			continue
		}
		if err := o.apply(o.rules.Adopt(time.Now(), id, body)); err != nil {
			return err
		}
	}
	return nil
}

// apply writes a change and waits for the disk.
func (o *OfflineOperator) apply(c lease.Change, err error) error {
	if err != nil {
		return err
	}
	commit, err := o.store.Apply(c)
	if err != nil {
		return err
	}
	return commit.Wait()
}

// openStorage opens the lease table and the shares.
func (f nodeFolder) openStorage() (*store.Store, error) {
	s, err := store.Open(f.path("storage"), store.Options{})
	if err != nil {
		return nil, fmt.Errorf("open the storage: %w", f.storageError(err))
	}
	return s, nil
}

// storageError says what to do about a table that nobody can mend.
func (f nodeFolder) storageError(err error) error {
	if !errors.Is(err, store.ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w (move %s away: the node then makes a new table, and keeps the larger shares for a month, "+
		"until their owners have renewed them; smaller ones have to be repaired from other servers, and accounts added again)",
		err, f.path("storage", "table"))
}
