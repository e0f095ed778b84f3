//go:build integration

// Package tahoe compares files and capabilities with those of a real
// Tahoe-LAFS, which the script venv installs: the same input must give the
// same capability and the same share bodies, byte for byte.
package tahoe_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/nodes"
)

func TestMain(m *testing.M) { nodes.Main(m) }

// job is what encode.py reads.
type job struct {
	File        string `json:"file"`
	Convergence string `json:"convergence"` // hex
	Needed      int    `json:"needed"`
	Total       int    `json:"total"`
	Segment     int64  `json:"segment"`
	Shares      string `json:"shares"` // a folder for them, or empty
}

// encode lets Tahoe do the jobs and returns the capabilities.
func encode(t *testing.T, jobs ...job) []string {
	t.Helper()
	return strings.Fields(string(tahoe(t, "encode.py", jobs)))
}

// tahoe runs a script with the jobs, and wants a line for each.
func tahoe[J any](t *testing.T, script string, jobs []J) []byte {
	t.Helper()
	python, err := exec.Command("./venv").Output()
	if err != nil {
		t.Fatalf("install Tahoe-LAFS: %v: %s", err, stderrOf(err))
	}
	var input bytes.Buffer
	for _, j := range jobs {
		if err := json.NewEncoder(&input).Encode(j); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command(strings.TrimSpace(string(python)), script)
	c.Stdin = &input
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s with Tahoe-LAFS: %v: %s", script, err, stderrOf(err))
	}
	if n := bytes.Count(out, []byte("\n")); n != len(jobs) {
		t.Fatalf("%s did %d of %d jobs with Tahoe-LAFS", script, n, len(jobs))
	}
	return out
}

func stderrOf(err error) []byte {
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // it comes from os/exec as it is
		return exit.Stderr
	}
	return nil
}

// A file of any size under any parameters gets the capability that Tahoe
// gives it.
func TestCapabilities(t *testing.T) {
	secret := []byte("0123456789abcdef")
	var jobs []job
	for i, c := range []struct {
		size, segment int64
		needed, total int
	}{
		{56, 1 << 20, 3, 10},
		{1000, 1 << 20, 1, 1},
		{1000, 7, 3, 10}, // segments are enlarged to a multiple of needed
		{10_000, 999, 3, 10},
		{131_072, 131_072, 3, 10},
		{131_073, 131_072, 3, 10},
		{1 << 20, 1 << 20, 3, 10},
		{1<<20 + 1, 1 << 20, 3, 10},
		{5_000_000, 128 << 10, 3, 10},
		{5_000_001, 1 << 20, 7, 13},
		{3_000_000, 250_000, 1, 5},
		{2_000_000, 128 << 10, 25, 100},
		{700_000, 128 << 10, 256, 256},
		{700_000, 100_000, 2, 256},
	} {
		jobs = append(jobs, job{
			File: nodes.RandomFile(t, uint64(i), c.size), Convergence: hex.EncodeToString(secret),
			Needed: c.needed, Total: c.total, Segment: c.segment,
		})
	}
	for i, want := range encode(t, jobs...) {
		j := jobs[i]
		got := nodes.Tarn(t, "-d", t.TempDir(), "cap", "--convergence", grid.EncodeBase32(secret), "--needed", strconv.Itoa(j.Needed),
			"--total", strconv.Itoa(j.Total), "--segment-size", strconv.FormatInt(j.Segment, 10)+"B", j.File)
		if got != want {
			t.Errorf("%+v: %s, Tahoe-LAFS says %s", j, got, want)
		}
	}
}

// What servers keep of a file is what Tahoe's servers would.
func TestShareBodies(t *testing.T) {
	for _, c := range []struct {
		needed, total int
		sizes         []int64
	}{
		{3, 10, []int64{200_000, 1 << 20, 10_000_001}},
		{1, 2, []int64{40_000, 3_000_000}},
		{4, 6, []int64{5_000_000}},
	} {
		t.Run(fmt.Sprintf("%d of %d", c.needed, c.total), func(t *testing.T) {
			g := nodes.Start(t, nodes.Options{Servers: 2, Needed: c.needed, Happy: 2, Total: c.total})
			secret := convergence(t, g.Client)
			for i, size := range c.sizes {
				j := job{
					File: nodes.RandomFile(t, uint64(i), size), Convergence: hex.EncodeToString(secret),
					Needed: c.needed, Total: c.total, Segment: file.DefaultSegmentSize, Shares: t.TempDir(),
				}
				want := encode(t, j)[0]
				if got := nodes.Tarn(t, "-d", g.Client.Dir, "put", j.File); got != want {
					t.Errorf("%s, Tahoe-LAFS says %s", got, want)
				}
				compareShares(t, g, want, j)
			}
		})
	}
}

func convergence(t *testing.T, client *nodes.Node) []byte {
	t.Helper()
	text, err := os.ReadFile(client.Path("private", "convergence"))
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSpace(string(text))
	secret, err := grid.DecodeBase32(line, len(line)*5/8)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// compareShares wants every share of the file on some server, as Tahoe made
// it.
func compareShares(t *testing.T, g *nodes.Grid, capability string, j job) {
	t.Helper()
	parsed, err := file.Parse(capability)
	if err != nil {
		t.Fatal(err)
	}
	index := parsed.(file.CHK).StorageIndex().String() //nolint:errcheck // a failure shows
	found := 0
	for _, s := range g.Servers {
		for _, path := range s.ShareFiles() {
			if filepath.Base(filepath.Dir(path)) != index {
				continue
			}
			found++
			if !bytes.Equal(read(t, path), read(t, filepath.Join(j.Shares, filepath.Base(path)))) {
				t.Errorf("share %s of %s is not Tahoe's", filepath.Base(path), capability)
			}
		}
	}
	if found != j.Total {
		t.Errorf("%d shares of %s are on the servers (want %d)", found, capability, j.Total)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// All CHK cases that Tahoe-LAFS publishes.
func TestPublishedVectors(t *testing.T) {
	f, err := os.Open(filepath.Join("testdata", "chk.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tried := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); !strings.HasPrefix(line, "#") {
			tried++
			tryVector(t, line)
		}
	}
	if tried != 120 {
		t.Errorf("%d cases tried (want 120)", tried)
	}
}

func tryVector(t *testing.T, line string) {
	t.Helper()
	var secret, seed []byte
	var length int
	var want string
	p := file.Params{Happy: 1}
	if _, err := fmt.Sscanf(line, "%x %x %d %d %d %d %s", &secret, &seed, &length, &p.SegmentSize, &p.Needed, &p.Total, &want); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	content := bytes.Repeat(seed, length/len(seed)+1)[:length]
	got, err := immutable.CapOf(bytes.NewReader(content), p, secret)
	if err != nil || got.String() != want {
		t.Errorf("%s: %v, %v", line, got, err)
	}
}
