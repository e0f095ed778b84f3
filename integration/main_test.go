//go:build integration

package integration_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// TestMain is also the process that fills a table, to be killed.
func TestMain(m *testing.M) {
	folder := os.Getenv(fillFolder)
	if folder == "" {
		nodes.Main(m)
		return
	}
	leases, err := strconv.Atoi(os.Getenv(fillLeases))
	if err == nil {
		err = fillTable(folder, leases)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
)
