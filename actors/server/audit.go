package server

import (
	"fmt"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// AskAudit asks who keeps the shares of a file, and by whose grant; answered
// by Audit.
type AskAudit struct{ StorageIndex grid.StorageIndex }

// Audit is every lease on every share of a file, by share, then column.
type Audit struct {
	Leases []AuditedLease
	// Petnames are those of the keys in it, as far as they have one.
	Petnames map[grid.PublicKey]string
}

// AuditedLease is a lease and how its holder came to it.
type AuditedLease struct {
	lease.StoredLease
	Share lease.Share
	// Keys lead from the root to the key that logged in; none for a column
	// without a key.
	Keys []grid.PublicKey
	// Certificates is the chain as it was shown; the empty one where the root
	// acted itself, or where it is not Kept.
	Certificates lease.Chain
	Kept         bool
}

func (AskAudit) operation() {}

// Ask implements Query.
func (q AskAudit) Ask(s Store, _ time.Time) (any, error) {
	roots, err := s.Roots()
	if err != nil {
		return nil, err
	}
	a := Audit{Petnames: map[grid.PublicKey]string{}}
	for _, r := range roots {
		a.Petnames[r.Key] = r.Petname
	}
	shares, err := s.ListShares(q.StorageIndex)
	if err != nil {
		return nil, err
	}
	for _, share := range shares {
		holders, err := s.Holders(share.ID)
		if err != nil {
			return nil, err
		}
		for _, h := range holders {
			l := AuditedLease{StoredLease: h, Share: share.Share}
			if err := l.findChain(s); err != nil {
				return nil, fmt.Errorf("find the chain of a lease on share %v: %w", h.ID.Share, err)
			}
			a.Leases = append(a.Leases, l)
		}
	}
	return a, nil
}

func (l *AuditedLease) findChain(s Store) error {
	if l.Lease.Chain == 0 {
		return nil
	}
	chain, _, err := s.Chain(l.Lease.Chain)
	if err != nil {
		return err
	}
	l.Keys = chain.Keys
	if chain.Digest == (lease.Digest{}) {
		l.Kept = true
		return nil
	}
	shown, kept, err := s.Certificates(l.Lease.Chain)
	if err != nil || !kept {
		return err
	}
	l.Kept = true
	l.Certificates, err = lease.DecodeChain(shown)
	return err
}
