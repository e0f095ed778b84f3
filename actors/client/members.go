package client

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Messages to Client about memberships.
type (
	// Join makes the node a member of an account manager's grid, or asks that
	// manager for everything anew; answered by MembershipStatus once the manager
	// knows the node, or an error. Unless the manager refused, it goes on to be
	// asked after an error, too.
	Join struct {
		ReplyTo    *actor.PID
		Membership Membership
		// Introducers are those of the grid that the node has not got yet.
		Introducers []Introducer
	}
	// Leave ends a membership, whatever the manager thinks of it: nothing of it is
	// kept, its cards are shown no more, and connections that were made under them
	// log in with what else there is. Answered by Left, or an error
	// (ErrNoMembership).
	Leave struct {
		ReplyTo *actor.PID
		Manager grid.ServerID
	}
	// AskMemberships is answered by a Memberships.
	AskMemberships struct{ ReplyTo *actor.PID }
)

// Left answers Leave.
type Left struct{}

// Memberships are all of a node, by manager.
type Memberships []MembershipStatus

// members is which membership has which actor, and what each said last.
type members struct {
	actors map[grid.ServerID]*actor.PID
	status map[grid.ServerID]MembershipStatus
}

func newMembers() members {
	return members{map[grid.ServerID]*actor.PID{}, map[grid.ServerID]MembershipStatus{}}
}

// each visits the memberships in the order of their managers' ids.
func (m members) each(visit func(grid.ServerID, *actor.PID)) {
	for _, id := range sortedServers(m.actors) {
		visit(id, m.actors[id])
	}
}

func (m members) list() Memberships {
	list := Memberships{}
	m.each(func(id grid.ServerID, _ *actor.PID) { list = append(list, m.status[id]) })
	return list
}

// gone forgets a membership that has ended.
func (m members) gone(who *actor.PID) {
	m.each(func(id grid.ServerID, pid *actor.PID) {
		if pid.Equal(who) {
			delete(m.actors, id)
			delete(m.status, id)
		}
	})
}

// tellPlaces tells a broker that knows nothing where new shares may go.
func (c *Client) tellPlaces(ctx actor.Context) {
	own := named{append(namedIn(c.config.Authority), c.config.Named...)}
	c.valued(ctx, valued{servers: own.servers})
	ctx.Send(c.broker, own)
	ctx.Send(c.broker, expectIntroducers{len(c.intros)})
	c.members.each(func(id grid.ServerID, pid *actor.PID) {
		if !c.members.status[id].Guest {
			ctx.Send(c.broker, gridServers{manager: id})
		}
		ctx.Send(pid, sayAgain{})
	})
}

// member starts the actor of a membership. Until it says which servers the grid
// has, no other server gets new shares, unless the node is only a guest.
func (c *Client) member(ctx actor.Context, m Membership) *actor.PID {
	id := m.Manager.Server
	c.members.status[id] = MembershipStatus{Manager: id, Guest: m.Guest}
	if !m.Guest {
		ctx.Send(c.broker, gridServers{manager: id})
	}
	pid := c.env.Spawn.Child(ctx, "membership/"+id.String(), newMembership(c.env, c.config.Dialer, c.config.Rules, m, c.vault, c.broker))
	c.members.actors[id] = pid
	return pid
}

func (c *Client) join(ctx actor.Context, m Join) {
	for _, in := range m.Introducers {
		c.introduce(ctx, in)
	}
	ctx.Send(c.broker, expectIntroducers{len(c.intros)})
	pid := c.members.actors[m.Membership.Manager.Server]
	if pid == nil {
		pid = c.member(ctx, m.Membership)
	}
	ctx.Send(pid, joinNow{m.ReplyTo, m.Membership.Secret})
}

func (c *Client) leave(ctx actor.Context, m Leave) {
	pid := c.members.actors[m.Manager]
	if pid == nil {
		ctx.Send(m.ReplyTo, ErrNoMembership)
		return
	}
	ctx.Send(pid, leaveNow{m.ReplyTo})
}

// left ends a membership that never was one, or is one no more.
func (c *Client) left(ctx actor.Context, manager grid.ServerID) {
	if pid := c.members.actors[manager]; pid != nil {
		ctx.Stop(pid)
		if c.members.status[manager].Cards > 0 {
			c.each(func(pid *actor.PID) { ctx.Send(pid, loginAnew{}) })
		}
		delete(c.members.actors, manager)
		delete(c.members.status, manager)
		ctx.Send(c.broker, noGrid{manager})
	}
}

// namedIn are the servers that certificates of an authority name.
func namedIn(a lease.Authority) []grid.ServerID {
	var ids []grid.ServerID
	for _, h := range a.Holdings {
		for _, c := range h.Chain.Certificates() {
			if c.Server != nil {
				ids = append(ids, *c.Server)
			}
		}
	}
	return ids
}

// To the broker.
type (
	// named are servers that the node's owner named himself.
	named struct{ servers []grid.ServerID }
	// expectIntroducers says of how many introducers there will be a report.
	expectIntroducers struct{ total int }
	// noGrid says that a manager's grid is none of ours.
	noGrid struct{ manager grid.ServerID }
)

// places is where new shares may go.
type places struct {
	named map[grid.ServerID]bool
	// grids are the servers of each account manager; nil while they are not
	// known.
	grids map[grid.ServerID]map[grid.ServerID]bool
}

func newPlaces() places {
	return places{map[grid.ServerID]bool{}, map[grid.ServerID]map[grid.ServerID]bool{}}
}

// may reports whether a server gets new shares: any does for a node that has no
// account manager; for a member only those of a grid, and those he named.
func (p places) may(id grid.ServerID) bool {
	if len(p.grids) == 0 || p.named[id] {
		return true
	}
	for _, servers := range p.grids {
		if servers[id] {
			return true
		}
	}
	return false
}

// known reports whether every manager's servers are.
func (p places) known() bool {
	for _, servers := range p.grids {
		if servers == nil {
			return false
		}
	}
	return true
}
