package env

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines is a log that a test can read while actors write it.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// bubble runs test with a real system inside a synctest bubble, and stops the
// system.
func bubble(t *testing.T, test func(t *testing.T, s *System, log *lines)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := &lines{}
		s := NewReal(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		test(t, s, log)
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
}

// script is an actor made of a function.
func script(f func(ctx actor.Context)) Producer {
	return func() actor.Actor { return actor.ReceiveFunc(f) }
}

// record collects what actors report, in order.
type record struct {
	mu  sync.Mutex
	all []string
}

func (r *record) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, fmt.Sprintf(format, args...))
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.all, " ")
}

func (r *record) want(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	if got := r.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// boom makes a counter panic; the counter counts ints and reports.
type boom struct{}

// counter loses its sum when it is restarted.
type counter struct {
	rec  *record
	name string
	sum  int
}

func (c *counter) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		c.rec.add("%s-started", c.name)
	case boom:
		panic("planted")
	case int:
		c.sum += m
		c.rec.add("%s=%d", c.name, c.sum)
	}
}

func newCounter(rec *record, name string) Producer {
	return func() actor.Actor { return &counter{rec: rec, name: name} }
}

// family starts a root with counters below it, and returns their addresses.
func family(s *System, rec *record, names ...string) (parent *actor.PID, children []*actor.PID, dead <-chan struct{}) {
	born := make(chan []*actor.PID, 1)
	parent, dead = s.Root("node", script(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actor.Started:
			var pids []*actor.PID
			for _, n := range names {
				pids = append(pids, s.Env.Spawn.Child(ctx, n, newCounter(rec, n)))
			}
			born <- pids
		case *actor.Terminated:
			rec.add("terminated:%s", m.Who.Id)
		}
	}))
	return parent, <-born, dead
}

func TestPanicRestartsThatActorAlone(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, log *lines) {
		rec := &record{}
		_, kids, _ := family(s, rec, "a", "b")
		synctest.Wait()
		rec.all = nil
		s.Send(kids[0], 1)
		s.Send(kids[1], 1)
		synctest.Wait()
		rec.all = nil
		s.Send(kids[0], boom{})
		s.Send(kids[0], 5)
		time.Sleep(time.Second)
		s.Send(kids[1], 5)
		rec.want(t, "a-started a=5 b=6")
		for _, want := range []string{"actor failed", "actor=node/a", "reason=planted", "(*counter).Receive", "message=env.boom"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("log lacks %q:\n%s", want, log)
			}
		}
	})
}

func TestActorThatKeepsFailingIsStopped(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, log *lines) {
		rec := &record{}
		start, fails := time.Now(), 0
		done := make(chan time.Duration, 1)
		s.Root("node", script(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *actor.Started:
				s.Child(ctx, "bad", script(func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Started); ok {
						fails++
						panic("never starts")
					}
				}))
			case *actor.Terminated:
				rec.add("terminated:%s", m.Who.Id)
				done <- time.Since(start)
			}
		}))
		took := <-done
		rec.want(t, "terminated:node/bad")
		if fails != maxFailures {
			t.Errorf("it was tried %d times, want %d", fails, maxFailures)
		}
		// 10+20+...+2560 ms, give or take a quarter.
		if took < 3800*time.Millisecond || took > 6400*time.Millisecond {
			t.Errorf("it was given up after %v", took)
		}
		if !strings.Contains(log.String(), "it keeps failing") {
			t.Errorf("log does not say why:\n%s", log)
		}
	})
}

func TestRareFailuresAreForgiven(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		_, kids, _ := family(s, rec, "a")
		for range 3 * maxFailures {
			s.Send(kids[0], boom{})
			time.Sleep(failureWindow / (maxFailures - 2))
		}
		if strings.Contains(rec.String(), "terminated") {
			t.Error("an actor that fails now and then was stopped")
		}
		if got := strings.Count(rec.String(), "a-started"); got != 3*maxFailures+1 {
			t.Errorf("started %d times", got)
		}
	})
}

func TestRootThatPanicsStopsAll(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		pid, dead := s.Root("node", script(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				s.Child(ctx, "child", script(func(ctx actor.Context) { rec.add("%T", ctx.Message()) }))
			case boom:
				panic("planted")
			}
		}))
		s.Send(pid, boom{})
		<-dead
		rec.want(t, "*actor.Started *actor.Stopping *actor.Stopped")
	})
}

func TestStopWhileAChildRests(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		pid, kids, dead := family(s, rec, "a")
		s.Send(kids[0], boom{})
		synctest.Wait()
		s.End(pid)
		<-dead
		time.Sleep(time.Minute)
		rec.want(t, "a-started")
	})
}

// A restart that comes after a stop must not undo it, even while the actor
// still waits for its children.
func TestRestartDoesNotUndoAStop(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		hold, rec := make(chan struct{}), &record{}
		pid, dead := s.Root("node", script(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				rec.add("started")
				s.Child(ctx, "slow", script(func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Stopping); ok {
						<-hold
					}
				}))
			}
		}))
		s.End(pid)
		synctest.Wait()
		s.cell(pid).PostSystemMessage(&actor.Restart{})
		synctest.Wait()
		close(hold)
		<-dead
		rec.want(t, "started")
	})
}

func TestPanicWhileStoppingStillStops(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, log *lines) {
		pid, dead := s.Root("node", script(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				s.Child(ctx, "child", script(func(ctx actor.Context) {
					switch ctx.Message().(type) {
					case *actor.Stopping, *actor.Stopped:
						panic("planted")
					}
				}))
			case *actor.Stopping:
				panic("planted")
			}
		}))
		s.End(pid)
		<-dead
		if got := strings.Count(log.String(), "actor failed while it ended"); got != 3 {
			t.Errorf("%d failures were logged, want 3:\n%s", got, log)
		}
	})
}

func TestParentThatReplacesChildrenStillStops(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		idle := script(func(actor.Context) {})
		pid, dead := s.Root("node", script(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started, *actor.Terminated:
				s.Child(ctx, "", idle)
			}
		}))
		synctest.Wait()
		s.End(pid)
		<-dead
	})
}

func TestNoMoreThanSoManyWaitForARestart(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		_, kids, _ := family(s, rec, "a")
		s.Send(kids[0], boom{})
		synctest.Wait()
		for range 3 * maxWhileSuspended {
			s.Send(kids[0], 1)
		}
		time.Sleep(time.Second)
		s.Send(kids[0], 1)
		synctest.Wait()
		if want := fmt.Sprintf("a=%d", maxWhileSuspended+1); !strings.HasSuffix(rec.String(), want) {
			t.Errorf("ends in %q, want %q", rec.all[len(rec.all)-1], want)
		}
	})
}

func TestNameThatIsTakenPanics(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		family(s, rec, "a")
		synctest.Wait()
		func() {
			defer func() {
				err, _ := recover().(error)
				if !errors.Is(err, actor.ErrNameExists) {
					t.Errorf("recovered %v", err)
				}
			}()
			s.Root("node", newCounter(rec, "other"))
		}()
		rec.want(t, "a-started")
	})
}

func TestNameIsFreeOnceTerminatedArrives(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		var kid *actor.PID
		pid, _ := s.Root("node", script(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started, *actor.Terminated:
				kid = s.Child(ctx, "kid", newCounter(rec, "kid"))
			case string:
				ctx.Stop(kid)
			}
		}))
		s.Send(pid, "go")
		rec.want(t, "kid-started kid-started")
	})
}

func TestKillVanishes(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		_, kids, dead := family(s, rec, "a")
		s.After(time.Second, kids[0], 1)
		s.Do(Disk, kids[0], func() any { return 2 })
		synctest.Wait()
		rec.want(t, "a-started a=2")
		s.Kill("node")
		<-dead
		s.Send(kids[0], 3)
		s.Do(Disk, kids[0], func() any { return 4 })
		time.Sleep(time.Minute)
		rec.want(t, "a-started a=2")
		family(s, rec, "a")
		rec.want(t, "a-started a=2 a-started")
	})
}

func TestStopGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewReal(slog.New(slog.DiscardHandler))
		hold := make(chan struct{})
		s.Root("node", script(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Stopping); ok {
				s.Do(Disk, nil, func() any { <-hold; return nil })
			}
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop with stuck work: %v", err)
		}
		close(hold)
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
}

func TestWatchOfNobody(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		s.Root("node", script(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *actor.Started:
				ctx.Watch(s.actors.NewLocalPID("nobody"))
				ctx.Request(s.actors.NewLocalPID("nobody"), "hello")
			case *actor.Terminated:
				rec.add("terminated:%s", m.Who.Id)
			case *actor.DeadLetterResponse:
				rec.add("lost")
			}
		}))
		rec.want(t, "terminated:nobody lost")
	})
}

func TestDeadLettersLogNoContents(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, log *lines) {
		s.Send(s.actors.NewLocalPID("nobody"), "URI:CHK:secret")
		synctest.Wait()
		if got := log.String(); strings.Contains(got, "secret") || !strings.Contains(got, "message=string") {
			t.Errorf("log of a dead letter:\n%s", got)
		}
		if strings.Contains(log.String(), "level=INFO") {
			t.Errorf("protoactor logs at info:\n%s", log)
		}
	})
}

func TestRand(t *testing.T) {
	s := NewReal(slog.New(slog.DiscardHandler))
	a, b := make([]byte, 32), make([]byte, 32)
	if _, err := io.ReadFull(s.Env.Rand, a); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s.Env.Rand, b); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(a, b) {
		t.Error("the same 32 bytes twice")
	}
	seen := map[int64]bool{}
	for range 1000 {
		n := s.Env.Rand.Int64N(5)
		if n < 0 || n >= 5 {
			t.Fatalf("Int64N(5) = %d", n)
		}
		seen[n] = true
		if d := s.Env.Jitter(time.Second); d < 750*time.Millisecond || d >= 1250*time.Millisecond {
			t.Fatalf("Jitter(1s) = %v", d)
		}
	}
	if len(seen) != 5 {
		t.Errorf("of 0..4 only %v came in 1000 draws", seen)
	}
}

// heavy is an actor with something that nobody may keep after its end.
type heavy struct{ ballast *[1 << 20]byte }

func (*heavy) Receive(actor.Context) {}

// Others may keep the PID, a timer, or watch it still: what the actor had, and
// what it was made of, is free all the same.
func TestStoppedActorKeepsNothing(t *testing.T) {
	s := NewReal(slog.New(slog.DiscardHandler))
	var had, madeOf weak.Pointer[[1 << 20]byte]
	var kid *actor.PID
	ended := make(chan struct{})
	pid, _ := s.Root("node", script(func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Started:
			source, ballast := new([1 << 20]byte), new([1 << 20]byte)
			had, madeOf = weak.Make(ballast), weak.Make(source)
			kid = s.Child(ctx, "kid", func() actor.Actor {
				_ = source[0]
				return &heavy{ballast}
			})
			ctx.Watch(kid)
			s.After(time.Hour, kid, 1)
			ctx.Stop(kid)
		case *actor.Terminated:
			close(ended)
		}
	}))
	<-ended
	s.Send(kid, 1) // to nobody
	runtime.GC()
	if had.Value() != nil || madeOf.Value() != nil {
		t.Error("memory of an actor that has stopped is still held")
	}
	runtime.KeepAlive(kid)
	s.End(pid)
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
