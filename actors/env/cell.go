package env

import (
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// maxWhileSuspended is how many messages may wait for an actor that failed
// and is not yet restarted. Later ones are dropped: whoever sent them must
// expect that anyway of an actor that lost its memory.
const maxWhileSuspended = 1024

// cell stands between protoactor and one actor, for as long as the actor's
// name is its own: across restarts, but not for a later actor of that name.
// It is the mailbox (around the machine's) and what the mailbox invokes.
type cell struct {
	sys     *System
	id      string
	spawned bool
	ended   func()   // for a root
	produce Producer // nil once the actor has stopped

	inner   actor.Mailbox
	invoker actor.MessageInvoker

	incarnation atomic.Uint64 // grows with each failure, restart and the end
	suspended   atomic.Bool
	killed      atomic.Bool
	over        sync.Once

	mu       sync.Mutex // orders system messages; guards what follows
	stopping bool
	failures []time.Time
	calls    map[*Call]struct{}
}

var (
	_ actor.Mailbox        = (*cell)(nil)
	_ actor.MessageInvoker = (*cell)(nil)
)

func (s *System) newCell(id string, p Producer) *cell {
	c := &cell{sys: s, id: id, produce: p, inner: s.m.Mailbox(), calls: map[*Call]struct{}{}}
	if _, taken := s.cells.LoadOrStore(id, c); taken {
		panic(fmt.Errorf("spawn %s: %w", id, actor.ErrNameExists))
	}
	return c
}

// unlessSpawned gives the name back when the producer panicked.
func (c *cell) unlessSpawned() {
	if !c.spawned {
		c.sys.cells.CompareAndDelete(c.id, c)
	}
}

// incarnate makes a fresh actor. What the earlier self asked for is stale.
func (c *cell) incarnate() actor.Actor {
	c.incarnation.Add(1)
	return &incarnation{cell: c, self: c.produce()}
}

// PostUserMessage implements actor.Mailbox.
func (c *cell) PostUserMessage(m any) {
	if c.killed.Load() {
		return
	}
	if c.suspended.Load() && c.inner.UserMessageCount() >= maxWhileSuspended {
		c.sys.m.Log.Warn("message dropped: the actor failed and too many wait for its restart",
			"actor", c.id, "message", typeName(m))
		discard(m)
		return
	}
	c.inner.PostUserMessage(m)
}

// PostSystemMessage implements actor.Mailbox. protoactor would let a restart
// undo a stop that came before it, and then nobody ever sees the actor end.
func (c *cell) PostSystemMessage(m any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed.Load() {
		return
	}
	switch m.(type) {
	case *actor.Stop:
		c.stopping = true
	case *actor.Restart:
		if c.stopping {
			return
		}
	case *actor.SuspendMailbox:
		c.suspended.Store(true)
	case *actor.ResumeMailbox:
		c.suspended.Store(false)
	}
	c.inner.PostSystemMessage(m)
}

// RegisterHandlers implements actor.Mailbox.
func (c *cell) RegisterHandlers(i actor.MessageInvoker, d actor.Dispatcher) {
	c.invoker = i
	c.inner.RegisterHandlers(c, d)
}

// Start implements actor.Mailbox.
func (c *cell) Start() { c.inner.Start() }

// UserMessageCount implements actor.Mailbox.
func (c *cell) UserMessageCount() int { return c.inner.UserMessageCount() }

// InvokeSystemMessage implements actor.MessageInvoker.
func (c *cell) InvokeSystemMessage(m any) {
	if !c.killed.Load() {
		c.invoker.InvokeSystemMessage(m)
	}
}

// InvokeUserMessage implements actor.MessageInvoker.
func (c *cell) InvokeUserMessage(m any) {
	if c.killed.Load() {
		return
	}
	if r, ok := m.(*result); ok {
		if m = r.open(); m == nil {
			return
		}
	}
	c.invoker.InvokeUserMessage(m)
}

// EscalateFailure implements actor.MessageInvoker. It runs while the panic
// unwinds, so the stack is still that of the failure.
func (c *cell) EscalateFailure(reason, msg any) {
	if c.killed.Load() {
		return
	}
	stack := debug.Stack()
	if w, ok := reason.(*workPanic); ok {
		stack = w.stack
	}
	c.sys.m.Log.Error("actor failed", "actor", c.id, "message", typeName(msg),
		"reason", fmt.Sprint(reason), "stack", string(stack))
	c.sys.observe(c.id, Failed{Reason: reason})
	c.incarnation.Add(1)
	c.hangUp(map[*Call]struct{}{})
	c.invoker.EscalateFailure(reason, msg)
}

// attach makes call end when the actor fails or stops.
func (c *cell) attach(call *Call) (ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		return false
	}
	c.calls[call] = struct{}{}
	return true
}

func (c *cell) detach(call *Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, call)
}

// hangUp ends the calls that wait for the actor; next takes those to come,
// or refuses them when it is nil.
func (c *cell) hangUp(next map[*Call]struct{}) {
	c.mu.Lock()
	calls := c.calls
	c.calls = next
	c.mu.Unlock()
	for call := range calls {
		call.end(ErrGone)
	}
}

// end runs once, when the actor has stopped and its name is free again.
func (c *cell) end() {
	c.over.Do(func() {
		c.incarnation.Add(1)
		c.sys.cells.CompareAndDelete(c.id, c)
		c.hangUp(nil)
		if c.ended != nil {
			c.ended()
		}
	})
}

// Kill makes the root called name and all below it vanish as in a power
// failure: nothing that they have queued, asked for or set a timer for happens
// any more, and none of them gets to say goodbye. It is for simulations; work
// that runs at this moment is not interrupted.
func (s *System) Kill(name string) {
	s.cells.Range(func(key, value any) bool {
		if id := key.(string); id == name || strings.HasPrefix(id, name+"/") {
			c := value.(*cell)
			c.killed.Store(true)
			s.actors.ProcessRegistry.Remove(s.actors.NewLocalPID(id))
			c.end()
		}
		return true
	})
}

// incarnation is one life of an actor.
type incarnation struct {
	cell   *cell
	self   actor.Actor
	ending bool
}

// Receive implements actor.Actor. Between Stopping (or Restarting) and the
// end the actor hears nothing: protoactor would tell it of each child that
// ends, and an actor that then starts a new one would never end itself.
func (i *incarnation) Receive(ctx actor.Context) {
	m := ctx.Message()
	i.cell.sys.observe(i.cell.id, m)
	switch m.(type) {
	case *actor.Restarting, *actor.Stopping:
		i.ending = true
		i.goodbye(ctx)
	case *actor.Stopped:
		i.goodbye(ctx)
		i.cell.end()
		// Whoever still has the PID, a timer or one that it watched, would else
		// keep all that the actor had.
		i.self, i.cell.produce = nil, nil
	default:
		if i.ending {
			discard(m)
			return
		}
		i.self.Receive(ctx)
	}
}

// goodbye delivers one of the last messages. A panic in it would leave the
// actor half stopped for ever, and its parent waiting.
func (i *incarnation) goodbye(ctx actor.Context) {
	defer func() {
		if r := recover(); r != nil {
			i.cell.sys.m.Log.Error("actor failed while it ended", "actor", i.cell.id,
				"message", typeName(ctx.Message()), "reason", fmt.Sprint(r), "stack", string(debug.Stack()))
			i.cell.sys.observe(i.cell.id, Failed{Reason: r})
		}
	}()
	i.self.Receive(ctx)
}
