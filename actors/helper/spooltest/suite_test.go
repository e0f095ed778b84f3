package spooltest_test

import (
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/helper/spooltest"
)

func TestMemory(t *testing.T) {
	spooltest.Suite(t, func(*testing.T) spooltest.Subject {
		m := spooltest.NewMemory(time.Now)
		return spooltest.Subject{Spool: m, Now: time.Now, Age: m.Age}
	})
}
