//go:build integration

package tahoe_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/nodes"
)

// tahoeGrid is a running grid of stock Tahoe-LAFS with one server, on which a
// file has one share.
type tahoeGrid struct {
	t   *testing.T
	dir string
	url string // of the client's web API
}

func startTahoe(t *testing.T) *tahoeGrid {
	t.Helper()
	python, err := exec.Command("./venv").Output()
	if err != nil {
		t.Fatalf("install Tahoe-LAFS: %v: %s", err, stderrOf(err))
	}
	program := filepath.Join(filepath.Dir(strings.TrimSpace(string(python))), "tahoe")
	g := &tahoeGrid{t: t, dir: filepath.Join(t.TempDir(), "tahoe")}
	c := exec.Command(strings.TrimSpace(string(python)), "../bench/tahoe_grid.py", "--tahoe", program, "--dir", g.dir,
		"--servers", "1", "--needed", "1", "--happy", "1", "--total", "1", "--port", fmt.Sprint(nodes.FreePort(t)))
	var words bytes.Buffer
	c.Stderr = &words
	in, err1 := c.StdinPipe()
	out, err2 := c.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // which ends it and what it started
		_ = c.Wait()
	})
	var ready struct {
		URL string `json:"url"`
	}
	if err := json.NewDecoder(out).Decode(&ready); err != nil {
		t.Fatalf("start a grid of Tahoe-LAFS: %v: %s", err, words.Bytes())
	}
	g.url = ready.URL
	return g
}

// server is a path in the folder of its server.
func (g *tahoeGrid) server(parts ...string) string {
	return filepath.Join(append([]string{g.dir, "s1"}, parts...)...)
}

// do is a request to the client's web API.
func (g *tahoeGrid) do(method, path string, content []byte) string {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, bytes.NewReader(content))
	if err != nil {
		g.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode/100 != 2 {
		g.t.Fatalf("%s %s: %s, %v: %s", method, path, answer.Status, err, b)
	}
	return string(b)
}

func (g *tahoeGrid) read(capability string) string {
	g.t.Helper()
	return g.do(http.MethodGet, "/uri/"+url.PathEscape(capability), nil)
}

// files are the storage indexes of all shares on its server.
func (g *tahoeGrid) files() (all []string) {
	g.t.Helper()
	paths, err := filepath.Glob(g.server("storage", "shares", "??", "*"))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, path := range paths {
		if _, err := grid.ParseStorageIndex(filepath.Base(path)); err == nil {
			all = append(all, filepath.Base(path))
		}
	}
	return all
}

// TestShareFiles moves a server of Tahoe-LAFS into Tarn, its node id included,
// and back again: what either wrote is read by the other, and what can be changed
// can still be changed.
func TestShareFiles(t *testing.T) {
	theirs := startTahoe(t)
	content := func(seed uint64, size int64) []byte {
		b, err := io.ReadAll(nodes.Random(seed, size))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	want := map[string][]byte{}
	for i, query := range []string{"", "", "?format=sdmf", "?format=mdmf"} {
		data := content(uint64(i), []int64{300_000, 5_000, 7_000, 400_000}[i])
		want[strings.TrimSpace(theirs.do(http.MethodPut, "/uri"+query, data))] = data
	}
	moved := theirs.files()
	if len(moved) != len(want) {
		t.Fatalf("Tahoe-LAFS has shares of %d files", len(moved))
	}

	ours := nodes.Prepare(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1})
	server, client := ours.Servers[0], ours.Client
	server.Stop()
	if got := nodes.Tarn(t, "-d", server.Dir, "share", "import", theirs.server()); got != "4 shares imported, 0 here already" {
		t.Errorf("import said %q", got)
	}
	id, err := os.ReadFile(theirs.server("my_nodeid"))
	taken, err2 := os.ReadFile(server.Path("private", "node-id"))
	if err != nil || err2 != nil || !bytes.Equal(bytes.TrimSpace(id), bytes.TrimSpace(taken)) {
		t.Errorf("the node id is %s and was %s (%v, %v)", taken, id, err, err2)
	}
	other := nodes.NewNode(t, filepath.Join(t.TempDir(), "other"))
	nodes.Tarn(t, "create-node", "--no-client", "--reserved-space", "0", other.Dir)
	if err := os.Symlink(theirs.server("storage", "shares"), other.Path("shares")); err != nil {
		t.Fatal(err)
	}
	var report struct {
		Stored  int
		Foreign int `json:"other_node_id"`
	}
	if err := json.Unmarshal([]byte(nodes.Tarn(t, "-d", other.Dir, "share", "import", "--json", "--keep-identity", other.Path("shares"))), &report); err != nil {
		t.Fatal(err)
	}
	if report.Stored != 4 || report.Foreign != 2 {
		t.Errorf("without the node id, the report is %+v", report)
	}
	server.Start()
	client.Start()
	client.WaitLogins(1)
	out := filepath.Join(t.TempDir(), "out")
	for capability, data := range want {
		if !strings.HasPrefix(capability, "URI:CHK:") {
			continue
		}
		nodes.Tarn(t, "-d", client.Dir, "get", capability, out)
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, data) {
			t.Errorf("Tarn read %d bytes of %d from %s, %v", len(got), len(data), capability, err)
		}
	}

	file := nodes.RandomFile(t, 9, 250_000)
	capability := nodes.Tarn(t, "-d", client.Dir, "put", file)
	want[capability] = content(9, 250_000)
	if err := os.RemoveAll(theirs.server("storage", "shares")); err != nil {
		t.Fatal(err)
	}
	for _, si := range append(moved, nodes.Tarn(t, "-d", client.Dir, "cap", "--storage-index", file)) {
		nodes.Tarn(t, "-d", server.Dir, "share", "export", si, "--to", theirs.server("storage"))
	}
	for capability, data := range want {
		if got := theirs.read(capability); got != string(data) {
			t.Errorf("Tahoe-LAFS read %d bytes of %d from %s", len(got), len(data), capability)
		}
		if strings.HasPrefix(capability, "URI:CHK:") {
			continue
		}
		theirs.do(http.MethodPut, "/uri/"+url.PathEscape(capability), data[1:])
		if got := theirs.read(capability); got != string(data[1:]) {
			t.Errorf("changed, Tahoe-LAFS read %d bytes of %d from %s", len(got), len(data)-1, capability)
		}
	}
}
