package store

import (
	"bytes"
	"errors"
	"maps"
	"slices"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// keyBook is which key has which number, by the records of keys, and of numbers:
// either tells what the other must be.
type keyBook struct {
	entries map[grid.PublicKey]lease.KeyEntry // what can be read
	broken  []grid.PublicKey                  // the others
	named   map[grid.PublicKey]bool           // by a record of a number
	keys    map[uint32]grid.PublicKey         // by number; zero where it can't be read

	numbers map[grid.PublicKey]uint32 // what holds
	taken   map[uint32]bool
}

// keys holds that each key has a number and each number a key.
func (c *checker) keys() error {
	b, err := c.readKeys()
	if err != nil {
		return err
	}
	b.resolve()
	for key, entry := range b.entries {
		if id, ok := b.numbers[key]; !ok || entry.ID != id {
			c.problem(false, "key %v: its number is another one's", key)
			c.delete(withPublicKey(tagKey, key))
		}
	}
	for _, key := range b.broken {
		c.problem(false, "key %v: its number can't be read", key)
		c.delete(withPublicKey(tagKey, key))
	}
	for id, key := range b.keys {
		if n, ok := b.numbers[key]; !ok || n != id {
			c.problem(false, "number %d: its key can't be read, or has another number", id)
			c.delete(withID(tagKeyID, id))
		}
	}
	c.putKeys(b)
	return nil
}

// putKeys writes what is not there as it should be.
func (c *checker) putKeys(b *keyBook) {
	for key, id := range b.numbers {
		entry, ok := b.entries[key]
		if !ok {
			c.problem(false, "key %v: it has no number", key)
		}
		if !ok || entry.ID != id {
			c.put(withPublicKey(tagKey, key), encodeKey(lease.KeyEntry{ID: id, Refs: entry.Refs}))
		}
		if b.keys[id] != key {
			c.problem(false, "key %v: its number does not lead to it", key)
			c.put(withID(tagKeyID, id), append([]byte{}, key[:]...))
		}
	}
}

func (c *checker) readKeys() (*keyBook, error) {
	b := &keyBook{
		entries: map[grid.PublicKey]lease.KeyEntry{}, named: map[grid.PublicKey]bool{}, keys: map[uint32]grid.PublicKey{},
		numbers: map[grid.PublicKey]uint32{}, taken: map[uint32]bool{},
	}
	err := c.s.scanAll([]byte{tagKey}, func(key, value []byte) error {
		entry, err := decodeKey(value)
		if err != nil || entry.ID < lease.FirstKeyID {
			b.broken = append(b.broken, grid.PublicKey(key[1:]))
		} else {
			b.entries[grid.PublicKey(key[1:])] = entry
		}
		return nil
	})
	return b, errors.Join(err, c.s.scanAll([]byte{tagKeyID}, func(key, value []byte) error {
		var of grid.PublicKey
		if len(value) == len(of) {
			of = grid.PublicKey(value)
			b.named[of] = true
		}
		b.keys[be32(key[1:])] = of
		return nil
	}))
}

// resolve believes first what both records say; then a key's own record, where
// no number names the key; then that of a number.
func (b *keyBook) resolve() {
	for key, entry := range b.entries {
		if b.keys[entry.ID] == key {
			b.hold(key, entry.ID)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(b.entries), comparePublicKeys) {
		if !b.named[key] {
			b.hold(key, b.entries[key].ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.keys)) {
		if key := b.keys[id]; !key.IsZero() {
			b.hold(key, id)
		}
	}
}

func (b *keyBook) hold(key grid.PublicKey, id uint32) {
	if _, has := b.numbers[key]; has || b.taken[id] {
		return
	}
	b.numbers[key], b.taken[id] = id, true
}

func comparePublicKeys(a, b grid.PublicKey) int { return bytes.Compare(a[:], b[:]) }
