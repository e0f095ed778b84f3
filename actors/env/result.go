package env

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// result is on its way to the incarnation that asked for it.
type result struct {
	sys         *System
	pid         *actor.PID
	to          *cell // nil: pid is not one of our actors
	incarnation uint64
	msg         any
	panicked    *workPanic
	cancelled   atomic.Bool
}

// result addresses the present incarnation of pid.
func (s *System) result(pid *actor.PID) *result {
	r := &result{sys: s, pid: pid, to: s.cell(pid)}
	if r.to != nil {
		r.incarnation = r.to.incarnation.Load()
	}
	return r
}

// run does the work and delivers what comes of it.
func (r *result) run(work func() any) {
	defer func() {
		if p := recover(); p != nil {
			r.panicked = &workPanic{reason: p, stack: debug.Stack()}
			r.deliver()
		}
	}()
	if r.msg = work(); r.msg != nil {
		r.deliver()
	}
}

// deliver sends the result to where it was asked for, if that is still there.
func (r *result) deliver() {
	switch {
	case r.to != nil && r.stale():
		discard(r.msg)
	case r.to != nil:
		r.to.PostUserMessage(r)
	case r.panicked != nil:
		r.sys.m.Log.Error("work failed that no actor asked for",
			"reason", fmt.Sprint(r.panicked.reason), "stack", string(r.panicked.stack))
	case r.pid != nil:
		r.sys.Send(r.pid, r.msg)
	default:
		discard(r.msg)
	}
}

func (r *result) stale() bool {
	return r.cancelled.Load() || r.incarnation != r.to.incarnation.Load()
}

// open returns the message, nil if it is stale by now, and panics in place of
// the work that did.
func (r *result) open() any {
	if r.stale() {
		discard(r.msg)
		return nil
	}
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.msg
}

// discard closes what nobody will receive.
func discard(msg any) {
	switch m := msg.(type) {
	case *result:
		discard(m.msg)
	case Discarder:
		m.Discard()
	}
}

// workPanic is a panic in work, carried to the actor that asked for it.
type workPanic struct {
	reason any
	stack  []byte
}

func (w *workPanic) Error() string { return fmt.Sprintf("work of the actor: %v", w.reason) }

// typeName is what may be logged of a message: its content can be secret.
func typeName(msg any) string {
	switch m := msg.(type) {
	case *actor.MessageEnvelope:
		return typeName(m.Message)
	case *result:
		return typeName(m.msg)
	}
	return fmt.Sprintf("%T", msg)
}
