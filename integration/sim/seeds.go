package sim

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"sync"
)

// SeedsVariable is the environment variable that makes Seeds longer, as CI
// does and a person who hunts a rare order of events.
const SeedsVariable = "TARN_SIM_SEEDS"

// Seeds are those that a test with "Seeds" in its name tries: 0 up to least,
// or up to the number in TARN_SIM_SEEDS if that is greater.
func Seeds(least int) []uint64 {
	if n, err := strconv.Atoi(os.Getenv(SeedsVariable)); err == nil {
		least = max(least, n)
	}
	all := make([]uint64, least)
	for i := range all {
		all[i] = uint64(i)
	}
	return all
}

// EachSeed checks something with every seed, as many at a time as there are
// processors, and joins what fails in the order of the seeds. Worlds share
// nothing, so what is checked must not either.
func EachSeed(seeds []uint64, check func(seed uint64) error) error {
	errs := make([]error, len(seeds))
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	var group sync.WaitGroup
	for i, seed := range seeds {
		turns <- struct{}{}
		group.Go(func() {
			errs[i] = check(seed)
			<-turns
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
