// Package sim runs the real actors as a deterministic simulation: one thread,
// a virtual clock, and a seed that decides in which order whatever may happen
// in any order does happen.
//
// World implements the machine below env.System: protoactor's dispatcher, a
// mailbox that handles one message per step, timers, randomness, and the
// executor. Check runs a scenario twice and shows where the runs part.
//
// Promises: the same seed and the same scenario give the same trace, byte for
// byte, on every machine and with the race detector, as long as actors use
// nothing but their env, make no future, start no goroutine, and let no map
// order reach a message. A real hour costs what happens in it and no more.
//
// crypto/ecdh, ecdsa and rsa ignore the source of randomness that they are
// given: make such keys from bytes that were read from env.Rand.
package sim

import (
	"container/heap"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
)

// Start is when every world begins.
var Start = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// Longest delays between asking for work and its being done. They are drawn
// anew each time, so that work overtakes other work as in a real executor.
const (
	slowestCPU  = 2 * time.Millisecond
	slowestDisk = 20 * time.Millisecond
)

// World is one simulated world. Everything in it happens inside Step and
// what calls it, on the goroutine of the caller; a World is not safe for
// concurrent use.
type World struct {
	// Sys owns the actors of all nodes in the world: each node is a Root.
	Sys *env.System
	// Inject, if set, is asked before an actor receives a message; when it
	// says true the actor panics instead. What comes to an actor that ends
	// (Stopping, Stopped, Restarting, and all in between) is not asked about.
	Inject func(id string, msg any) bool
	// Lose, if set, is asked about every message that one actor sends to
	// another; when it says true the message never arrives. No real node loses
	// one: it is for planting bugs.
	Lose func(msg any) bool

	rng    *source
	now    time.Time
	ready  []func()
	timers timers
	steps  int
	trace  *trace
	alive  map[string]*life // actors that have started, by id
	asked  int              // inboxes of Ask
}

// life is that of an actor.
type life struct{ ending bool }

// New makes an empty world. log takes the lines of the actors; nil drops them.
func New(seed uint64, log *slog.Logger) *World {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w := &World{rng: newSource(seed), now: Start, trace: newTrace(), alive: map[string]*life{}}
	w.Sys = env.New(env.Machine{
		Now:        w.Now,
		After:      w.After,
		Rand:       w.rng,
		Run:        w.run,
		Dispatcher: dispatcher{w},
		Mailbox:    func() actor.Mailbox { return &mailbox{loses: w.loses} },
		Log:        log,
		Observe:    w.observe,
	})
	return w
}

// Env is what actors of the world are given.
func (w *World) Env() *env.Env { return w.Sys.Env }

// Now tells the virtual time.
func (w *World) Now() time.Time { return w.now }

// Rand is the randomness of the world, for a fake network say.
func (w *World) Rand() env.Rand { return w.rng }

// Steps is how many steps were made so far.
func (w *World) Steps() int { return w.steps }

// After calls fn once d has passed, unless stop was called. What is due at
// the same instant happens in an order that the seed decides.
func (w *World) After(d time.Duration, fn func()) (stop func()) {
	t := &timer{at: w.now.Add(max(d, 0)), order: w.rng.Uint64(), fn: fn}
	heap.Push(&w.timers, t)
	return func() { t.fn = nil }
}

// Timers is how many timers are set: what is asked of the executor, and what is
// under way in a fake network, included.
func (w *World) Timers() int {
	n := 0
	for _, t := range w.timers {
		if t.fn != nil {
			n++
		}
	}
	return n
}

// Actors is how many actors there are, those of Inbox included.
func (w *World) Actors() int { return len(w.alive) }

// Alive reports whether the actor of this id runs, or will after a restart.
func (w *World) Alive(id string) bool {
	_, ok := w.alive[id]
	return ok
}

// Crash makes the node (or actor) called name and all below it vanish, as in
// a power failure. The network has to be told by the scenario.
func (w *World) Crash(name string) {
	w.Note("crash %s", name)
	w.Sys.Kill(name)
	for id := range w.alive {
		if id == name || strings.HasPrefix(id, name+"/") {
			delete(w.alive, id)
		}
	}
}

// Inbox makes an address whose messages are given to fn, for scenarios that
// ask actors. name must be unique in the world.
func (w *World) Inbox(name string, fn func(msg any)) *actor.PID {
	pid, _ := w.Sys.Root(name, func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *actor.Started, *actor.Stopping, *actor.Stopped:
			default:
				fn(m)
			}
		})
	})
	return pid
}

// Ask sends an actor a message; what is returned holds the answer once it is
// there, nil until then.
func (w *World) Ask(to *actor.PID, message any) *any {
	w.asked++
	answer := new(any)
	from := w.Inbox(fmt.Sprintf("inbox%d", w.asked), func(m any) { *answer = m })
	w.Sys.Send(to, &actor.MessageEnvelope{Message: message, Sender: from})
	return answer
}

// run is the executor: work is done at once, a while after it was asked for.
func (w *World) run(kind env.Kind, fn func()) {
	slowest := slowestCPU
	if kind == env.Disk {
		slowest = slowestDisk
	}
	w.After(time.Duration(w.rng.Int64N(int64(slowest))), fn)
}

func (w *World) loses(msg any) bool {
	if w.Lose == nil {
		return false
	}
	_, msg, _ = actor.UnwrapEnvelope(msg)
	return w.Lose(msg)
}

// dispatcher lets the world decide which mailbox gets the next step.
type dispatcher struct{ w *World }

// Schedule implements actor.Dispatcher.
func (d dispatcher) Schedule(fn func()) { d.w.ready = append(d.w.ready, fn) }

// Throughput implements actor.Dispatcher.
func (dispatcher) Throughput() int { return 1 }

// source is seeded randomness.
type source struct{ *rand.Rand }

func newSource(seed uint64) *source { return &source{rand.New(rand.NewPCG(seed, 0))} }

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	for i := 0; i < len(p); {
		v := s.Uint64()
		for n := 0; n < 8 && i < len(p); n++ {
			p[i] = byte(v >> (8 * n))
			i++
		}
	}
	return len(p), nil
}

type timer struct {
	at    time.Time
	order uint64
	fn    func() // nil once stopped
}

// timers is a heap, the next one to fire first.
type timers []*timer

func (q timers) Len() int      { return len(q) }
func (q timers) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q timers) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].order < q[j].order
}

// Push implements heap.Interface.
func (q *timers) Push(x any) { *q = append(*q, x.(*timer)) }

// Pop implements heap.Interface.
func (q *timers) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return t
}
