//go:build integration

package frontends_test

import (
	"io"
	"os"
	"testing"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// A large file that comes by SFTP takes little memory, whether its shares are there
// already or not.
func TestMemoryOfLargeFiles(t *testing.T) {
	s := serve(t)
	f, err := os.Create(s.path("large"))
	check(t, err)
	_, err = io.Copy(f, nodes.Random(1, 120<<20))
	check(t, err)
	check(t, f.Close())
	for _, name := range []string{"new", "again"} {
		s.scp(s.path("large"), "alice@"+s.ssh.Hostname()+":"+name)
		t.Logf("%-6s at most %6.1f MB", name, float64(s.client.PeakMemory())/1e6)
	}
	if peak := s.client.PeakMemory(); peak > 150e6 {
		t.Errorf("the client took %d bytes of memory", peak)
	}
}
