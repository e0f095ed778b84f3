//go:build integration

package integration_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// mostEnd is how long a node may take to end, whatever it is doing.
const mostEnd = 5 * time.Second

// wantEnd ends nodes at the same time.
func wantEnd(t *testing.T, all ...*nodes.Node) {
	t.Helper()
	begin := time.Now()
	for _, n := range all {
		n.Signal(syscall.SIGTERM)
	}
	for _, n := range all {
		n.WaitEnd()
		if took := time.Since(begin); took > mostEnd {
			t.Errorf("%s ended after %v (want at most %v)", n.Name, took, mostEnd)
		}
	}
}

func TestEndsWhenIdle(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 2, Needed: 1, Happy: 2, Total: 2, Gateway: true})
	wantEnd(t, g.All()...)
}

// heldGrid has servers behind proxies.
func heldGrid(t *testing.T, servers int) (*nodes.Grid, []*nodes.Proxy) {
	t.Helper()
	var proxies []*nodes.Proxy
	g := nodes.Start(t, nodes.Options{Servers: servers, Needed: 1, Happy: servers, Total: servers, ServerArgs: func(int) []string {
		proxies = append(proxies, nodes.NewProxy(t))
		return proxies[len(proxies)-1].ServerArgs()
	}})
	return g, proxies
}

func allHeld(proxies []*nodes.Proxy) bool {
	for _, p := range proxies {
		if !p.Held() {
			return false
		}
	}
	return true
}

func TestEndsInMidUpload(t *testing.T) {
	const size = 16 * mib
	g, proxies := heldGrid(t, 2)
	for _, p := range proxies {
		p.HoldSent(size / 2)
	}
	command := nodes.Begin(t, nodes.Random(70, size), nil, "-d", g.Client.Dir, "put", "-")
	nodes.Until(t, "the upload is held", nodes.Patience, func() bool { return allHeld(proxies) })
	wantEnd(t, g.All()...)
	if r := command.Wait(); r.Code == 0 || !strings.HasPrefix(r.Stderr, "tarn: ") {
		t.Errorf("put: %+v", r)
	}
}

func TestEndsInMidDownload(t *testing.T) {
	const size = 16 * mib
	g, proxies := heldGrid(t, 2)
	capability := put(t, g, 71, size)
	for _, p := range proxies {
		p.HoldGot(size / 4)
	}
	out := nodes.NewCompare(nodes.Random(71, size))
	command := nodes.Begin(t, nil, out, "-d", g.Client.Dir, "get", capability)
	nodes.Until(t, "the download is held", nodes.Patience, func() bool { return proxies[0].Held() || proxies[1].Held() })
	wantEnd(t, g.All()...)
	if r := command.Wait(); r.Code == 0 || !strings.HasPrefix(r.Stderr, "tarn: ") {
		t.Errorf("get: %+v", r)
	}
	if out.Differs {
		t.Error("what came is not the file's beginning")
	}
}

// The other side of every connection accepts it and then says nothing.
func TestEndsWhileDialling(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1})
	silent := listenSilently(t)
	reference := g.Join[:strings.Index(g.Join, "@")] + "@" + nodes.Multiaddr(silent.address)
	server, client := filepath.Join(t.TempDir(), "dialling-server"), filepath.Join(t.TempDir(), "dialling-client")
	nodes.Tarn(t, "create-node", "--no-client", "--listen", "/ip4/127.0.0.1/tcp/0", "--introducer", reference, server)
	nodes.Tarn(t, "create-client", "--web-port", "none", "--introducer", reference, client)
	s, c := nodes.NewNode(t, server), nodes.NewNode(t, client)
	s.Start()
	c.Start()
	nodes.Until(t, "both dial", nodes.Patience, func() bool { return silent.count() >= 2 })
	wantEnd(t, s, c)
}

type silence struct {
	address string
	mu      sync.Mutex
	conns   []net.Conn
}

func listenSilently(t *testing.T) *silence {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &silence{address: l.Addr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range s.conns {
			c.Close()
		}
	})
	return s
}

func (s *silence) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// What a client learned from its introducer is enough to start without it.
func TestWithoutIntroducer(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 3, Needed: 2, Happy: 3, Total: 3})
	before := put(t, g, 80, mib)
	g.Client.Stop()
	g.Introducer.Kill()
	g.Client.Start()
	g.Client.WaitLogins(3)
	if g.Client.Status().Introducers[0].Connected {
		t.Error("the client says that it is connected to an introducer that is gone")
	}
	wantFile(t, g, before, 80, mib)
	wantFile(t, g, put(t, g, 81, mib), 81, mib)
}

// Servers that were away are found again without anybody's doing, under new
// addresses, which the introducer tells.
func TestServersComeBack(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 3, Needed: 2, Happy: 3, Total: 3})
	capability := put(t, g, 82, mib)
	for _, s := range g.Servers {
		s.Kill()
	}
	g.Client.WaitLogins(0)
	nodes.Run(t, nil, "-d", g.Client.Dir, "get", capability).WantFailure(t, 4, "not enough good shares")
	for _, s := range g.Servers {
		s.Start()
	}
	g.Client.WaitLogins(3)
	wantFile(t, g, capability, 82, mib)
	wantFile(t, g, put(t, g, 83, mib), 83, mib)
}

// A client that lost its caches, or finds them damaged, says so and does
// without.
func TestDamagedCaches(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 2, Needed: 1, Happy: 2, Total: 2})
	before := put(t, g, 84, mib)
	client := g.Client
	references, err := filepath.Glob(client.Path("private", "references", "*"))
	if err != nil || len(references) != 2 {
		t.Fatalf("cached references: %q, %v (want 2)", references, err)
	}
	announcements, err := filepath.Glob(client.Path("private", "introducer-*.yaml"))
	if err != nil || len(announcements) != 1 {
		t.Fatalf("cached announcements: %q, %v (want 1)", announcements, err)
	}
	for _, c := range []struct {
		name  string
		paths []string
		noise string
		says  string // in the log, if a person should know
	}{
		{"references", references, "\x00damaged", ""},
		{"announcements", announcements, "{damaged", "cache of announcements"},
		{"an announcement", announcements, "v0-x:\n  announcement:\n    signed: '!!'\n", "cache of announcements"},
		{"journal", []string{client.Path("private", "journal.jsonl")}, "{\"time\":", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			client.Stop()
			for _, path := range c.paths {
				if err := os.WriteFile(path, []byte(c.noise), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			logged := len(client.Log())
			client.Start()
			client.WaitLogins(2)
			wantFile(t, g, before, 84, mib)
			if log := client.Log()[logged:]; !strings.Contains(log, c.says) {
				t.Errorf("the log does not say %q: %s", c.says, log)
			}
			put(t, g, 85, 100*kib)
		})
	}
}

// An introducer whose memory is damaged says what to do, and forgets nothing
// in silence.
func TestDamagedIntroducer(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1})
	path := g.Introducer.Path("private", "announcements")
	nodes.Until(t, "the introducer has written "+path, nodes.Patience, func() bool {
		info, err := os.Stat(path)
		return err == nil && info.Size() > 0
	})
	g.Introducer.Stop()
	if err := os.WriteFile(path, []byte("!!damaged\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := nodes.Run(t, nil, "-d", g.Introducer.Dir, "run")
	if r.Code == 0 || !strings.Contains(r.Stderr, "delete it") || !strings.Contains(r.Stderr, path) {
		t.Errorf("%+v does not say to delete %s", r, path)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	g.Introducer.Start()
}

// Servers that hang without closing their connections neither stop a download
// nor an upload for which the others are enough.
func TestHungServers(t *testing.T) {
	const size = 4 * mib
	g := nodes.Start(t, nodes.Options{Servers: 6, Needed: 2, Happy: 4, Total: 6})
	capability := put(t, g, 86, size)
	for _, s := range g.Servers[:2] {
		s.Signal(syscall.SIGSTOP)
	}
	begin := time.Now()
	wantFile(t, g, capability, 86, size)
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("the download took %v", took)
	}
	begin = time.Now()
	wantFile(t, g, put(t, g, 87, size), 87, size)
	t.Logf("the upload took %v", time.Since(begin))
	for _, s := range g.Servers[:2] {
		s.Signal(syscall.SIGCONT)
	}
	g.Client.WaitLogins(6)
}
