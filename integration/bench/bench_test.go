//go:build integration

// Package bench_test runs what measures grids on a small one, so that it works when
// somebody wants to know.
package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/integration/nodes"
)

func TestMain(m *testing.M) { nodes.Main(m) }

// startGrid starts a small grid, and returns what says where it is.
func startGrid(t *testing.T) string {
	t.Helper()
	c := exec.Command("python3", "tarn_grid.py", "--tarn", nodes.Program(), "--dir", filepath.Join(t.TempDir(), "grid"),
		"--servers", "3", "--needed", "2", "--happy", "2", "--total", "3", "--port", strconv.Itoa(freePort(t)))
	c.Stderr = os.Stderr
	stdin, err := c.StdinPipe()
	check(t, err)
	stdout, err := c.StdoutPipe()
	check(t, err)
	check(t, c.Start())
	t.Cleanup(func() {
		check(t, stdin.Close())
		check(t, c.Wait())
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	check(t, err)
	return line
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port % 60000
}

func python(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	c := exec.CommandContext(ctx, "python3", args...)
	var failed bytes.Buffer
	c.Stderr = &failed
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, failed.String())
	}
	return string(out)
}

// The directories of a grid are measured, and compared with those of another one.
func TestDirectories(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	line, dir := startGrid(t), t.TempDir()
	result := filepath.Join(dir, "tarn1.json")
	python(ctx, t, "dir_bench.py", "--grid", line, "--out", result, "--files", "12", "--hurry")
	text, err := os.ReadFile(result)
	check(t, err)
	var files []string
	for _, name := range []string{"tahoe", "foolscap1", "foolscap2"} {
		files = append(files, filepath.Join(dir, name+".json"))
		check(t, os.WriteFile(files[len(files)-1], text, 0o600))
	}
	table := python(ctx, t, append([]string{"dir_bench.py", "--compare"}, append(files, result)...)...)
	for _, row := range []string{"mkdir, 64, 8 at once", "link 100 into one directory", "list 100", "mutable overwrite 1 KiB", "mutable read 1 KiB", "cp -r ", "backup, unchanged"} {
		if !strings.Contains(table, "\n"+row) {
			t.Errorf("no %q in\n%s", row, table)
		}
	}
	for row := range strings.Lines(table) {
		if fields := strings.Fields(row); !strings.HasPrefix(row, "seconds") && fields[len(fields)-3] != "1.0" {
			t.Errorf("a grid is not as good as itself: %s", row)
		}
	}
}
