package privacy

import (
	"github.com/tarn-grid/tarn/actors/server"
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

// OpenLoose implements server.Store.
func (s table) OpenLoose(id lease.ShareID) (server.Body, error) {
	b, err := s.Store.OpenLoose(id)
	if err != nil {
		return nil, err
	}
	return shareBody{b}, nil
}
