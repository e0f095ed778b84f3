package tarn

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// RenewalCap is by what a renewer, who has the key, may renew all leases that the
// journal lists and this node can renew itself, and nothing else, until then;
// left is how many leases it can't. It has what the renewer needs besides: where
// introducers and account managers are. Errors: lease.ErrNoCommonServer where
// nothing is to be renewed.
func (n *Node) RenewalCap(ctx context.Context, renewer grid.PublicKey, until time.Time) (c lease.RenewalCap, left int, err error) {
	if n.config.Client == nil {
		return lease.RenewalCap{}, 0, ErrNoClient
	}
	w, err := OpenWallet(n.config)
	if err != nil {
		return lease.RenewalCap{}, 0, err
	}
	mine, err := w.Authority()
	if err != nil {
		return lease.RenewalCap{}, 0, err
	}
	held, err := n.heldLeases(ctx)
	if err != nil {
		return lease.RenewalCap{}, 0, err
	}
	if c, left, err = mine.RenewalCap(renewer, until.Unix(), held); err != nil {
		return lease.RenewalCap{}, left, err
	}
	return c, left, n.addPlaces(&c.RoleCap)
}

func startsAt(c lease.Chain, key grid.PublicKey) bool {
	root, ok := c.Root()
	return ok && root == key
}

// heldLeases are those in the journal that have not lapsed, by server and
// account.
func (n *Node) heldLeases(ctx context.Context) ([]lease.HeldLeases, error) {
	servers, err := n.journal.Servers()
	var all []lease.HeldLeases
	for _, s := range servers {
		if err == nil {
			var held []lease.HeldLeases
			held, err = n.heldLeasesAt(ctx, s.Server)
			all = append(all, held...)
		}
	}
	return all, err
}

func (n *Node) heldLeasesAt(ctx context.Context, server grid.ServerID) ([]lease.HeldLeases, error) {
	shares := map[grid.PublicKey][]lease.ShareID{}
	for after, more := (*lease.ShareID)(nil), true; more; {
		leases, goesOn, err := n.journal.LeasesAfter(server, after, wire.MaxShares)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		for _, l := range leases {
			if after = &l.Share; l.Lapsed == 0 {
				shares[l.Label] = append(shares[l.Label], l.Share)
			}
		}
		more = goesOn
	}
	var all []lease.HeldLeases
	for _, label := range slices.SortedFunc(maps.Keys(shares), func(a, b grid.PublicKey) int { return bytes.Compare(a[:], b[:]) }) {
		all = append(all, lease.HeldLeases{Server: server, Label: label, Shares: shares[label]})
	}
	return all, nil
}
