package inbound_test

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/inbound"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// talker answers every request, unless it holds them.
type talker struct {
	inbound.Talk
	holds  bool
	frames *int
}

const talkCredit = 2

func (s *talker) Receive(ctx actor.Context) {
	m, ok := ctx.Message().(inbound.Frame)
	if !ok {
		s.Hear(ctx)
		return
	}
	m.Release()
	*s.frames++
	if s.InOrder(m) && !s.holds {
		s.Answer(ctx, m.ID, &wire.Done{})
	}
}

// other is the other side of a talk.
type other struct {
	*rig
	session transport.Session
	conv    transport.Conversation
	answers []uint64
	closed  bool
	frames  int // that came to the actor
}

func talk(t *testing.T, holds bool) *other {
	t.Helper()
	o := &other{}
	o.rig = newRigOf(t, 8, func(e *env.Env, a inbound.Arrival) actor.Actor {
		terms := inbound.Terms{Protocol: transport.Helping, Credit: talkCredit, HelloWithin: time.Minute}
		return &talker{Talk: inbound.NewTalk(e, a, terms), holds: holds, frames: &o.frames}
	})
	o.net.Dialer("client").Dial(
		transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key)), Hints: []grid.Hint{"/dns/server/tcp/1"}, Connections: transport.DirectConnections},
		transport.SessionEvents{Closed: func(error) { o.closed = true }},
		func(s transport.Session, _ error) { o.session = s })
	o.settle()
	o.conv = o.session.Open(transport.Helping, o.heard, 100)
	return o
}

func (o *other) heard(ev transport.Event) {
	if m, ok := ev.(transport.Received); ok {
		o.answers = append(o.answers, m.Frame.ID)
	}
}

func (o *other) send(frames ...wire.Frame) {
	o.Helper()
	for _, f := range frames {
		o.conv.Send(f)
	}
	o.settle()
}

func request(id uint64) wire.Frame { return wire.Frame{ID: id, Message: &wire.AskServers{}} }

func hello(id uint64) wire.Frame {
	return wire.Frame{ID: id, Message: &wire.Hello{Version: wire.Version}}
}

func TestTalkAnswersWhatIsInOrder(t *testing.T) {
	o := talk(t, false)
	o.send(hello(1), request(2), request(3), request(4), request(5))
	if len(o.answers) != 5 || o.closed {
		t.Errorf("answered %v, closed: %v", o.answers, o.closed)
	}
	refused := false
	o.session.Open(transport.Helping, func(ev transport.Event) { _, refused = ev.(transport.Ended) }, 1)
	o.settle()
	if o.send(request(6)); !refused || len(o.answers) != 6 {
		t.Errorf("another conversation is refused: %v, answered %v", refused, o.answers)
	}
	o.conv.Close(nil)
	if o.settle(); !o.closed {
		t.Error("the session outlives its conversation")
	}
}

// Nothing comes beyond what may be unanswered.
func TestTalkCredit(t *testing.T) {
	o := talk(t, true)
	o.send(hello(1), request(2), request(3), request(4))
	if o.frames != talkCredit {
		t.Errorf("%d frames came", o.frames)
	}
}

func TestTalkOutOfOrder(t *testing.T) {
	for name, frames := range map[string][]wire.Frame{
		"no hello":    {request(1)},
		"two of them": {hello(1), hello(2)},
		"an answer":   {hello(1), {ID: 2, Answer: true, Message: &wire.Done{}}},
		"a notice":    {hello(1), {Message: &wire.AskServers{}}},
	} {
		o := talk(t, false)
		o.send(frames...)
		if !o.closed || len(o.answers) != len(frames)-1 {
			t.Errorf("%s: closed: %v, answered %v", name, o.closed, o.answers)
		}
	}
}

func TestTalkWithTheSilent(t *testing.T) {
	o := talk(t, false)
	if err := o.world.For(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if !o.closed {
		t.Error("who says nothing is kept")
	}
	o = talk(t, false)
	o.send(hello(1))
	if err := o.world.For(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if o.closed {
		t.Error("who said hello is not kept")
	}
}
