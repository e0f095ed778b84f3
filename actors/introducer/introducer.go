// Package introducer is the introducer's branch of the supervision tree:
// storage servers publish their announcements, everybody subscribes to them.
// An introducer vouches for nothing: an announcement is signed by the server
// that it is about, and whoever receives one checks that.
//
// Introducer is the top and owns what was published; below it the listener
// has an actor for each session.
//
// Promises: an announcement is relayed only if its signature holds, and
// replaced only by one with a higher sequence number; it is on the disk before
// it is acknowledged, so a restart forgets none; a subscriber that reads slowly
// costs one pointer for each server, and gets the newest.
package introducer

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/inbound"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Store keeps signed announcements over restarts. Its methods block.
type Store interface {
	// Load returns what was saved last, nothing at first.
	Load() ([][]byte, error)
	// Save replaces all of it, atomically and durably.
	Save([][]byte) error
}

// Config is what an introducer needs.
type Config struct {
	// Listen accepts connections under the introducer's key.
	Listen inbound.Listen
	Store  Store
	// Fatal is called when the introducer can't go on: it can't listen, or what
	// it knew can't be read.
	Fatal func(error)
}

// Own is a signed announcement of this very node, say of its relay; a later one
// replaces it.
type Own []byte

// AskStatus asks the Introducer how it is; answered by Status, once it listens.
type AskStatus struct{}

// Status is a picture of the introducer.
type Status struct {
	Hints    []grid.Hint // that it listens at
	Servers  int         // whose announcements it has
	Sessions int
}

// Errors of Publish.
var (
	errStale = errors.New("an announcement of this server with the same or a higher number is known")
	errFull  = errors.New("the introducer knows too many servers already")
)

// known is a verified announcement; immutable.
type known struct {
	server   grid.ServerID
	sequence uint64
	signed   []byte
}

// Introducer owns what is announced.
//
// Owns: the announcements and their file, who subscribed.
// On failure: reads its file again; sessions are closed and come back by themselves.
type Introducer struct {
	env      *env.Env
	config   Config
	listener *actor.PID
	hints    []grid.Hint
	listens  bool

	list       []entry
	index      map[grid.ServerID]int    // into list
	publishers map[string]grid.ServerID // by the session's PID id: what it published last
	turn       uint64                   // grows with each publication

	subscribers []*actor.PID
	unsaved     []publication // to be acknowledged once saved
	saving      bool
	waiting     []Own        // for the file to be read
	asking      []*actor.PID // who waits for a status
}

// New makes an Introducer.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor {
		return &Introducer{env: e, config: c, index: map[grid.ServerID]int{}, publishers: map[string]grid.ServerID{}}
	}
}

type (
	loaded struct {
		list []known
		err  error
	}
	saved struct {
		done []publication
		err  error
	}
	// publication is a verified announcement on its way in; answered by
	// published.
	publication struct {
		session *actor.PID
		source  string // network address that it came from
		request uint64
		known   known
	}
	// departed says that a session which published has ended.
	departed  struct{ session *actor.PID }
	published struct {
		request uint64
		err     error
	}
	// subscription asks for all announcements, now and as they come; each is
	// sent as a known, and caughtUp after those of now.
	subscription struct {
		session *actor.PID
		request uint64
	}
	caughtUp       struct{ request uint64 }
	unsubscription struct{ session *actor.PID }
)

// Receive implements actor.Actor.
func (i *Introducer) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		i.load(ctx)
	case loaded:
		i.loaded(ctx, m)
	case inbound.Listening:
		i.hints, i.listens = m.Hints, true
		i.countSessions(ctx)
	case inbound.Failed:
		i.config.Fatal(m.Err)
	case Own:
		i.own(ctx, m)
	case publication:
		i.publish(ctx, m)
	case departed:
		i.depart(m.session)
	case saved:
		i.saved(ctx, m)
	case subscription:
		i.subscribe(ctx, m)
	case unsubscription:
		i.unsubscribe(m.session)
	case AskStatus:
		i.asking = append(i.asking, ctx.Sender())
		i.countSessions(ctx)
	case inbound.Sessions:
		i.status(ctx, int(m))
	case *actor.Terminated:
		i.config.Fatal(fmt.Errorf("%s keeps failing; this is a bug", m.Who.Id))
	}
}

func (i *Introducer) load(ctx actor.Context) {
	store, log := i.config.Store, i.env.Log
	i.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		saved, err := store.Load()
		var list []known
		for _, signed := range saved {
			k, openErr := open(signed)
			if openErr != nil {
				log.Warn("a saved announcement is dropped", "error", openErr)
				continue
			}
			list = append(list, k)
		}
		return loaded{list, err}
	})
}

// own takes an announcement of this node. Before the file is read it waits, so
// that it is not lost in what was known.
func (i *Introducer) own(ctx actor.Context, m Own) {
	if i.listener == nil {
		i.waiting = append(i.waiting, m)
		return
	}
	k, err := open(m)
	if err != nil || i.check(k) != nil || !i.put(k, "") {
		i.env.Log.Error("this node's own announcement can't be kept", "error", err)
		return
	}
	i.list[i.index[k.server]].sessions = 1 // it is always connected
	i.unsaved = append(i.unsaved, publication{known: k})
	i.save(ctx)
}

func open(signed []byte) (known, error) {
	a, err := wire.OpenAnnouncement(signed)
	return known{a.Server, a.Sequence, signed}, err
}

func (i *Introducer) loaded(ctx actor.Context, m loaded) {
	if m.err != nil {
		i.config.Fatal(fmt.Errorf("read the introducer's announcements: %w", m.err))
		return
	}
	for _, k := range m.list {
		if len(i.list) < maxServers && i.check(k) == nil {
			i.put(k, "")
		}
	}
	self := ctx.Self()
	i.listener = i.env.Spawn.Child(ctx, "listener", inbound.New(i.env, inbound.Config{
		Listen:      i.config.Listen,
		Session:     func(a inbound.Arrival) env.Producer { return newSession(i.env, self, a) },
		MaxSessions: maxSessions,
	}))
	for _, own := range i.waiting {
		i.own(ctx, own)
	}
	i.waiting = nil
}

// countSessions begins the answer to those who ask for a status. Before the
// introducer listens they wait.
func (i *Introducer) countSessions(ctx actor.Context) {
	if i.listens && len(i.asking) > 0 {
		ctx.Send(i.listener, inbound.Count{ReplyTo: ctx.Self()})
	}
}

// check refuses what is older than what is known.
func (i *Introducer) check(k known) error {
	if at, ok := i.index[k.server]; ok && k.sequence <= i.list[at].sequence {
		return errStale
	}
	return nil
}

// publish takes an announcement. The very one that is known already changes
// nothing: a server that comes back publishes again what it published before.
func (i *Introducer) publish(ctx actor.Context, m publication) {
	at, ok := i.index[m.known.server]
	same := ok && bytes.Equal(i.list[at].signed, m.known.signed)
	if err := i.check(m.known); err != nil && !same {
		ctx.Send(m.session, published{m.request, err})
		return
	}
	if !i.put(m.known, m.source) {
		ctx.Send(m.session, published{m.request, errFull})
		return
	}
	i.attend(m.session, m.known.server)
	i.unsaved = append(i.unsaved, m)
	i.save(ctx)
}

// save writes everything, for all publications that wait.
func (i *Introducer) save(ctx actor.Context) {
	if i.saving || len(i.unsaved) == 0 {
		return
	}
	done := i.unsaved
	i.unsaved, i.saving = nil, true
	all := make([][]byte, len(i.list))
	for n, k := range i.list {
		all[n] = k.known.signed
	}
	store := i.config.Store
	i.env.Exec.Do(env.Disk, ctx.Self(), func() any { return saved{done, store.Save(all)} })
}

func (i *Introducer) saved(ctx actor.Context, m saved) {
	i.saving = false
	if m.err != nil {
		i.env.Log.Error("announcements could not be saved", "error", m.err)
	}
	for _, p := range m.done {
		if p.session != nil {
			ctx.Send(p.session, published{p.request, m.err})
		}
		if m.err == nil {
			i.relay(ctx, p.known)
		}
	}
	i.save(ctx)
}

func (i *Introducer) relay(ctx actor.Context, k known) {
	for _, s := range i.subscribers {
		ctx.Send(s, k)
	}
}

func (i *Introducer) subscribe(ctx actor.Context, m subscription) {
	i.subscribers = append(i.subscribers, m.session)
	for _, k := range i.list {
		ctx.Send(m.session, k.known)
	}
	ctx.Send(m.session, caughtUp{m.request})
}

func (i *Introducer) unsubscribe(session *actor.PID) {
	for n, s := range i.subscribers {
		if s.Id == session.Id {
			i.subscribers = append(i.subscribers[:n], i.subscribers[n+1:]...)
			return
		}
	}
}

func (i *Introducer) status(ctx actor.Context, sessions int) {
	for _, to := range i.asking {
		ctx.Send(to, Status{Hints: i.hints, Servers: len(i.list), Sessions: sessions})
	}
	i.asking = nil
}
