package client

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/transport/wire"
)

// Call sends one request to a server; answered by one Reply. It fails at once
// with ErrNotConnected while there is no connection.
type Call struct {
	ReplyTo *actor.PID
	Tag     any // comes back with the Reply
	Frame   wire.Frame
}

// Reply answers a Call. Err is ErrNotConnected or ErrNoAnswer (wrapped), or
// the *wire.Error that the server answered. The receiver releases the Frame.
type Reply struct {
	Tag   any
	Frame wire.Frame
	Err   error
}

// Discard lets go of a reply that nobody waits for any more.
func (r Reply) Discard() { r.Frame.Release() }

// ErrNoAnswer fails a Call that the server did not answer in time.
var ErrNoAnswer = fmt.Errorf("no answer within %v", callTime)

// calls is the requests on one connection.
type calls struct {
	last   uint64
	most   int // unanswered at a time
	open   map[uint64]pending
	queued []Call
	timing bool
}

// pending is a request that is unanswered.
type pending struct {
	replyTo *actor.PID
	tag     any
	then    func(actor.Context, wire.Message) // for the server actor itself
	sent    time.Time
}

func newCalls() calls { return calls{most: maxCalls, open: map[uint64]pending{}} }

// begin numbers a request.
func (c *calls) begin(now time.Time, f wire.Frame, p pending) wire.Frame {
	c.last++
	f.ID, p.sent = c.last, now
	c.open[c.last] = p
	return f
}

// end takes an answered request off the list.
func (c *calls) end(id uint64) (pending, bool) {
	p, ok := c.open[id]
	delete(c.open, id)
	return p, ok
}

// failAll answers everything with err, in the order it was asked. What is asked
// over another connection is numbered from 1 again: the server is not told how
// much this node asked for before.
func (c *calls) failAll(ctx actor.Context, err error) {
	for _, id := range slices.Sorted(maps.Keys(c.open)) {
		c.open[id].fail(ctx, err)
	}
	for _, q := range c.queued {
		q.Frame.Release()
		ctx.Send(q.ReplyTo, Reply{Tag: q.Tag, Err: err})
	}
	clear(c.open)
	c.queued, c.last = nil, 0
}

func (p pending) fail(ctx actor.Context, err error) {
	if p.replyTo != nil {
		ctx.Send(p.replyTo, Reply{Tag: p.tag, Err: err})
	}
}

// call sends a request, or holds it while too many are unanswered or the
// connection is about to be another one.
func (s *server) call(ctx actor.Context, m Call) {
	if s.report.state != Connected && s.report.state != LoggedIn && !s.punch.moving {
		m.Frame.Release()
		ctx.Send(m.ReplyTo, Reply{Tag: m.Tag, Err: ErrNotConnected})
		return
	}
	s.calls.queued = append(s.calls.queued, m)
	s.sendQueued()
	if !s.calls.timing {
		s.calls.timing = true
		s.env.Clock.After(tickInterval, ctx.Self(), callsDue{})
	}
}

func (s *server) sendQueued() {
	for len(s.calls.queued) > 0 && len(s.calls.open) < s.calls.most && s.link != nil && !s.punch.moving {
		m := s.calls.queued[0]
		s.calls.queued = s.calls.queued[1:]
		s.link.send(s.calls.begin(s.env.Clock.Now(), m.Frame, pending{replyTo: m.ReplyTo, tag: m.Tag}))
	}
}

// callsDue fails what has waited too long: a server that says other things
// meanwhile gets more time, because its link may be slow.
func (s *server) callsDue(ctx actor.Context) {
	now := s.env.Clock.Now()
	for _, id := range slices.Sorted(maps.Keys(s.calls.open)) {
		p := s.calls.open[id]
		silent := min(now.Sub(p.sent), now.Sub(s.heard))
		if silent >= callTime || now.Sub(p.sent) >= slowTime {
			delete(s.calls.open, id)
			p.fail(ctx, ErrNoAnswer)
		}
	}
	s.sendQueued()
	if s.calls.timing = len(s.calls.open)+len(s.calls.queued) > 0; s.calls.timing {
		s.env.Clock.After(tickInterval, ctx.Self(), callsDue{})
	}
}

// deliver hands an answer to whoever asked; an error of the server becomes
// the Reply's.
func (p pending) deliver(ctx actor.Context, f wire.Frame) {
	r := Reply{Tag: p.tag, Frame: f}
	if e, ok := f.Message.(*wire.Error); ok {
		f.Release()
		r = Reply{Tag: p.tag, Err: e}
	}
	ctx.Send(p.replyTo, r)
}
