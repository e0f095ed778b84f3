package server

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// ErrExists is a key or a petname that an account has already.
var ErrExists = errors.New("there is such an account already")

// AskStatus asks Storage how it is; answered by Status or an error, once it
// listens.
type AskStatus struct{}

// Status is a picture of the server.
type Status struct {
	Server grid.ServerID
	// Hints are the addresses that are announced.
	Hints []grid.Hint
	// Sessions is how many connections are open, Uploads how many shares are
	// being pulled, Accounts how many roots there are.
	Sessions, Uploads, Accounts int
	// Free is what the disk has, Reserved the bytes of uploads in progress.
	Free, Reserved int64
}

// askLedger is AskStatus on its way through the ledger.
type askLedger struct {
	replyTo *actor.PID
	status  Status
}

func (l *ledger) status(ctx actor.Context, m askLedger) {
	roots, err := l.config.Store.Roots()
	if err != nil {
		ctx.Send(m.replyTo, fmt.Errorf("list the accounts: %w", err))
		return
	}
	s := m.status
	s.Accounts, s.Free, s.Reserved = len(roots), l.free, l.rules.Reserved().Bytes
	ctx.Send(m.replyTo, s)
}

// unknown refuses a key or petname that is there already.
func (l *ledger) unknown(r lease.Root) error {
	roots, err := l.config.Store.Roots()
	if err != nil {
		return err
	}
	for _, old := range roots {
		if old.Key == r.Key {
			return fmt.Errorf("%w: the key of %s", ErrExists, old.Petname)
		}
		if r.Petname != "" && old.Petname == r.Petname {
			return fmt.Errorf("%w: %s", ErrExists, old.Petname)
		}
	}
	return nil
}
