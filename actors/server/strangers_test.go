package server

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDocumentedStrangers: what docs/performance.md says that a connection without a
// login may cost is what the code allows.
func TestDocumentedStrangers(t *testing.T) {
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		fmt.Sprintf("| connected | one conversation, windows of 256 KiB, %.0f s until its hello, %.0f min without reading %d KiB | %d of %d connections |",
			helloWithin.Seconds(), idleWithoutLogin.Minutes(), earlyFloor>>10, maxSessions-maxSessions/4, maxSessions),
		fmt.Sprintf("| logins | %d that are refused, one at a time, 0.7 ms of CPU each | %d that wait, %.0f s |", maxRefusals, maxLogins, loginWithin.Seconds()),
		fmt.Sprintf("| reads | %d outstanding, %d MiB of answers | %d MiB of answers |", earlyRequests, earlyAnswering>>20, allEarlyAnswering>>20),
	} {
		if !strings.Contains(string(page), "\n"+row+"\n") {
			t.Errorf("docs/performance.md does not say: %s", row)
		}
	}
}
