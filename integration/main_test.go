//go:build integration

package integration_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// TestMain is also the process that fills a table, to be killed, and that of
// strangers.
func TestMain(m *testing.M) {
	folder, prey := os.Getenv(fillFolder), os.Getenv(strangersOf)
	var err error
	switch {
	case folder != "":
		var leases int
		if leases, err = strconv.Atoi(os.Getenv(fillLeases)); err == nil {
			err = fillTable(folder, leases)
		}
	case prey != "":
		err = beStrangers(prey)
	default:
		nodes.Main(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
)
