package client

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
)

// branch is what is connected under one authority: a vault with its keys, a
// broker, and a server actor for each server. It is part of the actor that
// supervises them.
type branch struct {
	env        *env.Env
	dialer     transport.Dialer // for servers
	references ReferenceCache
	vault      *actor.PID
	broker     *actor.PID
	servers    map[grid.ServerID]*actor.PID
}

func newBranch(e *env.Env, d transport.Dialer, r ReferenceCache) branch {
	return branch{env: e, dialer: d, references: r, servers: map[grid.ServerID]*actor.PID{}}
}

func (b *branch) startBranch(ctx actor.Context, a lease.Authority, own lease.Account, introducers int) {
	b.vault = b.env.Spawn.Child(ctx, "vault", newVault(a, own))
	b.broker = b.env.Spawn.Child(ctx, "broker", newBroker(b.env, introducers))
}

// each visits the server actors in the order of their ids.
func (b *branch) each(visit func(*actor.PID)) {
	for _, id := range sortedServers(b.servers) {
		visit(b.servers[id])
	}
}

// known starts the actor of a server, or tells it what is new of it.
func (b *branch) known(ctx actor.Context, a grid.Announcement) {
	if pid := b.servers[a.Server]; pid != nil {
		ctx.Send(pid, announced{a})
		return
	}
	b.servers[a.Server] = b.env.Spawn.Child(ctx, "server/"+a.Server.String(), newServer(b.env, b.parts(), a))
}

func (b *branch) parts() serverParts {
	return serverParts{dialer: b.dialer, references: b.references, vault: b.vault, broker: b.broker}
}

// ended follows the end of a child: a server is forgotten until it is announced
// again, and without the others there is no branch.
func (b *branch) ended(ctx actor.Context, who *actor.PID) {
	for id, pid := range b.servers {
		if pid.Equal(who) {
			delete(b.servers, id)
			ctx.Send(b.broker, serverGone{id})
			return
		}
	}
	if who.Equal(b.vault) || who.Equal(b.broker) {
		panic("client: " + who.Id + " failed for good")
	}
}
