package server

import (
	"fmt"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/announcer"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/inbound"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Storage is the top of the storage branch.
//
// Owns: which upload has which pull, the announcement and its sequence number, which relays are offered.
// On failure: everything below it starts anew; uploads in progress end and are offered again.
type Storage struct {
	env    *env.Env
	config *Config

	ledger, login, listener, collector *actor.PID

	connections *actor.PID // to servers to which shares are passed on
	passing     map[string]bool
	lastPass    uint64
	standing    standing

	pulls    map[lease.LeaseID]*actor.PID
	pullIDs  map[string]lease.LeaseID // by PID id
	order    []*actor.PID             // of pulls, oldest first
	pullsOf  map[grid.PublicKey]int   // by root
	rootOf   map[lease.LeaseID]grid.PublicKey
	lastPull uint64

	announcers []*actor.PID
	listens    bool
	listening  []grid.Hint        // addresses of the listener
	slot       *actor.PID         // nil where there are no relays
	slots      int                // how many actors there were for it
	offered    []transport.Target // relays
	through    []grid.Hint        // addresses through a relay
	hints      []grid.Hint
	managers   managers
	sequence   uint64

	asking []*actor.PID // who waits for a status
}

// New makes the storage branch.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor {
		return &Storage{
			env: e, config: &c,
			pulls: map[lease.LeaseID]*actor.PID{}, pullIDs: map[string]lease.LeaseID{},
			pullsOf: map[grid.PublicKey]int{}, rootOf: map[lease.LeaseID]grid.PublicKey{},
			passing: map[string]bool{}, standing: newStanding(),
		}
	}
}

// Receive implements actor.Actor.
func (s *Storage) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		s.ledger = s.env.Spawn.Child(ctx, "ledger", newLedger(s.env, s.config))
	case ledgerUp:
		s.accept(ctx, m.managers)
		s.ledgerUp(ctx)
	case managers:
		s.accept(ctx, m)
	case inbound.Listening:
		s.nowListening(ctx, m)
	case announcer.Offered:
		s.relayOffered(ctx, m)
	case reachable:
		s.through = m.hints
		if len(s.through) > 0 { // until then the old addresses are as good as none
			s.announce(ctx)
		}
	case inbound.Failed:
		s.config.Fatal(m.Err)
	case offer:
		s.offer(ctx, m)
	case passOn:
		s.passedHere(ctx, m)
	case abandon:
		s.abandon(ctx, m)
	case pullEnded:
		s.forget(ctx, m.id)
	case *actor.Terminated:
		s.terminated(ctx, m.Who)
	case AskStatus:
		s.asking = append(s.asking, ctx.Sender())
		s.countSessions(ctx)
	case inbound.Sessions:
		s.status(ctx, int(m))
	case bar:
		if pid, ok := s.pulls[m.id]; ok {
			ctx.Send(pid, m)
		}
	case collectSoon:
		if s.collector != nil {
			ctx.Send(s.collector, m)
		}
	case Operation:
		ctx.Forward(s.ledger)
	}
}

// ledgerUp starts the rest once there is a ledger. A ledger that began again
// has forgotten what was reserved, so what is being pulled ends.
func (s *Storage) ledgerUp(ctx actor.Context) {
	if s.listener != nil {
		for _, pid := range s.order {
			ctx.Send(pid, ledgerLost{})
		}
		return
	}
	s.login = s.env.Spawn.Child(ctx, "login", newLogin(s.env, s.config))
	s.collector = s.env.Spawn.Child(ctx, "collector", newCollector(s.env, s.config, s.ledger))
	if p := s.config.Passing; p != nil {
		s.connections = s.env.Spawn.Child(ctx, "connections", client.New(s.env, p.Connections))
	}
	peers := peers{
		storage: ctx.Self(), ledger: s.ledger, login: s.login, collector: s.collector,
		answers: &memory{most: allAnswering}, early: &memory{most: allEarlyAnswering},
	}
	s.listener = s.env.Spawn.Child(ctx, "listener", inbound.New(s.env, inbound.Config{
		Listen:      s.config.Listen,
		Session:     func(a inbound.Arrival) env.Producer { return newSession(s.env, s.config, peers, a) },
		MaxSessions: maxSessions,
	}))
}

// countSessions begins the answer to those who ask for a status. Before the
// server listens they wait.
func (s *Storage) countSessions(ctx actor.Context) {
	if s.listens && len(s.asking) > 0 {
		ctx.Send(s.listener, inbound.Count{ReplyTo: ctx.Self()})
	}
}

// offer gives an Allocate to the pull of its share, a new one if there is none.
func (s *Storage) offer(ctx actor.Context, m offer) {
	switch {
	case m.share.Standing:
		s.stand(ctx, m)
		return
	case s.mayPass(&m):
		s.pass(ctx, m)
		return
	}
	id := m.leaseID()
	pid, ok := s.pulls[id]
	if !ok && (len(s.pulls) >= maxPulls || s.pullsOf[m.grant.Root] >= maxPullsOf) {
		m.refuse(ctx, errBusy)
		m.frame.Release()
		return
	}
	if !ok {
		pid = s.newPull(ctx, id, m.grant.Root)
	}
	ctx.Send(pid, m)
}

func (s *Storage) newPull(ctx actor.Context, id lease.LeaseID, root grid.PublicKey) *actor.PID {
	s.lastPull++
	before := readSize(len(s.pulls))
	after := readSize(len(s.pulls) + 1)
	pid := s.env.Spawn.Child(ctx, fmt.Sprintf("pull/%d", s.lastPull), newPull(s.env, s.config, s.ledger, id, after))
	s.pulls[id], s.pullIDs[pid.Id] = pid, id
	s.pullsOf[root]++
	s.rootOf[id] = root
	s.order = append(s.order, pid)
	s.repace(ctx, before, after)
	return pid
}

// readSize divides the memory for uploads among n of them. It halves, so that
// telling all of them is rare.
func readSize(n int) int64 {
	size := int64(largestRead)
	for size > smallestRead && int64(n)*pullReads*size > pullMemory {
		size /= 2
	}
	return size
}

func (s *Storage) repace(ctx actor.Context, before, after int64) {
	if before == after {
		return
	}
	for _, pid := range s.order {
		ctx.Send(pid, pace{after})
	}
}

// forget ends a pull that is through. What was sent to it before comes back:
// it stops only after it has seen all that.
func (s *Storage) forget(ctx actor.Context, id lease.LeaseID) {
	pid, ok := s.pulls[id]
	if !ok {
		return
	}
	s.remove(ctx, pid, id)
	ctx.Poison(pid)
}

func (s *Storage) remove(ctx actor.Context, pid *actor.PID, id lease.LeaseID) {
	before := readSize(len(s.pulls))
	delete(s.pulls, id)
	delete(s.pullIDs, pid.Id)
	root := s.rootOf[id]
	delete(s.rootOf, id)
	if s.pullsOf[root]--; s.pullsOf[root] == 0 {
		delete(s.pullsOf, root)
	}
	s.order = slices.DeleteFunc(s.order, func(p *actor.PID) bool { return p.Id == pid.Id })
	s.repace(ctx, before, readSize(len(s.pulls)))
}

// abandon is done where there is nothing to be given up.
func (s *Storage) abandon(ctx actor.Context, m abandon) {
	s.standing.abandon(m.id)
	if pid, ok := s.pulls[m.id]; ok {
		ctx.Send(pid, m)
		return
	}
	ctx.Send(m.session, answer{request: m.request, message: &wire.Done{}})
}

func (s *Storage) terminated(ctx actor.Context, who *actor.PID) {
	if id, ok := s.pullIDs[who.Id]; ok { // it failed too often
		s.remove(ctx, who, id)
		ctx.Send(s.ledger, release{id.Column, id.Share})
		return
	}
	delete(s.passing, who.Id)
	for _, part := range []*actor.PID{s.ledger, s.login, s.listener, s.collector, s.slot, s.connections} {
		if part != nil && part.Id == who.Id {
			s.config.Fatal(fmt.Errorf("%s keeps failing; this is a bug", who.Id))
		}
	}
}

func (s *Storage) status(ctx actor.Context, sessions int) {
	status := Status{Server: s.config.server(), Hints: s.hints, Sessions: sessions, Uploads: len(s.pulls)}
	for _, to := range s.asking {
		ctx.Send(s.ledger, askLedger{to, status})
	}
	s.asking = nil
}

// accept announces anew which managers' certificates are good here.
func (s *Storage) accept(ctx actor.Context, m managers) {
	changed := !slices.Equal(s.managers, m)
	s.managers = m
	if changed && s.listens {
		s.announce(ctx)
	}
}

// nowListening makes the server known.
func (s *Storage) nowListening(ctx actor.Context, m inbound.Listening) {
	s.listens, s.listening = true, m.Hints
	s.startAnnouncers(ctx)
	if s.config.Relays != nil {
		if s.slot != nil {
			ctx.Stop(s.slot) // it had a slot for a listener that is gone
		}
		s.slots++
		s.slot = s.env.Spawn.Child(ctx, fmt.Sprintf("slot/%d", s.slots), newSlot(s.env, s.config, m.Listener, s.offered))
	}
	s.announce(ctx)
	s.countSessions(ctx)
}

// relayOffered keeps a few relays for the next slot, too.
func (s *Storage) relayOffered(ctx actor.Context, m announcer.Offered) {
	if s.config.Relays == nil || !s.config.Relays.Offered {
		return
	}
	t := s.config.relay(m.Announcement)
	at := slices.IndexFunc(s.offered, func(o transport.Target) bool { return o.Server == t.Server })
	switch {
	case at >= 0:
		s.offered[at] = t
	case len(s.offered) < maxRelays:
		s.offered = append(s.offered, t)
	}
	if s.slot != nil {
		ctx.Send(s.slot, m)
	}
}

// reached are the addresses to announce.
func (s *Storage) reached() []grid.Hint {
	if s.config.Relays == nil {
		return s.listening
	}
	return s.through
}

func (s *Storage) startAnnouncers(ctx actor.Context) {
	if s.announcers != nil {
		return
	}
	for i, target := range s.config.Introducers {
		relays := s.config.Relays != nil && s.config.Relays.Offered
		pid := s.env.Spawn.Child(ctx, fmt.Sprintf("announcer/%d", i), announcer.New(s.env, s.config.Dialer, target, relays, s.config.Anonymous))
		s.announcers = append(s.announcers, pid)
	}
}

// announce signs a new announcement and gives it to every introducer. The
// sequence number is the clock's millisecond, but never lower than any before.
// A server that nobody can reach yet is not announced.
func (s *Storage) announce(ctx actor.Context) {
	if len(s.reached()) == 0 && len(s.config.Announce) == 0 {
		return
	}
	s.sequence = max(s.sequence+1, s.config.Sequence, uint64(s.env.Clock.Now().UnixMilli()))
	a := s.config.announcement(s.sequence, s.reached(), s.managers)
	s.hints = a.Hints
	signed, err := wire.SignAnnouncement(s.config.Key, a)
	if err != nil {
		s.env.Log.Error("the server can't be announced", "error", err)
		return
	}
	for _, pid := range s.announcers {
		ctx.Send(pid, announcer.Announcement(signed))
	}
}
