//go:build integration

// Package nat_test has nodes in network namespaces behind routers that let
// nobody in: a server there is reached through a relay, and directly where the
// routers allow.
package nat_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/integration/nodes"
	"github.com/tarn-grid/tarn/web/control"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(asPeer); what != "" {
		if err := bePeer(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	nodes.Main(m)
}

// story is an introducer and a relay in public, a server in one house, and a
// client in another.
type story struct {
	*testing.T
	*network
	introducer, relay, server, client *nodes.Node
	join                              string
}

func newStory(t *testing.T, at, from *house) *story {
	t.Helper()
	n := at.network
	g := &story{T: t, network: n}
	dir := t.TempDir()
	make := func(name, namespace string) *nodes.Node {
		node := nodes.NewNode(t, filepath.Join(dir, name))
		node.Namespace = n.name(namespace)
		return node
	}
	g.introducer, g.relay = make("introducer", "public"), make("relay", "public")
	g.server, g.client = make("server", at.name), make("client", from.name)
	nodes.Tarn(t, "create-introducer", "--listen", "/ip4/"+publicIP+"/tcp/3458", g.introducer.Dir)
	g.introducer.Start()
	g.join = nodes.Reference(t, g.introducer)
	nodes.Tarn(t, "create-relay", "--introducer", g.join, "--listen", "/ip4/"+publicIP+"/tcp/3461", g.relay.Dir)
	nodes.Tarn(t, "create-node", "--no-client", "--introducer", g.join, "--nickname", "server", "--reserved-space", "0",
		"--listen", "/ip4/0.0.0.0/tcp/3457", "--announce", "/ip4/"+at.outside+"/tcp/3457", "--announce", "/ip4/"+at.inside+"/tcp/3457", g.server.Dir)
	nodes.Tarn(t, "create-client", "--introducer", g.join, "--web-port", "none", "--shares-needed", "1", "--shares-happy", "1", "--shares-total", "1", g.client.Dir)
	if line := "# connections: {tcp: direct, quic: disabled, onion: disabled, relay: direct}"; g.has(g.client, line) {
		g.setting(g.client, line, "connections: {punch: true}")
	}
	g.client.Start()
	return g
}

func (g *story) has(n *nodes.Node, line string) bool {
	text, err := os.ReadFile(n.Path("tarn.yaml"))
	return err == nil && strings.Contains(string(text), line+"\n")
}

// setting replaces a line of a node's tarn.yaml.
func (g *story) setting(n *nodes.Node, line, by string) {
	g.T.Helper()
	text, err := os.ReadFile(n.Path("tarn.yaml"))
	if err != nil {
		g.T.Fatal(err)
	}
	if !strings.Contains(string(text), line+"\n") {
		g.T.Fatalf("no line %q in the settings of %s", line, n.Name)
	}
	if err := os.WriteFile(n.Path("tarn.yaml"), []byte(strings.Replace(string(text), line+"\n", by+"\n", 1)), 0o600); err != nil {
		g.T.Fatal(err)
	}
}

// reached is how the client sees the server.
func (g *story) reached() control.ServerStatus {
	g.T.Helper()
	for _, s := range g.client.Status().Servers {
		return s
	}
	return control.ServerStatus{}
}

func (g *story) until(what string, done func(control.ServerStatus) bool) {
	g.T.Helper()
	nodes.Until(g.T, what, nodes.Patience, func() bool { return done(g.reached()) })
}

// addAccount lets the client store, with a key that it asks the client for.
func (g *story) addAccount() {
	g.T.Helper()
	id := g.server.Status().Storage.Server
	key := nodes.Tarn(g.T, "-d", g.client.Dir, "client", "account-key", id)
	nodes.Tarn(g.T, "-d", g.server.Dir, "server", "add-account", "alice", strings.TrimSpace(key))
}

// storeAndRead moves a file there and back.
func (g *story) storeAndRead(size int) {
	g.T.Helper()
	data := make([]byte, size)
	_, _ = rand.Read(data) // never fails
	path := filepath.Join(g.T.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		g.T.Fatal(err)
	}
	cap := strings.TrimSpace(nodes.Tarn(g.T, "-d", g.client.Dir, "put", path))
	nodes.Tarn(g.T, "-d", g.client.Dir, "get", cap, path+".back")
	if back, err := os.ReadFile(path + ".back"); err != nil || !bytes.Equal(back, data) {
		g.T.Fatalf("%d bytes of %d came back, %v", len(back), size, err)
	}
}

// TestRelay proves that the two can't reach each other, and that they do
// through a relay, behind the worst of routers.
func TestRelay(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	g := newStory(t, n.house(symmetric), n.house(symmetric))
	g.server.Start()
	g.until("the client has tried, and failed, to reach the server", func(s control.ServerStatus) bool {
		return s.State == "backoff" && strings.Contains(s.LastError, "no address of the server answered")
	})
	g.server.Stop()

	g.setting(g.server, "  relays: []", "  relays: [auto]")
	g.relay.Start()
	g.server.Start()
	g.until("the client reaches the server through the relay", func(s control.ServerStatus) bool { return s.Path == "relay" })
	g.addAccount()
	g.until("the client may store", func(s control.ServerStatus) bool { return s.LoggedIn })
	g.storeAndRead(3 << 20)
	if r := g.relay.Status().Relay; len(r.Circuits) != 1 || r.Bytes < 6<<20 || r.Circuits[0].ToServer < 3<<20 || r.Circuits[0].FromServer < 3<<20 {
		t.Errorf("the relay says %+v", r)
	}
}

// TestPunched moves a connection from the relay to a direct one while a file goes
// over it; then nothing goes through the relay any more.
func TestPunched(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	g := newStory(t, n.house(keepsPort), n.house(ownPort))
	g.relay.Start()
	g.setting(g.server, "  relays: []", "  relays: [auto]")
	g.server.Start()
	g.until("the client reaches the server through the relay", func(s control.ServerStatus) bool { return s.Path == "relay" })
	g.addAccount()
	g.until("the client may store", func(s control.ServerStatus) bool { return s.LoggedIn })
	g.storeAndRead(20 << 20)
	g.until("the client reaches the server directly", func(s control.ServerStatus) bool { return s.Path == "hole-punched" && s.LoggedIn })
	before := g.relay.Status().Relay
	if len(before.Circuits) != 0 || len(before.Slots) != 1 || before.Bytes == 0 {
		t.Errorf("the relay says %+v", before)
	}
	g.storeAndRead(20 << 20)
	if after := g.relay.Status().Relay; after.Bytes != before.Bytes {
		t.Errorf("%d bytes more went through the relay", after.Bytes-before.Bytes)
	}
	if status := nodes.Tarn(t, "-d", g.client.Dir, "status"); !strings.Contains(status, "hole-punched /ip4/5.5.5.11/tcp/") {
		t.Errorf("status says\n%s", status)
	}
}
