//go:build integration

package sim_test

import (
	"testing"
	"time"

	"github.com/tarn-grid/tarn/integration/sim"
)

// TestThousandFlap: more want to be dialled than may be, all of the time, so no
// second has more dials than another. Most dials find somebody who has gone without a
// word, and wait.
func TestThousandFlap(t *testing.T) {
	f := &flock{steady: 100, flapping: 900, connects: 10 * time.Minute, back: 3 * time.Minute, perSecond: 6}
	if err := f.flies(sim.New(1, nil)); err != nil {
		t.Error(err)
	}
}
