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

// growth is by how many percent the heap may grow between two collections, below
// that: a small heap is looked through less often.
const growth = 200

// limitMemory sets that limit, and after each collection a higher one where
// more than that is really in use: against it the collector would only lose,
// at the expense of all else.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := int64(memoryLimit)
	debug.SetMemoryLimit(limit)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(growth)
	}
	afterEachCollection(func() {
		if next := limitFor(memoryInUse()); next != limit {
			limit = next
			debug.SetMemoryLimit(limit)
		}
	})
}

// limitFor leaves a quarter of the heap, and no less than leastHeadroom, for what
// comes between two collections: each costs as much as all that is in use. Most of
// a large heap is buffers, in which there is nothing to look for.
func limitFor(live, beside int64) int64 {
	return max(memoryLimit, live+max(live/4, leastHeadroom)+beside)
}

const leastHeadroom = 16 << 20

// memoryInUse is how many bytes the last collection found in use, and how many
// others the limit counts that no collection gives back: stacks, the runtime's
// own, and gaps between objects. A thousand connections take more of those than
// any constant would allow for.
func memoryInUse() (live, beside int64) {
	sample := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(sample)
	beside = int64(sample[1].Value.Uint64())
	for _, s := range sample[2:] {
		beside -= int64(s.Value.Uint64())
	}
	return int64(sample[0].Value.Uint64()), beside
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
