package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// introduction hears announcements from one introducer.
//
// Owns: the session to the introducer and its identity, the announcements heard there, their cache file.
// On failure: restarts from the cache file and connects anew, under a new identity.
type introduction struct {
	env    *env.Env
	dialer transport.Dialer
	in     Introducer
	number int
	client *actor.PID // that wants to know

	link      *link
	stopTimer func()
	backoff   backoff
	heard     map[grid.ServerID]announcementOf
	saving    bool
	unsaved   bool
	report    introducerReport
	cacheErr  error
}

type announcementOf struct {
	signed []byte
	parsed grid.Announcement
	at     time.Time
}

func newIntroduction(e *env.Env, d transport.Dialer, in Introducer, number int, client *actor.PID) env.Producer {
	return func() actor.Actor {
		return &introduction{
			env: e, dialer: d, in: in, number: number, client: client,
			heard: map[grid.ServerID]announcementOf{}, backoff: backoff{env: e},
		}
	}
}

type (
	cacheLoaded struct {
		announcements [][]byte
		err           error
	}
	cacheSaved struct{ err error }
	dialNow    struct{}
	// subscribeLate ends the wait for an introducer that does not answer.
	subscribeLate struct{ link *link }
)

// Receive implements actor.Actor.
func (n *introduction) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
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
	for _, signed := range m.announcements {
		n.take(ctx, signed)
	}
	n.dial(ctx)
}

func (n *introduction) dial(ctx actor.Context) {
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
		if n.take(ctx, m.Announcement) {
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
	n.backoff.reset()
	n.say(ctx, introducerReport{connected: true, settled: true})
}

// take keeps an announcement that verifies and is newer than what was known.
func (n *introduction) take(ctx actor.Context, signed []byte) bool {
	a, err := wire.OpenAnnouncement(signed)
	if err != nil {
		n.env.Log.Debug("announcement ignored", "introducer", n.in.Target.Server.Short(), "error", err)
		return false
	}
	if a.Relay {
		return false // servers say themselves by which relay they are reached
	}
	if old, ok := n.heard[a.Server]; ok && old.parsed.Sequence >= a.Sequence || !ok && len(n.heard) >= maxServers {
		return false
	}
	of := announcementOf{signed, a, n.env.Clock.Now()}
	n.heard[a.Server] = of
	ctx.Send(n.client, heard{a, of.at})
	return true
}

// save writes the cache, once at a time.
func (n *introduction) save(ctx actor.Context) {
	if n.saving {
		n.unsaved = true
		return
	}
	n.saving, n.unsaved = true, false
	var list [][]byte
	for _, id := range sortedServers(n.heard) {
		list = append(list, n.heard[id].signed)
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
	n.say(ctx, introducerReport{err: err, settled: true})
	n.env.Clock.After(n.backoff.next(), ctx.Self(), dialNow{})
}

func (n *introduction) say(ctx actor.Context, r introducerReport) {
	r.number, r.target, r.since = n.number, n.in.Target, n.env.Clock.Now()
	n.report = r
	ctx.Send(n.client, r)
}

func (n *introduction) sayAgain(ctx actor.Context) {
	for _, id := range sortedServers(n.heard) {
		of := n.heard[id]
		ctx.Send(n.client, heard{of.parsed, of.at})
	}
	ctx.Send(n.client, n.report) // last: it may settle things
}

// backoff is the time until the next attempt: it doubles with each failure in
// a row.
type backoff struct {
	env      *env.Env
	failures int
}

func (b *backoff) reset() { b.failures = 0 }

func (b *backoff) next() time.Duration {
	d := maxBackoff
	if b.failures < 16 {
		d = min(maxBackoff, firstBackoff<<b.failures)
	}
	b.failures++
	return b.env.Jitter(d)
}
