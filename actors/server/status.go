package server

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

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
	s.Accounts, s.Free, s.Reserved = accounts(roots), l.free, l.rules.Reserved().Bytes
	ctx.Send(m.replyTo, s)
}

// accounts counts the roots with a key.
func accounts(roots []lease.Root) (n int) {
	for _, r := range roots {
		if !r.Key.IsZero() {
			n++
		}
	}
	return n
}
