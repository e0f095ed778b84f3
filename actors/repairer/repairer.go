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
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
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
type Done struct{}

// Owners are all, by name.
type Owners []Owner

// Repairer knows all files that are looked after.
//
// Owns: which file is looked at when; changes to the caps, one at a time.
// On failure: reads what it kept; checks under way begin anew, and a change under way may or may not have been made.
type Repairer struct {
	env     *env.Env
	config  Config
	owners  map[string]*owner
	spawned int
	jobs    map[string]*task // under way, by the PID id of the job
	resting int
	timer   func()
	waiting []*wait
	// busy is while the store changes caps, noting how many results it keeps; queue
	// and late are what came meanwhile.
	busy    bool
	noting  int
	queue   []request
	late    []looked
	current *actor.PID // who waits for the change under way
}

// owner is an Owner with its branch; nil while that rests.
type owner struct {
	Owner
	branch *actor.PID
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

// request is a message and who sent it.
type request struct {
	message any
	from    *actor.PID
}

// New makes a Repairer.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor {
		return &Repairer{env: e, config: c, owners: map[string]*owner{}, jobs: map[string]*task{}}
	}
}

type (
	loaded struct {
		owners []Owner
		err    error
	}
	changed struct {
		owner Owner
		err   error
	}
	noted struct {
		job string
		err error
	}
	// due says that it is time to look at the next file, rested that one more may
	// be begun, awake that an owner's branch may be tried again.
	due    struct{}
	rested struct{}
	awake  struct{ name string }
)

// Receive implements actor.Actor.
func (r *Repairer) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		r.load(ctx)
	case Add, Remove, AskOwners, CheckNow:
		r.queue = append(r.queue, request{m, ctx.Sender()})
		r.next(ctx)
	case loaded:
		r.loaded(ctx, m)
	case changed:
		r.changed(ctx, m)
	case due:
		r.timer = nil
		r.schedule(ctx)
	case rested:
		r.resting--
		r.schedule(ctx)
	case awake:
		if o := r.owners[m.name]; o != nil && o.branch == nil {
			r.spawn(ctx, o)
			r.schedule(ctx)
		}
	case looked:
		r.looked(ctx, m)
	case noted:
		r.noted(ctx, m)
	case *actor.Terminated:
		r.terminated(ctx, m.Who)
	case *actor.Restarting, *actor.Stopping:
		r.interrupted(ctx)
	}
}

// load opens what was kept.
func (r *Repairer) load(ctx actor.Context) {
	r.busy = true
	store := r.config.Store
	r.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		owners, err := store.Load()
		return loaded{owners, err}
	})
}

func (r *Repairer) loaded(ctx actor.Context, m loaded) {
	if m.err != nil {
		r.config.Fatal(fmt.Errorf("read the repair caps: %w", m.err))
		return
	}
	for _, o := range m.owners {
		r.open(ctx, o)
	}
	r.free(ctx)
}

// free goes on once the store has nothing to do.
func (r *Repairer) free(ctx actor.Context) {
	r.busy = false
	late := r.late
	r.late = nil
	for _, m := range late {
		r.looked(ctx, m)
	}
	r.answer(ctx, nil)
	r.next(ctx)
	r.schedule(ctx)
}

// open looks after the files of an owner, with a branch of his own.
func (r *Repairer) open(ctx actor.Context, o Owner) {
	r.owners[o.Name] = &owner{Owner: o}
	r.spawn(ctx, r.owners[o.Name])
}

func (r *Repairer) spawn(ctx actor.Context, o *owner) {
	r.spawned++
	o.branch = r.env.Spawn.Child(ctx, "owner/"+strconv.Itoa(r.spawned), client.New(r.env, o.Connections))
}

// close ends what is done for an owner. Jobs under way for him end with his
// branch.
func (r *Repairer) close(ctx actor.Context, name string) {
	if o := r.owners[name]; o != nil {
		delete(r.owners, name)
		if o.branch != nil {
			ctx.Stop(o.branch)
		}
	}
}

// next takes what was asked for, in order, until the store has to work.
func (r *Repairer) next(ctx actor.Context) {
	for !r.busy && r.noting == 0 && len(r.queue) > 0 {
		q := r.queue[0]
		r.queue = r.queue[1:]
		switch m := q.message.(type) {
		case AskOwners:
			ctx.Send(q.from, r.list())
		case CheckNow:
			r.checkNow(ctx, m, q.from)
		case Add:
			r.add(ctx, m, q.from)
		case Remove:
			r.remove(ctx, m, q.from)
		}
	}
}

func (r *Repairer) list() Owners {
	all := Owners{}
	for _, name := range slices.Sorted(maps.Keys(r.owners)) {
		o := r.owners[name].Owner
		o.Files = slices.Clone(o.Files)
		all = append(all, o)
	}
	return all
}

func (r *Repairer) add(ctx actor.Context, m Add, from *actor.PID) {
	files := 0
	for _, o := range r.owners {
		files += len(o.Files)
	}
	old := r.owners[m.Name]
	for _, f := range m.Files {
		if old != nil && !old.Files[0].Cap.OfSame(f.Cap) {
			ctx.Send(from, ErrOthers)
			return
		}
		if old == nil || old.file(f.Verifier.StorageIndex) == nil {
			files++
		}
	}
	if files > r.config.Most {
		ctx.Send(from, ErrFull)
		return
	}
	store := r.config.Store
	r.change(ctx, m.Name, from, func() (Owner, error) { return store.Save(m.Name, m.Files) })
}

func (r *Repairer) remove(ctx actor.Context, m Remove, from *actor.PID) {
	o := r.owners[m.Name]
	if o == nil || m.File != nil && o.file(*m.File) == nil {
		ctx.Send(from, ErrUnknown)
		return
	}
	store := r.config.Store
	r.change(ctx, m.Name, from, func() (Owner, error) { return store.Remove(m.Name, m.File) })
}

// change has the store change what is kept under a name. Meanwhile nothing is
// done for it.
func (r *Repairer) change(ctx actor.Context, name string, from *actor.PID, do func() (Owner, error)) {
	r.close(ctx, name)
	r.busy, r.current = true, from
	r.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		o, err := do()
		return changed{o, err}
	})
}

// changed answers who waits for a change. After one that failed all is opened
// anew, as after a crash.
func (r *Repairer) changed(ctx actor.Context, m changed) {
	var answer any = Done{}
	if m.err != nil {
		answer = fmt.Errorf("change the repair caps: %w", m.err)
	}
	ctx.Send(r.current, answer)
	r.current = nil
	if m.err != nil {
		r.env.Log.Error("repair caps could not be changed; they are read again", "error", m.err)
		for _, name := range slices.Sorted(maps.Keys(r.owners)) {
			r.close(ctx, name)
		}
		r.load(ctx)
		return
	}
	if len(m.owner.Files) > 0 {
		r.open(ctx, m.owner)
	}
	r.free(ctx)
}

// file is that of a storage index, nil if there is none.
func (o *owner) file(si grid.StorageIndex) *File {
	i := slices.IndexFunc(o.Files, func(f File) bool { return f.Verifier.StorageIndex == si })
	if i < 0 {
		return nil
	}
	return &o.Files[i]
}

// interrupted tells who waits.
func (r *Repairer) interrupted(ctx actor.Context) {
	if r.current != nil {
		ctx.Send(r.current, client.ErrInterrupted)
	}
	for _, q := range r.queue {
		ctx.Send(q.from, client.ErrInterrupted)
	}
	for _, w := range r.waiting {
		ctx.Send(w.replyTo, client.ErrInterrupted)
	}
	r.current, r.queue, r.waiting = nil, nil, nil
}
