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
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/owners"
	"github.com/tarn-grid/tarn/lease"
)

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
type Done = owners.Done

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
	env    *env.Env
	config Config
	owners *owners.Register[Kept]
}

// New makes a Renewer.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor {
		r := &Renewer{env: e, config: c}
		r.owners = owners.New(e, owners.Config[Kept]{
			Caps: "renewal caps", Deed: "renewed", Load: c.Store.Load, Fatal: c.Fatal,
			Name: func(k Kept) string { return k.Name }, Branch: r.branch,
		})
		return r
	}
}

// branch renews by a cap.
func (r *Renewer) branch(ctx actor.Context, n int, k Kept) *actor.PID {
	return r.env.Spawn.Child(ctx, "cap/"+strconv.Itoa(n), client.New(r.env, k.Connections))
}

// Receive implements actor.Actor.
func (r *Renewer) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case Add, Remove, AskCaps:
		r.owners.Queue(ctx)
		r.next(ctx)
	default:
		if r.owners.Handle(ctx) {
			r.next(ctx)
		}
	}
}

// next takes what was asked for.
func (r *Renewer) next(ctx actor.Context) {
	for m, from := range r.owners.Asked() {
		switch m := m.(type) {
		case AskCaps:
			ctx.Send(from, r.caps())
		case Add:
			r.add(ctx, m, from)
		case Remove:
			r.remove(ctx, m, from)
		}
	}
}

func (r *Renewer) caps() Caps {
	all := Caps{}
	for _, e := range r.owners.All() {
		all = append(all, Entry{e.Kept, e.Branch})
	}
	return all
}

func (r *Renewer) add(ctx actor.Context, m Add, from *actor.PID) {
	old := r.owners.Of(m.Name)
	if old == nil && r.owners.Len() >= r.config.Most {
		ctx.Send(from, ErrFull)
		return
	}
	if old != nil && !old.Kept.Cap.OfSame(m.Cap) {
		ctx.Send(from, ErrOthers)
		return
	}
	r.owners.Change(ctx, m.Name, from, func() (Kept, bool, error) {
		kept, err := r.config.Store.Save(m.Name, m.Cap)
		return kept, true, err
	})
}

func (r *Renewer) remove(ctx actor.Context, m Remove, from *actor.PID) {
	if r.owners.Of(m.Name) == nil {
		ctx.Send(from, ErrUnknown)
		return
	}
	r.owners.Change(ctx, m.Name, from, func() (Kept, bool, error) {
		return Kept{}, false, r.config.Store.Remove(m.Name)
	})
}
