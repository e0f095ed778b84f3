package tarn

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/renewer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport"
)

var (
	// ErrNoRenewer means that the node does not have that role.
	ErrNoRenewer = errors.New("this node is not a renewer")
	// ErrRenewalName is a name that no renewal cap can have.
	ErrRenewalName = errors.New("not a name for a renewal or repair cap")
	// ErrNoRenewal means that there is no renewal cap under a name.
	ErrNoRenewal = renewer.ErrUnknown
	// ErrRenewalTaken means that the name is that of somebody else's cap.
	ErrRenewalTaken = renewer.ErrOthers
	// ErrRenewerFull means that there are as many caps as there may be.
	ErrRenewerFull = renewer.ErrFull
)

// RenewerConfig is the renewer role: it keeps alive the leases of those who gave
// it a renewal cap.
type RenewerConfig struct {
	// Key is the renewer's long-lived Ed25519 key, for which they sign.
	Key ed25519.PrivateKey
	// Caps is how many of them there may be.
	Caps int
}

func (c RenewerConfig) account() lease.Account { return accountOf(c.Key) }

// Renewed is what a renewer does for one owner of files.
type Renewed struct {
	// Name is the renewer's own for him; Added is when the newest cap came, Until
	// when the first of its certificates ends, zero for never.
	Name         string
	Added, Until time.Time
	// Files and Leases are how many there are, Lapsed how many of the leases
	// servers were found without.
	Files, Leases, Lapsed int64
	// Next is when the next lease is to be renewed; zero where none is, or none
	// was yet.
	Next time.Time
	// Servers is where the leases are, by server.
	Servers []ServerLeases
	// Managers are the account managers that give newer cards.
	Managers []RenewedCards
}

// RenewedCards is what an account manager gives for one owner of files.
type RenewedCards struct {
	Manager grid.ServerID
	// Until is when the first of the cards ends; zero where there is none.
	Until time.Time
	// LastError is why there was no newer one, empty when not.
	LastError string
}

// Renewer keeps leases alive for others.
type Renewer interface {
	// Key is what owners of files sign for.
	Key() grid.PublicKey
	// Add reads a renewal cap, keeps it under a name and renews by it from now on;
	// a newer cap of the same owner takes the place of the older one. Errors:
	// lease.ErrRenewalCap, lease.ErrNotSigner for another renewer's, ErrRenewalName,
	// ErrRenewalTaken, ErrRenewerFull.
	Add(ctx context.Context, name string, r io.Reader) (Renewed, error)
	// List tells what is renewed for whom, by name.
	List(ctx context.Context) ([]Renewed, error)
	// Lapsed yields the files under a name of which leases have lapsed, by storage
	// index. It stops at the first error that yield returns, and returns it.
	// Errors: ErrNoRenewal.
	Lapsed(ctx context.Context, name string, yield func(LeasedFile) error) error
	// Remove forgets a cap and renews by it no more. Errors: ErrNoRenewal.
	Remove(ctx context.Context, name string) error
}

// RenewerStatus is what an operator sees of the own renewer at once: how many
// caps there are, of how many at most, and the leases of all of them.
type RenewerStatus struct {
	Key            grid.PublicKey
	Caps, Most     int
	Leases, Lapsed int64
}

func (n *Node) renewerStatus(ctx context.Context, s *Status) error {
	if n.config.Renewer == nil {
		return nil
	}
	entries, err := ask[renewer.Caps](ctx, n, actors.ToRenewer{Message: renewer.AskCaps{}})
	if err != nil {
		return err
	}
	out := &RenewerStatus{Key: grid.PublicKeyOf(n.config.Renewer.Key), Caps: len(entries), Most: n.config.Renewer.Caps}
	for _, e := range entries {
		_, servers, err := n.caps.counts(e.Name)
		if err != nil && !errors.Is(err, errCapGone) {
			return err
		}
		for _, at := range servers {
			out.Leases, out.Lapsed = out.Leases+at.Leases, out.Lapsed+at.Lapsed
		}
	}
	s.Renewer = out
	return nil
}

// Renewer of this node. Errors: ErrNoRenewer.
func (n *Node) Renewer() (Renewer, error) {
	if n.config.Renewer == nil {
		return nil, ErrNoRenewer
	}
	return runningRenewer{n}, nil
}

func (n *Node) renewerParts(dialer transport.Dialer) *renewer.Config {
	c := n.config.Renewer
	n.caps = n.folder.renewalFiles(n.config, c.account(), dialer)
	return &renewer.Config{Store: n.caps, Most: c.Caps, Fatal: n.end}
}

type runningRenewer struct{ n *Node }

func askRenewer[R any](ctx context.Context, n *Node, message any) (R, error) {
	return askRole[R](ctx, n, actors.ToRenewer{Message: message})
}

// Key implements Renewer.
func (r runningRenewer) Key() grid.PublicKey { return grid.PublicKeyOf(r.n.config.Renewer.Key) }

// Add implements Renewer.
func (r runningRenewer) Add(ctx context.Context, name string, from io.Reader) (Renewed, error) {
	if err := checkOwnerName(name); err != nil {
		return Renewed{}, err
	}
	c, err := lease.ReadRenewalCap(from)
	if err != nil {
		return Renewed{}, err
	}
	if _, err := c.Authority(r.n.config.Renewer.account()); err != nil {
		return Renewed{}, err
	}
	if _, err := askRenewer[renewer.Done](ctx, r.n, renewer.Add{Name: name, Cap: c}); err != nil {
		return Renewed{}, err
	}
	return r.one(ctx, name)
}

// one is what List has under a name.
func (r runningRenewer) one(ctx context.Context, name string) (Renewed, error) {
	all, err := askRenewer[renewer.Caps](ctx, r.n, renewer.AskCaps{})
	if err != nil {
		return Renewed{}, err
	}
	for _, e := range all {
		if e.Name == name {
			return r.renewed(ctx, e)
		}
	}
	return Renewed{}, ErrNoRenewal
}

// List implements Renewer.
func (r runningRenewer) List(ctx context.Context) ([]Renewed, error) {
	entries, err := askRenewer[renewer.Caps](ctx, r.n, renewer.AskCaps{})
	if err != nil {
		return nil, err
	}
	var all []Renewed
	for _, e := range entries {
		one, err := r.renewed(ctx, e)
		if err != nil && !errors.Is(err, errCapGone) {
			return nil, err
		}
		if err == nil {
			all = append(all, one)
		}
	}
	return all, nil
}

// Lapsed implements Renewer.
func (r runningRenewer) Lapsed(ctx context.Context, name string, yield func(LeasedFile) error) error {
	if _, err := r.one(ctx, name); err != nil {
		return err
	}
	return r.n.caps.use(name, func(j *store.Journal) error {
		return yieldFiles(ctx, j, j.LapsedAfter, yield)
	})
}

// Remove implements Renewer.
func (r runningRenewer) Remove(ctx context.Context, name string) error {
	_, err := askRenewer[renewer.Done](ctx, r.n, renewer.Remove{Name: name})
	return err
}

// branchPatience is how long a cap's branch may take to say how it is: one that
// has just been stopped says nothing.
const branchPatience = 10 * time.Second

// renewed puts together what journal and connections say of a cap.
func (r runningRenewer) renewed(ctx context.Context, e renewer.Entry) (Renewed, error) {
	out := Renewed{Name: e.Name, Added: e.Added, Until: unix(e.Cap.Until())}
	files, servers, err := r.n.caps.counts(e.Name)
	if err != nil {
		return out, err
	}
	out.Files = files
	picture, rounds, cards, err := r.branch(ctx, e)
	if err != nil {
		return out, err
	}
	for _, s := range servers {
		round := rounds[s.Server]
		out.Servers = append(out.Servers, serverLeases(s, picture[s.Server], round))
		out.Leases, out.Lapsed = out.Leases+s.Leases, out.Lapsed+s.Lapsed
		if next := unix(round.Next); !next.IsZero() && (out.Next.IsZero() || next.Before(out.Next)) {
			out.Next = next
		}
	}
	for _, m := range cards {
		out.Managers = append(out.Managers, RenewedCards{m.Manager, unix(m.CardsUntil), errorText(m.Err)})
	}
	return out, nil
}

// branch is what the branch of a cap says; nothing while it rests.
func (r runningRenewer) branch(ctx context.Context, e renewer.Entry) (map[grid.ServerID]client.ServerStatus, map[grid.ServerID]client.Renewal, client.Memberships, error) {
	if e.PID == nil {
		return nil, nil, nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, branchPatience)
	defer cancel()
	system := r.n.system
	status, err := env.Ask[client.Status](ctx, system, e.PID, func(to *env.PID) any { return client.AskStatus{ReplyTo: to} }, nil)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("ask how it goes with %s: %w", e.Name, err)
	}
	rounds, err := env.Ask[client.Renewals](ctx, system, e.PID, func(to *env.PID) any { return client.AskRenewals{ReplyTo: to} }, nil)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("ask how it goes with %s: %w", e.Name, err)
	}
	cards, err := env.Ask[client.Memberships](ctx, system, e.PID, func(to *env.PID) any { return client.AskMemberships{ReplyTo: to} }, nil)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("ask how it goes with %s: %w", e.Name, err)
	}
	return statusByID(status), renewalsByID(rounds), cards, nil
}
