//go:build integration

package tor_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// testProcesses is a grid as its owners make it by hand: an introducer and a
// server that are onion services, an anonymous server that has a slot on a relay,
// and an anonymous client. Only what a user types is used, and only what a user
// sees is looked at.
func testProcesses(t *testing.T, services *daemon, outside *namespace, socks, others netip.AddrPort) {
	seen := outside.watch()
	dir := t.TempDir()
	prepare := func(name string, args ...string) *nodes.Node {
		n := nodes.NewNode(t, filepath.Join(dir, name))
		nodes.Tarn(t, append(args, n.Dir)...)
		edit(t, n, "# tor:\n", "tor: {socks: '"+socks.String()+"', control: '"+string(services.control().Address)+"'}\n")
		return n
	}
	introducer := prepare("introducer", "create-introducer", "--listen", "onion:3458")
	introducer.Start()
	join := nodes.Reference(t, introducer)
	if !strings.Contains(join, "@/onion3/") || strings.Contains(join, ",") {
		t.Fatalf("the introducer is reached at %s", join)
	}
	server := prepare("server", "create-node", "--no-client", "--introducer", join, "--listen", "onion:3457", "--nickname", "hidden", "--reserved-space", "0")
	relay := nodes.NewNode(t, filepath.Join(dir, "relay"))
	nodes.Tarn(t, "create-relay", "--listen", fmt.Sprintf("/ip4/%s/tcp/%d", outsideIP, freePorts(t, 1)[0]), relay.Dir)
	relay.Start()
	shy := prepare("shy", "create-node", "--no-client", "--introducer", join, "--listen", "/ip4/127.0.0.1/tcp/0", "--relay", relay.Status().Relay.Reference, "--nickname", "shy", "--reserved-space", "0")
	edit(t, shy, "anonymous: false", "anonymous: true")
	client := prepare("client", "create-client", "--introducer", join, "--web-port", "none", "--shares-needed", "1", "--shares-happy", "2", "--shares-total", "2")
	edit(t, client, "anonymous: false", "anonymous: true")
	client.Namespace = outside.name

	server.Start()
	shy.Start()
	address := waitOnion(t, server)
	client.Start()
	for _, s := range []*nodes.Node{server, shy} {
		nodes.Tarn(t, "-d", s.Dir, "server", "add-account", "quiet", nodes.Tarn(t, "-d", client.Dir, "client", "account-key", s.Status().Storage.Server))
	}
	file := nodes.RandomFile(t, 1, 1<<20)
	store := func() string {
		nodes.Until(t, "logged in on both servers", patience, func() bool { return client.LoggedIn() == 2 })
		for _, s := range client.Status().Servers {
			if s.Nickname == "hidden" && (s.Path != "tor" || s.Address != address) || s.Nickname == "shy" && s.Path != "relay" {
				t.Errorf("%s is reached by %q at %s, and the onion service is at %s", s.Nickname, s.Path, s.Address, address)
			}
		}
		return nodes.Tarn(t, "-d", client.Dir, "put", file)
	}
	capability := store()
	if status := nodes.Tarn(t, "-d", client.Dir, "status"); !strings.Contains(status, "hidden  logged-in") || !strings.Contains(status, "tor "+address) || !strings.Contains(status, "shy     logged-in") || !strings.Contains(status, "relay /ip4/"+outsideIP) {
		t.Errorf("tarn status does not say how the server is reached:\n%s", status)
	}
	checkGet(t, client, capability, file)

	client.Stop()
	server.Stop()
	server.Start()
	client.Start()
	if again := waitOnion(t, server); again != address {
		t.Errorf("the server was at %s and is at %s after a restart", address, again)
	}
	if again := store(); again != capability {
		t.Errorf("the same file has another capability")
	}
	checkGet(t, client, capability, file)
	client.Stop()
	seen.stop()
	if packets, leaks := seen.leaks(socks, others); len(leaks) > 0 || packets == 0 {
		t.Errorf("%d packets to the SOCKS port, and also %v", packets, leaks)
	}
}

// edit changes the one place of the node's settings that has the old text.
func edit(t *testing.T, n *nodes.Node, old, now string) {
	t.Helper()
	text, err := os.ReadFile(n.Path("tarn.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("the settings of %s do not have %q once:\n%s", n.Name, old, text)
	}
	if err := os.WriteFile(n.Path("tarn.yaml"), []byte(strings.Replace(string(text), old, now, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// waitOnion waits until tarn status says that the server's onion service is
// up, and returns where it is.
func waitOnion(t *testing.T, server *nodes.Node) string {
	t.Helper()
	const says = "Onion service (storage): up since "
	var status string
	nodes.Until(t, "the onion service is up", nodes.Patience, func() bool {
		status = nodes.Tarn(t, "-d", server.Dir, "status")
		return strings.Contains(status, says)
	})
	_, address, _ := strings.Cut(status, says)
	address, _, _ = strings.Cut(address, "\n")
	_, address, _ = strings.Cut(address, ", ")
	if hints := server.Status().Storage.Hints; len(hints) != 1 || hints[0] != address {
		t.Errorf("its onion service is at %s, and it announces %v", address, hints)
	}
	return address
}

func checkGet(t *testing.T, client *nodes.Node, capability, file string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	nodes.Tarn(t, "-d", client.Dir, "get", capability, out)
	want, err1 := os.ReadFile(file)
	got, err2 := os.ReadFile(out)
	if err1 != nil || err2 != nil || string(got) != string(want) {
		t.Errorf("what came back is not what went in: %v, %v", err1, err2)
	}
}
