//go:build integration

package tahoe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// member is somebody who shares a folder by magic-folder, which uses the gateway
// of his node.
type member struct {
	t       *testing.T
	name    string
	bin     string // folder of magic-folder's programs
	config  string
	folder  string
	gateway string
}

// synced is how long a change may take to get to the other side.
const synced = 2 * time.Minute

func newMember(t *testing.T, name string, client *nodes.Node) *member {
	t.Helper()
	python, err := exec.Command("./venv", "magic-folder").Output()
	if err != nil {
		t.Fatalf("install magic-folder: %v: %s", err, stderrOf(err))
	}
	dir := t.TempDir()
	m := &member{t: t, name: name, bin: filepath.Dir(strings.TrimSpace(string(python))), config: filepath.Join(dir, "config"), folder: filepath.Join(dir, "folder")}
	// Of the folder of a node magic-folder reads these two.
	node := filepath.Join(dir, "node")
	for _, d := range []string{node, m.folder} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	url := read(t, client.Path("node.url"))
	m.gateway = strings.TrimSpace(string(url))
	for name, text := range map[string]string{"node.url": string(url), "tahoe.cfg": "[client]\nshares.happy = 3\n"} {
		if err := os.WriteFile(filepath.Join(node, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m.run("magic-folder", "init", "--listen-endpoint", "tcp:0:interface=127.0.0.1", "--node-directory", node)
	m.start()
	m.run("magic-folder", "add", "--author", name, "--name", "shared", "--scan-interval", "1", "--poll-interval", "1", m.folder)
	return m
}

// start runs the daemon, which ends with its standard input.
func (m *member) start() {
	m.t.Helper()
	c := exec.Command(filepath.Join(m.bin, "magic-folder"), "-c", m.config, "run")
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	input, err := c.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		input.Close()
		_ = c.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = c.Wait()
		if m.t.Failed() {
			m.t.Logf("magic-folder of %s: %s", m.name, &log)
		}
	})
	nodes.Until(m.t, "magic-folder of "+m.name+" answers", nodes.Patience, func() bool {
		_, err := m.try("magic-folder", "list")
		return err == nil
	})
}

func (m *member) try(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), nodes.Patience)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(m.bin, program), append([]string{"-c", m.config}, args...)...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%w: %s%s", err, &out, &errs)
	}
	return out.String(), nil
}

func (m *member) run(program string, args ...string) string {
	m.t.Helper()
	out, err := m.try(program, args...)
	if err != nil {
		m.t.Fatalf("%s: %s %q: %v", m.name, program, args, err)
	}
	return out
}

// readCap is of the directory in which he says what he has.
func (m *member) readCap() string {
	m.t.Helper()
	var folders map[string]struct {
		Upload string `json:"upload_dircap"`
	}
	if err := json.Unmarshal([]byte(m.run("magic-folder", "list", "--json", "--include-secret-information")), &folders); err != nil {
		m.t.Fatal(err)
	}
	r, err := http.Get(m.gateway + "uri/" + folders["shared"].Upload + "?t=readonly-uri")
	if err != nil {
		m.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		m.t.Fatalf("%d, %v: %s", r.StatusCode, err, text)
	}
	return string(text)
}

func (m *member) write(name string, content []byte) {
	m.t.Helper()
	path := filepath.Join(m.folder, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) remove(name string) {
	m.t.Helper()
	if err := os.Remove(filepath.Join(m.folder, name)); err != nil {
		m.t.Fatal(err)
	}
}

// have waits until both folders have these files, and nothing else.
func have(t *testing.T, a, b *member, want map[string][]byte) {
	t.Helper()
	deadline := time.Now().Add(synced)
	for _, m := range []*member{a, b} {
		nodes.Until(t, fmt.Sprintf("%s has what was changed", m.name), time.Until(deadline), func() bool { return m.has(want) })
	}
}

func (m *member) has(want map[string][]byte) bool {
	found := 0
	err := filepath.WalkDir(m.folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(m.folder, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if expected, ok := want[name]; err == nil && ok && bytes.Equal(content, expected) {
			found++
			return nil
		}
		return errors.Join(err, errors.New("something else is there"))
	})
	return err == nil && found == len(want)
}

// magic-folder, unmodified, keeps the folders of two people the same, each at the
// gateway of his own node: what was there before the other came, and what is
// added, changed and deleted on either side.
func TestMagicFolder(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 3, Needed: 2, Happy: 3, Total: 3, Gateway: true})
	second := g.NewClient("second")
	second.Start()
	second.WaitLogins(3)
	alice := newMember(t, "alice", g.Client)
	want := map[string][]byte{
		"letter.txt": bytes.Repeat([]byte("Dear Bob, "), 100), "empty": {}, "sub/deeper/Ünïcode ☃ #?%.txt": []byte("small"),
		"sub/large": read(t, nodes.RandomFile(t, 1, 3<<20)),
	}
	for name, content := range want {
		alice.write(name, content)
	}
	bob := newMember(t, "bob", second)
	alice.run("magic-folder-api", "add-participant", "--folder", "shared", "--author-name", "bob", "--personal-dmd", bob.readCap())
	bob.run("magic-folder-api", "add-participant", "--folder", "shared", "--author-name", "alice", "--personal-dmd", alice.readCap())
	have(t, alice, bob, want)

	want["letter.txt"], want["from bob"], want["sub/large"] = []byte("Dear Alice"), []byte("hello"), read(t, nodes.RandomFile(t, 2, 3<<20))
	bob.write("letter.txt", want["letter.txt"])
	bob.write("from bob", want["from bob"])
	alice.write("sub/large", want["sub/large"])
	have(t, alice, bob, want)

	delete(want, "letter.txt")
	delete(want, "empty")
	alice.remove("letter.txt")
	bob.remove("empty")
	have(t, alice, bob, want)
}
