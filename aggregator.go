package tarn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/aggregator"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/tally"
	"github.com/tarn-grid/tarn/transport"
)

// ErrNoAggregator means that the node does not have that role.
var ErrNoAggregator = errors.New("this node is not a usage aggregator")

// AggregatorConfig is the usage aggregator role. On an account manager's node
// it asks with the manager's key and has the manager's names.
type AggregatorConfig struct {
	// Interval is the time between two rounds over all servers.
	Interval time.Duration
	// Authority to ask under where the node is no account manager; it needs
	// read-usage and nothing else.
	Authority lease.Authority
	// Members reads whose keys are whose, anew for each sum, where the node is no
	// account manager.
	Members func() ([]Member, error)
}

// Aggregator tells what all members hold on all servers.
type Aggregator interface {
	// Usage is what the servers said last; with detail by server, too.
	Usage(ctx context.Context, detail bool) (tally.Summary, error)
	// Collect asks all servers now, and returns when they have answered.
	Collect(ctx context.Context) error
	// History lists days, oldest first, from the UTC day of since on; a year of
	// them is kept.
	History(ctx context.Context, since time.Time) ([]tally.Day, error)
}

// Aggregator of this node. Errors: ErrNoAggregator.
func (n *Node) Aggregator() (Aggregator, error) {
	if n.config.Aggregator == nil {
		return nil, ErrNoAggregator
	}
	return runningAggregator{n}, nil
}

type runningAggregator struct{ n *Node }

func askAggregator[R any](ctx context.Context, n *Node, message any) (R, error) {
	return askRole[R](ctx, n, actors.ToAggregator{Message: message})
}

// Usage implements Aggregator.
func (a runningAggregator) Usage(ctx context.Context, detail bool) (tally.Summary, error) {
	return askAggregator[tally.Summary](ctx, a.n, aggregator.AskSummary{Detail: detail})
}

// Collect implements Aggregator.
func (a runningAggregator) Collect(ctx context.Context) error {
	_, err := askAggregator[aggregator.Collected](ctx, a.n, aggregator.Collect{})
	return err
}

// History implements Aggregator.
func (a runningAggregator) History(_ context.Context, since time.Time) ([]tally.Day, error) {
	return a.n.folder.usageFiles().days(lease.DayOf(since))
}

// aggregatorParts needs no journal: it stores nothing.
func (n *Node) aggregatorParts(dialer transport.Dialer) (*aggregator.Config, error) {
	if err := os.MkdirAll(n.folder.private("usage", "references"), 0o700); err != nil {
		return nil, fmt.Errorf("prepare the node's folder: %w", err)
	}
	c := &aggregator.Config{
		Store: n.folder.usageFiles(), Interval: n.config.Aggregator.Interval, Fatal: n.end,
		Names:       memberNames{n.config.Aggregator.Members},
		Connections: n.roleConnections("usage", dialer),
	}
	c.Connections.Authority, c.Connections.OnlyLent = n.config.Aggregator.Authority, false
	c.Connections.References = references{n.folder.private("usage", "references")}
	if m := n.config.Manager; m != nil {
		c.Connections.Authority = lease.Authority{Holdings: []lease.Holding{{Account: accountOf(m.Key)}}}
		c.Names = managerNames{n}
	}
	return c, nil
}

// memberNames implements aggregator.Names with a list of members.
type memberNames struct{ read func() ([]Member, error) }

// Load implements aggregator.Names. The servers are those that any member has a
// key for.
func (m memberNames) Load() (tally.Names, []grid.ServerID, error) {
	if m.read == nil {
		return nil, nil, nil
	}
	members, err := m.read()
	if err != nil {
		return nil, nil, err
	}
	names, servers := ownersOf(members)
	return names, servers, nil
}

// ownersOf says whose keys are whose, and for which servers any member has one.
func ownersOf(members []Member) (tally.Names, []grid.ServerID) {
	names := namesOf(members)
	seen := map[grid.ServerID]bool{}
	for at := range names {
		seen[at.Server] = true
	}
	return names, slices.Collect(maps.Keys(seen))
}

func namesOf(members []Member) tally.Names {
	names := tally.Names{}
	for _, m := range members {
		addNames(names, m)
	}
	return names
}

// addNames makes a member's keys his.
func addNames(names tally.Names, m Member) {
	for _, k := range m.Keys {
		names[k] = tally.Owner{Name: m.Name, Quota: m.Quota}
	}
}

// managerNames implements aggregator.Names with the node's own account manager.
type managerNames struct{ n *Node }

// Load implements aggregator.Names.
func (m managerNames) Load() (tally.Names, []grid.ServerID, error) {
	ctx, of := context.Background(), runningManager(m)
	names := tally.Names{}
	err := EachMember(ctx, of, true, func(m Member) error {
		addNames(names, m)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	list, err := of.Servers(ctx)
	var servers []grid.ServerID
	for _, s := range list {
		servers = append(servers, s.ID)
	}
	return names, servers, err
}
