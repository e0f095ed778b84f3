package client

import (
	"cmp"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// lent is what is connected under an authority that came with a request: hosts
// and identities of its own, so that no server sees that it is used by the same
// node as another. Servers that would accept nothing of it are not dialled,
// unless something is to be read.
//
// Owns: which server has which actor under that authority.
// On failure: connects anew; uploads and downloads under way with that authority go on when it has.
type lent struct {
	branch
	authority lease.Authority
	cards     *actor.PID // the vault that has newer cards for it
	total     int        // of introducers
	unfit     map[grid.ServerID]serverKnown
	reading   bool // unfit servers are dialled, too
}

func newLent(b branch, a lease.Authority, introducers int) env.Producer {
	return func() actor.Actor {
		fresh := newBranch(b.env, Config{Dialer: b.dialer, Rules: b.rules, References: b.references})
		fresh.turns = b.turns
		return &lent{branch: fresh, authority: a, cards: b.vault, total: introducers, unfit: map[grid.ServerID]serverKnown{}}
	}
}

// lentUp tells the client that this actor knows no server yet.
type lentUp struct{}

// Receive implements actor.Actor.
func (l *lent) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		l.startBranch(ctx, l.authority, lease.Account{}, l.total)
		ctx.Send(l.cards, askCards{l.vault})
	case brokerUp:
		ctx.Send(ctx.Parent(), lentUp{})
		l.each(func(pid *actor.PID) { ctx.Send(pid, sayAgain{}) })
	case signGrants:
		ctx.Send(l.vault, m)
	case heard, introducerReport, overridden, AskStatus:
		ctx.Send(l.broker, m)
	case candidates:
		if !m.storing {
			l.read(ctx)
		}
		ctx.Send(l.broker, m)
	case unheard:
		ctx.Send(l.broker, m)
	case serverKnown:
		l.knownHere(ctx, m)
	case serverLeft:
		delete(l.unfit, m.server)
		l.drop(ctx, m.server)
	case *actor.Terminated:
		l.ended(ctx, m.Who)
	}
}

// knownHere connects to a server that may accept the authority, and tells the
// broker of others why not.
func (l *lent) knownHere(ctx actor.Context, s serverKnown) {
	a := s.server.Announcement
	err := l.authority.Fit(a)
	if err == nil || l.reading || l.servers[a.Server] != nil {
		delete(l.unfit, a.Server)
		l.tellServer(ctx, s)
		return
	}
	l.unfit[a.Server] = s
	ctx.Send(l.broker, serverReport{server: a.Server, state: Idle, since: l.env.Clock.Now(), err: err, settled: true})
}

// read dials the others, too: reading needs no authority.
func (l *lent) read(ctx actor.Context) {
	if l.reading {
		return
	}
	l.reading = true
	for _, id := range sortedServers(l.unfit) {
		a := l.unfit[id]
		ctx.Send(l.broker, serverReport{server: id, state: Idle, since: l.env.Clock.Now()}) // no longer settled
		l.tellServer(ctx, a)
	}
	clear(l.unfit)
}

// lending is who uses a lent authority.
type lending struct {
	authority lease.Authority
	number    int // of all that were lent
	pid       *actor.PID
	users     int
	use       int // counts uses, so that an old timer does not end a new one
}

// letGo ends what is connected under an authority that nobody has used for a
// while.
type letGo struct {
	id  lease.AuthorityID
	use int
}

// under is whom to ask for servers under an authority: the client's own broker
// if there is none. Every call is a use, which done ends.
func (c *Client) under(ctx actor.Context, a lease.Authority) (broker *actor.PID, done func(actor.Context)) {
	if len(a.Holdings) == 0 {
		return c.broker, func(actor.Context) {}
	}
	id := a.ID()
	l := c.lent[id]
	if l == nil {
		c.lendings++
		l = &lending{authority: a, number: c.lendings}
		l.pid = c.env.Spawn.Child(ctx, "lent/"+itoa(c.lendings), newLent(c.branch, a, len(c.intros)))
		c.lent[id] = l
	}
	l.users++
	l.use++
	return l.pid, func(ctx actor.Context) { c.doneWith(ctx, id) }
}

// doneWith lets an authority go a while after its last use.
func (c *Client) doneWith(ctx actor.Context, id lease.AuthorityID) {
	l := c.lent[id]
	if l == nil {
		return
	}
	if l.users--; l.users == 0 {
		after := lentTime
		if c.config.OnlyLent {
			after = onceTime
		}
		c.env.Clock.After(after, ctx.Self(), letGo{id, l.use})
	}
}

func (c *Client) letGo(ctx actor.Context, m letGo) {
	if l := c.lent[m.id]; l != nil && l.users == 0 && l.use == m.use {
		delete(c.lent, m.id)
		ctx.Stop(l.pid)
	}
}

// tellBrokers passes on what introducers say.
func (c *Client) tellBrokers(ctx actor.Context, m any) {
	ctx.Send(c.broker, m)
	for _, l := range c.lentInOrder() {
		ctx.Send(l.pid, m)
	}
}

func (c *Client) lentInOrder() []*lending {
	var list []*lending
	for _, l := range c.lent {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *lending) int { return cmp.Compare(a.number, b.number) })
	return list
}

func (c *Client) listLent() (list Lent) {
	for _, l := range c.lentInOrder() {
		list = append(list, LentAuthority{l.authority, l.pid})
	}
	return list
}
