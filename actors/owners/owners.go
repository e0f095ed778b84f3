// Package owners is what the roles share that act for others by caps which these
// gave them: what is kept for each owner, the branch that acts for him, and
// changes to what is kept.
//
// Register is no actor but a part of one: its methods are for the Receive of the
// role's own.
//
// Promises: one change is made at a time, in the order in which they were asked
// for, and while it is made nothing is done for that owner; a change that fails
// leaves what is in the store; a branch that fails for good rests, and the others
// go on.
package owners

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
)

// restAfter is how long an owner rests whose branch failed again and again.
const restAfter = 10 * time.Minute

// Config is what a Register needs of its role, which keeps a T for each owner.
type Config[T any] struct {
	// Caps is what they give, "renewal caps", and Deed what is done with them, as in
	// "nothing is renewed".
	Caps, Deed string
	// Load opens all that is kept. It may block.
	Load func() ([]T, error)
	// Name is the role's name for an owner.
	Name func(T) string
	// Branch spawns what acts for an owner; n is another one each time.
	Branch func(ctx actor.Context, n int, kept T) *actor.PID
	// Fatal is called when what is kept can't be read.
	Fatal func(error)
}

// Entry is an owner.
type Entry[T any] struct {
	Kept T
	// Branch is nil while it rests.
	Branch *actor.PID
}

// Done answers a change that was made.
type Done struct{}

// Register knows the owners.
type Register[T any] struct {
	env     *env.Env
	config  Config[T]
	entries map[string]*Entry[T]
	spawned int
	// busy is while the store works; queue is what came meanwhile.
	busy    bool
	queue   []request
	current *actor.PID // who waits for the change under way
}

// request is a message and who sent it.
type request struct {
	message any
	from    *actor.PID
}

// New makes a Register.
func New[T any](e *env.Env, c Config[T]) *Register[T] {
	return &Register[T]{env: e, config: c, entries: map[string]*Entry[T]{}}
}

type (
	loaded[T any] struct {
		kept []T
		err  error
	}
	changed[T any] struct {
		kept T
		left bool
		err  error
	}
	rested struct{ name string }
)

// Handle does what concerns owners alone, from the start to the end of the
// actor. It reports whether there may be more to do now: a change is over, or a
// branch rests no more.
func (r *Register[T]) Handle(ctx actor.Context) bool {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		r.load(ctx)
	case loaded[T]:
		return r.loaded(ctx, m)
	case changed[T]:
		return r.changed(ctx, m)
	case rested:
		if e := r.entries[m.name]; e != nil && e.Branch == nil {
			r.spawn(ctx, e)
			return true
		}
	case *actor.Terminated:
		r.terminated(ctx, m.Who)
	case *actor.Restarting, *actor.Stopping:
		r.interrupted(ctx)
	}
	return false
}

// Busy reports whether the store works.
func (r *Register[T]) Busy() bool { return r.busy }

// Of is the owner of that name, nil if there is none.
func (r *Register[T]) Of(name string) *Entry[T] { return r.entries[name] }

// Len is how many owners there are.
func (r *Register[T]) Len() int { return len(r.entries) }

// All yields the owners, by name.
func (r *Register[T]) All() iter.Seq2[string, *Entry[T]] {
	return func(yield func(string, *Entry[T]) bool) {
		for _, name := range slices.Sorted(maps.Keys(r.entries)) {
			if !yield(name, r.entries[name]) {
				return
			}
		}
	}
}

// Queue keeps the message at hand until Asked yields it.
func (r *Register[T]) Queue(ctx actor.Context) {
	r.queue = append(r.queue, request{ctx.Message(), ctx.Sender()})
}

// Asked yields what was queued, and who sent it, in order, until the store has to
// work.
func (r *Register[T]) Asked() iter.Seq2[any, *actor.PID] {
	return func(yield func(any, *actor.PID) bool) {
		for !r.busy && len(r.queue) > 0 {
			q := r.queue[0]
			r.queue = r.queue[1:]
			if !yield(q.message, q.from) {
				return
			}
		}
	}
}

// Change has the store change what is kept under a name. It may block, and says
// what is kept then, and whether anything is left. Who asked for it is answered
// Done, or an error.
func (r *Register[T]) Change(ctx actor.Context, name string, from *actor.PID, do func() (kept T, left bool, err error)) {
	r.close(ctx, name)
	r.busy, r.current = true, from
	r.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		kept, left, err := do()
		return changed[T]{kept, left, err}
	})
}

// load opens what was kept.
func (r *Register[T]) load(ctx actor.Context) {
	r.busy = true
	r.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		kept, err := r.config.Load()
		return loaded[T]{kept, err}
	})
}

func (r *Register[T]) loaded(ctx actor.Context, m loaded[T]) bool {
	if m.err != nil {
		r.config.Fatal(fmt.Errorf("read the %s: %w", r.config.Caps, m.err))
		return false
	}
	for _, kept := range m.kept {
		r.open(ctx, kept)
	}
	r.busy = false
	return true
}

// changed answers who waits for a change. After one that failed all is opened
// anew, as after a crash.
func (r *Register[T]) changed(ctx actor.Context, m changed[T]) bool {
	var answer any = Done{}
	if m.err != nil {
		answer = fmt.Errorf("change the %s: %w", r.config.Caps, m.err)
	}
	ctx.Send(r.current, answer)
	r.current = nil
	if m.err != nil {
		r.env.Log.Error(r.config.Caps+" could not be changed; they are read again", "error", m.err)
		for name := range r.All() {
			r.close(ctx, name)
		}
		r.load(ctx)
		return false
	}
	if m.left {
		r.open(ctx, m.kept)
	}
	r.busy = false
	return true
}

func (r *Register[T]) open(ctx actor.Context, kept T) {
	e := &Entry[T]{Kept: kept}
	r.entries[r.config.Name(kept)] = e
	r.spawn(ctx, e)
}

func (r *Register[T]) spawn(ctx actor.Context, e *Entry[T]) {
	r.spawned++
	e.Branch = r.config.Branch(ctx, r.spawned, e.Kept)
}

// close ends what is done for an owner.
func (r *Register[T]) close(ctx actor.Context, name string) {
	if e := r.entries[name]; e != nil {
		delete(r.entries, name)
		if e.Branch != nil {
			ctx.Stop(e.Branch)
		}
	}
}

// terminated lets an owner rest whose branch failed for good.
func (r *Register[T]) terminated(ctx actor.Context, who *actor.PID) {
	for name, e := range r.All() {
		if e.Branch != nil && e.Branch.Equal(who) {
			r.env.Log.Error("nothing is "+r.config.Deed+" for a while: it keeps failing", "for", name)
			e.Branch = nil
			r.env.Clock.After(r.env.Jitter(restAfter), ctx.Self(), rested{name})
			return
		}
	}
}

// interrupted tells who waits.
func (r *Register[T]) interrupted(ctx actor.Context) {
	if r.current != nil {
		ctx.Send(r.current, client.ErrInterrupted)
	}
	for _, q := range r.queue {
		ctx.Send(q.from, client.ErrInterrupted)
	}
	r.current, r.queue = nil, nil
}
