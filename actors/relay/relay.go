// Package relay is the relay role: servers that nobody can dial take slots on
// it, and it passes on the connections to them, which it can't read.
//
// Main type: Relay. Below it an announcer for each introducer makes the relay
// known; the introducer of the same node is told at once.
//
// Promises: a relay serves strangers only within its limits, and it is off
// unless the operator asked for it.
package relay

import (
	"crypto/ed25519"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/announcer"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/introducer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Config is what a relay needs.
type Config struct {
	// Key is the relay's identity; the service must have the same one.
	Key      ed25519.PrivateKey
	Nickname string
	// Serve begins to relay. It may block.
	Serve func() (transport.RelayService, error)
	// Announce replaces the service's own addresses in announcements.
	Announce []grid.Hint
	// Sequence is higher than that of any announcement that an earlier process
	// made.
	Sequence uint64
	// Introducers are told where the relay is, each through Dialer.
	Introducers []transport.Target
	Dialer      transport.Dialer
	// Anonymous has that done at times drawn at random.
	Anonymous bool
	// Fatal is called when the relay can't go on: it can't listen.
	Fatal func(error)
}

// AskStatus asks the Relay how it is; answered by Status, once it listens.
type AskStatus struct{}

// Status is a picture of the relay.
type Status struct {
	Hints []grid.Hint // that it listens at
	transport.RelayStatus
}

// Relay is the relay role.
//
// Owns: the relay service, its announcement and sequence number.
// On failure: begins anew; circuits end, and servers take their slots again.
type Relay struct {
	env        *env.Env
	config     Config
	introducer *actor.PID // of the same node, nil if it has none

	service transport.RelayService
	asking  []*actor.PID // who waits for a status
}

// New makes a Relay. The introducer is that of the same node, or nil.
func New(e *env.Env, c Config, introducer *actor.PID) env.Producer {
	return func() actor.Actor { return &Relay{env: e, config: c, introducer: introducer} }
}

// served is the outcome of Config.Serve.
type served struct {
	service transport.RelayService
	err     error
}

// Discard closes a service that came too late.
func (s served) Discard() {
	if s.service != nil {
		_ = s.service.Close() // nobody is left to be told
	}
}

// Receive implements actor.Actor.
func (r *Relay) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		serve := r.config.Serve
		r.env.Exec.Do(env.Disk, ctx.Self(), func() any {
			service, err := serve()
			return served{service, err}
		})
	case served:
		r.served(ctx, m)
	case AskStatus:
		r.asking = append(r.asking, ctx.Sender())
		r.status(ctx)
	case *actor.Terminated:
		r.config.Fatal(fmt.Errorf("%s keeps failing; this is a bug", m.Who.Id))
	case *actor.Restarting, *actor.Stopping:
		r.close()
	}
}

func (r *Relay) served(ctx actor.Context, m served) {
	if m.err != nil {
		r.config.Fatal(fmt.Errorf("relay connections: %w", m.err))
		return
	}
	r.service = m.service
	r.announce(ctx)
	r.status(ctx)
}

// announce makes the relay known.
func (r *Relay) announce(ctx actor.Context) {
	id := grid.ServerID(grid.PublicKeyOf(r.config.Key))
	a := grid.Announcement{
		Server: id, Sequence: max(r.config.Sequence, uint64(r.env.Clock.Now().UnixMilli())), Nickname: r.config.Nickname,
		Hints: r.config.Announce, NodeID: id.DefaultNodeID(), PermutationSeed: id[:], Relay: true,
	}
	if len(a.Hints) == 0 {
		a.Hints = r.service.Hints()
	}
	signed, err := wire.SignAnnouncement(r.config.Key, a)
	if err != nil {
		r.env.Log.Error("the relay can't be announced", "error", err)
		return
	}
	if r.introducer != nil {
		ctx.Send(r.introducer, introducer.Own(signed))
	}
	for i, target := range r.config.Introducers {
		pid := r.env.Spawn.Child(ctx, fmt.Sprintf("announcer/%d", i), announcer.New(r.env, r.config.Dialer, target, false, r.config.Anonymous))
		ctx.Send(pid, announcer.Announcement(signed))
	}
}

// status answers those who ask. Before the relay listens they wait.
func (r *Relay) status(ctx actor.Context) {
	if r.service == nil {
		return
	}
	for _, to := range r.asking {
		ctx.Send(to, Status{Hints: r.service.Hints(), RelayStatus: r.service.Status()})
	}
	r.asking = nil
}

func (r *Relay) close() {
	if r.service == nil {
		return
	}
	if err := r.service.Close(); err != nil {
		r.env.Log.Warn("the relay did not close in good order", "error", err)
	}
	r.service = nil
}
