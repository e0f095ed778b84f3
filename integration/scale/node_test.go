package scale

import (
	"bytes"
	"context"
	"crypto/rand"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/lease"
)

// look is the pause between two looks at a node.
const look = 200 * time.Millisecond

// client is a node that knows servers from its owner's file alone.
func client(t testing.TB, dir string, account lease.Account) *tarn.Node {
	t.Helper()
	n, err := tarn.Open(t.Context(), tarn.Config{
		Dir: dir, Client: &tarn.ClientConfig{Params: file.DefaultParams(), Account: account, Convergence: bytes.Repeat([]byte("c"), 16)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func newAccount(t testing.TB) lease.Account {
	t.Helper()
	a, err := lease.NewAccount(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func closeNode(t testing.TB, n *tarn.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Error(err)
	}
}

// awaitLogins waits until a node is logged in to that many servers.
func awaitLogins(t testing.TB, n *tarn.Node, want int) {
	t.Helper()
	await(t, n, func(logins int) bool { return logins >= want })
}

// await waits until the number of servers to which a node is logged in is right.
func await(t testing.TB, n *tarn.Node, right func(logins int) bool) {
	t.Helper()
	if err := awaitIn(t.Context(), n, right); err != nil {
		t.Fatal(err)
	}
}

func awaitIn(ctx context.Context, n *tarn.Node, right func(logins int) bool) error {
	for {
		s, err := n.Status(ctx)
		if err != nil {
			return err
		}
		in := 0
		for _, server := range s.Servers {
			if server.State == "logged-in" {
				in++
			}
		}
		if right(in) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
	}
}

// cost is what a process has, and has spent.
type cost struct {
	bytes, goroutines int // heap and stacks in use
	live              int // bytes that something points to
	cpu               time.Duration
}

func spent(t testing.TB) cost {
	t.Helper()
	runtime.GC()
	runtime.GC() // what finalizers let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return cost{int(m.HeapInuse + m.StackInuse), runtime.NumGoroutine(), int(m.HeapAlloc), time.Duration(u.Utime.Nano() + u.Stime.Nano())}
}

func (c cost) less(d cost) cost {
	return cost{c.bytes - d.bytes, c.goroutines - d.goroutines, c.live - d.live, c.cpu - d.cpu}
}
