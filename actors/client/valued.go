package client

import (
	"bytes"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
)

// valued are servers that are known to be some: the node is connected to them, or
// its owner or an account manager named them. Whoever announces thousands that
// nobody runs neither pushes these out nor has them wait: they are dialled
// first. For the client; it tells introductions.
type valued struct {
	servers   []grid.ServerID
	connected bool
}

func (c *Client) valued(ctx actor.Context, m valued) {
	for _, id := range m.servers {
		c.turns.value(id)
	}
	for _, pid := range c.intros {
		ctx.Send(pid, m)
	}
}

// introductionSays passes on how an introducer is reached. An introduction that
// begins does not know yet which servers are valued.
func (c *Client) introductionSays(ctx actor.Context, m introducerReport) {
	c.tellBrokers(ctx, m)
	if !m.settled {
		ctx.Send(c.intros[m.number-1], valued{servers: sortedServers(c.turns.valued)})
	}
}

// userSays passes on the user's file: who stands in it is valued.
func (c *Client) userSays(ctx actor.Context, m overridden) {
	c.tellBrokers(ctx, m)
	c.valued(ctx, valued{servers: sortedServers(m.Clauses)})
	c.valued(ctx, valued{servers: sortedServers(m.Held)})
}

// valued keeps servers from being pushed out.
func (n *introduction) valued(ctx actor.Context, m valued) {
	now, unsaved := n.env.Clock.Now(), false
	for _, id := range m.servers {
		n.keep[id] = true
		if of, ok := n.heard[id]; ok && m.connected && now.Sub(of.Used) > ageInterval {
			of.Used, unsaved = now, true
			n.heard[id] = of
		}
	}
	if unsaved {
		n.save(ctx)
	}
}

// pushOut forgets a server for a new one: of those that are not valued the one
// that was not announced for longest. It reports whether there was one.
func (n *introduction) pushOut(ctx actor.Context) bool {
	var first grid.ServerID
	found := false
	for id, of := range n.heard {
		if n.keep[id] || !of.Used.IsZero() {
			continue
		}
		if c := of.Heard.Compare(n.heard[first].Heard); !found || c < 0 || c == 0 && bytes.Compare(id[:], first[:]) < 0 {
			first, found = id, true
		}
	}
	if found {
		delete(n.heard, first)
		ctx.Send(n.client, pushedOut{unheard{n.number, first}})
	}
	return found
}

// pushedOut says that an introduction knows a server no longer.
type pushedOut struct{ unheard }

// value has a server dialled before others, from now on.
func (t *turns) value(id grid.ServerID) {
	if t.valued[id] {
		return
	}
	t.valued[id] = true
	for _, m := range slices.Clone(t.others) {
		if m.server == id {
			t.ask(m)
		}
	}
}
