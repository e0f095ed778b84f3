// Package env is all that an actor may use besides its own state and its
// messages: a clock, randomness, an executor for work that would block or
// burn the CPU, and the way to spawn. It is handed down from the root of the
// supervision tree and is the only place that knows dispatcher, mailbox,
// timers and goroutines: the simulation gives the same actors a virtual
// clock, seeded randomness and one thread (integration/sim).
//
// Main types: Env is what actors see; System makes one from a Machine, which
// is all that differs between a node (NewReal) and the simulation; Call is how
// code outside of actors talks to one.
//
// Promises: results of Do and After arrive as ordinary messages, and only at
// the incarnation of the actor that asked: never after it has stopped or
// failed, at its restarted self, or at a later actor of the same name; a panic
// in work becomes a panic of the actor that asked for it; an actor that panics
// is restarted alone after a short, growing delay, and stopped when it keeps
// failing, which its parent learns; between *actor.Stopping (or Restarting) and
// *actor.Stopped it hears nothing; what panics while stopping still stops.
package env

import (
	"io"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Kind of work decides how many run at a time.
type Kind uint8

// The kinds of work.
const (
	CPU  Kind = iota // as many as there are cores
	Disk             // many: each waits for the disk or the network
)

// PID is the address of an actor, under a name for those that may not import
// protoactor.
type PID = actor.PID

// Discarder is a message that holds what must be closed, say a connection
// that work has opened. Discard is called instead of delivering it when the
// actor that asked has stopped or failed meanwhile.
type Discarder interface{ Discard() }

// Env is handed to every actor when it is made. It is immutable.
type Env struct {
	Clock Clock
	Rand  Rand
	Exec  Exec
	Spawn Spawner
	Log   *slog.Logger
}

// Clock tells the time and delivers messages later.
type Clock interface {
	Now() time.Time
	// After sends msg to pid once d has passed. It does not arrive once
	// cancel was called, even if it was on its way already.
	After(d time.Duration, pid *actor.PID, msg any) (cancel func())
}

// Rand is a source of randomness: cryptographic in a real node, seeded in the
// simulation. Read never fails.
type Rand interface {
	io.Reader
	// Int64N returns a number in [0, n).
	Int64N(n int64) int64
}

// Exec runs work outside of Receive.
type Exec interface {
	// Do runs work and sends what it returns to pid, unless it returns nil.
	// Work is not interrupted when pid stops. With a nil pid nobody hears of
	// the result, and a panic is only logged.
	Do(kind Kind, pid *actor.PID, work func() any)
}

// Spawner starts children with the node's dispatcher, mailbox and
// supervision.
type Spawner interface {
	// Child starts an actor below ctx's and returns its address. name must be
	// unique below the parent ("" makes one up); a name that is still taken
	// panics. The parent receives one *actor.Terminated when the child has
	// ended, without watching it.
	Child(ctx actor.Context, name string, p Producer) *actor.PID
	// Send delivers msg from outside of any actor (a callback).
	Send(pid *actor.PID, msg any)
}

// Producer makes a fresh value of an actor, at its start and again after a
// panic.
type Producer func() actor.Actor

// Jitter returns d plus or minus up to a quarter of it.
func (e *Env) Jitter(d time.Duration) time.Duration {
	if d <= 3 {
		return d
	}
	return d - d/4 + time.Duration(e.Rand.Int64N(int64(d/2)))
}
