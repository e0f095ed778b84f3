package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestActorDocsAreFresh(t *testing.T) {
	want, err := ActorDocs("../..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("../..", filepath.FromSlash(ActorDocsFile)))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: run  go run ./internal/docgen", ActorDocsFile)
	}
}

const nodeActor = `// Package actors is a fixture.
package actors

import "example.org/m/actors/client"

// Node is the top.
//
// Owns: what is switched on,
// and | nothing else.
// On failure: the process ends.
type Node struct{ env Env }

func (n *Node) Receive(ctx actor.Context) { n.start(ctx) }

func (n *Node) start(ctx actor.Context) {
	n.env.Spawn.Child(ctx, "client", client.New(n.env))
	startVault(ctx, n.env)
	// Child: client.Client, actors.vault
	n.env.Spawn.Child(ctx, "role/"+n.name, n.producers[0])
}

func startVault(ctx actor.Context, e Env) {
	make := func() actor.Actor {
		v := &vault{}
		return v
	}
	e.Spawn.Child(ctx, "vault", make)
}

type (
	// vault signs.
	//
	// Owns: the keys.
	//
	// Notes that belong to neither.
	//
	// On failure: reads them again.
	vault struct{}
)

func (v vault) Receive(ctx actor.Context) {}
`

const clientActor = `// Package client is a fixture.
package client

// New makes a client.
func New(e Env) env.Producer {
	return func() actor.Actor { return newClient(e) }
}

func newClient(e Env) *Client { return &Client{e} }

// Client owns connections.
//
// Owns: the list of servers.
// On failure: all connections are made anew.
type Client struct{ env Env }

func (c *Client) Receive(ctx actor.Context) {
	c.env.Spawn.Child(ctx, fmt.Sprintf("server/%-3d", c.n), func() actor.Actor { return &conn{} })
	c.env.Spawn.Child(ctx, "", c.producer())
	c.env.Spawn.Child(ctx, jobName("check", c.n), newConn)
}

func newConn() actor.Actor { return &conn{} }

func (c *Client) producer() env.Producer { return func() actor.Actor { return &conn{} } }

// conn is one connection.
//
// Owns: its session.
// On failure: dials again.
type conn struct{}

func (c *conn) Receive(ctx actor.Context) {}
`

// listenerActor is shared by branches; each has sessions of its own.
const listenerActor = `// Package inbound is a fixture.
package inbound

// Listener accepts.
//
// Owns: the socket.
// On failure: listens anew.
type Listener struct{ env Env }

func (l *Listener) Receive(ctx actor.Context) {
	// Child: client.conn, server.session
	l.env.Spawn.Child(ctx, "session", l.producer)
}
`

const serverActor = `// Package server is a fixture.
package server

// Storage stores.
//
// Owns: shares.
// On failure: nothing is lost.
type Storage struct{ env Env }

func (s *Storage) Receive(ctx actor.Context) {
	s.env.Spawn.Child(ctx, "listener", func() actor.Actor { return &inbound.Listener{} })
}

// session serves.
//
// Owns: credit.
// On failure: closes.
type session struct{}

func (s *session) Receive(ctx actor.Context) {}
`

func TestSharedActorHasTheChildrenOfItsBranch(t *testing.T) {
	got, err := ActorDocs(write(t, map[string]string{
		"go.mod": "module example.org/m\n", "actors/client/client.go": clientActor,
		"actors/inbound/inbound.go": listenerActor, "actors/server/server.go": serverActor,
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := "server.Storage\n└ listener (inbound.Listener)\n  └ session (server.session)\n"
	if !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

const wantDocs = "```\n" + `actors.Node
├ client (client.Client)
│ ├ * (client.conn)
│ ├ check* (client.conn)
│ └ server/* (client.conn)
├ role/* (actors.vault)
├ role/* (client.Client)
│ ├ * (client.conn)
│ ├ check* (client.conn)
│ └ server/* (client.conn)
└ vault (actors.vault)
` + "```\n" + `
## Who owns what

| actor | sole owner of | on failure |
|---|---|---|
| ` + "`actors.Node`" + ` | what is switched on, and \| nothing else. | the process ends. |
| ` + "`actors.vault`" + ` | the keys. | reads them again. |
| ` + "`client.Client`" + ` | the list of servers. | all connections are made anew. |
| ` + "`client.conn`" + ` | its session. | dials again. |
`

func TestActorDocsOfAFixture(t *testing.T) {
	got, err := ActorDocs(write(t, map[string]string{
		"go.mod": "module example.org/m\n", "actors/node.go": nodeActor, "actors/client/client.go": clientActor,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(got, wantDocs) {
		t.Errorf("got\n%s\nwant it to end in\n%s", got, wantDocs)
	}
}

func TestActorDocsSayWhatTheyLack(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"no owner", "Owns: its session.", "It has its session.", "client.conn lacks"},
		{"no failure", "On failure: dials again.", "", "client.conn lacks"},
		{"opaque producer", "func() actor.Actor { return &conn{} })", "c.table[3])", "can't tell which actor"},
		{"no actor", "// Child: client.Client, actors.vault", "// Child: client.Nobody", "client.Nobody is no actor type"},
		{"no parent", "	startVault(ctx, n.env)\n", "", "no actor of this package calls startVault"},
	} {
		replace := func(s string) string { return strings.Replace(s, c.old, c.new, 1) }
		_, err := ActorDocs(write(t, map[string]string{
			"go.mod": "module example.org/m\n", "actors/node.go": replace(nodeActor), "actors/client/client.go": replace(clientActor),
		}))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}
