package p2p

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDocumentedHandshakes: what docs/performance.md says of connections in
// handshake is what the code allows.
func TestDocumentedHandshakes(t *testing.T) {
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{}.withDefaults()
	row := fmt.Sprintf("| in handshake | %.0f s | %d over TCP and relays, %d more over QUIC |", o.HandshakeTimeout.Seconds(), o.Handshakes, o.Handshakes/4)
	if !strings.Contains(string(page), "\n"+row+"\n") {
		t.Errorf("docs/performance.md does not say: %s", row)
	}
	if window := fmt.Sprintf("windows of %d KiB", earlyWindow>>10); !strings.Contains(string(page), window) {
		t.Errorf("docs/performance.md does not say: %s", window)
	}
}
