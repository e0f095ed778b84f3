package env

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

func TestAfter(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		_, kids, _ := family(s, rec, "a")
		s.After(time.Hour, kids[0], 1)
		cancel := s.After(time.Minute, kids[0], 10)
		cancel()
		time.Sleep(time.Hour - time.Nanosecond)
		rec.want(t, "a-started")
		time.Sleep(time.Nanosecond)
		rec.want(t, "a-started a=1")
	})
}

// A timer that has fired can wait in the mailbox when it is cancelled.
func TestCancelReachesWhatIsOnItsWay(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		var cancel func()
		s.Root("node", script(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				cancel = s.After(time.Second, ctx.Self(), "late")
				s.Send(ctx.Self(), "work")
			case string:
				rec.add("%v", ctx.Message())
				time.Sleep(time.Minute)
				cancel()
			}
		}))
		time.Sleep(time.Hour)
		rec.want(t, "work")
	})
}

func TestResultsReachOnlyTheIncarnationThatAsked(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		_, kids, _ := family(s, rec, "a")
		hold := make(chan struct{})
		s.After(time.Hour, kids[0], 1)
		s.Do(Disk, kids[0], func() any { <-hold; return 2 })
		s.Do(Disk, kids[0], func() any { <-hold; panic("nobody's by now") })
		s.Send(kids[0], boom{})
		time.Sleep(time.Minute)
		close(hold)
		time.Sleep(2 * time.Hour)
		s.Do(CPU, kids[0], func() any { return 4 })
		rec.want(t, "a-started a-started a=4")
	})
}

// opened is a result that must not get lost.
type opened struct{ closed *atomic.Bool }

func (o opened) Discard() { o.closed.Store(true) }

func TestWhatNobodyReceivesIsDiscarded(t *testing.T) {
	for name, before := range map[string]func(s *System, kid *actor.PID){
		"it failed":  func(s *System, kid *actor.PID) { s.Send(kid, boom{}) },
		"it stopped": func(s *System, kid *actor.PID) { s.actors.Root.Stop(kid) },
	} {
		bubble(t, func(t *testing.T, s *System, _ *lines) {
			_, kids, _ := family(s, &record{}, "a")
			var closed, received atomic.Bool
			hold := make(chan struct{})
			s.Do(Disk, kids[0], func() any { <-hold; return opened{&closed} })
			before(s, kids[0])
			time.Sleep(time.Second)
			close(hold)
			synctest.Wait()
			if !closed.Load() {
				t.Errorf("%s: what the work opened stays open", name)
			}
			pid, _ := s.Root("open", script(func(actor.Context) {}))
			s.Do(Disk, pid, func() any { return opened{&received} })
			synctest.Wait()
			if received.Load() {
				t.Error("what was received was discarded")
			}
		})
	}
}

func TestPanicInWorkFailsTheActorThatAsked(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, log *lines) {
		rec := &record{}
		_, kids, _ := family(s, rec, "a")
		s.Do(CPU, kids[0], planted)
		time.Sleep(time.Second)
		rec.want(t, "a-started a-started")
		if got := log.String(); !strings.Contains(got, "env.planted") {
			t.Errorf("log lacks the stack of the work:\n%s", got)
		}
	})
}

func planted() any { panic("planted in work") }

func TestWorkOfNobody(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, log *lines) {
		done := false
		s.Do(Disk, nil, func() any { done = true; return "unheard" })
		s.Do(Disk, nil, planted)
		synctest.Wait()
		if !done || !strings.Contains(log.String(), "planted in work") {
			t.Errorf("done %v, log:\n%s", done, log)
		}
	})
}

func TestNothingIsSentForNil(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		_, kids, _ := family(s, rec, "a")
		s.Do(Disk, kids[0], func() any { return nil })
		rec.want(t, "a-started")
	})
}

func TestStopWaitsForWork(t *testing.T) {
	var done atomic.Bool
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		s.Do(Disk, nil, func() any {
			time.Sleep(time.Hour)
			done.Store(true)
			return nil
		})
	})
	if !done.Load() {
		t.Error("Stop returned before the work was done")
	}
}

func TestPoolBoundsAndOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, rec := newPool(2, func(fn func()) { go fn() }), &record{}
		var running, most atomic.Int32
		for i := range 6 {
			p.do(func() {
				most.Store(max(most.Load(), running.Add(1)))
				time.Sleep(time.Duration(1+i) * time.Second)
				rec.add("%d", i)
				running.Add(-1)
			})
		}
		if err := p.drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		rec.want(t, "0 1 2 3 4 5")
		if most.Load() != 2 {
			t.Errorf("%d ran at a time, want 2", most.Load())
		}
		p.do(func() { rec.add("late") })
		rec.want(t, "0 1 2 3 4 5")
	})
}
