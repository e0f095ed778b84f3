//go:build integration

// Package nodes starts grids of real processes for tests: an introducer,
// servers and a client, each `tarn run` in a folder of its own, all on
// loopback. Grid is all of them, Node is one process with its folder, Command
// is one run of a command beside them.
//
// Promises: nothing is waited for by sleeping, only by looking until a
// deadline; every process is ended by the test that started it, by its own
// process id, and ends by itself should the test die.
package nodes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Patience is how long a test looks for something that should happen soon.
const Patience = 60 * time.Second

// look is the pause between two looks.
const look = 10 * time.Millisecond

var program string

// Main builds the program, unless TARN_PROGRAM names one, and runs the tests;
// a package's TestMain calls it.
func Main(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if program = os.Getenv("TARN_PROGRAM"); program != "" {
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "tarn-integration-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "tarn")
	out, err := exec.Command("go", "build", "-o", program, "github.com/tarn-grid/tarn/cmd/tarn").CombinedOutput()
	if err != nil {
		return 1, fmt.Errorf("build: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// Program is the path of the program under test.
func Program() string { return program }

// Big reports whether the tests may take long and use much of the disk.
func Big() bool { return os.Getenv("TARN_BIG") == "1" }

// Until looks until done says true, and fails the test if that takes longer
// than the deadline. What says what was waited for.
func Until(t testing.TB, what string, within time.Duration, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	again := time.NewTicker(look)
	defer again.Stop()
	for !done() {
		select {
		case <-again.C:
		case <-deadline.C:
			if done() {
				return
			}
			t.Fatalf("after %v still not: %s", within, what)
		}
	}
}
