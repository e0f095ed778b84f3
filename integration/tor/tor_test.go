//go:build integration

// Package tor_test runs a grid over a Tor network of its own, made by the
// tests from Debian's tor: a few authorities and relays on loopback.
package tor_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/nodes"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
)

// torGrid has an introducer and two servers that are onion services, and one
// server that is reached by TCP alone.
type torGrid struct {
	t          *testing.T
	tor        *daemon // of the onion services
	introducer tarn.IntroducerRef
	account    lease.Account
	onions     []string // of introducer and servers, as in Tor's lists
	direct     string   // the address of the other server
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newTorGrid(t *testing.T, services *daemon) *torGrid {
	t.Helper()
	account, err := lease.NewAccount(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	g := &torGrid{t: t, tor: services, account: account}
	key := newKey(t)
	in := g.open(tarn.Config{Introducer: &tarn.IntroducerConfig{Key: key, OnionKey: newKey(t), Listen: []string{"/ip4/127.0.0.1/tcp/0", "onion:3458"}}})
	status, err := in.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nearby := *status.Introducer
	g.introducer = tarn.IntroducerRef{Server: nearby.Server, Hints: onionsOf(nearby.Hints)}
	g.onions = append(g.onions, onionNames(nearby.Hints)...)
	port := freePorts(t, 1)[0]
	g.direct = fmt.Sprintf("/ip4/%s/tcp/%d", outsideIP, port)
	for _, listen := range []string{"onion:3457", "onion:443", g.direct} {
		g.server(nearby, listen)
	}
	return g
}

func onionsOf(hints []grid.Hint) []grid.Hint {
	return slices.DeleteFunc(slices.Clone(hints), func(h grid.Hint) bool { return transport.KindOf(h) != transport.Onion })
}

func onionNames(hints []grid.Hint) []string {
	var names []string
	for _, h := range onionsOf(hints) {
		name, _, _ := strings.Cut(strings.TrimPrefix(string(h), "/onion3/"), ":")
		names = append(names, name)
	}
	return names
}

func (g *torGrid) open(c tarn.Config) *tarn.Node {
	g.t.Helper()
	c.Dir, c.Log = g.t.TempDir(), slog.New(slog.NewTextHandler(g.t.Output(), nil))
	c.Tor = tarn.TorConfig{Control: string(g.tor.control().Address)}
	n, err := tarn.Open(g.t.Context(), c)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			g.t.Errorf("close: %v", err)
		}
	})
	return n
}

func (g *torGrid) server(introducer tarn.IntroducerRef, listen string) {
	g.t.Helper()
	key := newKey(g.t)
	c := &tarn.StorageConfig{Key: key, OnionKey: newKey(g.t), Listen: []string{listen}}
	if listen == g.direct { // beside a name that nobody has: who looks it up himself is seen
		c.Announce = []grid.Hint{"/dns/nobody.invalid/tcp/3457", grid.Hint(listen)}
	}
	n := g.open(tarn.Config{Introducers: []tarn.IntroducerRef{introducer}, Storage: c})
	operator, err := n.Operator()
	if err != nil {
		g.t.Fatal(err)
	}
	public := g.account.PublicKey(grid.ServerID(grid.PublicKeyOf(key)))
	if _, _, err := operator.AddAccount(g.t.Context(), "client", &public, nil); err != nil {
		g.t.Fatal(err)
	}
	status, err := n.Status(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	names := onionNames(status.Storage.Hints)
	if (listen == g.direct) == (len(names) > 0) || len(names) > 0 && len(status.Storage.Hints) != 1 {
		g.t.Errorf("a server that listens at %s announces %v", listen, status.Storage.Hints)
	}
	g.onions = append(g.onions, names...)
}

// task is to store a file on all servers and read it again.
func (g *torGrid) task(socks string) task {
	return task{
		Introducer: g.introducer.String(), Account: g.account.Text(), SOCKS: socks,
		Servers: 3, Params: file.Params{Needed: 2, Happy: 3, Total: 3, SegmentSize: 128 << 10}, Size: 1 << 20,
	}
}

// TestTor stores and reads a file through onion services and an exit, from a
// namespace out of which nothing comes but what goes to the SOCKS port.
func TestTor(t *testing.T) {
	outside, leaky := newNamespace(t, 77), newNamespace(t, 78)
	n := newNetwork(t)
	socks, others := socksPorts(t)
	services := n.client("services", fmt.Sprintf("SocksPort %s ExtendedErrors\n", others))
	proxy := n.client("proxy", fmt.Sprintf("SocksPort %s ExtendedErrors\n", socks))
	begun := time.Now()
	services.ready()
	proxy.ready()
	t.Logf("Tor was in its network after %v", time.Since(begun))
	g := newTorGrid(t, services)
	t.Run("at once", func(t *testing.T) { // since anonymous clients wait before they dial
		t.Run("anonymous", func(t *testing.T) { t.Parallel(); testAnonymous(t, g, outside, proxy, socks, others) })
		t.Run("processes", func(t *testing.T) { t.Parallel(); testProcesses(t, services, outside, others, socks) })
		t.Run("planted leak", func(t *testing.T) { t.Parallel(); testPlantedLeak(t, g, leaky, others) })
	})
	t.Run("restart", func(t *testing.T) { testRestart(t, services) })
}

// socksPorts are two that are seen from the namespace.
func socksPorts(t *testing.T) (one, other netip.AddrPort) {
	t.Helper()
	ports, ip := freePorts(t, 2), netip.MustParseAddr(outsideIP)
	return netip.AddrPortFrom(ip, uint16(ports[0])), netip.AddrPortFrom(ip, uint16(ports[1]))
}

func testAnonymous(t *testing.T, g *torGrid, outside *namespace, proxy *daemon, socks, others netip.AddrPort) {
	seen := outside.watch()
	k := g.task(socks.String())
	k.Anonymous = true
	c := outside.client(k)
	t.Logf("put took %v, get %v, over %v", c.Put, c.Get, c.Addresses)
	if !c.Same {
		t.Error("what came back is not what went in")
	}
	if !slices.Contains(c.Addresses, g.direct) {
		t.Errorf("no server was reached through an exit: %v", c.Addresses)
	}
	checkCircuits(t, g, proxy.ask("circuit-status"))
	c.end()
	seen.stop()
	packets, leaks := seen.leaks(socks, others)
	if len(leaks) > 0 || packets == 0 {
		t.Errorf("%d packets to the SOCKS port, and also %v", packets, leaks)
	}
}

// checkCircuits: the introducer, each server, and the exit's have a user of
// their own, and no user has more than one of them.
func checkCircuits(t *testing.T, g *torGrid, lines []string) {
	t.Helper()
	users := map[string][]string{} // of an onion service, or of exits
	for _, line := range lines {
		values := valuesOf(line)
		user := values["SOCKS_USERNAME"]
		if user == "" || !strings.Contains(line, " BUILT ") {
			continue
		}
		to := values["REND_QUERY"]
		if to == "" {
			to = "exit"
		}
		if !slices.Contains(users[to], user) {
			users[to] = append(users[to], user)
		}
	}
	of := map[string]string{}
	for _, to := range append(slices.Clone(g.onions), "exit") {
		if len(users[to]) != 1 {
			t.Errorf("%s has circuits of %d users", to, len(users[to]))
		}
		for _, user := range users[to] {
			if other := of[user]; other != "" {
				t.Errorf("%s and %s share circuits", to, other)
			}
			of[user] = to
		}
	}
	if t.Failed() {
		t.Logf("circuits:\n%s", strings.Join(lines, "\n"))
	}
}

// valuesOf reads KEY=value of a line of circuit-status.
func valuesOf(line string) map[string]string {
	values := map[string]string{}
	for _, word := range strings.Fields(line) {
		if key, value, ok := strings.Cut(word, "="); ok {
			values[key] = strings.Trim(value, `"`)
		}
	}
	return values
}

// testPlantedLeak has a client that dials TCP directly: the capture sees it.
func testPlantedLeak(t *testing.T, g *torGrid, outside *namespace, socks netip.AddrPort) {
	seen := outside.watch()
	k := g.task(socks.String())
	k.Servers, k.Size = 1, 0
	k.Connections = tarn.Connections{TCP: transport.Direct, Onion: transport.Tor}
	c := outside.client(k)
	_, port, _ := strings.Cut(g.direct, "/tcp/")
	nodes.Until(t, "a direct dial is seen", nodes.Patience, func() bool {
		_, leaks := seen.leaks(socks)
		return slices.Contains(leaks, "tcp to "+outsideIP+":"+port)
	})
	c.end()
}

// testRestart ends Tor and starts it again: the onion service comes back.
func testRestart(t *testing.T, services *daemon) {
	var state atomic.Value // of string
	s := services.control().Serve(newKey(t), 1, "127.0.0.1:1", slog.New(slog.NewTextHandler(t.Output(), nil)), func(err error) { state.Store(fmt.Sprint(err)) })
	defer s.Close()
	there := func() bool { return state.Load() == "<nil>" }
	nodes.Until(t, "the onion service is there", time.Minute, there)
	services.stop()
	nodes.Until(t, "the onion service is gone", time.Minute, func() bool { return !there() })
	services.run()
	nodes.Until(t, "the onion service is there again", time.Minute, there)
}
