package sim

import (
	"container/heap"
	"errors"
	"fmt"
	"time"
)

// maxStepsAtOnce is how many steps may follow each other without the clock
// moving on: more is a pair of actors that keep each other busy for ever.
const maxStepsAtOnce = 200_000

// Why a run ended early. The error text ends in the last lines of the trace.
var (
	ErrIdle     = errors.New("nothing is left that could happen")
	ErrLate     = errors.New("it did not happen in time")
	ErrLivelock = errors.New("the actors are busy and time stands still")
)

// Step lets one thing happen: an actor handles a message or, when none has
// any, the clock moves on to the next timer and that fires. It reports
// whether there was anything.
func (w *World) Step() bool {
	if n := len(w.ready); n > 0 {
		i := w.rng.IntN(n)
		fn := w.ready[i]
		w.ready[i], w.ready[n-1] = w.ready[n-1], nil
		w.ready = w.ready[:n-1]
		w.steps++
		fn()
		return true
	}
	t := w.next()
	if t == nil {
		return false
	}
	heap.Pop(&w.timers)
	w.now = t.at
	w.steps++
	t.fn()
	return true
}

// next is the timer that fires next, nil if there is none.
func (w *World) next() *timer {
	for len(w.timers) > 0 {
		if t := w.timers[0]; t.fn != nil {
			return t
		}
		heap.Pop(&w.timers)
	}
	return nil
}

// Run makes at most n steps and returns how many there were to make.
func (w *World) Run(n int) int {
	for i := range n {
		if !w.Step() {
			return i
		}
	}
	return n
}

// Until runs the world until cond holds, looking after each step. It returns
// ErrLate when that takes more than the virtual time within, ErrIdle when
// nothing happens any more, ErrLivelock when time stands still.
func (w *World) Until(cond func() bool, within time.Duration) error {
	deadline, at, since := w.now.Add(within), w.now, 0
	for !cond() {
		if !w.now.Equal(at) {
			at, since = w.now, 0
		}
		if since++; since > maxStepsAtOnce {
			return w.fail(ErrLivelock)
		}
		if len(w.ready) == 0 {
			switch t := w.next(); {
			case t == nil:
				return w.fail(ErrIdle)
			case t.at.After(deadline):
				return w.fail(ErrLate)
			}
		}
		w.Step()
	}
	return nil
}

// For lets d pass, with all that happens in it.
func (w *World) For(d time.Duration) error {
	end := w.now.Add(d)
	err := w.Until(func() bool { return false }, d)
	if errors.Is(err, ErrLivelock) {
		return err
	}
	w.now = end
	return nil
}

func (w *World) fail(err error) error {
	return fmt.Errorf("after %v and %d steps: %w\n%s", w.now.Sub(Start), w.steps, err, w.trace.tail())
}
