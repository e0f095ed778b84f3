package client

import (
	"crypto/rsa"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/mutable"
)

// newMutableKey takes some hundredths of a second of a core, or a tenth. Go draws
// the key from the system's randomness, whatever it is given.
func newMutableKey(random io.Reader) (*rsa.PrivateKey, error) {
	return rsa.GenerateKey(random, mutable.KeyBits)
}

// KeyStore keeps keys of mutable files that are nobody's yet, across restarts. Its
// methods may block and are called by one goroutine at a time.
type KeyStore interface {
	// Take removes up to n keys, and says how many are left. It is durable when it
	// returns: no key is taken twice, or two files would be one.
	Take(n int) (keys [][]byte, left int, err error)
	// Put adds one.
	Put(key []byte) error
}

// keys makes keys of mutable files: at once for who waits, and many ahead of time
// once the first one was asked for, while nothing else is asked of the client.
//
// Owns: keys that are nobody's yet, here and in the store.
// On failure: those that are here are forgotten; who waits for one is given none.
type keys struct {
	env      *env.Env
	log      *slog.Logger
	newKey   func(io.Reader) (*rsa.PrivateKey, error)
	store    KeyStore // nil where none outlives the process
	together int      // how many may be made at the same time
	ahead    []*mutable.Key
	waiting  []AskKey
	making   int
	took     time.Duration // the last one
	opening  int           // were taken from the store
	stored   int           // about how many keys that has; negative until it was asked
	asking   bool
	quiet    uint64 // how much was asked of the client when it was looked at last
	looking  bool
	asked    bool // ever
}

func newKeys(e *env.Env, c Config) env.Producer {
	k := keys{env: e, log: e.Log, newKey: c.NewKey, store: c.Keys, together: c.KeysTogether}
	if k.newKey == nil {
		k.newKey = newMutableKey
	}
	if k.together == 0 {
		k.together = 1
	}
	if k.store != nil {
		k.stored = -1
	}
	return func() actor.Actor {
		fresh := k
		return &fresh
	}
}

type (
	// AskKey is answered by KeyMade.
	AskKey struct{ ReplyTo *actor.PID }
	// KeyMade is a key of a new mutable file.
	KeyMade struct {
		Key *mutable.Key
		Err error
	}
	// keyForAll is what came of making one, or of opening one from the store.
	keyForAll struct {
		KeyMade
		took   time.Duration
		opened bool
	}
	// keysTaken is what came of asking the store.
	keysTaken struct {
		keys [][]byte
		left int
		err  error
	}
	keyStored struct{ err error }
	// keyRest asks for a look whether the client has something else to do.
	keyRest struct{}
	// askUses asks the client how many requests it had so far; answered by uses.
	askUses struct{ replyTo *actor.PID }
	uses    struct{ count uint64 }
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
	case keysTaken:
		k.taken(ctx, m)
	case keyStored:
		k.kept(ctx, m)
	case keyRest:
		ctx.Send(ctx.Parent(), askUses{ctx.Self()})
	case uses:
		k.look(ctx, m)
	}
}

// give hands out what there is, and sees to it that there is more.
func (k *keys) give(ctx actor.Context) {
	for len(k.waiting) > 0 && len(k.ahead) > 0 {
		ctx.Send(k.waiting[0].ReplyTo, KeyMade{Key: k.ahead[0]})
		k.waiting, k.ahead = k.waiting[1:], k.ahead[1:]
	}
	if len(k.ahead)+k.opening < keysReady/2 && k.stored != 0 {
		k.take(ctx)
	}
	if k.stored == 0 && k.opening == 0 && len(k.ahead) == 0 {
		for k.making < min(len(k.waiting)+1, k.together) { // one more: the next asks soon
			k.make(ctx)
		}
	}
	k.lookLater(ctx, max(keysPause, k.took)) // half of a core at most
}

// lookLater makes one ahead of time after a while, if there is nothing else to do
// then.
func (k *keys) lookLater(ctx actor.Context, wait time.Duration) {
	most := keysAhead
	if k.store == nil {
		most = keysReady
	}
	if !k.asked || k.looking || k.making > 0 || k.asking || len(k.ahead)+k.opening+max(k.stored, 0) >= most {
		return
	}
	k.looking = true
	k.env.Clock.After(wait, ctx.Self(), keyRest{})
}

// look makes a key if nothing was asked of the client since the last look.
func (k *keys) look(ctx actor.Context, m uses) {
	k.looking = false
	if m.count != k.quiet {
		k.quiet = m.count
		k.lookLater(ctx, keysQuiet)
		return
	}
	if k.making == 0 && len(k.waiting) == 0 {
		k.make(ctx)
	}
}

// take gets some from the store.
func (k *keys) take(ctx actor.Context) {
	if k.asking {
		return
	}
	k.asking = true
	store := k.store
	k.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		keys, left, err := store.Take(keysReady)
		return keysTaken{keys, left, err}
	})
}

func (k *keys) taken(ctx actor.Context, m keysTaken) {
	k.asking = false
	k.stored = m.left
	if m.err != nil {
		k.stored = 0
		k.log.Warn("no keys of mutable files are kept", "error", m.err)
	}
	for _, der := range m.keys {
		k.opening++
		k.env.Exec.Do(env.CPU, ctx.Self(), func() any {
			key, err := mutable.ParseKey(der)
			return keyForAll{KeyMade: KeyMade{key, err}, opened: true}
		})
	}
	k.give(ctx)
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
				return keyForAll{KeyMade: KeyMade{Key: key}, took: clock.Now().Sub(begun)}
			}
		}
		return keyForAll{KeyMade: KeyMade{Err: fmt.Errorf("make the key of a mutable file: %w", err)}}
	})
}

func (k *keys) made(ctx actor.Context, m keyForAll) {
	if m.opened {
		k.opening--
	} else {
		k.making--
		k.took = m.took
	}
	switch {
	case m.Err != nil && m.opened: // a crash may have left half of one
		k.log.Warn("a key that was made ahead of time can't be read", "error", m.Err)
	case m.Err != nil:
		for _, w := range k.waiting {
			ctx.Send(w.ReplyTo, m.KeyMade)
		}
		k.waiting = nil
		return
	case len(k.waiting) == 0 && len(k.ahead) >= keysReady && k.store != nil && !k.asking:
		k.keep(ctx, m.Key)
		return
	default:
		k.ahead = append(k.ahead, m.Key)
	}
	k.give(ctx)
}

// keep puts one into the store.
func (k *keys) keep(ctx actor.Context, key *mutable.Key) {
	k.asking = true // one goroutine at a time
	store := k.store
	k.env.Exec.Do(env.Disk, ctx.Self(), func() any { return keyStored{store.Put(key.PrivateKey())} })
}

func (k *keys) kept(ctx actor.Context, m keyStored) {
	k.asking = false
	if m.err != nil {
		k.log.Warn("keys of mutable files can't be kept; they are made anew after a restart", "error", m.err)
		k.store, k.stored = nil, 0
	} else {
		k.stored++
	}
	k.give(ctx)
}
