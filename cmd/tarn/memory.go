package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// memoryLimit is beyond how many bytes Go's collector works harder, so that a
// node stays small however much passes through it. GOMEMLIMIT overrides it.
const memoryLimit = 40 << 20

// limitMemory sets that limit, and after each collection a higher one where
// more than that is really in use: against it the collector would only lose,
// at the expense of all else.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := int64(memoryLimit)
	debug.SetMemoryLimit(limit)
	afterEachCollection(func() {
		if next := limitFor(liveHeap()); next != limit {
			limit = next
			debug.SetMemoryLimit(limit)
		}
	})
}

// limitFor leaves a quarter more for what comes between two collections, and
// some for stacks and the runtime itself. Most of a large heap is buffers, in
// which there is nothing to look for.
func limitFor(live int64) int64 { return max(memoryLimit, live+live/4+runtimeMemory) }

const runtimeMemory = 6 << 20

// liveHeap is how many bytes the last collection found in use.
func liveHeap() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// afterEachCollection calls fn, for as long as the process lives, on the
// goroutine of finalizers.
func afterEachCollection(fn func()) {
	type sentinel struct{ _ [32]byte }
	var again func(*sentinel)
	again = func(s *sentinel) {
		fn()
		runtime.SetFinalizer(s, again)
	}
	runtime.SetFinalizer(new(sentinel), again)
}
