package env

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Machine is what a System runs on: all that differs between a real node and
// the simulation. Every field but Observe and Drain is required.
type Machine struct {
	// Now tells the time.
	Now func() time.Time
	// After calls fn once d has passed, unless stop was called before.
	After func(d time.Duration, fn func()) (stop func())
	// Rand is safe for use by every goroutine that the machine has.
	Rand Rand
	// Run calls fn outside of any actor, soon.
	Run func(kind Kind, fn func())
	// Dispatcher and Mailbox decide which actor runs when, and how long.
	Dispatcher actor.Dispatcher
	Mailbox    actor.MailboxProducer
	// Log takes the actors' lines and protoactor's.
	Log *slog.Logger
	// Observe is told of every message before the actor id receives it, and
	// of every failure, as a Failed.
	Observe func(id string, msg any)
	// Drain waits until nothing is running in Run, and lets nothing new in.
	Drain func(ctx context.Context) error
}

// Failed is what Machine.Observe is told when an actor panicked.
type Failed struct{ Reason any }

// System owns the actors of one process: a protoactor system, the supervision
// of every actor in it, and the machine below. It is safe for concurrent use.
type System struct {
	// Env is what actors are given.
	Env *Env

	m      Machine
	actors *actor.ActorSystem
	cells  sync.Map // PID id -> *cell, for every actor that lives

	mu      sync.Mutex
	roots   map[*cell]root
	stopped bool
}

// root is the top of one supervision tree.
type root struct {
	pid  *actor.PID
	dead chan struct{}
}

var (
	_ Clock   = (*System)(nil)
	_ Exec    = (*System)(nil)
	_ Spawner = (*System)(nil)
)

// New makes a system without actors.
func New(m Machine) *System {
	s := &System{m: m, roots: map[*cell]root{}}
	s.actors = actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return protoLogger(m.Log) }))
	s.takeDeadLetters()
	s.Env = &Env{Clock: s, Rand: m.Rand, Exec: s, Spawn: s, Log: m.Log}
	return s
}

// Now tells the machine's time.
func (s *System) Now() time.Time { return s.m.Now() }

// After implements Clock.
func (s *System) After(d time.Duration, pid *actor.PID, msg any) (cancel func()) {
	r := s.result(pid)
	r.msg = msg
	stop := s.m.After(d, r.deliver)
	return func() {
		r.cancelled.Store(true)
		stop()
	}
}

// Do implements Exec.
func (s *System) Do(kind Kind, pid *actor.PID, work func() any) {
	r := s.result(pid)
	s.m.Run(kind, func() {
		if r.to != nil && r.to.killed.Load() {
			return
		}
		r.run(work)
	})
}

// Send implements Spawner.
func (s *System) Send(pid *actor.PID, msg any) { s.actors.Root.Send(pid, msg) }

// Child implements Spawner.
func (s *System) Child(ctx actor.Context, name string, p Producer) *actor.PID {
	if name == "" {
		name = s.actors.ProcessRegistry.NextId()
	}
	c := s.newCell(ctx.Self().Id+"/"+name, p)
	defer c.unlessSpawned()
	pid, err := ctx.SpawnNamed(s.props(c), name)
	if err != nil {
		panic(fmt.Errorf("spawn %s: %w", c.id, err))
	}
	c.spawned = true
	return pid
}

// Root starts the top of a supervision tree. When it panics it is stopped,
// not restarted, with everything below it: nobody is left who could decide.
// dead is closed when it has stopped, for that or any other reason. A name
// that is taken, and a system that was stopped, panic.
func (s *System) Root(name string, p Producer) (pid *actor.PID, dead <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		panic(fmt.Errorf("spawn %s: the system was stopped", name))
	}
	c := s.newCell(name, p)
	defer c.unlessSpawned()
	done := make(chan struct{})
	c.ended = func() { s.forget(c, done) }
	props := s.props(c).Configure(actor.WithGuardian(stopAtTop{s}))
	pid, err := s.actors.Root.SpawnNamed(props, name)
	if err != nil {
		panic(fmt.Errorf("spawn %s: %w", name, err))
	}
	c.spawned = true
	s.roots[c] = root{pid: pid, dead: done}
	return pid, done
}

// forget runs when a root has ended. It takes Root's lock, so that a root
// that ends at once is forgotten only after it was noted.
func (s *System) forget(c *cell, done chan struct{}) {
	s.mu.Lock()
	delete(s.roots, c)
	s.mu.Unlock()
	close(done)
}

// End asks a root to stop, children first, and returns at once.
func (s *System) End(pid *actor.PID) { s.actors.Root.Stop(pid) }

// Stop ends every root, waits until all actors have stopped and the work that
// they left behind is done, and ends the system. If ctx ends first it returns
// an error that wraps ctx's.
func (s *System) Stop(ctx context.Context) error {
	roots := s.close()
	for _, r := range roots {
		s.End(r.pid)
	}
	for _, r := range roots {
		select {
		case <-r.dead:
		case <-ctx.Done():
			return fmt.Errorf("stop %s: %w", r.pid.Id, ctx.Err())
		}
	}
	if s.m.Drain != nil {
		if err := s.m.Drain(ctx); err != nil {
			return fmt.Errorf("finish the actors' work: %w", err)
		}
	}
	if !s.actors.IsStopped() {
		s.actors.Shutdown()
	}
	return nil
}

// close lets no new root in and returns those there are.
func (s *System) close() []root {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	var all []root
	for _, r := range s.roots {
		all = append(all, r)
	}
	return all
}

// props are those of one actor.
func (s *System) props(c *cell) *actor.Props {
	return actor.PropsFromProducer(
		c.incarnate,
		actor.WithMailbox(func() actor.Mailbox { return c }),
		actor.WithDispatcher(s.m.Dispatcher),
		actor.WithSupervisor(restartOne{s}),
	)
}

// cell finds the actor behind pid, nil if it isn't one of ours or is gone.
func (s *System) cell(pid *actor.PID) *cell {
	if pid == nil {
		return nil
	}
	c, ok := s.cells.Load(pid.Id)
	if !ok {
		return nil
	}
	return c.(*cell)
}

func (s *System) observe(id string, msg any) {
	if s.m.Observe != nil {
		s.m.Observe(id, msg)
	}
}
