// Package aggregator is the usage aggregator: it asks every storage server of a
// grid what is held there below the key that it was given to read usage with,
// and keeps what that comes to, by member, server and day.
//
// Aggregator is the top. Below it is a client branch (package client) of its
// own, for the connections: each under an identity of its own, pinned to its
// server, so that what is heard over it is that server's word and nobody
// else's.
//
// Promises: what adds up, and what is not believed, is lease/tally's to say; a
// server that answers with nonsense, or without end, or with what it has not
// signed, is one that gave no answer; its last report stays. Reports are kept as
// the servers signed them, so that nobody has to believe the aggregator either.
package aggregator

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/tally"
	"github.com/tarn-grid/tarn/transport/wire"
)

const (
	// roundTime is how long all servers together may take for their answers.
	roundTime = 10 * time.Minute
	// maxRows is how many keys a server may report.
	maxRows = 200_000
	// maxReport bounds the pages of a report together, in bytes: a server may put
	// into them what nobody reads.
	maxReport = 32 << 20
	// staleRounds is how many rounds a server may miss before what it said is
	// old.
	staleRounds = 3
	// firstRound is how long after its start the node asks first.
	firstRound = 5 * time.Second
)

// Store keeps reports and days over restarts. Its methods block.
type Store interface {
	Load() ([]tally.Report, error)
	// SaveReport replaces the server's last report. The pages are those that it
	// signed (ReadReport).
	SaveReport(r tally.Report, pages [][]byte) error
	// SaveDay replaces what is kept of that day, and forgets days that are more
	// than a year older.
	SaveDay(tally.Day) error
}

// Names says whose keys are whose. Load blocks.
type Names interface {
	// Load returns the owners of keys, and which servers the grid has.
	Load() (tally.Names, []grid.ServerID, error)
}

// Config is what an aggregator needs.
type Config struct {
	// Connections says how servers are found and under which authority they are
	// asked; it needs no journal.
	Connections client.Config
	Store       Store
	Names       Names
	// Interval is the time between two rounds.
	Interval time.Duration
	// Fatal is called when what was kept can't be read.
	Fatal func(error)
}

// Messages to Aggregator.
type (
	// Collect asks all servers now; answered by Collected when they have
	// answered, or an error.
	Collect struct{}
	// AskSummary is answered by a tally.Summary, or an error; with Detail it has
	// what each member holds at each server.
	AskSummary struct{ Detail bool }
)

// Collected answers Collect.
type Collected struct{}

// Aggregator asks servers and keeps the tally.
//
// Owns: the tally of all servers, the round that is under way.
// On failure: starts from what was kept; the round under way is given up.
type Aggregator struct {
	env         *env.Env
	config      Config
	connections *actor.PID
	tally       *tally.Tally

	round   *round
	number  uint64       // of the newest round
	waiting []*actor.PID // for its end
	timer   func()
}

// round is one time that all servers are asked.
type round struct {
	number uint64
	open   map[grid.ServerID]*answer // of those that are not done
	stop   func()
}

// answer is what has come of one server.
type answer struct {
	server *actor.PID
	*reading
	pages [][]byte
}

// New makes an Aggregator.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor { return &Aggregator{env: e, config: c} }
}

type (
	loaded struct {
		kept []tally.Report
		err  error
	}
	roundDue  struct{}
	roundLate struct{ number uint64 }
	// page is the tag of a question.
	page struct {
		round  uint64
		server grid.ServerID
	}
	// kept is what came of saving.
	kept struct{ err error }
	// named is a summary that was asked for.
	named struct {
		to     *actor.PID
		detail bool
		names  tally.Names
		grid   []grid.ServerID
		err    error
	}
)

// Receive implements actor.Actor.
func (a *Aggregator) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		a.start(ctx)
	case loaded:
		a.loaded(ctx, m)
	case roundDue:
		a.begin(ctx)
	case Collect:
		a.waiting = append(a.waiting, ctx.Sender())
		a.begin(ctx)
	case client.Status:
		a.ask(ctx, m)
	case client.Reply:
		a.reply(ctx, m)
	case roundLate:
		a.late(ctx, m)
	case kept:
		if m.err != nil {
			a.env.Log.Error("usage that was collected could not be kept", "error", m.err)
		}
	case AskSummary:
		a.loadNames(ctx, ctx.Sender(), m.Detail)
	case named:
		a.summary(ctx, m)
	case *actor.Terminated:
		panic("aggregator: " + m.Who.Id + " failed for good")
	}
}

func (a *Aggregator) start(ctx actor.Context) {
	a.tally = tally.New(nil)
	a.number = uint64(a.env.Rand.Int64N(1 << 62)) // no earlier self's
	store := a.config.Store
	a.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		reports, err := store.Load()
		return loaded{reports, err}
	})
}

func (a *Aggregator) loaded(ctx actor.Context, m loaded) {
	if m.err != nil {
		a.config.Fatal(fmt.Errorf("read the usage that was collected: %w", m.err))
		return
	}
	a.tally = tally.New(m.kept)
	a.connections = a.env.Spawn.Child(ctx, "connections", client.New(a.env, a.config.Connections))
	if len(a.waiting) > 0 {
		a.begin(ctx)
		return
	}
	a.timer = a.env.Clock.After(firstRound, ctx.Self(), roundDue{})
}

// begin asks which servers there are, once connections are settled.
func (a *Aggregator) begin(ctx actor.Context) {
	if a.round != nil || a.connections == nil {
		return
	}
	if a.timer != nil {
		a.timer()
	}
	a.number++
	a.round = &round{number: a.number, open: map[grid.ServerID]*answer{}}
	a.round.stop = a.env.Clock.After(roundTime, ctx.Self(), roundLate{a.number})
	ctx.Send(a.connections, client.TryAgain{})
	ctx.Send(a.connections, client.AskStatus{ReplyTo: ctx.Self(), Settled: true})
}

// ask begins with every server that accepts the authority.
func (a *Aggregator) ask(ctx actor.Context, m client.Status) {
	if a.round == nil {
		return
	}
	for _, s := range m.Servers {
		id := s.Announcement.Server
		if s.State != client.LoggedIn || s.Account.IsZero() {
			a.tally.Fail(id, s.Name(), reason(s))
			continue
		}
		open := &answer{server: s.PID, reading: newReading(id)}
		open.report.Nickname = s.Name()
		a.round.open[id] = open
		a.askPage(ctx, id)
	}
	a.endIfDone(ctx)
}

func reason(s client.ServerStatus) string {
	if s.Err != nil {
		return s.Err.Error()
	}
	return "not connected, or the authority is not accepted there"
}

// askPage asks for what is still to be read.
func (a *Aggregator) askPage(ctx actor.Context, id grid.ServerID) (asked bool) {
	open := a.round.open[id]
	of, more := open.question()
	if more {
		ctx.Send(open.server, client.Call{ReplyTo: ctx.Self(), Tag: page{a.round.number, id}, Frame: wire.Frame{Message: of}})
	}
	return more
}

// reply takes a part of a server's report. Its connection says whose it is.
func (a *Aggregator) reply(ctx actor.Context, m client.Reply) {
	m.Frame.Release()
	tag, ok := m.Tag.(page)
	if !ok || a.round == nil || tag.round != a.round.number || a.round.open[tag.server] == nil {
		return
	}
	open := a.round.open[tag.server]
	err := open.add(m)
	if err == nil && a.askPage(ctx, tag.server) {
		return
	}
	delete(a.round.open, tag.server)
	if err != nil {
		a.tally.Fail(tag.server, open.report.Nickname, err.Error())
	} else {
		a.take(ctx, open)
	}
	a.endIfDone(ctx)
}

// add takes one page of the answer.
func (o *answer) add(m client.Reply) error {
	if m.Err != nil {
		return m.Err
	}
	switch r := m.Frame.Message.(type) {
	case *wire.UsageBelowReport:
		o.pages = append(o.pages, r.Page)
		return o.take(r.Page)
	case *wire.Error:
		return r
	}
	return fmt.Errorf("%w: %T instead of one", ErrNonsense, m.Frame.Message)
}

// take makes a whole report the server's.
func (a *Aggregator) take(ctx actor.Context, o *answer) {
	r, pages := o.report, o.pages
	r.At = a.env.Clock.Now().Unix()
	a.tally.Take(r)
	store := a.config.Store
	a.env.Exec.Do(env.Disk, ctx.Self(), func() any { return kept{store.SaveReport(r, pages)} })
}

func (a *Aggregator) endIfDone(ctx actor.Context) {
	if len(a.round.open) > 0 {
		return
	}
	a.round.stop()
	a.round = nil
	for _, to := range a.waiting {
		ctx.Send(to, Collected{})
	}
	a.waiting = nil
	a.timer = a.env.Clock.After(a.env.Jitter(a.config.Interval), ctx.Self(), roundDue{})
	a.loadNames(ctx, nil, false) // for the day's sums
}

// late gives up on servers that do not come to an end, and on connections that
// did not say how they are.
func (a *Aggregator) late(ctx actor.Context, m roundLate) {
	if a.round == nil || a.round.number != m.number {
		return
	}
	for id, open := range a.round.open {
		a.tally.Fail(id, open.report.Nickname, fmt.Sprintf("no whole report within %v", roundTime))
	}
	clear(a.round.open)
	a.endIfDone(ctx)
}

// loadNames asks whose keys are whose; the answer is a summary for to, or for
// the day if that is nil.
func (a *Aggregator) loadNames(ctx actor.Context, to *actor.PID, detail bool) {
	names := a.config.Names
	a.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		owners, servers, err := names.Load()
		return named{to, detail, owners, servers, err}
	})
}

func (a *Aggregator) summary(ctx actor.Context, m named) {
	if m.err != nil {
		err := fmt.Errorf("find out whose keys are whose: %w", m.err)
		if m.to != nil {
			ctx.Send(m.to, err)
			return
		}
		a.env.Log.Error("the day's usage could not be added up", "error", err)
		return
	}
	now := a.env.Clock.Now()
	sum := a.tally.Summary
	if m.detail {
		sum = a.tally.Detailed
	}
	s := sum(m.names, m.grid, now.Unix(), staleRounds*int64(a.config.Interval/time.Second))
	if m.to != nil {
		ctx.Send(m.to, s)
		return
	}
	store, day := a.config.Store, s.OfDay(lease.DayOf(now))
	a.env.Exec.Do(env.Disk, ctx.Self(), func() any { return kept{store.SaveDay(day)} })
}
