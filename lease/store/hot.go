package store

import "sync"

// hotCache keeps the small records that nearly every step reads: roots,
// counters, chains, keys; also that there is none. Without it a step costs ten
// descents into Pebble instead of three.
type hotCache struct {
	mu      sync.Mutex
	records map[string]hotRecord
	changes uint64
}

type hotRecord struct {
	value []byte
	ok    bool
}

// hotRecords bounds the cache: it is emptied when full; about 1.5 MiB.
const hotRecords = 8192

func isHot(key []byte) bool {
	switch key[0] {
	case tagKey, tagCounter, tagRoot, tagRevoked, tagCancel, tagChain, tagShown, tagChainID, tagChainRef, tagMeta:
		return true
	}
	return false
}

// get is the engine's get, remembered. What a reader found before a change
// must not be remembered after it.
func (s *Store) get(key []byte) ([]byte, bool, error) {
	if !isHot(key) {
		return s.eng.get(key)
	}
	h := &s.hot
	h.mu.Lock()
	r, found := h.records[string(key)]
	before := h.changes
	h.mu.Unlock()
	if found {
		return r.value, r.ok, nil
	}
	value, ok, err := s.eng.get(key)
	if err != nil {
		return nil, false, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changes == before {
		h.remember(key, hotRecord{value, ok})
	}
	return value, ok, nil
}

// follow takes over what a batch wrote. It comes after the batch, so that a
// reader who still found the old record sees that something has changed.
func (h *hotCache) follow(b batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes++
	for _, e := range b {
		if isHot(e.key) {
			h.remember(e.key, hotRecord{e.value, !e.delete})
		}
	}
}

func (h *hotCache) remember(key []byte, r hotRecord) {
	if h.records == nil || len(h.records) >= hotRecords {
		h.records = map[string]hotRecord{}
	}
	h.records[string(key)] = r
}
