package tarn

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/manager"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
)

// ErrNoManager means that the node does not have that role.
var ErrNoManager = errors.New("this node is not an account manager")

// ManagerConfig is the account manager role.
type ManagerConfig struct {
	// Key is the manager's long-lived Ed25519 key: identity, and what signs
	// membership cards.
	Key      ed25519.PrivateKey
	Listen   []string
	OnionKey ed25519.PrivateKey // see StorageConfig
	Announce []grid.Hint
}

// hints are the addresses that members are told, given those that the manager
// listens on.
func (c ManagerConfig) hints(listening []grid.Hint) []grid.Hint {
	if len(c.Announce) > 0 {
		return c.Announce
	}
	return listening
}

// known are the addresses that it will listen on, none if the system chooses a
// port.
func (c ManagerConfig) known() []grid.Hint {
	var hints []grid.Hint
	for _, address := range c.Listen {
		if _, hidden := OnionPort(address); hidden {
			continue
		}
		if strings.HasSuffix(address, "/0") || strings.Contains(address, "/udp/0/") {
			return nil
		}
		hints = append(hints, grid.Hint(address))
	}
	return append(hints, onion(c.Listen, c.OnionKey)...)
}

// Manager decides who is a member of a commercial grid and which servers it
// has. Names that are taken are ErrExists, unknown ones membership.ErrUnknown,
// impossible terms membership.ErrTerms.
type Manager interface {
	// Add makes a membership. The quota is bytes at each server, rounded up to a
	// plan size (lease.PlanSize), nil being none; it ends with until, in Unix
	// seconds, unless that is nil. The reference is what the member needs, and
	// is kept nowhere; nobody can join with it from claimUntil on, in Unix seconds,
	// unless that is 0.
	Add(ctx context.Context, name string, quota, until *int64, claimUntil int64) (membership.Member, MembershipRef, error)
	// Reissue makes another reference for a membership; the one before works no
	// more. Where somebody has joined, it is membership.ErrClaimed unless another
	// account is to take the place of his: that one gets no more cards.
	Reissue(ctx context.Context, name string, claimUntil int64, another bool) (membership.Member, MembershipRef, error)
	// Members lists a part of them, by name: those behind after. More says that
	// there are others behind the last (EachMember visits all). With keys set each
	// has the keys that he listed.
	Members(ctx context.Context, after string, keys bool) (list []Member, more bool, err error)
	// SetQuota and SetUntil change the terms of cards that are made from now on.
	SetQuota(ctx context.Context, name string, quota *int64) error
	SetUntil(ctx context.Context, name string, until *int64) error
	// Remove ends a membership: the last card ends within two lease.CardPeriod.
	Remove(ctx context.Context, name string) error
	// Servers, AddServer and RemoveServer are about the servers of the grid.
	Servers(ctx context.Context) ([]membership.Server, error)
	AddServer(ctx context.Context, s membership.Server) error
	RemoveServer(ctx context.Context, id grid.ServerID) error
	// UsageAuthority is the text of an authority to hand over: under a fresh key
	// it reads at every server what the members hold there, and does nothing
	// else. It ends with until, in Unix seconds, unless that is nil, and is kept
	// nowhere.
	UsageAuthority(ctx context.Context, until *int64) (string, error)
}

// EachMember visits all members by name, part after part: those who come and go
// meanwhile are visited or not.
func EachMember(ctx context.Context, m Manager, keys bool, visit func(Member) error) error {
	after := ""
	for {
		list, more, err := m.Members(ctx, after, keys)
		if err != nil {
			return err
		}
		for _, member := range list {
			if err := visit(member); err != nil {
				return err
			}
			after = member.Name
		}
		if !more {
			return nil
		}
	}
}

// Member is a member and his keys.
type Member struct {
	membership.Member
	KeyCount int
	Keys     []lease.ServerKey // by server, if asked for
}

// Manager of this node. Errors: ErrNoManager.
func (n *Node) Manager() (Manager, error) {
	if n.config.Manager == nil {
		return nil, ErrNoManager
	}
	return runningManager{n}, nil
}

// runningManager works through the running actor.
type runningManager struct{ n *Node }

func askManager[R any](ctx context.Context, n *Node, message any) (R, error) {
	answer, err := askRole[R](ctx, n, actors.ToManager{Message: message})
	return answer, public(err)
}

// Add implements Manager.
func (m runningManager) Add(ctx context.Context, name string, quota, until *int64, claimUntil int64) (membership.Member, MembershipRef, error) {
	return m.invite(ctx, manager.Add{Name: name, Quota: quota, Until: until, ClaimUntil: claimUntil})
}

// Reissue implements Manager.
func (m runningManager) Reissue(ctx context.Context, name string, claimUntil int64, another bool) (membership.Member, MembershipRef, error) {
	return m.invite(ctx, manager.Reissue{Name: name, ClaimUntil: claimUntil, Another: another})
}

// invite asks for a reference.
func (m runningManager) invite(ctx context.Context, message any) (membership.Member, MembershipRef, error) {
	status, err := askManager[manager.Status](ctx, m.n, manager.AskStatus{})
	if err != nil {
		return membership.Member{}, MembershipRef{}, err
	}
	added, err := askManager[manager.Added](ctx, m.n, message)
	if err != nil {
		return membership.Member{}, MembershipRef{}, err
	}
	return added.Member, m.n.config.membershipRef(added.Secret, status.Hints), nil
}

// membershipRef is what a member joins with, where the manager listens at hints.
func (c Config) membershipRef(secret membership.Secret, hints []grid.Hint) MembershipRef {
	r := MembershipRef{Secret: secret, Introducers: c.Introducers}
	r.Manager.Server, r.Manager.Hints = grid.ServerID(grid.PublicKeyOf(c.Manager.Key)), c.Manager.hints(hints)
	return r
}

// Members implements Manager.
func (m runningManager) Members(ctx context.Context, after string, keys bool) ([]Member, bool, error) {
	l, err := askManager[manager.Listing](ctx, m.n, manager.List{After: after, Keys: keys})
	return membersOf(l), l.More, err
}

func membersOf(l manager.Listing) []Member {
	list := make([]Member, len(l.Members))
	for i, member := range l.Members {
		list[i] = Member{Member: member, KeyCount: l.KeyCounts[i]}
		if l.Keys != nil {
			list[i].Keys = l.Keys[i]
		}
	}
	return list
}

// SetQuota implements Manager.
func (m runningManager) SetQuota(ctx context.Context, name string, quota *int64) error {
	return m.do(ctx, manager.SetTerms{Name: name, Terms: withQuota(quota)})
}

// SetUntil implements Manager.
func (m runningManager) SetUntil(ctx context.Context, name string, until *int64) error {
	return m.do(ctx, manager.SetTerms{Name: name, Terms: withUntil(until)})
}

func withQuota(quota *int64) func(membership.Member) (_, _ *int64) {
	return func(m membership.Member) (_, _ *int64) { return quota, m.Until }
}

func withUntil(until *int64) func(membership.Member) (_, _ *int64) {
	return func(m membership.Member) (_, _ *int64) { return m.Quota, until }
}

func (m runningManager) do(ctx context.Context, message any) error {
	_, err := askManager[manager.Done](ctx, m.n, message)
	return err
}

// Remove implements Manager.
func (m runningManager) Remove(ctx context.Context, name string) error {
	return m.do(ctx, manager.Remove{Name: name})
}

// Servers implements Manager.
func (m runningManager) Servers(ctx context.Context) ([]membership.Server, error) {
	return askManager[[]membership.Server](ctx, m.n, manager.ListServers{})
}

// AddServer implements Manager.
func (m runningManager) AddServer(ctx context.Context, s membership.Server) error {
	return m.do(ctx, manager.AddServer{Server: s})
}

// RemoveServer implements Manager.
func (m runningManager) RemoveServer(ctx context.Context, id grid.ServerID) error {
	return m.do(ctx, manager.RemoveServer{ID: id})
}

// UsageAuthority implements Manager.
func (m runningManager) UsageAuthority(_ context.Context, until *int64) (string, error) {
	return m.n.config.Manager.usageAuthority(until)
}

func (c ManagerConfig) usageAuthority(until *int64) (string, error) {
	var seed [lease.SeedSize]byte
	_, _ = rand.Read(seed[:]) // never fails
	fresh := lease.OneKeyAccount(seed)
	d := lease.Delegation{SignerGetsLease: true}
	d.Operation, d.Until = new(lease.OpReadUsage), until
	chain, err := lease.Credential{Key: c.Key}.Delegate(fresh.PublicKey(grid.ServerID{}), d)
	if err != nil {
		return "", fmt.Errorf("sign for an aggregator: %w", err)
	}
	text, err := lease.Authority{Holdings: []lease.Holding{{Chain: chain, Account: fresh}}}.Text()
	return string(text), err
}

// OfflineManager works on the book of an account manager that does not run. It
// holds the folder until it is closed.
type OfflineManager struct {
	config Config
	lock   *os.File
	store  memberFiles
	book   *membership.Book
}

var _ Manager = (*OfflineManager)(nil)

// OpenManager opens the book of an account manager that does not run. Errors:
// ErrFolderInUse, ErrNoManager.
func OpenManager(_ context.Context, c Config) (*OfflineManager, error) {
	if c.Manager == nil {
		return nil, ErrNoManager
	}
	f := nodeFolder{c.Dir}
	lock, err := f.lock()
	if err != nil {
		return nil, err
	}
	m := &OfflineManager{config: c, lock: lock, store: f.memberFiles()}
	state, err := m.store.Load()
	if err == nil {
		m.book, err = membership.NewBook(grid.PublicKeyOf(c.Manager.Key), state)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the account manager's members: %w", err), lock.Close())
	}
	return m, nil
}

// Close lets the folder go.
func (m *OfflineManager) Close() error { return m.lock.Close() }

// do makes a decision durable, then the book's.
func (m *OfflineManager) do(c membership.Change, err error) error {
	if err != nil {
		return public(err)
	}
	if err := m.store.Save(c); err != nil {
		return fmt.Errorf("save it: %w", err)
	}
	m.book.Apply(c)
	return nil
}

// Add implements Manager. Where the port is known only when the node runs, the
// reference can't be made before, and the error says so.
func (m *OfflineManager) Add(_ context.Context, name string, quota, until *int64, claimUntil int64) (membership.Member, MembershipRef, error) {
	return m.invite(claimUntil, func(c membership.Claim, now time.Time) (membership.Change, error) {
		return m.book.Add(name, quota, until, c, now)
	})
}

// Reissue implements Manager, with the same limit as Add.
func (m *OfflineManager) Reissue(_ context.Context, name string, claimUntil int64, another bool) (membership.Member, MembershipRef, error) {
	return m.invite(claimUntil, func(c membership.Claim, now time.Time) (membership.Change, error) {
		return m.book.Reissue(name, c, another, now)
	})
}

// invite makes a reference, where it is known at which address.
func (m *OfflineManager) invite(until int64, decide func(membership.Claim, time.Time) (membership.Change, error)) (membership.Member, MembershipRef, error) {
	var secret membership.Secret
	_, _ = rand.Read(secret[:]) // never fails
	ref := m.config.membershipRef(secret, m.config.Manager.known())
	if len(ref.Manager.Hints) == 0 {
		return membership.Member{}, MembershipRef{}, errors.New("the account manager's port is known only while it runs: start it first")
	}
	change, err := decide(membership.Claim{Hash: secret.Hash(), Until: until}, time.Now())
	if err := m.do(change, err); err != nil {
		return membership.Member{}, MembershipRef{}, err
	}
	return *change.Member, ref, nil
}

// Members implements Manager.
func (m *OfflineManager) Members(_ context.Context, after string, keys bool) ([]Member, bool, error) {
	l := manager.List{After: after, Keys: keys}.Of(m.book)
	return membersOf(l), l.More, nil
}

// SetQuota implements Manager.
func (m *OfflineManager) SetQuota(_ context.Context, name string, quota *int64) error {
	return m.do(manager.SetTerms{Name: name, Terms: withQuota(quota)}.Decide(m.book))
}

// SetUntil implements Manager.
func (m *OfflineManager) SetUntil(_ context.Context, name string, until *int64) error {
	return m.do(manager.SetTerms{Name: name, Terms: withUntil(until)}.Decide(m.book))
}

// Remove implements Manager.
func (m *OfflineManager) Remove(_ context.Context, name string) error {
	return m.do(m.book.Remove(name))
}

// Servers implements Manager.
func (m *OfflineManager) Servers(context.Context) ([]membership.Server, error) {
	return m.book.Grid().Servers, nil
}

// AddServer implements Manager.
func (m *OfflineManager) AddServer(_ context.Context, s membership.Server) error {
	return m.do(m.book.AddServer(s))
}

// RemoveServer implements Manager.
func (m *OfflineManager) RemoveServer(_ context.Context, id grid.ServerID) error {
	return m.do(m.book.RemoveServer(id))
}

// UsageAuthority implements Manager.
func (m *OfflineManager) UsageAuthority(_ context.Context, until *int64) (string, error) {
	return m.config.Manager.usageAuthority(until)
}
