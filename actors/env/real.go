package env

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	mathrand "math/rand/v2"
	"runtime"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

const (
	diskWorkers = 64 // each mostly waits
	// waitingWorkers is how many goroutines wait for something to do.
	waitingWorkers = 16
	throughput     = 300 // messages that an actor handles before others get a turn
)

// NewReal makes the system of a real node: wall clock, cryptographic
// randomness, goroutines. One per process: each costs 3 MiB.
func NewReal(log *slog.Logger) *System {
	w := newWorkers(runtime.GOMAXPROCS(0), diskWorkers)
	return New(Machine{
		Now:        time.Now,
		After:      after,
		Rand:       secureRand{},
		Run:        w.run,
		Dispatcher: dispatcher{w.gang},
		Mailbox:    actor.Unbounded(),
		Log:        log,
		Drain:      w.drain,
	})
}

func after(d time.Duration, fn func()) (stop func()) {
	t := time.AfterFunc(d, fn)
	return func() { t.Stop() }
}

// secureRand reads the operating system's randomness.
type secureRand struct{}

// Read implements io.Reader. It never fails (crypto/rand ends the process
// before it returns an error).
func (secureRand) Read(p []byte) (int, error) { return rand.Read(p) }

// Int64N implements Rand.
func (r secureRand) Int64N(n int64) int64 { return mathrand.New(r).Int64N(n) }

// Uint64 implements math/rand/v2.Source.
func (secureRand) Uint64() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	return binary.NativeEndian.Uint64(b[:])
}

// workers is the executor: one pool for each kind of work.
type workers struct {
	gang  *gang
	pools [2]*pool
}

func newWorkers(cpu, disk int) *workers {
	g := &gang{most: waitingWorkers}
	return &workers{gang: g, pools: [2]*pool{CPU: newPool(cpu, g.run), Disk: newPool(disk, g.run)}}
}

func (w *workers) run(kind Kind, fn func()) { w.pools[kind].do(fn) }

func (w *workers) drain(ctx context.Context) error {
	for _, p := range w.pools {
		if err := p.drain(ctx); err != nil {
			return err
		}
	}
	w.gang.close()
	return nil
}
