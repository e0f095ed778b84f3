package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/wire"
)

// introduction hears announcements from one introducer. It keeps those of
// servers that the introducer has not repeated for a while, too: that one may be
// down, or lie.
//
// Owns: the session to the introducer and its identity, the announcements heard there, their cache file.
// On failure: restarts from the cache file and connects anew, under a new identity.
type introduction struct {
	env    *env.Env
	dialer transport.Dialer
	in     Introducer
	rules  clause.Rules
	number int
	client *actor.PID // that wants to know
	begun  time.Time

	link      *link
	session   int // counts links
	stopTimer func()
	backoff   backoff
	heard     map[grid.ServerID]announcementOf
	keep      map[grid.ServerID]bool // are not pushed out
	saving    bool
	unsaved   bool
	report    introducerReport
	cacheErr  error
}

type announcementOf struct {
	Cached
	parsed  grid.Announcement
	session int       // over which it came last; 0 is none
	from    time.Time // not to be dialled before
}

func newIntroduction(e *env.Env, d transport.Dialer, r clause.Rules, in Introducer, number int, client *actor.PID) env.Producer {
	return func() actor.Actor {
		return &introduction{
			env: e, dialer: d, rules: r, in: in, number: number, client: client,
			heard: map[grid.ServerID]announcementOf{}, keep: map[grid.ServerID]bool{}, backoff: backoff{env: e},
		}
	}
}

type (
	cacheLoaded struct {
		announcements []Cached
		err           error
	}
	cacheSaved struct{ err error }
	// ageDue has old announcements forgotten.
	ageDue  struct{}
	dialNow struct{}
	// subscribeLate ends the wait for an introducer that does not answer.
	subscribeLate struct{ link *link }
)

// Receive implements actor.Actor.
func (n *introduction) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		n.begun = n.env.Clock.Now()
		n.say(ctx, introducerReport{})
		n.env.Exec.Do(env.Disk, ctx.Self(), func() any {
			list, err := n.in.Cache.Load()
			return cacheLoaded{list, err}
		})
	case cacheLoaded:
		n.loaded(ctx, m)
	case dialNow:
		n.dial(ctx)
	case linkEvent:
		n.linkEvent(ctx, m)
	case subscribeLate:
		if m.link == n.link {
			n.lost(ctx, fmt.Errorf("%w: no answer within %v", transport.ErrUnreachable, helloTime))
		}
	case cacheSaved:
		n.saved(ctx, m)
	case ageDue:
		n.age(ctx)
	case reached:
		n.refresh(ctx, m.server)
		n.save(ctx)
	case unheard:
		delete(n.heard, m.server)
		n.save(ctx)
	case valued:
		n.valued(ctx, m)
	case sayAgain:
		n.sayAgain(ctx)
	case *actor.Stopping, *actor.Restarting:
		n.link.close()
	}
}

func (n *introduction) loaded(ctx actor.Context, m cacheLoaded) {
	if m.err != nil {
		n.env.Log.Warn("part of the cache of announcements could not be read", "introducer", n.in.Target.Server.Short(), "error", m.err)
	}
	for _, c := range m.announcements {
		if n.env.Clock.Now().Sub(c.Heard) <= forgetTime {
			n.take(ctx, c, 0)
		}
	}
	n.age(ctx)
	n.dialIn(ctx, 0)
}

// dialIn connects after a while, and one drawn at random if the node is
// anonymous.
func (n *introduction) dialIn(ctx actor.Context, wait time.Duration) {
	if n.rules.Anonymous {
		wait += drawn(n.env)
	}
	if wait == 0 {
		n.dial(ctx)
		return
	}
	n.env.Clock.After(wait, ctx.Self(), dialNow{})
}

func (n *introduction) dial(ctx actor.Context) {
	n.session++
	n.link = dial(n.env, ctx.Self(), n.dialer, n.in.Target, false)
	n.stopTimer = n.env.Clock.After(helloTime, ctx.Self(), subscribeLate{n.link})
}

func (n *introduction) linkEvent(ctx actor.Context, m linkEvent) {
	if m.link != n.link {
		m.Discard()
		return
	}
	switch e := m.event.(type) {
	case linkOpen:
		n.link.open(e.session, transport.Introduction)
		n.link.send(wire.Frame{ID: 1, Message: &wire.Hello{Version: wire.Version, MaxRequests: 1}})
		n.link.send(wire.Frame{ID: 2, Message: &wire.Subscribe{}})
	case linkFrame:
		n.frame(ctx, e.frame)
	case linkClosed:
		n.lost(ctx, e.err)
	}
}

func (n *introduction) frame(ctx actor.Context, f wire.Frame) {
	f.Release()
	n.link.grant(1)
	switch m := f.Message.(type) {
	case *wire.Hello:
	case *wire.Done:
		n.done(ctx, f.ID)
	case *wire.Announce:
		if n.take(ctx, Cached{Signed: m.Announcement, Heard: n.env.Clock.Now()}, n.session) {
			n.save(ctx)
		}
	case *wire.Error:
		n.lost(ctx, fmt.Errorf("ask for announcements: %w", m))
	default:
		n.lost(ctx, fmt.Errorf("%w: %T where none belongs", transport.ErrProtocol, m))
	}
}

// done follows the answer to the first Subscribe by another one: when that is
// answered, too, the announcements of the first have come.
func (n *introduction) done(ctx actor.Context, request uint64) {
	if request == 2 {
		n.link.send(wire.Frame{ID: 3, Message: &wire.Subscribe{}})
		return
	}
	n.stopTimer()
	n.say(ctx, introducerReport{connected: true, settled: true})
	n.save(ctx) // all of it was heard now
}

// take keeps an announcement that verifies, unless a newer one is known. It
// reports whether it is new.
func (n *introduction) take(ctx actor.Context, c Cached, session int) bool {
	a, err := wire.OpenAnnouncement(c.Signed)
	if err != nil {
		n.env.Log.Debug("announcement ignored", "introducer", n.in.Target.Server.Short(), "error", err)
		return false
	}
	if a.Relay {
		return false // servers say themselves by which relay they are reached
	}
	old, known := n.heard[a.Server]
	switch {
	case known && old.parsed.Sequence > a.Sequence, !known && len(n.heard) >= maxServers && !n.pushOut(ctx):
		return false
	case known && old.parsed.Sequence == a.Sequence:
		c.Signed = old.Signed
	}
	c.Heard = earlier(c.Heard, n.env.Clock.Now()) // of a file that was written before the clock was set back
	c.Used = later(c.Used, old.Used)
	from := old.from
	if !known {
		from = n.dialFrom(session)
	}
	n.heard[a.Server] = announcementOf{c, a, session, from}
	n.tell(ctx, a.Server)
	return !known || old.parsed.Sequence < a.Sequence
}

// dialFrom is when a server may be dialled first that was heard of now. Those of
// which an anonymous node hears over its first connection wait until a moment
// that has nothing to do with that connection's.
func (n *introduction) dialFrom(session int) time.Time {
	from := n.begun.Add(heardTime)
	if session == 0 || !n.rules.Anonymous || n.env.Clock.Now().After(from) {
		return time.Time{}
	}
	return from
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (n *introduction) tell(ctx actor.Context, id grid.ServerID) {
	of := n.heard[id]
	ctx.Send(n.client, heard{n.number, of.parsed, of.Heard, of.session, !of.Used.IsZero(), of.from})
}

// age notes that what came over the link that stands is heard still, and asks
// about the servers of which nothing was.
func (n *introduction) age(ctx actor.Context) {
	n.env.Clock.After(n.env.Jitter(ageInterval), ctx.Self(), ageDue{})
	now := n.env.Clock.Now()
	for _, id := range sortedServers(n.heard) {
		if of := n.heard[id]; n.report.connected && of.session == n.session {
			n.refresh(ctx, id)
		} else {
			ctx.Send(n.client, aged{n.number, id, now.Sub(of.Heard) > forgetTime})
		}
	}
	n.save(ctx)
}

// refresh notes that the server is there now.
func (n *introduction) refresh(ctx actor.Context, id grid.ServerID) {
	if of, ok := n.heard[id]; ok {
		of.Heard = n.env.Clock.Now()
		n.heard[id] = of
		n.tell(ctx, id)
	}
}

// save writes the cache, once at a time.
func (n *introduction) save(ctx actor.Context) {
	if n.saving {
		n.unsaved = true
		return
	}
	n.saving, n.unsaved = true, false
	var list []Cached
	for _, id := range sortedServers(n.heard) {
		list = append(list, n.heard[id].Cached)
	}
	n.env.Exec.Do(env.Disk, ctx.Self(), func() any { return cacheSaved{n.in.Cache.Save(list)} })
}

func (n *introduction) saved(ctx actor.Context, m cacheSaved) {
	n.saving = false
	if m.err != nil && n.cacheErr == nil {
		n.env.Log.Error("announcements could not be cached; without the introducer this node will not start", "error", m.err)
	}
	n.cacheErr = m.err
	if n.unsaved {
		n.save(ctx)
	}
}

func (n *introduction) lost(ctx actor.Context, err error) {
	n.stopTimer()
	n.link.close()
	n.link = nil
	if errors.Is(err, transport.ErrClosed) {
		n.env.Log.Info("connection to the introducer lost", "introducer", n.in.Target.Server.Short())
	}
	if n.report.connected && n.env.Clock.Now().Sub(n.report.since) >= settledTime {
		n.backoff.reset()
	}
	n.say(ctx, introducerReport{err: err, settled: true})
	n.dialIn(ctx, n.backoff.next())
}

func (n *introduction) say(ctx actor.Context, r introducerReport) {
	r.number, r.target, r.since, r.session = n.number, n.in.Target, n.env.Clock.Now(), n.session
	n.report = r
	ctx.Send(n.client, r)
}

func (n *introduction) sayAgain(ctx actor.Context) {
	for _, id := range sortedServers(n.heard) {
		n.tell(ctx, id)
	}
	ctx.Send(n.client, n.report) // last: it may settle things
}

// drawn is how long a node that wants to be anonymous waits before it connects
// to somebody: those whom it connects to are not to see that it was at once.
func drawn(e *env.Env) time.Duration { return time.Duration(e.Rand.Int64N(int64(spreadTime))) }

// backoff is the time until the next attempt: it doubles with each failure in
// a row.
type backoff struct {
	env      *env.Env
	failures int
}

func (b *backoff) reset() { b.failures = 0 }

// atMost forgets failures beyond so many.
func (b *backoff) atMost(failures int) { b.failures = min(b.failures, failures) }

func (b *backoff) next() time.Duration {
	d := maxBackoff
	if b.failures < 16 {
		d = min(maxBackoff, firstBackoff<<b.failures)
	}
	b.failures++
	return b.env.Jitter(d)
}
