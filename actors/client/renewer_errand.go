package client

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/clause"
)

// errands is under which account a round renews, and for which others it does
// so after that, each over a connection of its own.
type errands struct {
	pid    *actor.PID // of the connection
	label  grid.PublicKey
	child  *actor.PID // the same, where it is the renewer's own
	begun  bool       // the walk over that one has
	others map[grid.PublicKey]othersLeases
	queue  []grid.PublicKey
}

// othersLeases is how many leases another account has, of which nobody has seen
// to it yet that they are renewed, and whether any of them is due.
type othersLeases struct {
	leases int
	due    bool
}

func (n othersLeases) plus(m othersLeases) othersLeases {
	return othersLeases{n.leases + m.leases, n.due || m.due}
}

// To the renewer, from the broker and the vault.
type (
	// serverNews is what is new of a server.
	serverNews struct {
		server clause.Server
		report serverReport
	}
	// labelsKnown is the accounts in whose name the node may log in at a server.
	labelsKnown struct {
		server grid.ServerID
		number uint64
		labels []grid.PublicKey
	}
)

// runErrands renews for those of the other accounts that this node has the
// authority for, in the order of their keys, where something is due.
func (r *renewer) runErrands(ctx actor.Context, o *round, labels []grid.PublicKey) {
	if r.adopt(ctx, o, labels) {
		return
	}
	slices.SortFunc(labels, func(a, b grid.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	o.queue = nil
	for _, label := range slices.Compact(labels) {
		switch n := o.others[label]; {
		case n.due:
			o.queue = append(o.queue, label)
		case n.leases > 0:
			o.now.Held += n.leases
			delete(o.others, label)
		}
	}
	r.nextErrand(ctx, o)
}

// nextErrand connects for the next account. The round goes on when that
// connection says what came of it.
func (r *renewer) nextErrand(ctx actor.Context, o *round) {
	if len(o.queue) == 0 {
		r.end(ctx, o, nil)
		return
	}
	r.number++
	parts := r.parts
	parts.broker, parts.label = ctx.Self(), o.queue[0]
	o.label, o.queue = o.queue[0], o.queue[1:]
	o.child = r.env.Spawn.Child(ctx, "server/"+o.id().String()+"/"+itoa(int(r.number)), newServer(r.env, parts, o.server.server))
	o.pid, o.begun = o.child, false
}

// errandReport begins the walk once the renewer's own connection is logged in,
// and gives it up where it can't be. What happens to it later, requests will
// show.
func (r *renewer) errandReport(ctx actor.Context, m serverReport) {
	o := r.rounds[m.server]
	switch {
	case o == nil || o.child == nil || !o.child.Equal(m.pid) || o.begun || !m.settled:
	case m.state == LoggedIn:
		o.begun, o.after = true, nil
		r.walk(ctx, o)
	default:
		r.endErrand(ctx, o, cmp.Or(m.err, errNoAccount))
	}
}

// errandGone gives up where the connection's actor fails again and again.
func (r *renewer) errandGone(ctx actor.Context, who *actor.PID) {
	for _, id := range sortedServers(r.rounds) {
		if o := r.rounds[id]; o.child != nil && o.child.Equal(who) {
			r.endErrand(ctx, o, ErrInterrupted)
		}
	}
}

// endErrand lets the connection go. What was renewed over it needs nobody
// else.
func (r *renewer) endErrand(ctx actor.Context, o *round, err error) {
	ctx.Stop(o.child)
	o.child = nil
	if err == nil {
		delete(o.others, o.label)
	} else {
		r.env.Log.Warn("leases of another account could not be renewed", "server", o.id().Short(), "account", o.label.Short(), "error", err)
	}
	r.nextErrand(ctx, o)
}
