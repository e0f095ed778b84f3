package client

import (
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// turns decides who may dial, for all servers of a client together: so many at a
// time, so many a minute. There are two queues, of valued servers and of others,
// and in each who failed least comes first, so that many servers that come and go hold
// up none that is well; but nobody waits for ever, see askTurn.due and turns.first.
type turns struct {
	valuedOnes, others []askTurn
	row                int             // valued ones that went first
	having             map[string]bool // the PID ids of those who dial
	pace               transport.Pace
	timer              bool // runs
	valued             map[grid.ServerID]bool
}

func newTurns() turns {
	return turns{
		having: map[string]bool{}, valued: map[grid.ServerID]bool{},
		pace: transport.Pace{PerMinute: dialsPerMinute, Burst: dialBurst},
	}
}

type (
	// askTurn asks for a turn to dial; answered by yourTurn. Who asks again
	// gives up what it asked for, or has, before.
	askTurn struct {
		pid        *actor.PID
		server     grid.ServerID
		generation uint64 // of the link that is to be made
		failures   int    // in a row
		at         time.Time
	}
	// yourTurn ends with a turnOver.
	yourTurn struct{ generation uint64 }
	turnOver struct{ pid *actor.PID }
	turnsDue struct{}
)

// due orders those who ask: each failure counts like having asked failureDelay
// later, up to maxDelays of them.
func (m askTurn) due() time.Time {
	return m.at.Add(time.Duration(min(m.failures, maxDelays)) * failureDelay)
}

func (t *turns) ask(m askTurn) {
	t.over(m.pid)
	queue := t.queueOf(m.server)
	at := len(*queue)
	for at > 0 && (*queue)[at-1].due().After(m.due()) {
		at--
	}
	*queue = slices.Insert(*queue, at, m)
}

func (t *turns) queueOf(id grid.ServerID) *[]askTurn {
	if t.valued[id] {
		return &t.valuedOnes
	}
	return &t.others
}

// over takes away what somebody has, or asked for.
func (t *turns) over(pid *actor.PID) {
	delete(t.having, pid.Id)
	theirs := func(m askTurn) bool { return m.pid.Equal(pid) }
	t.valuedOnes, t.others = slices.DeleteFunc(t.valuedOnes, theirs), slices.DeleteFunc(t.others, theirs)
}

// next is whose turn it is now. If it is nobody's because there were many of
// late, wait is until when.
func (t *turns) next(now time.Time) (m askTurn, ok bool, wait time.Duration) {
	if len(t.valuedOnes)+len(t.others) == 0 || len(t.having) >= maxDials {
		return m, false, 0
	}
	if wait = t.pace.Wait(now); wait > 0 {
		return m, false, wait
	}
	t.pace.Take(now)
	queue := t.first()
	m = (*queue)[0]
	*queue = slices.Delete(*queue, 0, 1)
	t.having[m.pid.Id] = true
	return m, true, 0
}

// first is the queue whose turn it is: valuedInRow of the first may go before one of
// the second, of those that come and go only one.
func (t *turns) first() *[]askTurn {
	switch {
	case len(t.others) == 0:
		return &t.valuedOnes
	case len(t.valuedOnes) == 0 || t.row >= valuedInRow || t.row > 0 && t.valuedOnes[0].failures >= comingFailures:
		t.row = 0
		return &t.others
	}
	t.row++
	return &t.valuedOnes
}

// giveTurns tells those whose turn it is.
func (c *Client) giveTurns(ctx actor.Context) {
	for {
		m, ok, wait := c.turns.next(c.env.Clock.Now())
		switch {
		case ok:
			ctx.Send(m.pid, yourTurn{m.generation})
			continue
		case wait > 0 && !c.turns.timer:
			c.turns.timer = true
			c.env.Clock.After(wait, ctx.Self(), turnsDue{})
		}
		return
	}
}
