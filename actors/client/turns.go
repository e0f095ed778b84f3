package client

import (
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
)

// turns decides who may dial, for all servers of a client together: so many at a
// time, so many a minute; first valued ones, then who failed least, so that many servers that come
// and go hold up none that is well.
type turns struct {
	waiting []askTurn
	having  map[string]bool // the PID ids of those who dial
	free    time.Time       // since when nobody would have had to wait; see take
	timer   bool            // runs
	valued  map[grid.ServerID]bool
}

func newTurns() turns { return turns{having: map[string]bool{}, valued: map[grid.ServerID]bool{}} }

type (
	// askTurn asks for a turn to dial; answered by yourTurn. Who asks again
	// gives up what it asked for, or has, before.
	askTurn struct {
		pid        *actor.PID
		server     grid.ServerID
		generation uint64 // of the link that is to be made
		failures   int    // in a row
	}
	// yourTurn ends with a turnOver.
	yourTurn struct{ generation uint64 }
	turnOver struct{ pid *actor.PID }
	turnsDue struct{}
)

func (t *turns) ask(m askTurn) {
	t.over(m.pid)
	at := len(t.waiting)
	for at > 0 && t.compare(t.waiting[at-1], m) > 0 {
		at--
	}
	t.waiting = slices.Insert(t.waiting, at, m)
}

// over takes away what somebody has, or asked for.
func (t *turns) over(pid *actor.PID) {
	delete(t.having, pid.Id)
	t.waiting = slices.DeleteFunc(t.waiting, func(m askTurn) bool { return m.pid.Equal(pid) })
}

// next is whose turn it is now. If it is nobody's because there were many of
// late, wait is until when.
func (t *turns) next(now time.Time) (m askTurn, ok bool, wait time.Duration) {
	if len(t.waiting) == 0 || len(t.having) >= maxDials {
		return m, false, 0
	}
	if wait = t.take(now); wait > 0 {
		return m, false, wait
	}
	m = t.waiting[0]
	t.waiting = t.waiting[1:]
	t.having[m.pid.Id] = true
	return m, true, 0
}

// take counts a dial, unless it has to wait. Each moves free on by its share of
// a minute, from now on at least; dialBurst of them it may be ahead of now.
func (t *turns) take(now time.Time) (wait time.Duration) {
	const each = time.Minute / dialsPerMinute
	if t.free.Before(now) {
		t.free = now
	}
	if ahead := t.free.Sub(now); ahead > (dialBurst-1)*each {
		return ahead - (dialBurst-1)*each
	}
	t.free = t.free.Add(each)
	return 0
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
