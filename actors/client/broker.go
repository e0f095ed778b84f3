package client

import (
	"cmp"
	"errors"
	"reflect"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/clause"
)

// broker knows who the servers are and how each is reached: it puts together what
// introducers announce, the user's file and the node's settings. It holds no
// connection itself, so that its own failure drops none.
//
// Owns: the merged clauses, the last report of each server actor, requests that wait for connections to be decided.
// On failure: starts empty; introductions and server actors tell it everything again.
type broker struct {
	env     *env.Env
	rules   clause.Rules
	own     overridden
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
	announced *grid.Announcement // the newest of all introducers; nil for none
	known     time.Time          // when that came
	sources   map[int]source     // by introducer
	from      time.Time          // not to be dialled before
	clause.Server
	off     error     // why it is not connected to, nil when it is
	unused  bool      // because it is nobody's business
	first   time.Time // since when it is one to connect to
	decided bool      // it was connected, or not, at least once
	report  serverReport
}

// source is what an introducer announced of a server last, when, and over which
// of its connections.
type source struct {
	sequence uint64
	heard    time.Time
	session  int
}

// waiter is a request that is held until connections are decided.
type waiter struct {
	want   int           // servers
	longer time.Duration // than usual
	ready  func(*entry) bool
	answer func(ctx actor.Context)
	cancel func()
}

func newBroker(e *env.Env, r clause.Rules, introducers int) env.Producer {
	return func() actor.Actor {
		return &broker{env: e, rules: r, total: introducers, servers: map[grid.ServerID]*entry{}, intros: map[int]introducerReport{}, places: newPlaces()}
	}
}

// To the broker.
type (
	// heard is an announcement that verified.
	heard struct {
		introducer   int
		announcement grid.Announcement
		at           time.Time // when the introducer last said so
		session      int       // over which of its connections; 0 is none
		used         bool      // the node was connected to it before
		from         time.Time // not to be dialled before
	}
	// aged asks about a server that an introducer has not announced of late;
	// answered by reached if it is connected, by unheard if it is not and that
	// was long ago.
	aged struct {
		introducer int
		server     grid.ServerID
		long       bool
	}
	reached struct {
		introducer int
		server     grid.ServerID
	}
	// unheard has it forgotten that an introducer announced a server.
	unheard struct {
		introducer int
		server     grid.ServerID
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
		// patient waits for all servers that are being connected to, and longer.
		patient bool
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
	// brokerUp says that the broker knows nothing yet. The parent passes it on to
	// those who may have asked the one before.
	brokerUp    struct{}
	serverKnown struct {
		server clause.Server
		from   time.Time // not to be dialled before
	}
	// serverLeft is one that is not to be connected to.
	serverLeft struct{ server grid.ServerID }
)

// candidateList answers candidates.
type candidateList struct {
	servers []candidate
	left    []LeftOut
}

// LeftOut is a server that gets nothing of a file, and why. Name is what people
// call it.
type LeftOut struct {
	Server grid.ServerID
	Name   string
	Err    error
}

// candidate is a connected server.
type candidate struct {
	id   grid.ServerID
	name string // what people call it
	pid  *actor.PID
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
	case aged:
		if e := b.servers[m.server]; e != nil && connected(e) {
			ctx.Send(ctx.Parent(), reached{m.introducer, m.server})
		} else if m.long {
			ctx.Send(ctx.Parent(), unheard{m.introducer, m.server})
		}
	case unheard:
		b.unheard(ctx, m)
	case overridden:
		b.overridden(ctx, m)
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
			ctx.Send(b.watcher, serverNews{b.servers[id].Server, b.servers[id].report})
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
		ctx.Send(ctx.Parent(), valued{servers: sortedServers(m.servers)})
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

// heard keeps the newest announcement of a server, and who says so.
func (b *broker) heard(ctx actor.Context, m heard) {
	e := b.entry(m.announcement.Server)
	e.sources[m.introducer] = source{m.announcement.Sequence, m.at, m.session}
	if e.announced == nil {
		e.from = m.from
	}
	if e.announced == nil || e.announced.Sequence < m.announcement.Sequence {
		e.announced, e.known = &m.announcement, m.at
		b.merge(ctx, m.announcement.Server)
	}
}

func (b *broker) entry(id grid.ServerID) *entry {
	e := b.servers[id]
	if e == nil {
		e = &entry{sources: map[int]source{}, off: errHeld, report: serverReport{server: id, state: Idle}}
		b.servers[id] = e
	}
	return e
}

func (b *broker) unheard(ctx actor.Context, m unheard) {
	e := b.servers[m.server]
	if e == nil {
		return
	}
	if delete(e.sources, m.introducer); len(e.sources) == 0 {
		e.announced = nil
		b.merge(ctx, m.server)
	}
}

// overridden puts the user's file in force.
func (b *broker) overridden(ctx actor.Context, m overridden) {
	b.own = m
	for id := range m.Clauses {
		b.entry(id)
	}
	for id := range m.Held {
		b.entry(id)
	}
	for _, id := range sortedServers(b.servers) {
		b.merge(ctx, id)
	}
	b.release(ctx)
}

// merge finds out how a server is to be reached now, if at all, and passes it on
// when that is new.
func (b *broker) merge(ctx actor.Context, id grid.ServerID) {
	if !b.own.known {
		return
	}
	e := b.servers[id]
	if _, said := b.own.Clauses[id]; e.announced == nil && !said && b.own.Held[id] == (clause.Mistake{}) {
		delete(b.servers, id)
		ctx.Send(ctx.Parent(), serverLeft{id})
		return
	}
	was, wasOff := e.Server, e.off
	e.Server, e.off = b.rules.Of(id, e.announced, b.own.Overrides)
	e.unused = errors.Is(e.off, clause.ErrIgnored) || errors.Is(e.off, clause.ErrNowhere)
	switch {
	case e.off != nil:
		b.switchOff(ctx, e)
	case wasOff != nil:
		b.switchOn(ctx, e)
	case !reflect.DeepEqual(was, e.Server):
		ctx.Send(ctx.Parent(), serverKnown{e.Server, e.from})
	}
}

func (b *broker) switchOn(ctx actor.Context, e *entry) {
	e.first, e.decided = b.env.Clock.Now(), false
	e.report = serverReport{server: e.Announcement.Server, state: Idle}
	b.env.Clock.After(freshTime, ctx.Self(), notFresh{})
	ctx.Send(ctx.Parent(), serverKnown{e.Server, e.from})
}

func (b *broker) switchOff(ctx actor.Context, e *entry) {
	id := e.Announcement.Server
	e.decided = true
	e.report = serverReport{server: id, state: Idle, since: b.env.Clock.Now(), err: e.off, settled: true}
	ctx.Send(ctx.Parent(), serverLeft{id})
	if b.watcher != nil {
		ctx.Send(b.watcher, serverNews{e.Server, e.report})
	}
}

// errHeld is why a server is not connected to yet.
var errHeld = errors.New("the file of servers is not read yet")

func (b *broker) reported(ctx actor.Context, m serverReport) {
	e := b.servers[m.server]
	if e == nil || e.off != nil {
		return
	}
	e.report, e.decided = m, e.decided || m.settled
	if b.watcher != nil {
		ctx.Send(b.watcher, serverNews{e.Server, m})
	}
	b.release(ctx)
}

func (b *broker) askServer(ctx actor.Context, m askServer) {
	if e := b.servers[m.server]; e != nil && e.off == nil {
		ctx.Send(m.replyTo, serverNews{e.Server, e.report})
		return
	}
	ctx.Send(m.replyTo, noServer{})
}

func connected(e *entry) bool { return e.report.state == Connected || e.report.state == LoggedIn }
func loggedIn(e *entry) bool  { return e.report.state == LoggedIn }
func withKey(e *entry) bool   { return loggedIn(e) && !e.report.account.IsZero() }

// trouble is why a server is of less use than it might be; nil when not.
func (b *broker) trouble(e *entry) error {
	if loggedIn(e) && !b.places.may(e.Announcement.Server) {
		return errOtherGrid
	}
	return e.report.err
}

// mayStore is a server that takes shares of ours, and gets them.
func (b *broker) mayStore(e *entry) bool {
	return loggedIn(e) && b.places.may(e.Announcement.Server)
}

func (b *broker) candidates(ctx actor.Context, m candidates) {
	ready := connected
	if m.storing {
		ready = b.mayStore
	}
	w := &waiter{want: m.want, ready: ready}
	if m.patient {
		w.want, w.longer = maxServers+1, patientTime
	}
	w.answer = func(ctx actor.Context) {
		ctx.Send(m.replyTo, candidateList{b.permuted(m.si, ready), b.leftOut(ready)})
	}
	b.wait(ctx, w)
}

// permuted is the servers that are ready, in the order of a file.
func (b *broker) permuted(si grid.StorageIndex, ready func(*entry) bool) []candidate {
	var list []placement.Candidate
	for _, id := range sortedServers(b.servers) {
		if e := b.servers[id]; ready(e) {
			list = append(list, placement.Candidate{ID: id, Seed: e.Announcement.PermutationSeed})
		}
	}
	out := make([]candidate, 0, len(list))
	for _, c := range placement.Permute(si, list) {
		e := b.servers[c.ID]
		out = append(out, candidate{c.ID, e.Name(), e.report.pid, e.Announcement, e.report.label, e.report.generation})
	}
	return out
}

// leftOut is the servers that are not ready, by id.
func (b *broker) leftOut(ready func(*entry) bool) []LeftOut {
	var list []LeftOut
	for _, id := range sortedServers(b.servers) {
		if e := b.servers[id]; !ready(e) && !e.unused {
			list = append(list, LeftOut{id, e.Name(), cmp.Or(b.trouble(e), errNotYet)})
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
	w.cancel = b.env.Clock.After(b.patience()+w.longer, ctx.Self(), late{w})
	b.waiting = append(b.waiting, w)
}

// patience is how long a request waits: where the node is anonymous connections
// take their time, that to an introducer and those to servers.
func (b *broker) patience() time.Duration {
	if b.rules.Anonymous {
		return settleTime + heardTime + spreadTime
	}
	return settleTime
}

// enough reports whether as many servers are ready as are wanted, and no new
// one may be in a moment: a node that has just started would else put all
// shares on the first servers that it reaches, or look for them only there. So would
// a broker that began anew and has not been told yet which servers there are.
func (b *broker) enough(w *waiter) bool {
	if b.count(w.ready) < w.want || !b.own.known || len(b.intros) < b.total {
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
	if !b.own.known || len(b.intros) < b.total || !b.places.known() {
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
