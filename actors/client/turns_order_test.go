package client

import (
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
)

func asks(n, failures int) askTurn {
	return askTurn{pid: &actor.PID{Id: fmt.Sprint("server", n)}, generation: uint64(n), failures: failures}
}

func TestTurnsGoFirstToWhoFailedLeast(t *testing.T) {
	now := time.Unix(1000, 0)
	q := newTurns()
	for n, failures := range []int{3, 0, 2, 0, 9} {
		q.ask(asks(n, failures))
	}
	q.ask(asks(2, 0)) // asks anew
	q.over(asks(0, 0).pid)
	for _, want := range []uint64{1, 3, 2, 4} {
		if m, ok, _ := q.next(now); !ok || m.generation != want {
			t.Fatalf("it is the turn of %d (%v), not of %d", m.generation, ok, want)
		}
	}
	if _, ok, wait := q.next(now); ok || wait != 0 {
		t.Error("it is somebody's turn who did not ask")
	}
}

func TestTurnsGoFirstToValuedServers(t *testing.T) {
	now := time.Unix(1000, 0)
	q := newTurns()
	q.value(grid.ServerID{3})
	for n, failures := range []int{1, 0, 4, 5} {
		m := asks(n, failures)
		m.server = grid.ServerID{byte(n)}
		q.ask(m)
	}
	q.value(grid.ServerID{2})                   // it waits already
	for _, want := range []uint64{2, 1, 3, 0} { // who failed takes turns with those that are not valued
		if m, ok, _ := q.next(now); !ok || m.generation != want {
			t.Fatalf("it is the turn of %d (%v), not of %d", m.generation, ok, want)
		}
	}
}

// Whoever asks again and again does not keep others from their turn: not valued
// servers one that nobody knows, and not those that are well one that failed often.
func TestTurnsComeToEverybody(t *testing.T) {
	for name, last := range map[string]askTurn{"unknown": asks(99, 0), "failed": {server: grid.ServerID{1}, failures: 50, pid: asks(99, 0).pid, generation: 99}} {
		now := time.Unix(1000, 0)
		q := newTurns()
		q.value(grid.ServerID{1})
		ask := func(m askTurn) {
			m.at = now
			q.ask(m)
		}
		again := func(n int) {
			m := asks(n, 0)
			m.server = grid.ServerID{1}
			ask(m)
		}
		ask(last)
		for n := range 10 {
			again(n)
		}
		for came := false; !came; now = now.Add(time.Second) {
			m, ok, _ := q.next(now)
			if !ok || now.Sub(time.Unix(1000, 0)) > time.Hour {
				t.Fatalf("%s: it is the turn of %d (%v) after %v", name, m.generation, ok, now.Sub(time.Unix(1000, 0)))
			}
			q.over(m.pid)
			again(int(m.generation))
			came = m.generation == 99
		}
	}
}

func TestTurnsAreFewAtATimeAndInAMinute(t *testing.T) {
	now := time.Unix(1000, 0)
	q := newTurns()
	for n := range 4_000 {
		q.ask(asks(n, n%3))
	}
	given, underWay := 0, []*actor.PID{}
	for end := now.Add(10 * time.Minute); now.Before(end); {
		m, ok, wait := q.next(now)
		switch {
		case ok:
			given++
			underWay = append(underWay, m.pid)
		case wait > 0:
			now = now.Add(wait)
		default:
			if len(underWay) != maxDials {
				t.Fatalf("nobody's turn while %d dial", len(underWay))
			}
			q.over(underWay[0])
			underWay = underWay[1:]
		}
	}
	if want := dialBurst + 10*dialsPerMinute; given < want-1 || given > want {
		t.Errorf("%d turns in ten minutes", given)
	}
	now = now.Add(time.Hour) // a rest does not add up to more than a burst
	given = 0
	for {
		m, ok, wait := q.next(now)
		if wait > 0 {
			break
		}
		if ok {
			given++
			underWay = append(underWay, m.pid)
		} else {
			q.over(underWay[0])
			underWay = underWay[1:]
		}
	}
	if given != dialBurst {
		t.Errorf("%d turns at once", given)
	}
}
