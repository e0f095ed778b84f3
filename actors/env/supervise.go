package env

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// An actor that failed maxFailures times within failureWindow is stopped.
// Before each restart it rests: firstRest, twice as long each time, at most
// longestRest, give or take a quarter. All nine rests together are shorter
// than the window, so an actor that always fails at once is always stopped.
const (
	maxFailures   = 10
	failureWindow = time.Minute
	firstRest     = 10 * time.Millisecond
	longestRest   = 5 * time.Second
)

// restartOne is the supervision of every parent over its children: a child
// that panicked is restarted alone. protoactor's own backoff is linear and
// bound to the wall clock (design: "protoactor facts").
type restartOne struct{ sys *System }

// HandleFailure implements actor.SupervisorStrategy.
func (r restartOne) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any) {
	c := r.sys.cell(child)
	if c == nil {
		sup.StopChildren(child)
		return
	}
	rest, again := c.failed(r.sys.Now())
	if !again {
		r.sys.m.Log.Error("actor stopped: it keeps failing", "actor", c.id, "failures", maxFailures, "within", failureWindow)
		sup.StopChildren(child)
		return
	}
	// Posted to the cell, not to the address: by then another actor may have
	// the name.
	r.sys.m.After(r.sys.Env.Jitter(rest), func() { c.PostSystemMessage(&actor.Restart{}) })
}

// failed notes a failure and says how long to rest before the next try.
func (c *cell) failed(now time.Time) (rest time.Duration, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	recent := c.failures[:0]
	for _, t := range c.failures {
		if now.Sub(t) < failureWindow {
			recent = append(recent, t)
		}
	}
	c.failures = append(recent, now)
	n := len(c.failures)
	return min(firstRest<<(n-1), longestRest), n < maxFailures
}

// stopAtTop is the supervision of the roots.
type stopAtTop struct{ sys *System }

// HandleFailure implements actor.SupervisorStrategy.
func (r stopAtTop) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any) {
	r.sys.m.Log.Error("the top of the node failed; everything stops", "actor", child.Id)
	sup.StopChildren(child)
}
