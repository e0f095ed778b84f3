//go:build integration

package integration_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/integration/nodes"
)

func TestWrongCapabilities(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 2, Needed: 1, Happy: 2, Total: 2})
	good := put(t, g, 20, 100*kib)
	parts := strings.Split(good, ":") // URI CHK key hash needed total size
	change := func(i int, to string) string {
		p := append([]string(nil), parts...)
		p[i] = to
		return strings.Join(p, ":")
	}
	otherLetter := func(s string) string {
		if s[0] == 'a' {
			return "b" + s[1:]
		}
		return "a" + s[1:]
	}
	for _, c := range []struct {
		name, capability string
		code             int
		says             string
	}{
		{"nothing", "", 2, "an argument is empty"},
		{"a word", "hello", 2, "capability"},
		{"no size", strings.Join(parts[:6], ":"), 2, "capability"},
		{"half of it", good[:len(good)/2], 2, "capability"},
		{"a short key", change(2, parts[2][1:]), 2, "capability"},
		{"a short hash", change(3, parts[3][1:]), 2, "capability"},
		{"more needed than there are", change(4, "3"), 2, "capability"},
		{"a size that is no number", change(6, "-1"), 2, "capability"},
		{"something behind it", good + ":1", 2, "capability"},
		{"another key", change(2, otherLetter(parts[2])), 4, "not enough good shares"},
		{"another hash", change(3, otherLetter(parts[3])), 4, "not enough good shares"},
		{"another size", change(6, "102399"), 2, "capability"},
		{"another total", change(5, "3"), 2, "capability"},
		{"a last digit lost", good[:len(good)-1], 2, "capability"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			nodes.WantFailure(t, c.code, []string{"-d", g.Client.Dir, "get", c.capability, out}, c.says)
			if _, err := os.Stat(out); err == nil {
				t.Error("there is a file all the same")
			}
		})
	}
	wantFile(t, g, good, 20, 100*kib)
}

func TestUnknownFlags(t *testing.T) {
	for _, args := range [][]string{
		{"--nothing"}, {"put", "--nothing"}, {"get", "--nothing"}, {"run", "--nothing"}, {"status", "--nothing"},
		{"create-node", "--nothing", "x"}, {"server", "add-account", "--nothing", "alice"}, {"nothing"}, {"server", "nothing"},
	} {
		nodes.WantFailure(t, 2, args)
	}
}

func TestSecondNodeOnAFolder(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1})
	for _, n := range g.All() {
		nodes.WantFailure(t, 6, []string{"-d", n.Dir, "run"}, "in use", n.Dir)
	}
	wantFile(t, g, put(t, g, 21, mib), 21, mib)
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	address := nodes.Multiaddr(l.Addr().String())
	for name, create := range map[string][]string{
		"introducer": {"create-introducer", "--listen", address},
		"server":     {"create-node", "--no-client", "--listen", address},
		"gateway":    {"create-client", "--web-port", port},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name)
			nodes.Tarn(t, append(create, dir)...)
			nodes.Run(t, nil, "-d", dir, "run").WantFailure(t, 6, "in use", port)
		})
	}
}

func TestFolderThatCanNotBeWritten(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("not a folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	nodes.WantFailure(t, 6, []string{"create-client", filepath.Join(file, "node")}, "can't be written", file)
	nodes.WantFailure(t, 6, []string{"create-client", file}, "can't be written", file)
	nodes.WantFailure(t, 6, []string{"create-client", dir}, "not empty", dir)

	for name, create := range map[string][]string{
		"introducer": {"create-introducer", "--listen", "/ip4/127.0.0.1/tcp/0"},
		"server":     {"create-node", "--no-client", "--listen", "/ip4/127.0.0.1/tcp/0"},
		"client":     {"create-client", "--web-port", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			outside := filepath.Join(t.TempDir(), name)
			nodes.Tarn(t, append(create, outside)...)
			nodes.ReadOnly(t, outside)
			nodes.WantFailure(t, 6, []string{"-d", outside, "run"}, "read-only file system", outside)
			nodes.WantFailure(t, 6, []string{"create-client", filepath.Join(outside, "inner")}, "can't be written", outside)
		})
	}
}

func TestDamagedSettings(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "client")
	nodes.Tarn(t, "create-client", "--web-port", "none", dir)
	settings := filepath.Join(dir, "tarn.yaml")
	good, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, content, says string }{
		{"empty", "", ""},
		{"not YAML", "\x00\x01\x02", "tarn.yaml"},
		{"cut", string(good[:len(good)*2/3]) + "\n  sha", "line"},
		{"unknown setting", string(good) + "\ncolour: green\n", "colour"},
		{"newer", strings.Replace(string(good), "version: 1", "version: 2", 1), "version"},
		{"impossible", strings.Replace(string(good), "shares-needed: 3", "shares-needed: 30", 1), "shares"},
		{"no number", strings.Replace(string(good), "shares-needed: 3", "shares-needed: many", 1), "many"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(settings, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			nodes.WantFailure(t, 7, []string{"-d", dir, "run"}, "tarn.yaml", c.says)
		})
	}
}

// A key that is damaged must not be replaced by another in silence.
func TestDamagedKeys(t *testing.T) {
	for name, create := range map[string][]string{
		"introducer.privkey": {"create-introducer", "--listen", "/ip4/127.0.0.1/tcp/0"},
		"node.privkey":       {"create-node", "--no-client", "--listen", "/ip4/127.0.0.1/tcp/0"},
		"account":            {"create-client", "--web-port", "none"},
		"convergence":        {"create-client", "--web-port", "none"},
	} {
		for what, content := range map[string]string{"empty": "", "cut": "priv-v0-abc\n", "noise": "\xff\xfe\x00"} {
			t.Run(name+" "+what, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "node")
				nodes.Tarn(t, append(create, dir)...)
				path := filepath.Join(dir, "private", name)
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				nodes.WantFailure(t, 7, []string{"-d", dir, "run"}, path)
				if after, err := os.ReadFile(path); err != nil || string(after) != content {
					t.Errorf("the file was changed: %q, %v", after, err)
				}
			})
		}
	}
}
