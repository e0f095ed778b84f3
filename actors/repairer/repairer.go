// Package repairer is the repairer role: it keeps files whole for those who gave
// it a repair cap, while their own clients are off.
//
// Repairer is the top. Below it is, for each owner, a client branch (package
// client) that connects to servers only for the time of a check, and then under
// the certificates of that one file; and a job for each file that is being
// looked at. Files are looked at in turn, a few at a time, with rests.
//
// Promises: nothing is stored but shares of these files with their very content,
// and the leases are the owner's; what one owner's caps bring along does no harm
// to the others; a cap that was acknowledged, and what was found, is kept over a
// crash.
package repairer

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/owners"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Errors that answer a message.
var (
	// ErrUnknown means that there is no cap under that name, or none of that file.
	ErrUnknown = errors.New("this repairer has no repair cap under that name")
	// ErrOthers means that the name is that of somebody else's caps.
	ErrOthers = errors.New("there are repair caps under that name, and they are for other accounts; take another name, or remove those first")
	// ErrFull means that there are as many files as there may be.
	ErrFull = errors.New("this repairer looks after as many files as it may; its operator can allow more with repairer.files in tarn.yaml")
)

// Config is what a repairer needs.
type Config struct {
	Store Store
	// Most is how many files there may be.
	Most int
	// Every is about how often a file is checked, Verify about how often its
	// shares are read and proven.
	Every, Verify time.Duration
	// Fatal is called when the repairer can't go on: what it kept can't be read.
	Fatal func(error)
}

// Store keeps repair caps over restarts, and what was found. Its methods may
// block; one of them is called at a time.
type Store interface {
	// Load opens all that is kept, by name.
	Load() ([]Owner, error)
	// Save keeps caps, each in the place of an older one of the same file under
	// that name, and opens all that is kept under it. It is durable when it
	// returns.
	Save(name string, caps []File) (Owner, error)
	// Note keeps what was found of a file.
	Note(name string, f File) error
	// Remove forgets a file, or all under a name where it is nil, and opens what is
	// left.
	Remove(name string, si *grid.StorageIndex) (Owner, error)
}

// Owner is whose files are looked after, and how servers are found for them.
type Owner struct {
	// Name is the repairer's own for him.
	Name string
	// Files, by storage index.
	Files       []File
	Connections client.Config
}

// File is one that is looked after.
type File struct {
	Cap lease.RepairCap
	// Verifier is the verify capability in Cap, Authority what Cap lets be done.
	Verifier  file.CHKVerifier
	Authority lease.Authority
	Added     time.Time
	State     State
}

// State is what is known of a file.
type State struct {
	// Checked is when it was last looked at to the end, Verified when all of its
	// shares were last read, Repaired when some were last made once more.
	Checked, Verified, Repaired time.Time
	// Next is when it is looked at again.
	Next time.Time
	// Shares, Happiness and Summary are how it was after that; Healthy and
	// Recoverable say what follows.
	Shares, Happiness    int
	Summary              string
	Healthy, Recoverable bool
	// Lost is how many shares were found missing or damaged since the cap came,
	// Pushed how many were made once more.
	Lost, Pushed int
	// Trouble is why it could not be checked, or not be made whole; empty where it
	// was.
	Trouble string
}

// Messages to Repairer.
type (
	// Add takes caps under a name, which are of one owner; answered by Done, or an
	// error.
	Add struct {
		Name  string
		Files []File
	}
	// Remove forgets a file, or all under a name where it is nil; answered by Done,
	// or an error.
	Remove struct {
		Name string
		File *grid.StorageIndex
	}
	// CheckNow looks at all files under a name at once, at all where that is empty;
	// answered by Done when that is over, or an error.
	CheckNow struct{ Name string }
	// AskOwners is answered by Owners, once what was kept is read.
	AskOwners struct{}
)

// Done answers what has no other answer.
type Done = owners.Done

// Owners are all, by name.
type Owners []Owner

// Repairer knows all files that are looked after.
//
// Owns: which file is looked at when; changes to the caps, one at a time.
// On failure: reads what it kept; checks under way begin anew, and a change under way may or may not have been made.
type Repairer struct {
	env     *env.Env
	config  Config
	owners  *owners.Register[Owner]
	jobs    map[string]*task // under way, by the PID id of the job
	begun   int              // jobs
	resting int
	timer   func()
	waiting []*wait
	// noting is how many results the store keeps; late are those that came while it
	// changed caps.
	noting int
	late   []looked
}

// fileID names a file among all.
type fileID struct {
	name string
	si   grid.StorageIndex
}

// task is a file that is being looked at.
type task struct {
	fileID
	branch  *actor.PID
	began   time.Time
	verify  bool
	noticed bool // the result is being noted
}

// wait is somebody who waits until files were looked at.
type wait struct {
	replyTo *actor.PID
	since   time.Time
	files   map[fileID]bool
}

// New makes a Repairer.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor {
		r := &Repairer{env: e, config: c, jobs: map[string]*task{}}
		r.owners = owners.New(e, owners.Config[Owner]{
			Caps: "repair caps", Deed: "repaired", Load: c.Store.Load, Fatal: c.Fatal,
			Name: func(o Owner) string { return o.Name }, Branch: r.branch,
		})
		return r
	}
}

// branch reaches servers for an owner. Jobs under way for him end with it.
func (r *Repairer) branch(ctx actor.Context, n int, o Owner) *actor.PID {
	return r.env.Spawn.Child(ctx, "owner/"+strconv.Itoa(n), client.New(r.env, o.Connections))
}

type (
	noted struct {
		job string
		err error
	}
	// due says that it is time to look at the next file, rested that one more may
	// be begun.
	due    struct{}
	rested struct{}
)

// Receive implements actor.Actor.
func (r *Repairer) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case Add, Remove, AskOwners, CheckNow:
		r.owners.Queue(ctx)
		r.next(ctx)
	case due:
		r.timer = nil
		r.schedule(ctx)
	case rested:
		r.resting--
		r.schedule(ctx)
	case looked:
		r.looked(ctx, m)
	case noted:
		r.noted(ctx, m)
	case *actor.Terminated:
		if r.jobs[m.Who.Id] != nil {
			ctx.Send(ctx.Self(), looked{job: m.Who.Id, err: client.ErrInterrupted}) // behind what it may have said itself
			return
		}
		r.owners.Handle(ctx)
	case *actor.Restarting, *actor.Stopping:
		r.interrupted(ctx)
		r.owners.Handle(ctx)
	default:
		if r.owners.Handle(ctx) {
			r.goOn(ctx)
		}
	}
}

// goOn does what had to wait for a change, or for a branch.
func (r *Repairer) goOn(ctx actor.Context) {
	late := r.late
	r.late = nil
	for _, m := range late {
		r.looked(ctx, m)
	}
	r.answer(ctx, nil)
	r.next(ctx)
	r.schedule(ctx)
}

// next takes what was asked for, unless the store keeps results.
func (r *Repairer) next(ctx actor.Context) {
	if r.noting > 0 {
		return
	}
	for m, from := range r.owners.Asked() {
		switch m := m.(type) {
		case AskOwners:
			ctx.Send(from, r.list())
		case CheckNow:
			r.checkNow(ctx, m, from)
		case Add:
			r.add(ctx, m, from)
		case Remove:
			r.remove(ctx, m, from)
		}
	}
}

func (r *Repairer) list() Owners {
	all := Owners{}
	for _, e := range r.owners.All() {
		o := e.Kept
		o.Files = slices.Clone(o.Files)
		all = append(all, o)
	}
	return all
}

func (r *Repairer) add(ctx actor.Context, m Add, from *actor.PID) {
	files := 0
	for _, e := range r.owners.All() {
		files += len(e.Kept.Files)
	}
	old := r.owners.Of(m.Name)
	for _, f := range m.Files {
		if old != nil && !old.Kept.Files[0].Cap.OfSame(f.Cap) {
			ctx.Send(from, ErrOthers)
			return
		}
		if old == nil || old.Kept.file(f.Verifier.StorageIndex) == nil {
			files++
		}
	}
	if files > r.config.Most {
		ctx.Send(from, ErrFull)
		return
	}
	r.change(ctx, m.Name, from, func() (Owner, error) { return r.config.Store.Save(m.Name, m.Files) })
}

func (r *Repairer) remove(ctx actor.Context, m Remove, from *actor.PID) {
	e := r.owners.Of(m.Name)
	if e == nil || m.File != nil && e.Kept.file(*m.File) == nil {
		ctx.Send(from, ErrUnknown)
		return
	}
	r.change(ctx, m.Name, from, func() (Owner, error) { return r.config.Store.Remove(m.Name, m.File) })
}

func (r *Repairer) change(ctx actor.Context, name string, from *actor.PID, do func() (Owner, error)) {
	r.owners.Change(ctx, name, from, func() (Owner, bool, error) {
		o, err := do()
		return o, len(o.Files) > 0, err
	})
}

// file is that of a storage index, nil if there is none.
func (o *Owner) file(si grid.StorageIndex) *File {
	i := slices.IndexFunc(o.Files, func(f File) bool { return f.Verifier.StorageIndex == si })
	if i < 0 {
		return nil
	}
	return &o.Files[i]
}

// interrupted tells who waits for files to be looked at.
func (r *Repairer) interrupted(ctx actor.Context) {
	for _, w := range r.waiting {
		ctx.Send(w.replyTo, client.ErrInterrupted)
	}
	r.waiting = nil
}
