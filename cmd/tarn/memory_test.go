package main

import (
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
)

func TestAfterEachCollection(t *testing.T) {
	called := make(chan struct{}, 100)
	afterEachCollection(func() { called <- struct{}{} })
	for range 3 {
		runtime.GC()
		<-called
	}
}

func TestMemoryLimitFollowsUse(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct{ live, beside, want int64 }{
		{0, 0, 40 * mib},
		{20 * mib, 4 * mib, 40 * mib},
		{20 * mib, 30 * mib, 66 * mib},
		{100 * mib, 6 * mib, 131 * mib},
	} {
		if got := limitFor(c.live, c.beside); got != c.want {
			t.Errorf("with %d bytes in use and %d beside the limit is %d, want %d", c.live, c.beside, got, c.want)
		}
	}
}

// Below its limit the collector runs as seldom as if there was none, whether it is
// the heap that is large or the stacks: a thousand strangers have more of those.
func TestMemoryLimitLeavesRoom(t *testing.T) {
	const heap, stacks, garbage, piece = 32 << 20, 64 << 20, 64 << 20, 64 << 10
	ballast := make([]byte, heap)
	defer park(stacks / (16 << 10))()
	runtime.GC()
	live, beside := memoryInUse()
	if live < heap || live > heap+500<<20 {
		t.Errorf("%d bytes are in use, of which the test made %d", live, heap)
	}
	if beside < stacks {
		t.Errorf("%d bytes are beside the heap, of which the test's stacks are %d", beside, stacks)
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limitFor(live, beside)))
	before := collections()
	for range garbage / piece {
		sink = make([]byte, piece)
	}
	if n := collections() - before; n > garbage/leastHeadroom+4 {
		t.Errorf("%d collections in %d bytes", n, garbage)
	}
	runtime.KeepAlive(ballast)
}

var sink []byte

func collections() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumGC
}

// park has goroutines with a stack of 16 KiB each, until end is called.
func park(goroutines int) (end func()) {
	var there, gone sync.WaitGroup
	over := make(chan struct{})
	for range goroutines {
		there.Add(1)
		gone.Go(func() { deep(there.Done, over) })
	}
	there.Wait()
	return func() { close(over); gone.Wait() }
}

//go:noinline
func deep(there func(), over chan struct{}) {
	var frame [9 << 10]byte
	there()
	<-over
	runtime.KeepAlive(&frame)
}
