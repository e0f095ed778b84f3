package tarn

import (
	"sync"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// helperReferences implements client.ReferenceCache in memory: a file whose ciphertext
// takes long to come, or that is asked for again, is not logged in for once
// more. The oldest make room for new ones.
type helperReferences struct {
	mu    sync.Mutex
	kept  map[referenceKey][]byte
	order []referenceKey // as they came
}

// maxHelperReferences is how many are kept, of some hundred bytes each.
const maxHelperReferences = 10000

type referenceKey struct {
	server     grid.ServerID
	credential lease.CredentialID
}

func newHelperReferences() *helperReferences {
	return &helperReferences{kept: map[referenceKey][]byte{}}
}

// Load implements client.ReferenceCache.
func (r *helperReferences) Load(server grid.ServerID, credential lease.CredentialID) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept[referenceKey{server, credential}], nil
}

// Save implements client.ReferenceCache.
func (r *helperReferences) Save(server grid.ServerID, credential lease.CredentialID, reference []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := referenceKey{server, credential}
	if _, ok := r.kept[key]; !ok {
		if len(r.order) == maxHelperReferences {
			delete(r.kept, r.order[0])
			r.order = r.order[1:]
		}
		r.order = append(r.order, key)
	}
	r.kept[key] = reference
	return nil
}
