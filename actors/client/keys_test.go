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

// keysAhead is how many the client makes.
const keysAhead = 64

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
