package client

import (
	"cmp"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
)

// broker knows who the servers are and how each is reached. It holds no
// connection itself, so that its own failure drops none.
//
// Owns: the merged announcements, the last report of each server actor, requests that wait for connections to be decided.
// On failure: starts empty; introductions and server actors tell it everything again.
type broker struct {
	env     *env.Env
	total   int // of introducers; until all have reported nothing is settled
	servers map[grid.ServerID]*entry
	intros  map[int]introducerReport
	places  places
	waiting []*waiter
	nudged  time.Time
	watcher *actor.PID
}

// entry is what is known of one server.
type entry struct {
	announcement grid.Announcement
	known        time.Time
	first        time.Time // when any announcement of it was first heard
	decided      bool      // it was connected, or not, at least once
	report       serverReport
}

// waiter is a request that is held until connections are decided.
type waiter struct {
	want   int // servers
	ready  func(*entry) bool
	answer func(ctx actor.Context)
	cancel func()
}

func newBroker(e *env.Env, introducers int) env.Producer {
	return func() actor.Actor {
		return &broker{env: e, total: introducers, servers: map[grid.ServerID]*entry{}, intros: map[int]introducerReport{}, places: newPlaces()}
	}
}

// To the broker.
type (
	// heard is an announcement that verified.
	heard struct {
		announcement grid.Announcement
		at           time.Time
	}
	// serverGone says that a server actor has ended.
	serverGone struct{ server grid.ServerID }
	// candidates asks for connected servers in the permuted order of a file;
	// answered by candidateList. It waits a moment for want of them.
	candidates struct {
		replyTo *actor.PID
		si      grid.StorageIndex
		want    int
		storing bool // only those that are logged in
	}
	// watchServers has every report passed on as serverNews, beginning with those
	// that there are.
	watchServers struct{ watcher *actor.PID }
	// askServer asks what is known of a server; answered by serverNews, or by
	// noServer.
	askServer struct {
		replyTo *actor.PID
		server  grid.ServerID
	}
	// notFresh ends the wait for a server that was new.
	notFresh struct{}
	// late ends a wait.
	late struct{ w *waiter }
)

// noServer answers askServer.
type noServer struct{}

// To the parent.
type (
	brokerUp    struct{}
	serverKnown struct{ announcement grid.Announcement }
)

// candidateList answers candidates.
type candidateList struct {
	servers []candidate
	left    []LeftOut
}

// LeftOut is a server that gets nothing of a file, and why.
type LeftOut struct {
	Server   grid.ServerID
	Nickname string
	Err      error
}

// candidate is a connected server.
type candidate struct {
	id  grid.ServerID
	pid *actor.PID
	// announcement is the server's newest.
	announcement grid.Announcement
	label        grid.PublicKey // whose leases we make there, zero when not logged in
	// generation of the connection, to see that it is another one.
	generation uint64
}

// sayAgain asks for a fresh report.
type sayAgain struct{}

// Receive implements actor.Actor.
func (b *broker) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		ctx.Send(ctx.Parent(), brokerUp{})
	case heard:
		b.heard(ctx, m)
	case serverReport:
		b.reported(ctx, m)
	case introducerReport:
		b.intros[m.number] = m
		b.release(ctx)
	case serverGone:
		delete(b.servers, m.server)
		b.release(ctx)
	case watchServers:
		b.watcher = m.watcher
		for _, id := range sortedServers(b.servers) {
			ctx.Send(b.watcher, serverNews{b.servers[id].announcement, b.servers[id].report})
		}
	case askServer:
		b.askServer(ctx, m)
	case candidates:
		b.candidates(ctx, m)
	case AskStatus:
		b.status(ctx, m)
	case tryAgain:
		b.tryAll(ctx, withKey)
	case named:
		for _, id := range m.servers {
			b.places.named[id] = true
		}
	case gridServers:
		b.places.grids[m.manager] = m.servers
		b.release(ctx)
	case noGrid:
		delete(b.places.grids, m.manager)
		b.release(ctx)
	case expectIntroducers:
		b.total = m.total
		b.release(ctx)
	case notFresh:
		b.release(ctx)
	case late:
		b.answer(ctx, m.w)
	}
}

// heard keeps the newest announcement of a server and passes it on.
func (b *broker) heard(ctx actor.Context, m heard) {
	e := b.servers[m.announcement.Server]
	if e != nil && e.announcement.Sequence >= m.announcement.Sequence {
		return
	}
	if e == nil {
		e = &entry{first: b.env.Clock.Now(), report: serverReport{server: m.announcement.Server, state: Idle}}
		b.servers[m.announcement.Server] = e
		b.env.Clock.After(freshTime, ctx.Self(), notFresh{})
	}
	e.announcement, e.known = m.announcement, m.at
	ctx.Send(ctx.Parent(), serverKnown{m.announcement})
}

func (b *broker) reported(ctx actor.Context, m serverReport) {
	e := b.servers[m.server]
	if e == nil {
		return
	}
	e.report, e.decided = m, e.decided || m.settled
	if b.watcher != nil {
		ctx.Send(b.watcher, serverNews{e.announcement, m})
	}
	b.release(ctx)
}

func (b *broker) askServer(ctx actor.Context, m askServer) {
	if e := b.servers[m.server]; e != nil {
		ctx.Send(m.replyTo, serverNews{e.announcement, e.report})
		return
	}
	ctx.Send(m.replyTo, noServer{})
}

func connected(e *entry) bool { return e.report.state == Connected || e.report.state == LoggedIn }
func loggedIn(e *entry) bool  { return e.report.state == LoggedIn }
func withKey(e *entry) bool   { return loggedIn(e) && !e.report.account.IsZero() }

// trouble is why a server is of less use than it might be; nil when not.
func (b *broker) trouble(e *entry) error {
	if loggedIn(e) && !b.places.may(e.announcement.Server) {
		return errOtherGrid
	}
	return e.report.err
}

// mayStore is a server that takes shares of ours, and gets them.
func (b *broker) mayStore(e *entry) bool {
	return loggedIn(e) && b.places.may(e.announcement.Server)
}

func (b *broker) candidates(ctx actor.Context, m candidates) {
	ready := connected
	if m.storing {
		ready = b.mayStore
	}
	b.wait(ctx, &waiter{want: m.want, ready: ready, answer: func(ctx actor.Context) {
		ctx.Send(m.replyTo, candidateList{b.permuted(m.si, ready), b.leftOut(ready)})
	}})
}

// permuted is the servers that are ready, in the order of a file.
func (b *broker) permuted(si grid.StorageIndex, ready func(*entry) bool) []candidate {
	var list []placement.Candidate
	for _, id := range sortedServers(b.servers) {
		if e := b.servers[id]; ready(e) {
			list = append(list, placement.Candidate{ID: id, Seed: e.announcement.PermutationSeed})
		}
	}
	var out []candidate
	for _, c := range placement.Permute(si, list) {
		e := b.servers[c.ID]
		out = append(out, candidate{c.ID, e.report.pid, e.announcement, e.report.label, e.report.generation})
	}
	return out
}

// leftOut is the servers that are not ready, by id.
func (b *broker) leftOut(ready func(*entry) bool) []LeftOut {
	var list []LeftOut
	for _, id := range sortedServers(b.servers) {
		if e := b.servers[id]; !ready(e) {
			list = append(list, LeftOut{id, e.announcement.Nickname, cmp.Or(b.trouble(e), errNotYet)})
		}
	}
	return list
}

// errNotYet is why a server is left out of which nothing else is known.
var errNotYet = errors.New("not connected yet")

// wait answers at once when enough servers are ready and none has just been
// heard of. Otherwise those that are down are asked to try again, and the
// answer waits until all of them are decided, for a while.
func (b *broker) wait(ctx actor.Context, w *waiter) {
	if b.enough(w) {
		w.answer(ctx)
		return
	}
	if b.count(w.ready) < w.want {
		b.nudge(ctx, w.ready)
	}
	if !b.unsettled() {
		w.answer(ctx)
		return
	}
	w.cancel = b.env.Clock.After(settleTime, ctx.Self(), late{w})
	b.waiting = append(b.waiting, w)
}

// enough reports whether as many servers are ready as are wanted, and no new
// one may be in a moment: a node that has just started would else put all
// shares on the first servers that it reaches, or look for them only there.
func (b *broker) enough(w *waiter) bool {
	if b.count(w.ready) < w.want {
		return false
	}
	now := b.env.Clock.Now()
	for _, e := range b.servers {
		if !e.decided && now.Sub(e.first) < freshTime {
			return false
		}
	}
	return true
}

func (b *broker) count(ready func(*entry) bool) int {
	n := 0
	for _, e := range b.servers {
		if ready(e) {
			n++
		}
	}
	return n
}

// nudge makes servers be tried now that are not ready: they are down, or
// refused us and somebody wants to store; not too often.
func (b *broker) nudge(ctx actor.Context, ready func(*entry) bool) {
	now := b.env.Clock.Now()
	if !b.nudged.IsZero() && now.Sub(b.nudged) < nudgeInterval {
		return
	}
	b.nudged = now
	b.tryAll(ctx, ready)
}

// tryAll has every server tried again that is not ready. Until it says what
// came of that, it is not settled.
func (b *broker) tryAll(ctx actor.Context, ready func(*entry) bool) {
	for _, id := range sortedServers(b.servers) {
		e := b.servers[id]
		if !ready(e) && (connected(e) || e.report.state == Backoff) {
			ctx.Send(e.report.pid, tryAgain{})
			e.report.settled = false
		}
	}
}

// unsettled reports whether something is still being found out.
func (b *broker) unsettled() bool {
	if len(b.intros) < b.total || !b.places.known() {
		return true
	}
	for _, e := range b.servers {
		if !e.report.settled {
			return true
		}
	}
	for _, in := range b.intros {
		if !in.settled {
			return true
		}
	}
	return false
}

// release answers those who have waited long enough for what they want.
func (b *broker) release(ctx actor.Context) {
	unsettled := b.unsettled()
	for _, w := range append([]*waiter(nil), b.waiting...) {
		if !unsettled || b.enough(w) {
			b.answer(ctx, w)
		}
	}
}

func (b *broker) answer(ctx actor.Context, w *waiter) {
	for i, other := range b.waiting {
		if other == w {
			b.waiting = append(b.waiting[:i:i], b.waiting[i+1:]...)
			w.cancel()
			w.answer(ctx)
			return
		}
	}
}

func (b *broker) status(ctx actor.Context, m AskStatus) {
	if !m.Settled {
		ctx.Send(m.ReplyTo, b.picture())
		return
	}
	b.wait(ctx, &waiter{want: maxServers + 1, ready: connected, answer: func(ctx actor.Context) {
		ctx.Send(m.ReplyTo, b.picture())
	}})
}
