package env

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

type (
	question struct {
		text    string
		replyTo *actor.PID
	}
	giveUp struct{ replyTo *actor.PID }
)

// oracle answers questions, or doesn't.
func oracle(s *System, rec *record) *actor.PID {
	pid, _ := s.Root("oracle", script(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case question:
			answer(ctx, m)
		case giveUp:
			rec.add("gave-up")
		case string:
			ctx.Respond("again " + m)
		}
	}))
	return pid
}

var errOracle = errors.New("the oracle has no answer")

func answer(ctx actor.Context, q question) {
	switch q.text {
	case "name":
		ctx.Send(q.replyTo, "Pythia")
	case "fail":
		ctx.Respond(errOracle)
	case "many":
		for i := range 3 {
			ctx.Respond(i)
		}
	case "panic":
		panic("planted")
	}
}

func ask(ctx context.Context, s *System, to *actor.PID, text string) (string, error) {
	return Ask[string](ctx, s, to,
		func(r *actor.PID) any { return question{text, r} },
		func(r *actor.PID) any { return giveUp{r} })
}

func TestAsk(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		pid := oracle(s, rec)
		if got, err := ask(t.Context(), s, pid, "name"); got != "Pythia" || err != nil {
			t.Errorf("name: %q, %v", got, err)
		}
		if _, err := ask(t.Context(), s, pid, "fail"); !errors.Is(err, errOracle) {
			t.Errorf("fail: %v", err)
		}
		if _, err := ask(t.Context(), s, pid, "many"); err == nil {
			t.Error("an int was taken for a string")
		}
		rec.want(t, "")
	})
}

func TestAskOfOneThatIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		pid := oracle(s, &record{})
		if _, err := ask(t.Context(), s, pid, "panic"); !errors.Is(err, ErrGone) {
			t.Errorf("of one that fails: %v", err)
		}
		synctest.Wait()
		if _, err := ask(t.Context(), s, pid, "name"); !errors.Is(err, ErrGone) {
			t.Errorf("of one that has failed: %v", err)
		}
	})
}

// The one that fails is restarted, and would never answer.
func TestRestartEndsCalls(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		kid := make(chan *actor.PID, 1)
		s.Root("node", script(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				kid <- s.Child(ctx, "kid", script(func(ctx actor.Context) {
					if q, ok := ctx.Message().(question); ok {
						answer(ctx, q)
					}
				}))
			}
		}))
		pid := <-kid
		if _, err := ask(t.Context(), s, pid, "panic"); !errors.Is(err, ErrGone) {
			t.Errorf("of one that is restarted: %v", err)
		}
		if got, err := ask(t.Context(), s, pid, "name"); got != "Pythia" || err != nil {
			t.Errorf("of the restarted one: %q, %v", got, err)
		}
	})
}

func TestStopEndsCalls(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		pid := oracle(s, &record{})
		time.AfterFunc(time.Hour, func() { s.End(pid) })
		if _, err := ask(t.Context(), s, pid, "silence"); !errors.Is(err, ErrGone) {
			t.Errorf("of one that stops: %v", err)
		}
	})
}

func TestCancellingBecomesAMessage(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		rec := &record{}
		pid := oracle(s, rec)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := ask(ctx, s, pid, "silence"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancelled: %v", err)
		}
		rec.want(t, "gave-up")
	})
}

func TestCallOfManyReplies(t *testing.T) {
	bubble(t, func(t *testing.T, s *System, _ *lines) {
		pid := oracle(s, &record{})
		c := s.Open(t.Context(), pid, func(r *actor.PID) any { return question{"many", r} }, nil)
		for want := range 3 {
			if got, err := c.Next(); got != want || err != nil {
				t.Errorf("reply %d: %v, %v", want, got, err)
			}
		}
		c.Send("and")
		if got, err := c.Next(); got != "again and" || err != nil {
			t.Errorf("further reply: %v, %v", got, err)
		}
		c.Close()
		s.Send(c.replyTo, "too late")
		if got, err := c.Next(); !errors.Is(err, ErrGone) {
			t.Errorf("after Close: %v, %v", got, err)
		}
		if n := len(s.cell(pid).calls); n != 0 {
			t.Errorf("the actor still knows %d calls", n)
		}
	})
}
