//go:build integration

package nodes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Options say what a grid is like.
type Options struct {
	Servers              int
	Needed, Happy, Total int
	// Quota of the client's account on each server; empty is none.
	Quota string
	// ServerArgs are more arguments of create-node for server i, from 0 on.
	ServerArgs func(i int) []string
	// Folder is where server i is, if not beside the others.
	Folder func(i int) string
	// Gateway gives the client one, on a free port.
	Gateway bool
}

// Grid is an introducer, servers and a client.
type Grid struct {
	Dir        string
	Join       string // the introducer's reference
	Introducer *Node
	Servers    []*Node
	Client     *Node

	t       testing.TB
	options Options
}

// Start makes and starts a grid, and waits until the client may store on all
// servers.
func Start(t testing.TB, o Options) *Grid {
	t.Helper()
	g := Prepare(t, o)
	g.Client.Start()
	g.Client.WaitLogins(o.Servers)
	return g
}

// Prepare makes a grid and starts all but the client.
func Prepare(t testing.TB, o Options) *Grid {
	t.Helper()
	g := &Grid{Dir: t.TempDir(), t: t, options: o}
	g.Introducer = NewNode(t, g.path("introducer"))
	Tarn(t, "create-introducer", "--listen", "/ip4/127.0.0.1/tcp/0", g.Introducer.Dir)
	g.Introducer.Start()
	g.Join = Reference(t, g.Introducer)
	for i := range o.Servers {
		g.Servers = append(g.Servers, g.server(i))
	}
	for _, s := range g.Servers {
		s.Ready()
	}
	g.Client = g.NewClient("client")
	return g
}

func (g *Grid) path(name string) string { return filepath.Join(g.Dir, name) }

// Reference is what others join with.
func Reference(t testing.TB, introducer *Node) string {
	t.Helper()
	b, err := os.ReadFile(introducer.Path("private", "introducer.ref"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// server makes a server and begins to start it.
func (g *Grid) server(i int) *Node {
	g.t.Helper()
	dir := g.path(fmt.Sprintf("server%d", i))
	if g.options.Folder != nil {
		if special := g.options.Folder(i); special != "" {
			dir = special
		}
	}
	s := NewNode(g.t, dir)
	args := []string{"create-node", "--no-client", "--introducer", g.Join, "--nickname", s.Name, "--reserved-space", "0"}
	more := []string{"--listen", "/ip4/127.0.0.1/tcp/0"}
	if g.options.ServerArgs != nil {
		if special := g.options.ServerArgs(i); special != nil {
			more = special
		}
	}
	Tarn(g.t, append(append(args, more...), s.Dir)...)
	s.Begin()
	return s
}

// NewClient makes a client with an account on every server, and does not
// start it.
func (g *Grid) NewClient(name string) *Node {
	g.t.Helper()
	c := NewNode(g.t, g.path(name))
	port := "none"
	if g.options.Gateway {
		port = "0"
	}
	Tarn(g.t, "create-client", "--introducer", g.Join, "--nickname", name, "--web-port", port,
		"--shares-needed", fmt.Sprint(g.options.Needed), "--shares-happy", fmt.Sprint(g.options.Happy),
		"--shares-total", fmt.Sprint(g.options.Total), c.Dir)
	for _, s := range g.Servers {
		g.AddAccount(s, c, g.options.Quota)
	}
	return c
}

// AddAccount does what a server's operator and a client's owner do between
// them. An empty quota is none.
func (g *Grid) AddAccount(server, client *Node, quota string) {
	g.t.Helper()
	key := Tarn(g.t, "-d", client.Dir, "client", "account-key", server.Status().Storage.Server)
	args := []string{"-d", server.Dir, "server", "add-account"}
	if quota != "" {
		args = append(args, "--quota", quota)
	}
	Tarn(g.t, append(args, client.Name, key)...)
}

// All is every node of the grid.
func (g *Grid) All() []*Node {
	return append(append([]*Node{g.Introducer}, g.Servers...), g.Client)
}
