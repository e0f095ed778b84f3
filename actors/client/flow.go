package client

import (
	"iter"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
)

// flow is work of an actor that is written down from its beginning to its end,
// though it waits for messages in between: it runs, on a coroutine of its own,
// only while its actor is in Receive, and rests until the next message is given
// to it. So it blocks nobody, and its actor's state is its own meanwhile.
//
// What it asks for carries a tag; an answer to a tag that it waits for no more is
// let go.
type flow struct {
	env   *env.Env
	ctx   actor.Context // of the Receive that it runs in
	msg   any
	next  func() (struct{}, bool)
	end   func()
	rest  func(struct{}) bool
	tags  int
	calls map[tag]*asked // without an answer yet
}

// flowStopped unwinds a flow whose actor ends.
type flowStopped struct{}

// newFlow is work that begins when it is given something.
func newFlow(e *env.Env, work func(*flow)) *flow {
	f := &flow{env: e, calls: map[tag]*asked{}}
	f.next, f.end = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if p := recover(); p != nil {
				if _, stopped := p.(flowStopped); !stopped {
					panic(p)
				}
			}
		}()
		f.rest = yield
		work(f)
	})
	return f
}

// give continues the flow with a message; it reports whether it has ended.
func (f *flow) give(ctx actor.Context, msg any) (ended bool) {
	f.ctx, f.msg = ctx, msg
	_, more := f.next()
	return !more
}

// stop ends a flow wherever it is.
func (f *flow) stop() { f.end() }

// wait is for the next message.
func (f *flow) wait() any {
	if !f.rest(struct{}{}) {
		panic(flowStopped{})
	}
	if m, ok := f.msg.(Reply); ok {
		t, _ := m.Tag.(tag)
		if a := f.calls[t]; a != nil {
			a.reply, f.msg = &m, nil
			delete(f.calls, t)
		}
	}
	return f.msg
}

// tag names what a flow has asked for. No other flow, before it or after it, has
// the same.
type tag struct {
	of *flow
	n  int
}

func (f *flow) tag() tag {
	f.tags++
	return tag{f, f.tags}
}

// Results of what a flow asked for, beside Reply and candidateList.
type (
	flowDone struct {
		tag    tag
		result any
	}
	flowTimer struct{ tag tag }
)

// Discard lets go of a result that nobody waits for.
func (d flowDone) Discard() {
	if of, ok := d.result.(env.Discarder); ok {
		of.Discard()
	}
}

// do runs work outside of the actor and waits for what comes of it.
func do[R any](f *flow, kind env.Kind, work func() R) R {
	t := f.tag()
	f.env.Exec.Do(kind, f.ctx.Self(), func() any { return flowDone{t, work()} })
	for {
		if done, ok := f.wait().(flowDone); ok && done.tag == t {
			return done.result.(R)
		}
		f.letGo()
	}
}

// letGo releases a message that is not waited for.
func (f *flow) letGo() {
	if d, ok := f.msg.(env.Discarder); ok {
		d.Discard()
	}
}

// sleep waits.
func (f *flow) sleep(d time.Duration) {
	t := f.timer(d)
	for {
		if m, ok := f.wait().(flowTimer); ok && m.tag == t {
			return
		}
		f.letGo()
	}
}

func (f *flow) timer(d time.Duration) tag {
	t := f.tag()
	f.env.Clock.After(d, f.ctx.Self(), flowTimer{t})
	return t
}

// asked is a Call that a flow has made.
type asked struct {
	tag   tag
	reply *Reply // nil until it came
}

func (a *asked) open() bool { return a.reply == nil }

// ask sends calls. gather waits for their replies.
func (f *flow) ask(to *actor.PID, c Call) *asked {
	t := f.tag()
	c.ReplyTo, c.Tag = f.ctx.Self(), t
	a := &asked{tag: t}
	f.calls[t] = a
	f.ctx.Send(to, c)
	return a
}

// gather waits until all replies have come, or enough says that it need not any
// more: it is asked before, after each message, and when patience has passed.
// Replies that come later are still taken.
func (f *flow) gather(all []*asked, patience time.Duration, enough func(late bool) bool) {
	late, timer := false, tag{}
	if enough != nil {
		timer = f.timer(patience)
	}
	for slices.ContainsFunc(all, (*asked).open) && (enough == nil || !enough(late)) {
		if m, ok := f.wait().(flowTimer); ok {
			late = late || m.tag == timer
			continue
		}
		f.letGo()
	}
}

// gatherBut waits until all replies have come, but for those that are lost within
// this node.
func (f *flow) gatherBut(all []*asked) {
	f.gather(all, lostTime, func(late bool) bool { return late })
	f.giveUp(all)
}

// giveUp has an error stand for each reply that has not come.
func (f *flow) giveUp(all []*asked) {
	f.leave(all)
	for _, a := range all {
		if a.open() {
			a.reply = &Reply{Err: errLostWithin}
		}
	}
}

// leave waits for replies no more.
func (f *flow) leave(all []*asked) {
	for _, a := range all {
		delete(f.calls, a.tag)
	}
}
