package client

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
)

// branch is what is connected under one authority: a vault with its keys, a
// broker, and a server actor for each server. It is part of the actor that
// supervises them.
type branch struct {
	env        *env.Env
	dialer     transport.Dialer // for servers
	rules      clause.Rules
	references ReferenceCache
	turns      *actor.PID // gives turns to dial
	vault      *actor.PID
	broker     *actor.PID
	servers    map[grid.ServerID]*actor.PID
	leaving    map[grid.ServerID]*farewell
}

// farewell is an actor that ends, because its server is not to be used any more.
type farewell struct {
	pid  *actor.PID
	anew *serverKnown // it is again, once the name is free; nil if not
}

func newBranch(e *env.Env, c Config) branch {
	return branch{
		env: e, dialer: c.Dialer, rules: c.Rules, references: c.References,
		servers: map[grid.ServerID]*actor.PID{}, leaving: map[grid.ServerID]*farewell{},
	}
}

func (b *branch) startBranch(ctx actor.Context, a lease.Authority, own lease.Account, introducers int) {
	b.vault = b.env.Spawn.Child(ctx, "vault", newVault(a, own))
	b.broker = b.env.Spawn.Child(ctx, "broker", newBroker(b.env, b.rules, introducers))
}

// each visits the server actors in the order of their ids.
func (b *branch) each(visit func(*actor.PID)) {
	for _, id := range sortedServers(b.servers) {
		visit(b.servers[id])
	}
}

// tellServer starts the actor of a server, or tells it what is new of it.
func (b *branch) tellServer(ctx actor.Context, s serverKnown) {
	id := s.server.Announcement.Server
	if pid := b.servers[id]; pid != nil {
		ctx.Send(pid, announced{s.server})
		return
	}
	if left := b.leaving[id]; left != nil {
		left.anew = &s
		return
	}
	parts := b.parts()
	parts.from = s.from
	b.servers[id] = b.env.Spawn.Child(ctx, "server/"+id.String(), newServer(b.env, parts, s.server))
}

// drop ends the actor of a server that is not to be used any more.
func (b *branch) drop(ctx actor.Context, id grid.ServerID) {
	if pid := b.servers[id]; pid != nil {
		delete(b.servers, id)
		b.leaving[id] = &farewell{pid: pid}
		ctx.Stop(pid)
	} else if left := b.leaving[id]; left != nil {
		left.anew = nil
	}
}

func (b *branch) parts() serverParts {
	return serverParts{dialer: b.dialer, rules: b.rules, references: b.references, turns: b.turns, vault: b.vault, broker: b.broker}
}

// ended follows the end of a child: a server that failed is forgotten until it is
// announced again, and without the others there is no branch.
func (b *branch) ended(ctx actor.Context, who *actor.PID) {
	for id, left := range b.leaving {
		if left.pid.Equal(who) {
			delete(b.leaving, id)
			if left.anew != nil {
				b.tellServer(ctx, *left.anew)
			}
			return
		}
	}
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
