package client

import (
	"fmt"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// adoption looks through a server's list of the leases of the account that is
// logged in there, for those which the journal has under a key that this node
// has no authority for any more: where the server's operator gave the account a
// new key, they are that key's now. Naming those leases to the server instead
// would tell it whose they were where they are somebody else's.
type adoption struct {
	by      grid.PublicKey          // whose list was looked through
	orphans map[grid.PublicKey]bool // the keys that nobody here has
	behind  *lease.ShareID          // where the list goes on
	pages   int                     // of the list, so far
	adopted int                     // in this round
	since   int64                   // what was renewed after it is not renewed again; 0 until something was adopted
}

// maxPages is how many parts of a list are read, which is four million leases.
const maxPages = 1 << 10

type (
	listTag struct {
		server grid.ServerID
		number uint64
	}
	// leasesAdopted is what came of a part of the server's list.
	leasesAdopted struct {
		server  grid.ServerID
		number  uint64
		adopted int
		last    *lease.ShareID // behind which it goes on; nil where it does not
		err     error
	}
)

// adopt asks for the server's list where there are orphans, once for an account;
// whether it did.
func (r *renewer) adopt(ctx actor.Context, o *round, labels []grid.PublicKey) bool {
	o.orphans = map[grid.PublicKey]bool{}
	for label := range o.others {
		if !slices.Contains(labels, label) {
			o.orphans[label] = true
		}
	}
	if len(o.orphans) == 0 || o.by == o.label || o.label.IsZero() { // nobody's column is everybody's
		return false
	}
	o.behind, o.pages, o.adopted = nil, 0, 0
	r.list(ctx, o)
	return true
}

// list asks for the next part of the server's list.
func (r *renewer) list(ctx actor.Context, o *round) {
	ask := &wire.Enumerate{Most: wire.MaxEnumerated}
	if o.behind != nil {
		ask.After = wire.AppendShare(nil, *o.behind)
	}
	ctx.Send(o.pid, Call{ReplyTo: ctx.Self(), Tag: listTag{o.id(), o.number}, Frame: wire.Frame{Message: ask}})
}

// listed notes in the journal which of its leases are in a part of the list.
func (r *renewer) listed(ctx actor.Context, m Reply) {
	tag := m.Tag.(listTag)
	o := r.round(tag.server, tag.number)
	if o == nil {
		return
	}
	part, ok := m.Frame.Message.(*wire.Enumerated)
	if !ok {
		r.adopted(ctx, o, leasesAdopted{err: unexpected(m)})
		return
	}
	held, err := wire.Leases(m.Frame.Bytes())
	if len(held) > 0 && o.behind != nil && held[0].Share.Compare(*o.behind) <= 0 {
		err = fmt.Errorf("%w: the server's list goes back", wire.ErrMalformed)
	}
	if err != nil || len(held) == 0 {
		r.adopted(ctx, o, leasesAdopted{err: err})
		return
	}
	work := adopting{r.journal, o.id(), o.label, o.orphans, held}
	after, more := o.behind, part.More
	r.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		done := leasesAdopted{server: tag.server, number: tag.number}
		done.adopted, done.err = work.run(after)
		if more {
			done.last = &held[len(held)-1].Share
		}
		return done
	})
}

// adopting is a part of the list, and what it is compared with.
type adopting struct {
	journal Journal
	server  grid.ServerID
	label   grid.PublicKey
	orphans map[grid.PublicKey]bool
	held    []lease.HeldLease
}

// run goes through the same part of the journal; how many leases are adopted.
func (a *adopting) run(after *lease.ShareID) (int, error) {
	there := make(map[lease.ShareID]lease.HeldLease, len(a.held))
	for _, l := range a.held {
		there[l.Share] = l
	}
	last, adopted := a.held[len(a.held)-1].Share, 0
	for more := true; more; {
		var leases []lease.JournalLease
		var err error
		if leases, more, err = a.journal.LeasesAfter(a.server, after, wire.MaxShares); err != nil || len(leases) == 0 {
			return adopted, err
		}
		after = &leases[len(leases)-1].Share
		more = more && after.Compare(last) < 0
		leases = slices.DeleteFunc(leases, func(l lease.JournalLease) bool {
			_, ok := there[l.Share]
			return !ok || l.Lapsed != 0 || !a.orphans[l.Label]
		})
		for i := range leases {
			l := there[leases[i].Share]
			leases[i] = lease.JournalLease{Share: l.Share, Label: a.label, Renewed: l.Renewed, Expires: l.Expires}
		}
		if len(leases) == 0 {
			continue
		}
		if err := a.journal.SetLeases(a.server, leases); err != nil {
			return adopted, err
		}
		adopted += len(leases)
	}
	return adopted, nil
}

// adopted goes on with the list; at its end what was adopted is walked through
// like all else, and the others' leases have their turn.
func (r *renewer) adopted(ctx actor.Context, o *round, m leasesAdopted) {
	o.adopted += m.adopted
	switch {
	case m.err == nil && m.last != nil && o.pages < maxPages:
		o.behind = m.last
		o.pages++
		r.list(ctx, o)
		return
	case m.err == nil:
		o.by = o.label
	case isLinkLoss(m.err):
		r.end(ctx, o, m.err)
		return
	default: // it would say the same the next time; a person is told that some leases are nobody's
		o.by = o.label
		r.env.Log.Warn("the server's list of leases could not be read", "server", o.id().Short(), "error", m.err)
	}
	if o.adopted > 0 {
		r.env.Log.Info("leases of an older key of this account are renewed again", "server", o.id().Short(), "leases", o.adopted)
		o.since = o.began
		o.after, o.others = nil, map[grid.PublicKey]othersLeases{}
		o.now = Renewal{Server: o.id(), Renewed: o.now.Renewed, Fresh: o.now.Fresh}
		r.walk(ctx, o)
		return
	}
	ctx.Send(r.parts.vault, askLabels{ctx.Self(), o.server.server.Announcement, o.number})
}
