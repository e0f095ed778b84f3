package tarn

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// GridUsage is what this node's account holds on all servers together, and
// what is held below it.
type GridUsage struct {
	// Servers are those that answered, by id, each with what is held below the
	// account there, Failed those that did not.
	Servers []AccountUsage
	Failed  []ServerError
	// Bytes, Shares and Reserved are sums over Servers: the account's own.
	Bytes, Shares, Reserved int64
	// Below sums up, for each key that this node's delegated to, what was made
	// under that, by key. An account with a key for each server delegates to
	// others at each, too.
	Below []DelegatedUsage
}

// GridUsage asks every server at once; those that do not answer are named.
func (n *Node) GridUsage(ctx context.Context, how ...Option) (GridUsage, error) {
	if n.config.Client == nil {
		return GridUsage{}, ErrNoClient
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	picture, err := n.clientPicture(ctx, client.AskStatus{Settled: true, Authority: AuthorityOf(how...)})
	if err != nil {
		return GridUsage{}, n.cause(err)
	}
	usage, errs := make([]AccountUsage, len(picture.Servers)), make([]error, len(picture.Servers))
	var group sync.WaitGroup
	for i, s := range picture.Servers {
		group.Go(func() { usage[i], errs[i] = n.usageWithBelow(ctx, s) })
	}
	group.Wait()
	var all GridUsage
	for i, s := range picture.Servers {
		if errs[i] != nil {
			all.Failed = append(all.Failed, ServerError{s.Announcement.Server, s.Name(), errs[i]})
		} else {
			all.Servers = append(all.Servers, usage[i])
		}
	}
	all.sum()
	return all, nil
}

func (n *Node) usageWithBelow(ctx context.Context, s client.ServerStatus) (AccountUsage, error) {
	u, err := n.usageAt(ctx, s)
	if err == nil {
		u.Delegated, err = n.usageBelow(ctx, s, wire.UsageBelow{}, map[grid.PublicKey]bool{u.Key: true})
	}
	return u, err
}

// usageBelow lists what is below a key at one server, part after part, and what
// is below those in turn, as far as that is told. Each key is asked for once.
func (n *Node) usageBelow(ctx context.Context, s client.ServerStatus, ask wire.UsageBelow, seen map[grid.PublicKey]bool) ([]DelegatedUsage, error) {
	var all []DelegatedUsage
	for {
		report, _, err := askServer[*wire.UsageBelowReport](ctx, n, s, &ask)
		if err != nil {
			return nil, err
		}
		page, err := wire.OpenUsagePage(report.Page, s.Announcement.Server)
		if err != nil || page.After != ask.After {
			return nil, errors.Join(wire.ErrMalformed, err)
		}
		for _, d := range page.Delegates {
			if d.Delegate == page.Of { // has a line of its own
				continue
			}
			line := DelegatedUsage{
				Key: d.Delegate, Bytes: int64(d.Bytes), Shares: int64(d.Shares), Reserved: int64(d.Reserved),
				BytesIn: int64(d.BytesIn), BytesOut: int64(d.BytesOut),
			}
			if d.Below && !seen[d.Delegate] {
				seen[d.Delegate] = true
				if line.Delegated, err = n.usageBelow(ctx, s, below(ask, d.Delegate), seen); err != nil {
					return nil, err
				}
			}
			all = append(all, line)
		}
		if !page.More {
			return all, nil
		}
		ask.After = page.Last()
	}
}

// below asks for what is below one of those who were listed.
func below(ask wire.UsageBelow, key grid.PublicKey) wire.UsageBelow {
	next := wire.UsageBelow{Signer: key}
	if !ask.Signer.IsZero() {
		next.Through = append(slices.Clone(ask.Through), ask.Signer)
	}
	return next
}

func (u *GridUsage) sum() {
	below := map[grid.PublicKey]DelegatedUsage{}
	for _, s := range u.Servers {
		u.Bytes += s.Bytes
		u.Shares += s.Shares
		u.Reserved += s.Reserved
		for _, d := range s.Delegated {
			sum := below[d.Key]
			below[d.Key] = DelegatedUsage{
				Key: d.Key, Bytes: sum.Bytes + d.Bytes, Shares: sum.Shares + d.Shares, Reserved: sum.Reserved + d.Reserved,
				BytesIn: sum.BytesIn + d.BytesIn, BytesOut: sum.BytesOut + d.BytesOut,
			}
		}
	}
	u.Below = slices.SortedFunc(maps.Values(below), func(a, b DelegatedUsage) int { return bytes.Compare(a.Key[:], b.Key[:]) })
}
