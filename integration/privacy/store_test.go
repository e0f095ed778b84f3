package privacy

import (
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
)

// table is a store as the server's actors want it.
type table struct{ *store.Store }

var _ server.Store = table{}

// Apply implements server.Store.
func (s table) Apply(c lease.Change) (func() error, error) {
	commit, err := s.Store.Apply(c)
	if err != nil {
		return nil, err
	}
	return commit.Wait, nil
}

// ListShares implements server.Store.
func (s table) ListShares(si grid.StorageIndex) ([]server.StoredShare, error) {
	entries, err := s.Store.ListShares(si)
	shares := make([]server.StoredShare, len(entries))
	for i, e := range entries {
		shares[i] = server.StoredShare(e)
	}
	return shares, err
}

// OpenShare implements server.Store.
func (s table) OpenShare(id lease.ShareID) (server.Body, error) {
	b, err := s.Store.OpenShare(id)
	if err != nil {
		return nil, err
	}
	return shareBody{b}, nil
}

type shareBody struct{ *store.Body }

// Size implements server.Body.
func (b shareBody) Size() int64 { return b.Body.Size }

// SmallShare implements server.Store.
func (table) SmallShare() int64 { return store.SmallShare }

// Incoming implements server.Store.
func (s table) Incoming() (server.Incoming, error) { return s.Store.Incoming() }

// ScanExpired implements server.Store.
func (s table) ScanExpired(now time.Time, from []byte, limit int) ([]lease.LeaseID, []byte, error) {
	return s.Store.ScanExpired(now, from, limit)
}

// LeasesAfter implements server.Store.
func (s table) LeasesAfter(c lease.Column, share *lease.ShareID, limit int) ([]server.StoredLease, bool, error) {
	entries, more, err := s.Store.LeasesAfter(c, share, limit)
	leases := make([]server.StoredLease, len(entries))
	for i, e := range entries {
		leases[i] = server.StoredLease(e)
	}
	return leases, more, err
}

// ScanUnder implements server.Store.
func (s table) ScanUnder(root grid.PublicKey, from []byte, limit int) ([]server.StoredLease, []byte, error) {
	found, next, err := s.Store.ScanUnder(root, from, limit)
	all := make([]server.StoredLease, len(found))
	for i, l := range found {
		all[i] = server.StoredLease(l)
	}
	return all, next, err
}

// Progress implements server.Store.
func (s table) Progress() ([]byte, error) { return s.Store.Progress() }

// SaveProgress implements server.Store.
func (s table) SaveProgress(cursor []byte) error { return s.Store.SaveProgress(cursor) }

// Holders implements server.Store.
func (s table) Holders(id lease.ShareID) ([]server.StoredLease, error) {
	found, err := s.Store.Holders(id)
	all := make([]server.StoredLease, len(found))
	for i, l := range found {
		all[i] = server.StoredLease(l)
	}
	return all, err
}

// OpenLoose implements server.Store.
func (s table) OpenLoose(id lease.ShareID) (server.Body, error) {
	b, err := s.Store.OpenLoose(id)
	if err != nil {
		return nil, err
	}
	return shareBody{b}, nil
}
