package memnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
)

// Manager is a real book that is kept in memory; ErrNoManager unless Book is
// set.
func (n *Node) Manager() (tarn.Manager, error) {
	if n.Book == nil {
		return nil, tarn.ErrNoManager
	}
	return manager{n}, nil
}

// Join answers with a membership of the manager, under the name joined.
func (n *Node) Join(_ context.Context, r tarn.MembershipRef) (tarn.Membership, error) {
	if n.PutError != nil {
		return tarn.Membership{}, n.PutError
	}
	m := tarn.Membership{Manager: r.Manager.Server, Joined: true, Name: "joined"}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.memberships = append(n.memberships, m)
	return m, nil
}

// Memberships are those that were joined.
func (n *Node) Memberships(context.Context) ([]tarn.Membership, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]tarn.Membership(nil), n.memberships...), nil
}

// Leave ends one that was joined, under which three leases are left.
func (n *Node) Leave(_ context.Context, manager grid.ServerID, cancel bool) (tarn.Leaving, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := slices.IndexFunc(n.memberships, func(m tarn.Membership) bool { return m.Manager == manager })
	if at < 0 {
		return tarn.Leaving{}, tarn.ErrNoMembership
	}
	n.memberships = slices.Delete(n.memberships, at, at+1)
	if cancel {
		return tarn.Leaving{Cancelled: 3}, nil
	}
	return tarn.Leaving{Left: 3, LastEnd: time.Unix(5000, 0)}, nil
}

type manager struct{ n *Node }

func (m manager) apply(c membership.Change, err error) error {
	if errors.Is(err, membership.ErrExists) {
		return fmt.Errorf("%w: %w", tarn.ErrExists, err)
	}
	if err == nil {
		m.n.Book.Apply(c)
	}
	return err
}

// Add implements tarn.Manager; the one-time secret is the name's beginning.
func (m manager) Add(_ context.Context, name string, quota, until *int64, claimUntil int64) (membership.Member, tarn.MembershipRef, error) {
	return m.invite(name, claimUntil, func(c membership.Claim) (membership.Change, error) {
		return m.n.Book.Add(name, quota, until, c, time.Unix(1000, 0))
	})
}

// Reissue implements tarn.Manager, with the secret as Add.
func (m manager) Reissue(_ context.Context, name string, claimUntil int64, another bool) (membership.Member, tarn.MembershipRef, error) {
	return m.invite(name, claimUntil, func(c membership.Claim) (membership.Change, error) {
		return m.n.Book.Reissue(name, c, another, time.Unix(1000, 0))
	})
}

func (m manager) invite(name string, until int64, decide func(membership.Claim) (membership.Change, error)) (membership.Member, tarn.MembershipRef, error) {
	var ref tarn.MembershipRef
	copy(ref.Secret[:], name)
	ref.Manager.Server, ref.Manager.Hints = grid.ServerID{9}, []grid.Hint{"/dns/manager/tcp/1"}
	c, err := decide(membership.Claim{Hash: ref.Secret.Hash(), Until: until})
	if err := m.apply(c, err); err != nil {
		return membership.Member{}, ref, err
	}
	return *c.Member, ref, nil
}

// Members implements tarn.Manager, one member after the other.
func (m manager) Members(_ context.Context, after string, keys bool) ([]tarn.Member, bool, error) {
	some, more := m.n.Book.Members(after, 1)
	var list []tarn.Member
	for _, member := range some {
		one := tarn.Member{Member: member, KeyCount: m.n.Book.KeyCountOf(member.Name)}
		if keys {
			one.Keys = m.n.Book.Keys(member.Name)
		}
		list = append(list, one)
	}
	return list, more, nil
}

func (m manager) find(name string) membership.Member {
	found, _ := m.n.Book.Member(name) // what is not there is told by what follows
	return found
}

// SetQuota implements tarn.Manager.
func (m manager) SetQuota(_ context.Context, name string, quota *int64) error {
	return m.apply(m.n.Book.SetTerms(name, quota, m.find(name).Until))
}

// SetUntil implements tarn.Manager.
func (m manager) SetUntil(_ context.Context, name string, until *int64) error {
	return m.apply(m.n.Book.SetTerms(name, m.find(name).Quota, until))
}

// Remove implements tarn.Manager.
func (m manager) Remove(_ context.Context, name string) error {
	return m.apply(m.n.Book.Remove(name))
}

// Servers implements tarn.Manager.
func (m manager) Servers(context.Context) ([]membership.Server, error) {
	return m.n.Book.Grid().Servers, nil
}

// AddServer implements tarn.Manager.
func (m manager) AddServer(_ context.Context, s membership.Server) error {
	return m.apply(m.n.Book.AddServer(s))
}

// RemoveServer implements tarn.Manager.
func (m manager) RemoveServer(_ context.Context, id grid.ServerID) error {
	return m.apply(m.n.Book.RemoveServer(id))
}

// UsageAuthority is no real one.
func (m manager) UsageAuthority(context.Context, *int64) (string, error) {
	return "usage authority", nil
}

// Aggregator is what Grid is; ErrNoAggregator unless it is set.
func (n *Node) Aggregator() (tarn.Aggregator, error) {
	if n.Grid == nil {
		return nil, tarn.ErrNoAggregator
	}
	return n.Grid, nil
}

// Renewer is what Renewals is; ErrNoRenewer unless it is set.
func (n *Node) Renewer() (tarn.Renewer, error) {
	if n.Renewals == nil {
		return nil, tarn.ErrNoRenewer
	}
	return n.Renewals, nil
}

// Repairer is what Repairs is; ErrNoRepairer unless it is set.
func (n *Node) Repairer() (tarn.Repairer, error) {
	if n.Repairs == nil {
		return nil, tarn.ErrNoRepairer
	}
	return n.Repairs, nil
}

// RepairCap is Mending, if it is for that key and file.
func (n *Node) RepairCap(_ context.Context, capability string, repairer grid.PublicKey, _ time.Time) (lease.RepairCap, error) {
	if len(n.Mending.Chains) == 0 || n.Mending.Key() != repairer || n.Mending.VerifyCap != capability {
		return lease.RepairCap{}, lease.ErrNoCommonServer
	}
	return n.Mending, nil
}

// RenewalCap is Cap, if it is for that key.
func (n *Node) RenewalCap(_ context.Context, renewer grid.PublicKey, _ time.Time) (lease.RenewalCap, int, error) {
	if len(n.Cap.Chains) == 0 || n.Cap.Key() != renewer {
		return lease.RenewalCap{}, 0, lease.ErrNoCommonServer
	}
	return n.Cap, 3, nil
}
