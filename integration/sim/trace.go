package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
)

// tailLines is how much of the trace a failure shows.
const tailLines = 40

// trace is what happened, one line each: virtual nanoseconds, the actor, and
// the type of the message that it received.
type trace struct {
	sum  hash.Hash
	buf  []byte
	last []string // the last lines, or all of them
	all  bool
}

func newTrace() *trace { return &trace{sum: sha256.New()} }

// add notes that at the virtual time at, who met what.
func (t *trace) add(at time.Duration, who, what string) {
	t.buf = strconv.AppendInt(t.buf[:0], int64(at), 10)
	t.buf = append(append(t.buf, ' '), who...)
	t.buf = append(append(t.buf, ' '), what...)
	t.sum.Write(append(t.buf, '\n')) // a hash never fails
	if !t.all && len(t.last) == 2*tailLines {
		t.last = append(t.last[:0], t.last[tailLines:]...)
	}
	t.last = append(t.last, string(t.buf))
}

func (t *trace) tail() string {
	return strings.Join(t.last[max(0, len(t.last)-tailLines):], "\n")
}

// Trace is the hash of all that happened so far, in hex.
func (w *World) Trace() string { return hex.EncodeToString(w.trace.sum.Sum(nil)) }

// Note adds a line to the trace, say what a fake network did.
func (w *World) Note(format string, args ...any) {
	w.trace.add(w.now.Sub(Start), "-", fmt.Sprintf(format, args...))
}

// observe traces what an actor is about to receive, and fails it if the
// scenario says so.
func (w *World) observe(id string, msg any) {
	w.trace.add(w.now.Sub(Start), id, reflect.TypeOf(msg).String())
	switch msg.(type) {
	case *actor.Started:
		w.alive[id] = &life{}
	case *actor.Stopping, *actor.Restarting:
		if l := w.alive[id]; l != nil { // none where the first message made it fail
			l.ending = true
		}
		return
	case *actor.Stopped:
		delete(w.alive, id)
		return
	case env.Failed:
		return
	}
	if l := w.alive[id]; l != nil && l.ending {
		return // env lets it hear nothing more
	}
	if w.Inject != nil && w.Inject(id, msg) {
		panic(fmt.Sprintf("failure injected into %s", id))
	}
}

// Check runs the scenario in two worlds of the same seed. It returns the
// scenario's error if it fails, and one that shows where the two runs part if
// they do. It is how a scenario is tested for depending on more than its seed.
func Check(seed uint64, scenario func(w *World) error) error {
	first, err := record(seed, scenario)
	if err != nil {
		return fmt.Errorf("seed %d: %w", seed, err)
	}
	second, err := record(seed, scenario)
	if err != nil {
		return fmt.Errorf("seed %d, second run: %w", seed, err)
	}
	return compare(seed, first, second)
}

func record(seed uint64, scenario func(w *World) error) ([]string, error) {
	w := New(seed, nil)
	w.trace.all = true
	err := scenario(w)
	return w.trace.last, err
}

func compare(seed uint64, a, b []string) error {
	for i := range max(len(a), len(b)) {
		if x, y := line(a, i), line(b, i); x != y {
			return fmt.Errorf("seed %d: two runs part at line %d of their traces:\n%s\nfirst:  %s\nsecond: %s",
				seed, i+1, strings.Join(a[max(0, i-5):i], "\n"), x, y)
		}
	}
	return nil
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(the end)"
}
