package repairer

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
)

const (
	// atOnce is how many files are looked at at a time. After each there is a rest
	// of as long as it took, up to mostRest, so that the repairer has half of its
	// time at most for itself.
	atOnce   = 2
	mostRest = time.Minute
	// retryAfter is how soon a file is looked at again that is not whole; at
	// most once in a time between two checks.
	retryAfter = time.Hour
	// silence is for how long nothing may be heard of a file.
	silence = time.Hour
)

// schedule begins with what is due, and sets the clock for what is next.
func (r *Repairer) schedule(ctx actor.Context) {
	now := r.env.Clock.Now()
	for len(r.jobs)+r.resting < atOnce {
		id, at, ok := r.first()
		if !ok {
			return
		}
		if at.After(now) {
			if r.timer != nil {
				r.timer()
			}
			r.timer = r.env.Clock.After(at.Sub(now), ctx.Self(), due{})
			return
		}
		r.look(ctx, id)
	}
}

// first is the file that is to be looked at next and is not: what was wanted
// longest, then by name.
func (r *Repairer) first() (id fileID, at time.Time, ok bool) {
	under := map[fileID]bool{}
	for _, t := range r.jobs {
		under[t.fileID] = true
	}
	for name, e := range r.owners.All() {
		for _, f := range e.Kept.Files {
			here := fileID{name, f.Verifier.StorageIndex}
			if e.Branch != nil && !under[here] && (!ok || f.State.Next.Before(at)) {
				id, at, ok = here, f.State.Next, true
			}
		}
	}
	return id, at, ok
}

// look begins to look at a file.
func (r *Repairer) look(ctx actor.Context, id fileID) {
	e := r.owners.Of(id.name)
	f := *e.Kept.file(id.si)
	now := r.env.Clock.Now()
	t := &task{fileID: id, branch: e.Branch, began: now, verify: now.Sub(f.State.Verified) >= r.config.Verify}
	r.begun++
	pid := r.env.Spawn.Child(ctx, fmt.Sprintf("job/%d", r.begun), newJob(r.env, e.Branch, f, t.verify))
	r.jobs[pid.Id] = t
}

// looked takes what was found, and has it noted.
func (r *Repairer) looked(ctx actor.Context, m looked) {
	t := r.jobs[m.job]
	if t == nil || t.noticed {
		return
	}
	if r.owners.Busy() {
		r.late = append(r.late, m)
		return
	}
	e := r.owners.Of(t.name)
	if e == nil || e.Branch == nil || !e.Branch.Equal(t.branch) || e.Kept.file(t.si) == nil {
		r.over(ctx, m.job) // the caps under that name were changed: it is not known what this says
		return
	}
	f := e.Kept.file(t.si)
	f.State = r.after(f.State, t, m)
	if r.wanted(t) {
		f.State.Next = r.env.Clock.Now()
	}
	t.noticed = true
	r.noting++
	kept, store, name := *f, r.config.Store, t.name
	r.env.Exec.Do(env.Disk, ctx.Self(), func() any { return noted{m.job, store.Note(name, kept)} })
	r.tell(t, f.State)
}

// after is what is known of a file once it was looked at.
func (r *Repairer) after(s State, t *task, m looked) State {
	now := r.env.Clock.Now()
	s.Trouble = ""
	if m.err != nil {
		s.Trouble = m.err.Error()
		s.Next = now.Add(r.env.Jitter(min(retryAfter, r.config.Every)))
		return s
	}
	before, after := m.result.Before, m.result.After
	s.Checked = now
	if t.verify {
		s.Verified = now
	}
	s.Shares, s.Happiness, s.Summary = after.Shares(), after.Happiness(), after.Summary()
	s.Healthy, s.Recoverable = after.Healthy(), after.Recoverable()
	if before.Recoverable() { // else servers are away, or it is past counting
		s.Lost += len(before.Missing())
	}
	s.Pushed += m.result.Pushed
	if m.result.Pushed > 0 {
		s.Repaired = now
	}
	s.Next = now.Add(r.env.Jitter(r.config.Every))
	if !s.Healthy {
		s.Next = now.Add(r.env.Jitter(min(retryAfter, r.config.Every)))
		s.Trouble = trouble(m.result)
	}
	return s
}

// trouble is why a file is not whole.
func trouble(m client.Repaired) string {
	if m.Err != nil {
		return m.Err.Error()
	}
	text := m.After.Summary()
	for i, l := range m.LeftOut {
		if i == maxReasons {
			return fmt.Sprintf("%s; and %d more", text, len(m.LeftOut)-i)
		}
		text += fmt.Sprintf("; %s: %v", cmp.Or(l.Name, l.Server.Short()), l.Err)
	}
	return text
}

// maxReasons is how many servers are named.
const maxReasons = 5

func (r *Repairer) tell(t *task, s State) {
	log := r.env.Log.With("for", t.name, "storage-index", t.si.String())
	switch {
	case s.Trouble != "":
		log.Warn("a file is not whole", "error", s.Trouble)
	case s.Repaired.Equal(s.Checked):
		log.Info("a file was repaired", "shares", s.Shares, "happiness", s.Happiness)
	}
}

// noted goes on once the result is kept.
func (r *Repairer) noted(ctx actor.Context, m noted) {
	r.noting--
	if m.err != nil {
		r.env.Log.Error("what was found of a file could not be kept", "error", m.err)
	}
	r.over(ctx, m.job)
	r.next(ctx)
}

// over ends a job, and lets the next begin after a rest.
func (r *Repairer) over(ctx actor.Context, job string) {
	t := r.jobs[job]
	if t == nil {
		return
	}
	delete(r.jobs, job)
	r.resting++
	r.env.Clock.After(min(r.env.Clock.Now().Sub(t.began), mostRest), ctx.Self(), rested{})
	r.answer(ctx, t)
}

// checkNow makes files due.
func (r *Repairer) checkNow(ctx actor.Context, m CheckNow, from *actor.PID) {
	if m.Name != "" && r.owners.Of(m.Name) == nil {
		ctx.Send(from, ErrUnknown)
		return
	}
	now := r.env.Clock.Now()
	w := &wait{replyTo: from, since: now, files: map[fileID]bool{}}
	for name, e := range r.owners.All() {
		for i := range e.Kept.Files {
			if m.Name == "" || m.Name == name {
				f := &e.Kept.Files[i]
				f.State.Next = now
				w.files[fileID{name, f.Verifier.StorageIndex}] = true
			}
		}
	}
	r.waiting = append(r.waiting, w)
	r.answer(ctx, nil)
	r.schedule(ctx)
}

// answer tells who waits for nothing more. A look that began before somebody
// asked is none that he waits for.
func (r *Repairer) answer(ctx actor.Context, t *task) {
	r.waiting = slices.DeleteFunc(r.waiting, func(w *wait) bool {
		if t != nil && !t.began.Before(w.since) {
			delete(w.files, t.fileID)
		}
		maps.DeleteFunc(w.files, func(id fileID, _ bool) bool {
			e := r.owners.Of(id.name)
			return !r.owners.Busy() && (e == nil || e.Kept.file(id.si) == nil)
		})
		if len(w.files) == 0 {
			ctx.Send(w.replyTo, Done{})
		}
		return len(w.files) == 0
	})
}

// wanted reports whether somebody asked for a file while it was looked at, so
// that it is looked at once more.
func (r *Repairer) wanted(t *task) bool {
	return slices.ContainsFunc(r.waiting, func(w *wait) bool { return w.files[t.fileID] && t.began.Before(w.since) })
}

// errBranch is why a file could not be looked at whose owner's branch failed.
var errBranch = errors.New("the part of this node that reaches servers for him failed; its log says more")
