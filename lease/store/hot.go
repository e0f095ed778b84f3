package store

import (
	"cmp"
	"slices"
	"sync"
	"unsafe"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// hotCache keeps the small records that nearly every step reads: roots,
// counters, chains, keys; also that there is none. Without it a step costs ten
// descents into Pebble instead of three.
type hotCache struct {
	mu      sync.Mutex
	records recent[string, hotRecord]
	changes uint64
}

type hotRecord struct {
	value []byte
	ok    bool
}

// hotBytes bounds each generation of the cache: some five thousand records, or
// a hundred chains of the largest size as a login showed them. A record costs
// hotOverhead beside its key and value, more or less.
const (
	hotBytes    = 1 << 20
	hotOverhead = 128
)

func newHotCache() hotCache {
	return hotCache{records: newRecent(hotBytes, func(key string, r hotRecord) int {
		return hotOverhead + len(key) + len(r.value)
	})}
}

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
	r, found := h.records.get(string(key))
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
		h.records.put(string(key), hotRecord{value, ok})
	}
	return value, ok, nil
}

// follow has what is remembered take over what a batch wrote.
func (s *Store) follow(b batch) {
	s.hot.follow(b)
	s.lists.follow(b)
}

// follow takes over what a batch wrote. It comes after the batch, so that a
// reader who still found the old record sees that something has changed.
func (h *hotCache) follow(b batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes++
	for _, e := range b {
		if isHot(e.key) {
			h.records.put(string(e.key), hotRecord{e.value, !e.delete})
		}
	}
}

// shareLists remembers which shares there are of the files that were looked at
// lately: of one that is written all the time the engine has many old records,
// through which a scan has to go.
type shareLists struct {
	mu      sync.Mutex
	lists   recent[grid.StorageIndex, []lease.StoredShare]
	changes uint64
}

// listsBytes bounds each generation of the lists, some thousands of them.
const listsBytes = 512 << 10

func newShareLists() shareLists {
	return shareLists{lists: newRecent(listsBytes, func(_ grid.StorageIndex, list []lease.StoredShare) int {
		return hotOverhead + len(list)*int(unsafe.Sizeof(lease.StoredShare{}))
	})}
}

// get is a list that nobody may change, and where the changes stand for put.
func (l *shareLists) get(si grid.StorageIndex) (list []lease.StoredShare, ok bool, changes uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, ok = l.lists.get(si)
	return list, ok, l.changes
}

// put remembers what a scan found, unless something has changed since it began.
func (l *shareLists) put(si grid.StorageIndex, list []lease.StoredShare, changes uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changes == changes {
		l.lists.put(si, list)
	}
}

// follow takes over what a batch wrote; it comes after the batch.
func (l *shareLists) follow(b batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range b {
		if e.key[0] == tagShare && len(e.key) == shareKeySize {
			l.changes++
			l.change(shareOf(e.key[1:]), e)
		}
	}
}

// change replaces the list of a file whose share has changed.
func (l *shareLists) change(id lease.ShareID, e edit) {
	list, ok := l.lists.get(id.StorageIndex)
	if !ok {
		return
	}
	share, err := lease.Share{}, error(nil)
	if !e.delete {
		share, err = decodeShare(e.value)
	}
	if err != nil {
		l.lists.delete(id.StorageIndex) // who reads it is told
		return
	}
	at, found := slices.BinarySearchFunc(list, id.Num, func(a lease.StoredShare, num grid.ShareNum) int { return cmp.Compare(a.ID.Num, num) })
	list = slices.Clone(list)
	switch stable := share.State == lease.Stable && !e.delete; {
	case stable && found:
		list[at].Share = share
	case stable:
		list = slices.Insert(list, at, lease.StoredShare{ID: id, Share: share})
	case found:
		list = slices.Delete(list, at, at+1)
	}
	l.lists.put(id.StorageIndex, list)
}

// idCache remembers ids of columns.
type idCache struct {
	mu      sync.Mutex
	ids     recent[lease.Column, uint32]
	columns recent[uint32, lease.Column]
}

// idCacheSize bounds each generation of either list.
const idCacheSize = 4096

func newIDCache() idCache {
	return idCache{
		ids:     newRecent(idCacheSize, func(lease.Column, uint32) int { return 1 }),
		columns: newRecent(idCacheSize, func(uint32, lease.Column) int { return 1 }),
	}
}

func (c *idCache) id(col lease.Column) (uint32, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ids.get(col)
}

func (c *idCache) column(id uint32) (lease.Column, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.columns.get(id)
}

func (c *idCache) put(col lease.Column, id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids.put(col, id)
	c.columns.put(id, col)
}

func (c *idCache) forgetAll() {
	fresh := newIDCache()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids, c.columns = fresh.ids, fresh.columns
}

// forget ends what a column's id is, or was.
func (c *idCache) forget(col lease.Column, id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids.delete(col)
	c.columns.delete(id)
}
