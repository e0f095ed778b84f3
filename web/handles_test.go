package web

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// waiting is an operation that goes on until it is told, or cancelled.
type waiting struct{ end chan struct{} }

func (w *waiting) run(ctx context.Context) error {
	select {
	case <-w.end:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (*waiting) writeJSON(io.Writer, bool) error { return nil }
func (*waiting) writeText(io.Writer, bool) error { return nil }
func (*waiting) page(bool) operationView         { return operationView{} }

func (o *operations) handles() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(o.all)), "")
}

// TestHandlesExpire: what runs stays; what has ended stays four days, and one
// after somebody looked; retain-for= is what counts where it is given.
func TestHandlesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperations()
		runs, ends := &waiting{make(chan struct{})}, &waiting{make(chan struct{})}
		start := func(handle string, op longOperation, retain time.Duration, retained bool) {
			if err := o.start(t.Context(), handle, op, retain, retained); err != nil {
				t.Fatal(err)
			}
		}
		after := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := o.handles(); got != want {
				t.Errorf("left are %q, want %q", got, want)
			}
		}
		start("a", runs, 0, false)
		start("b", runs, time.Minute, true)
		start("c", ends, 0, false)
		start("d", ends, 0, false)
		start("e", ends, time.Hour, true)
		start("f", ends, time.Hour, true)
		after(30*time.Second, "abcdef")
		close(ends.end)
		synctest.Wait()
		look := func(handle string, release bool, retain time.Duration, retained bool) {
			if _, done, err := o.look(handle, false, release, retain, retained); err != nil || !done {
				t.Errorf("%s: done %v, %v", handle, done, err)
			}
		}
		look("d", false, 0, false)
		look("e", false, 2*time.Hour, true)
		look("f", true, 0, false)
		after(31*time.Second, "acde")
		after(90*time.Minute, "acde")
		after(time.Hour, "acd")
		after(22*time.Hour, "ac")
		after(2*24*time.Hour, "ac")
		after(24*time.Hour, "a")
		after(100*24*time.Hour, "a")
		close(runs.end)
		after(99*24*time.Hour, "a") // it took a hundred
		after(10*24*time.Hour, "")
	})
}

func TestOperationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperations()
		op := &waiting{make(chan struct{})}
		for i := range maxOperations {
			if err := o.start(t.Context(), string(rune('a'+i)), op, 0, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.start(t.Context(), "a", op, 0, false); err != nil {
			t.Errorf("a handle that is there: %v", err)
		}
		if err := o.start(t.Context(), "one more", op, 0, false); err == nil {
			t.Error("there is no bound")
		}
		close(op.end)
		synctest.Wait()
		if err := o.start(t.Context(), "one more", &waiting{op.end}, 0, false); err != nil || len(o.handles()) == 0 {
			t.Errorf("the oldest did not make room: %v", err)
		}
		if n := len(o.all); n != maxOperations {
			t.Errorf("there are %d", n)
		}
	})
}
