package env

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// ErrGone means that the actor that should have answered failed or stopped.
var ErrGone = errors.New("the part of the node that was asked stopped without an answer")

// Call is a conversation of code outside of actors with one actor: a request
// that carries an address for replies, and the replies. It has no goroutine,
// and a reply never blocks its sender; how many may be outstanding is for the
// request to say. One goroutine at a time may use it.
type Call struct {
	sys     *System
	to      *actor.PID
	cell    *cell
	replyTo *actor.PID
	unwatch func() bool

	mu      sync.Mutex
	replies []any
	err     error
	ready   chan struct{} // holds one token when there is something to see
}

// Open sends to the actor to what request returns for the address of the
// replies; the actor may also use ctx.Respond. When the context ends before
// Close, the actor is sent what cancelled returns (nothing if cancelled is
// nil). Close must be called.
func (s *System) Open(ctx context.Context, to *actor.PID, request, cancelled func(replyTo *actor.PID) any) *Call {
	c := &Call{sys: s, to: to, cell: s.cell(to), ready: make(chan struct{}, 1)}
	c.replyTo, _ = s.actors.ProcessRegistry.Add(replies{c}, "call"+s.actors.ProcessRegistry.NextId())
	if c.cell == nil || !c.cell.attach(c) {
		c.end(ErrGone)
		c.unwatch = func() bool { return true }
		return c
	}
	s.actors.Root.RequestWithCustomSender(to, request(c.replyTo), c.replyTo)
	c.unwatch = context.AfterFunc(ctx, func() {
		if c.end(context.Cause(ctx)) && cancelled != nil {
			s.Send(to, cancelled(c.replyTo))
		}
	})
	return c
}

// Send sends a further message of the conversation, say credit for replies.
func (c *Call) Send(msg any) { c.sys.actors.Root.RequestWithCustomSender(c.to, msg, c.replyTo) }

// Next waits for the next reply. After the last one it returns why there are
// no more: ErrGone, or the cause of the context's end.
func (c *Call) Next() (any, error) {
	for {
		if reply, err, ok := c.take(); ok {
			return reply, err
		}
		<-c.ready
	}
}

func (c *Call) take() (reply any, err error, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.replies) > 0 {
		reply, c.replies = c.replies[0], c.replies[1:]
		return reply, nil, true
	}
	return nil, c.err, c.err != nil
}

// Close ends the conversation on this side; later replies are dropped. It
// does not tell the actor: a request that is to be given up is cancelled by
// its context.
func (c *Call) Close() {
	c.unwatch()
	c.end(ErrGone)
	c.sys.actors.ProcessRegistry.Remove(c.replyTo)
	if c.cell != nil {
		c.cell.detach(c)
	}
}

func (c *Call) put(reply any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.replies = append(c.replies, reply)
		c.wake()
	}
}

// end reports whether it was this err that ended the call.
func (c *Call) end(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	c.err = err
	c.wake()
	return true
}

func (c *Call) wake() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// replies is the process behind the address for replies.
type replies struct{ call *Call }

// SendUserMessage implements actor.Process.
func (r replies) SendUserMessage(_ *actor.PID, m any) {
	_, msg, _ := actor.UnwrapEnvelope(m)
	if _, lost := msg.(*actor.DeadLetterResponse); lost {
		r.call.end(ErrGone)
		return
	}
	r.call.put(msg)
}

// SendSystemMessage implements actor.Process: nothing to do, it has no life.
func (replies) SendSystemMessage(*actor.PID, any) {}

// Stop implements actor.Process.
func (r replies) Stop(*actor.PID) { r.call.end(ErrGone) }

// Ask is a Call with one reply. A reply that is an error becomes Ask's.
func Ask[R any](ctx context.Context, s *System, to *actor.PID, request, cancelled func(replyTo *actor.PID) any) (R, error) {
	var none R
	c := s.Open(ctx, to, request, cancelled)
	defer c.Close()
	reply, err := c.Next()
	if err != nil {
		return none, err
	}
	switch r := reply.(type) {
	case R:
		return r, nil
	case error:
		return none, r
	}
	return none, fmt.Errorf("read the answer: %T where %T was expected", reply, none)
}
