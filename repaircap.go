package tarn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// RepairCap is by what a repairer, who has the key, may keep one immutable file whole
// until then, by any capability of the file, and do nothing else: not even read it. It
// has what the repairer needs besides: where introducers and account managers are.
// Errors: ErrCap, lease.ErrNoCommonServer where this node may store nowhere.
func (n *Node) RepairCap(_ context.Context, capability string, repairer grid.PublicKey, until time.Time) (lease.RepairCap, error) {
	what, literal, err := n.checkable(capability, CheckOptions{})
	if err != nil {
		return lease.RepairCap{}, err
	}
	if literal {
		return lease.RepairCap{}, kind{ErrCap, errors.New("so small a file is in its capability, and has no shares that could be lost")}
	}
	chk, ok := what.(checkableCHK)
	if !ok {
		return lease.RepairCap{}, kind{ErrCap, errors.New("who puts back the shares of a mutable file could also overwrite it, so there are no repair capabilities for those; a renewal capability keeps it alive")}
	}
	spec := chk.CheckSpec
	w, err := OpenWallet(n.config)
	if err != nil {
		return lease.RepairCap{}, err
	}
	mine, err := w.Authority()
	if err != nil {
		return lease.RepairCap{}, err
	}
	c, err := mine.RepairCap(repairer, until.Unix(), spec.Cap.StorageIndex, lease.UEBHash(spec.Cap.UEBHash), w.ServerIDs())
	if err != nil {
		return lease.RepairCap{}, fmt.Errorf("sign for the repairer: %w", err)
	}
	c.VerifyCap, c.Happy = spec.Cap.String(), spec.Happy
	return c, n.addPlaces(&c.RoleCap)
}

// addPlaces says where introducers are, and the account managers whose cards the
// chains begin with.
func (n *Node) addPlaces(c *lease.RoleCap) error {
	n.joining.Lock()
	defer n.joining.Unlock()
	for _, ref := range n.introducers {
		c.Introducers = append(c.Introducers, lease.Place{Server: ref.Server, Hints: ref.Hints})
	}
	memberships, err := n.folder.memberships()
	for _, m := range memberships {
		if slices.ContainsFunc(c.Chains, func(chain lease.Chain) bool { return startsAt(chain, m.Manager.Server.Key()) }) {
			c.Managers = append(c.Managers, lease.Place{Server: m.Manager.Server, Hints: m.Manager.Hints})
		}
	}
	return err
}
