package client

import (
	"crypto/rsa"
	"fmt"
	"io"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/mutable"
)

// newMutableKey takes a tenth of a second of a core. Go draws the key from the
// system's randomness, whatever it is given.
func newMutableKey(random io.Reader) (*rsa.PrivateKey, error) {
	return rsa.GenerateKey(random, mutable.KeyBits)
}

// keys makes keys of mutable files ahead of time, once the first one was asked
// for: a few more than are taken, one at a time, with a rest after each, so that
// it never takes more than half of a core.
//
// Owns: keys that are nobody's yet.
// On failure: those are forgotten, and made anew; who waits for one is given none.
type keys struct {
	env     *env.Env
	newKey  func(io.Reader) (*rsa.PrivateKey, error)
	ahead   []*mutable.Key
	waiting []AskKey
	making  int
	resting bool
	asked   bool // ever
}

func newKeys(e *env.Env, newKey func(io.Reader) (*rsa.PrivateKey, error)) env.Producer {
	if newKey == nil {
		newKey = newMutableKey
	}
	return func() actor.Actor { return &keys{env: e, newKey: newKey} }
}

type (
	// AskKey is answered by KeyMade.
	AskKey struct{ ReplyTo *actor.PID }
	// KeyMade is a key of a new mutable file.
	KeyMade struct {
		Key *mutable.Key
		Err error
	}
	// keyForAll is what came of making one.
	keyForAll struct {
		KeyMade
		took time.Duration
	}
	keyRest struct{}
)

// Receive implements actor.Actor.
func (k *keys) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case AskKey:
		k.asked = true
		k.waiting = append(k.waiting, m)
		k.give(ctx)
	case keyForAll:
		k.made(ctx, m)
	case keyRest:
		k.resting = false
		k.give(ctx)
	}
}

// give hands out what there is, and makes what is missing: at once for who waits,
// ahead of time one by one.
func (k *keys) give(ctx actor.Context) {
	for len(k.waiting) > 0 && len(k.ahead) > 0 {
		ctx.Send(k.waiting[0].ReplyTo, KeyMade{Key: k.ahead[0]})
		k.waiting, k.ahead = k.waiting[1:], k.ahead[1:]
	}
	for k.making < len(k.waiting) {
		k.make(ctx)
	}
	if k.asked && k.making == 0 && !k.resting && len(k.ahead) < keysAhead {
		k.make(ctx)
	}
}

func (k *keys) make(ctx actor.Context) {
	k.making++
	newKey, clock, random := k.newKey, k.env.Clock, k.env.Rand
	k.env.Exec.Do(env.CPU, ctx.Self(), func() any {
		begun := clock.Now()
		private, err := newKey(random)
		if err == nil {
			var key *mutable.Key
			if key, err = mutable.NewKey(private); err == nil {
				return keyForAll{KeyMade{Key: key}, clock.Now().Sub(begun)}
			}
		}
		return keyForAll{KeyMade{Err: fmt.Errorf("make the key of a mutable file: %w", err)}, 0}
	})
}

func (k *keys) made(ctx actor.Context, m keyForAll) {
	k.making--
	if m.Err != nil {
		for _, w := range k.waiting {
			ctx.Send(w.ReplyTo, m.KeyMade)
		}
		k.waiting = nil
		return
	}
	k.ahead = append(k.ahead, m.Key)
	if !k.resting {
		k.resting = true
		k.env.Clock.After(max(keysPause, m.took), ctx.Self(), keyRest{})
	}
	k.give(ctx)
}
