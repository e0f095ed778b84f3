package tarn

import (
	"context"
	"errors"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Membership is what a client knows of its membership in a grid.
type Membership struct {
	Manager grid.ServerID
	// Joined says that the manager knows this node, as Name.
	Joined bool
	Name   string
	// Quota is bytes at each server, Until when the membership ends in Unix
	// seconds; nil is none.
	Quota, Until *int64
	// Servers is how many the grid has, Cards how many membership cards there
	// are for them, the first of which ends at CardsUntil (Unix seconds).
	Servers, Cards int
	CardsUntil     int64
	// LastError is why the manager gave no answer or no card, empty when not.
	LastError string
}

// Join makes this node's client a member of a grid, and returns once the
// account manager knows it; cards come by and by. Joining again with the same
// reference asks for everything anew.
func (n *Node) Join(ctx context.Context, r MembershipRef) (Membership, error) {
	if n.config.Client == nil {
		return Membership{}, ErrNoClient
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	n.joining.Lock()
	defer n.joining.Unlock()
	if err := n.folder.saveMembership(r); err != nil {
		return Membership{}, err
	}
	m := client.Join{Membership: n.folder.membership(n.config, r)}
	for _, ref := range n.addIntroducers(r.Introducers) {
		m.Introducers = append(m.Introducers, n.introducer(ref))
	}
	status, err := env.Ask[client.MembershipStatus](ctx, n.system, n.root, func(replyTo *env.PID) any {
		m.ReplyTo = replyTo
		return actors.ToClient{Message: m}
	}, nil)
	return membershipOf(status), n.cause(n.joined(r, err))
}

// joined follows the end of a Join: what the manager refused is forgotten,
// unless the node was a member before.
func (n *Node) joined(r MembershipRef, err error) error {
	var refused *wire.Error
	if !errors.As(err, &refused) || refused.Code != wire.NotAccepted && refused.Code != wire.AuthorityExpired {
		return err
	}
	return errors.Join(kind{lease.ErrNotPermitted, err}, n.folder.forgetMembership(r))
}

// addIntroducers are those that the node did not know, and does now.
func (n *Node) addIntroducers(refs []IntroducerRef) []IntroducerRef {
	before := len(n.introducers)
	n.introducers = append(n.introducers, unknownOf(refs, n.introducers)...)
	return n.introducers[before:]
}

// Memberships lists this node's memberships by manager.
func (n *Node) Memberships(ctx context.Context) ([]Membership, error) {
	if n.config.Client == nil {
		return nil, ErrNoClient
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	all, err := env.Ask[client.Memberships](ctx, n.system, n.root, func(replyTo *env.PID) any {
		return actors.ToClient{Message: client.AskMemberships{ReplyTo: replyTo}}
	}, nil)
	list := make([]Membership, len(all))
	for i, s := range all {
		list[i] = membershipOf(s)
	}
	return list, n.cause(err)
}

func membershipOf(s client.MembershipStatus) Membership {
	m := Membership{Manager: s.Manager, Servers: s.Servers, Cards: s.Cards, CardsUntil: s.CardsUntil, LastError: errorText(s.Err)}
	if t := s.Terms; t != nil {
		m.Joined, m.Name = true, t.Name
		if t.HasQuota {
			m.Quota = new(int64(min(t.Quota, 1<<62)))
		}
		if t.Until != 0 {
			m.Until = &t.Until
		}
	}
	return m
}

// introducer is one with its cache of announcements, which is that of a role.
func (n *Node) introducer(ref IntroducerRef, role ...string) client.Introducer {
	return client.Introducer{Target: n.config.target(ref), Cache: n.folder.announcements(n.config, ref, role...)}
}
