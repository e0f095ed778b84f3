package tarn_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/clause"
)

// TestIdentityThatWasTakenOver is what clients hear of the server: they make
// write enablers for that node id, and look for shares where the seed puts it.
func TestIdentityThatWasTakenOver(t *testing.T) {
	small := file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 128 << 10}
	g := newGrid(t, 0, small)
	id, seed := grid.NodeID{0: 7, 19: 9}, []byte("of another server")
	g.open(tarn.Config{
		Introducers: []tarn.IntroducerRef{g.ref},
		Storage:     &tarn.StorageConfig{Key: newKey(t), Listen: []string{"/ip4/127.0.0.1/tcp/0"}, NodeID: id, PermutationSeed: seed},
	})
	c := tarn.Config{Dir: t.TempDir(), Introducers: []tarn.IntroducerRef{g.ref}, Client: &tarn.ClientConfig{Params: small, Account: newAccount(t)}}
	n, err := tarn.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close(t.Context()) }()
	for {
		heard := cached(t, c.Dir)
		if heard == nil {
			if _, err := n.Status(t.Context()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if heard.NodeID != id || string(heard.PermutationSeed) != string(seed) {
			t.Errorf("clients hear of node id %s and seed %q", heard.NodeID, heard.PermutationSeed)
		}
		return
	}
}

// cached is the one announcement that a client has written down, nil if it has
// none yet.
func cached(t *testing.T, dir string) *grid.Announcement {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "private", "introducer-*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if clauses, _ := clause.Parse(text); len(clauses) == 1 {
			return clauses[0].Announcement
		}
	}
	return nil
}
