package sim

import (
	"os"
	"strconv"
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
