// Package actors is the top of a node's supervision tree: Node starts the
// roles that the configuration switches on, each a branch of its own
// (packages client, server, introducer, relay, manager, aggregator, helper, renewer,
// repairer), and passes messages to them.
//
// Promises: a branch that fails is restarted without harm to the others; one
// that keeps failing ends the node, which says why.
package actors

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/aggregator"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/helper"
	"github.com/tarn-grid/tarn/actors/introducer"
	"github.com/tarn-grid/tarn/actors/manager"
	"github.com/tarn-grid/tarn/actors/relay"
	"github.com/tarn-grid/tarn/actors/renewer"
	"github.com/tarn-grid/tarn/actors/repairer"
	"github.com/tarn-grid/tarn/actors/server"
)

// ErrNoRole answers a message to a role that the node does not have.
var ErrNoRole = errors.New("this node does not have that role")

// Config says which roles a node has; nil is off.
type Config struct {
	Client     *client.Config
	Storage    *server.Config
	Introducer *introducer.Config
	Relay      *relay.Config
	Manager    *manager.Config
	Aggregator *aggregator.Config
	Helper     *helper.Config
	Renewer    *renewer.Config
	Repairer   *repairer.Config
	// Fatal is called when a role can't go on.
	Fatal func(error)
}

// Node supervises the roles.
//
// Owns: nothing but which role has which actor.
// On failure: the whole node ends, and its process says why.
type Node struct {
	env    *env.Env
	config Config

	client, storage, introducer, relay, manager, aggregator, helper, renewer, repairer *actor.PID
}

// New makes a Node.
func New(e *env.Env, c Config) env.Producer {
	return func() actor.Actor { return &Node{env: e, config: c} }
}

// ToClient carries a message to the client role.
type ToClient struct{ Message any }

// ToStorage carries a message to the storage role.
type ToStorage struct{ Message any }

// ToIntroducer carries a message to the introducer role.
type ToIntroducer struct{ Message any }

// ToRelay carries a message to the relay role.
type ToRelay struct{ Message any }

// ToManager carries a message to the account manager role.
type ToManager struct{ Message any }

// ToAggregator carries a message to the aggregator role.
type ToAggregator struct{ Message any }

// ToHelper carries a message to the helper role.
type ToHelper struct{ Message any }

// ToRenewer carries a message to the renewer role.
type ToRenewer struct{ Message any }

// ToRepairer carries a message to the repairer role.
type ToRepairer struct{ Message any }

// Receive implements actor.Actor.
func (n *Node) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		n.start(ctx)
	case ToClient:
		pass(ctx, n.client, m.Message)
	case ToStorage:
		pass(ctx, n.storage, m.Message)
	case ToIntroducer:
		pass(ctx, n.introducer, m.Message)
	case ToRelay:
		pass(ctx, n.relay, m.Message)
	case ToManager:
		pass(ctx, n.manager, m.Message)
	case ToAggregator:
		pass(ctx, n.aggregator, m.Message)
	case ToHelper:
		pass(ctx, n.helper, m.Message)
	case ToRenewer:
		pass(ctx, n.renewer, m.Message)
	case ToRepairer:
		pass(ctx, n.repairer, m.Message)
	case *actor.Terminated:
		n.config.Fatal(fmt.Errorf("%s failed again and again; the log says how", m.Who.Id))
	}
}

// start begins with who serves others, so that a client on the same node
// finds its own server.
func (n *Node) start(ctx actor.Context) {
	if n.config.Introducer != nil {
		n.introducer = n.env.Spawn.Child(ctx, "introducer", introducer.New(n.env, *n.config.Introducer))
	}
	if n.config.Relay != nil {
		n.relay = n.env.Spawn.Child(ctx, "relay", relay.New(n.env, *n.config.Relay, n.introducer))
	}
	if n.config.Manager != nil {
		n.manager = n.env.Spawn.Child(ctx, "manager", manager.New(n.env, *n.config.Manager))
	}
	if n.config.Storage != nil {
		n.storage = n.env.Spawn.Child(ctx, "storage", server.New(n.env, *n.config.Storage))
	}
	if n.config.Aggregator != nil {
		n.aggregator = n.env.Spawn.Child(ctx, "aggregator", aggregator.New(n.env, *n.config.Aggregator))
	}
	if n.config.Helper != nil {
		n.helper = n.env.Spawn.Child(ctx, "helper", helper.New(n.env, *n.config.Helper))
	}
	if n.config.Renewer != nil {
		n.renewer = n.env.Spawn.Child(ctx, "renewer", renewer.New(n.env, *n.config.Renewer))
	}
	if n.config.Repairer != nil {
		n.repairer = n.env.Spawn.Child(ctx, "repairer", repairer.New(n.env, *n.config.Repairer))
	}
	if n.config.Client != nil {
		n.client = n.env.Spawn.Child(ctx, "client", client.New(n.env, *n.config.Client))
	}
}

func pass(ctx actor.Context, to *actor.PID, message any) {
	if to == nil {
		ctx.Respond(ErrNoRole)
		return
	}
	ctx.RequestWithCustomSender(to, message, ctx.Sender())
}
