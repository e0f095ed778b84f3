//go:build integration

package integration_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// Of ten servers seven are gone, and one of the remaining shares is damaged in
// its middle: what comes is a true beginning of the file, and the exit code
// says that it is no more. With one server back it is whole.
func TestDamagedShare(t *testing.T) {
	const size = 24 << 20
	g := nodes.Start(t, nodes.Options{Servers: 10, Needed: 3, Happy: 10, Total: 10})
	put := nodes.Run(t, nodes.Random(2, size), "-d", g.Client.Dir, "put", "-")
	if put.Code != 0 {
		t.Fatalf("put: %s", put.Stderr)
	}
	for _, s := range g.Servers[3:] {
		s.Stop()
	}
	flipMiddle(t, g.Servers[0])
	out := nodes.NewCompare(nodes.Random(2, size))
	get := nodes.Begin(t, nil, out, "-d", g.Client.Dir, "get", put.Out()).Wait()
	get.WantFailure(t, 4, "not enough good shares")
	if out.Differs {
		t.Error("what came is not the file's beginning")
	}
	// Segments before the damaged one are good, and were asked for in order.
	if out.N < size/4 || out.N > size/2 {
		t.Errorf("%d bytes came (want nearly half of %d)", out.N, size)
	}
	name := filepath.Join(t.TempDir(), "out")
	nodes.WantFailure(t, 4, []string{"-d", g.Client.Dir, "get", put.Out(), name}, "not enough good shares")
	if _, err := os.Stat(name); err == nil {
		t.Error("a file that is not whole was left behind")
	}

	g.Servers[3].Start()
	g.Client.WaitLogins(4)
	out = nodes.NewCompare(nodes.Random(2, size))
	get = nodes.Begin(t, nil, out, "-d", g.Client.Dir, "get", put.Out()).Wait()
	if get.Code != 0 || out.Differs || out.N != size {
		t.Errorf("with a fourth server: exit code %d, %d bytes, differs: %v, %s", get.Code, out.N, out.Differs, get.Stderr)
	}
}

// flipMiddle changes one bit in the middle of a server's only share.
func flipMiddle(t *testing.T, server *nodes.Node) {
	t.Helper()
	files := server.ShareFiles()
	if len(files) != 1 {
		t.Fatalf("%s has %d shares (want 1)", server.Name, len(files))
	}
	share, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	share[len(share)/2] ^= 1
	if err := os.WriteFile(files[0], share, 0o600); err != nil {
		t.Fatal(err)
	}
}
