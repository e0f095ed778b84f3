package client_test

import (
	"crypto/rsa"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file/mutable"
)

// keysAhead is how many keys the client has ready, keysKept how many with those in
// the store.
const (
	keysAhead = 64
	keysKept  = 1024
)

// oneKey is as good as any: the client does not compare them.
var oneKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(nil, mutable.KeyBits) })

// No key is made before the first was asked for; then there are some more than were
// taken, which are given at once.
func TestKeysAreMadeAhead(t *testing.T) {
	r := newRig(t, 0)
	made := 0
	r.config.NewKey = func(io.Reader) (*rsa.PrivateKey, error) {
		made++
		return oneKey()
	}
	r.start()
	r.pass(time.Minute)
	if made != 0 {
		t.Errorf("%d keys were made for nobody", made)
	}
	given := 0
	ask := func() {
		r.send(client.AskKey{ReplyTo: r.inbox(func(m any) {
			if k := m.(client.KeyMade); k.Key != nil && k.Err == nil {
				given++
			}
		})})
	}
	for range 5 {
		ask()
	}
	r.until("keys", time.Minute, func() bool { return given == 5 })
	r.pass(time.Minute)
	if made != 5+keysAhead {
		t.Errorf("%d keys were made, want %d", made, 5+keysAhead)
	}
	for range keysAhead {
		ask()
	}
	r.until("keys", time.Second, func() bool { return given == 5+keysAhead })
}

// Who waits for a key that can't be made is told, and the next one tries again.
func TestKeyThatFails(t *testing.T) {
	r := newRig(t, 0)
	broken := errors.New("no more randomness")
	fails := true
	r.config.NewKey = func(io.Reader) (*rsa.PrivateKey, error) {
		if fails {
			return nil, broken
		}
		return oneKey()
	}
	r.start()
	var got []client.KeyMade
	ask := func() {
		r.send(client.AskKey{ReplyTo: r.inbox(func(m any) { got = append(got, m.(client.KeyMade)) })})
		n := len(got)
		r.until("an answer", time.Minute, func() bool { return len(got) > n })
	}
	ask()
	fails = false
	ask()
	if !errors.Is(got[0].Err, broken) || got[1].Err != nil || got[1].Key == nil {
		t.Errorf("answers %+v", got)
	}
}

// keyShelf is a client.KeyStore in memory.
type keyShelf struct {
	keys  [][]byte
	taken int
	fails error
}

func (s *keyShelf) Take(n int) ([][]byte, int, error) {
	n = min(n, len(s.keys))
	taken := s.keys[:n]
	s.keys, s.taken = s.keys[n:], s.taken+n
	return taken, len(s.keys), s.fails
}

func (s *keyShelf) Put(key []byte) error {
	if s.fails == nil {
		s.keys = append(s.keys, key)
	}
	return s.fails
}

// keyRig counts the keys that are made, and those that are given.
type keyRig struct {
	*rig
	made, given int
}

func newKeyRig(t *testing.T, s client.KeyStore) *keyRig {
	r := &keyRig{rig: newRig(t, 0)}
	r.config.NewKey = func(io.Reader) (*rsa.PrivateKey, error) {
		r.made++
		return oneKey()
	}
	r.config.Keys = s
	r.start()
	return r
}

func (r *keyRig) ask(n int) {
	for range n {
		r.send(client.AskKey{ReplyTo: r.inbox(func(m any) {
			if k := m.(client.KeyMade); k.Key != nil && k.Err == nil {
				r.given++
			}
		})})
	}
}

// What is made beyond some that are ready goes into the store, where the next process
// finds it: that makes none for who comes first.
func TestKeysOutliveTheProcess(t *testing.T) {
	shelf := &keyShelf{}
	r := newKeyRig(t, shelf)
	r.ask(1)
	r.until("a key", time.Minute, func() bool { return r.given == 1 })
	r.pass(10 * time.Minute)
	if len(shelf.keys) != keysKept-keysAhead || r.made != 1+keysKept {
		t.Fatalf("%d keys are kept of %d that were made, want %d of %d", len(shelf.keys), r.made, keysKept-keysAhead, 1+keysKept)
	}
	next := newKeyRig(t, shelf)
	next.ask(300)
	next.until("keys", time.Second, func() bool { return next.given == 300 })
	if next.made != 0 {
		t.Errorf("%d keys were made although there were some", next.made)
	}
	if shelf.taken < 300 || shelf.taken > 300+2*keysAhead {
		t.Errorf("%d keys were taken for 300", shelf.taken)
	}
	next.ask(1000)
	next.until("more keys than there were", time.Minute, func() bool { return next.given == 1300 })
}

// A store that fails, or has what is no key, costs nobody his directory.
func TestKeyStoreThatFails(t *testing.T) {
	for name, shelf := range map[string]*keyShelf{
		"fails":   {fails: errors.New("no such folder")},
		"is torn": {keys: [][]byte{[]byte("half"), nil}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newKeyRig(t, shelf)
			r.ask(3)
			r.until("keys", time.Minute, func() bool { return r.given == 3 })
			r.pass(10 * time.Minute)
			r.ask(2 * keysAhead)
			r.until("more keys", time.Minute, func() bool { return r.given == 3+2*keysAhead })
		})
	}
}

// While a client has something else to do no keys are made ahead of time.
func TestKeysAreMadeWhenIdle(t *testing.T) {
	r := newKeyRig(t, nil)
	for range 20 {
		r.ask(1)
		r.pass(time.Second / 2)
	}
	if r.given != 20 || r.made > 21 {
		t.Errorf("%d keys were given and %d made", r.given, r.made)
	}
	r.pass(time.Minute)
	if r.made != 20+keysAhead {
		t.Errorf("%d keys were made in the end, want %d", r.made, 20+keysAhead)
	}
}
