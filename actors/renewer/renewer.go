// Package renewer is the renewer role: it keeps alive the leases of those who
// gave it a renewal cap, while their own clients are off.
//
// Renewer is the top. Below it is, for each cap, a client branch (package
// client) of its own: with the certificates of that cap alone, connections and
// identities of its own, and a journal that lists the leases to renew.
//
// Promises: nothing is asked of a server but that these leases be renewed; what
// one cap brings along, wrong addresses or a journal that fails, does no harm to
// the others; a cap that was acknowledged is kept over a crash.
package renewer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/lease"
)

// restAfter is how long a cap rests whose branch failed again and again.
const restAfter = 10 * time.Minute

// Errors that answer a message.
var (
	// ErrUnknown means that there is no cap of that name.
	ErrUnknown = errors.New("this renewer has no renewal cap under that name")
	// ErrOthers means that the name is that of somebody else's cap.
	ErrOthers = errors.New("there is a renewal cap under that name, and it is for other accounts; take another name, or remove that one first")
	// ErrFull means that there are as many caps as there may be.
	ErrFull = errors.New("this renewer has as many renewal caps as it may have; its operator can allow more with renewer.caps in tarn.yaml")
)

// Config is what a renewer needs.
type Config struct {
	Store Store
	// Most is how many caps there may be.
	Most int
	// Fatal is called when the renewer can't go on: what it kept can't be read.
	Fatal func(error)
}

// Store keeps renewal caps over restarts. Its methods may block; one of them is
// called at a time.
type Store interface {
	// Load opens all that are kept. What an earlier Load or Save opened is of no
	// more use then.
	Load() ([]Kept, error)
	// Save keeps a cap, in the place of the one of that name if there is one, and
	// has its journal list its leases and no others. It is durable when it
	// returns.
	Save(name string, c lease.RenewalCap) (Kept, error)
	// Remove forgets a cap.
	Remove(name string) error
}

// Kept is a cap in the store.
type Kept struct {
	// Name is the renewer's name for whose cap it is.
	Name  string
	Added time.Time
	// Cap is without the leases: those are in the journal.
	Cap lease.RenewalCap
	// Connections are its authority, its journal, and how servers are found.
	Connections client.Config
}

// Messages to Renewer.
type (
	// Add takes a cap, or a newer one of the same owner in the place of the older
	// one; answered by Done, or an error.
	Add struct {
		Name string
		Cap  lease.RenewalCap
	}
	// Remove forgets a cap, and renews for it no more; answered by Done, or an
	// error.
	Remove struct{ Name string }
	// AskCaps is answered by a Caps, once what was kept is read.
	AskCaps struct{}
)

// Done answers what has no other answer.
type Done struct{}

// Caps are all, by name.
type Caps []Entry

// Entry is a cap, and the client branch that renews for it; nil while that rests.
type Entry struct {
	Kept
	PID *actor.PID
}

// Renewer knows all caps.
//
// Owns: which cap has which client branch; changes to the caps, one at a time.
// On failure: opens what it kept and connects anew; a change under way may or may not have been made.
type Renewer struct {
	env     *env.Env
	config  Config
	entries map[string]*Entry
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

// New makes a Renewer.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor { return &Renewer{env: e, config: c, entries: map[string]*Entry{}} }
}

type (
	loaded struct {
		kept []Kept
		err  error
	}
	saved struct {
		kept Kept
		err  error
	}
	removed struct{ err error }
	rested  struct{ name string }
)

// Receive implements actor.Actor.
func (r *Renewer) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		r.load(ctx)
	case Add, Remove, AskCaps:
		r.queue = append(r.queue, request{m, ctx.Sender()})
		r.next(ctx)
	case loaded:
		r.loaded(ctx, m)
	case saved:
		r.saved(ctx, m)
	case removed:
		r.done(ctx, m.err)
	case rested:
		if e := r.entries[m.name]; e != nil && e.PID == nil {
			r.spawn(ctx, e)
		}
	case *actor.Terminated:
		r.terminated(ctx, m.Who)
	case *actor.Restarting, *actor.Stopping:
		r.interrupted(ctx)
	}
}

// load opens what was kept.
func (r *Renewer) load(ctx actor.Context) {
	r.busy = true
	store := r.config.Store
	r.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		kept, err := store.Load()
		return loaded{kept, err}
	})
}

func (r *Renewer) loaded(ctx actor.Context, m loaded) {
	if m.err != nil {
		r.config.Fatal(fmt.Errorf("read the renewal caps: %w", m.err))
		return
	}
	for _, k := range m.kept {
		e := &Entry{Kept: k}
		r.entries[k.Name] = e
		r.spawn(ctx, e)
	}
	r.busy = false
	r.next(ctx)
}

func (r *Renewer) spawn(ctx actor.Context, e *Entry) {
	r.spawned++
	e.PID = r.env.Spawn.Child(ctx, "cap/"+strconv.Itoa(r.spawned), client.New(r.env, e.Connections))
}

// stop lets the connections of a cap go.
func (r *Renewer) stop(ctx actor.Context, e *Entry) {
	if e.PID != nil {
		ctx.Stop(e.PID)
		e.PID = nil
	}
}

// next takes what was asked for, in order, until the store has to work.
func (r *Renewer) next(ctx actor.Context) {
	for !r.busy && len(r.queue) > 0 {
		q := r.queue[0]
		r.queue = r.queue[1:]
		switch m := q.message.(type) {
		case AskCaps:
			ctx.Send(q.from, r.caps())
		case Add:
			r.add(ctx, m, q.from)
		case Remove:
			r.remove(ctx, m, q.from)
		}
	}
}

func (r *Renewer) caps() Caps {
	all := Caps{}
	for _, name := range slices.Sorted(maps.Keys(r.entries)) {
		all = append(all, *r.entries[name])
	}
	return all
}

func (r *Renewer) add(ctx actor.Context, m Add, from *actor.PID) {
	old := r.entries[m.Name]
	switch {
	case old == nil && len(r.entries) >= r.config.Most:
		ctx.Send(from, ErrFull)
		return
	case old != nil && !old.Cap.OfSame(m.Cap):
		ctx.Send(from, ErrOthers)
		return
	case old != nil:
		r.stop(ctx, old)
	}
	r.busy, r.current = true, from
	store := r.config.Store
	r.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		kept, err := store.Save(m.Name, m.Cap)
		return saved{kept, err}
	})
}

func (r *Renewer) saved(ctx actor.Context, m saved) {
	if m.err == nil {
		e := &Entry{Kept: m.kept}
		r.entries[m.kept.Name] = e
		r.spawn(ctx, e)
	}
	r.done(ctx, m.err)
}

func (r *Renewer) remove(ctx actor.Context, m Remove, from *actor.PID) {
	e := r.entries[m.Name]
	if e == nil {
		ctx.Send(from, ErrUnknown)
		return
	}
	r.stop(ctx, e)
	delete(r.entries, m.Name)
	r.busy, r.current = true, from
	store := r.config.Store
	r.env.Exec.Do(env.Disk, ctx.Self(), func() any { return removed{store.Remove(m.Name)} })
}

// done answers who waits for a change. After one that failed all is opened anew,
// as after a crash.
func (r *Renewer) done(ctx actor.Context, err error) {
	var answer any = Done{}
	if err != nil {
		answer = fmt.Errorf("change the renewal caps: %w", err)
	}
	ctx.Send(r.current, answer)
	r.current, r.busy = nil, false
	if err == nil {
		r.next(ctx)
		return
	}
	r.env.Log.Error("renewal caps could not be changed; they are read again", "error", err)
	for _, name := range slices.Sorted(maps.Keys(r.entries)) {
		r.stop(ctx, r.entries[name])
	}
	clear(r.entries)
	r.load(ctx)
}

// terminated lets a cap rest whose branch failed for good.
func (r *Renewer) terminated(ctx actor.Context, who *actor.PID) {
	for name, e := range r.entries {
		if e.PID != nil && e.PID.Equal(who) {
			r.env.Log.Error("nothing is renewed for a while: it keeps failing", "for", name)
			e.PID = nil
			r.env.Clock.After(r.env.Jitter(restAfter), ctx.Self(), rested{name})
			return
		}
	}
}

// interrupted tells who waits.
func (r *Renewer) interrupted(ctx actor.Context) {
	if r.current != nil {
		ctx.Send(r.current, client.ErrInterrupted)
	}
	for _, q := range r.queue {
		ctx.Send(q.from, client.ErrInterrupted)
	}
	r.current, r.queue = nil, nil
}
