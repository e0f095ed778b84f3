package tarn

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Operator decides who may store on a server, and sees how much they do.
type Operator interface {
	// AddAccount accepts a key as a root with that quota in bytes, nil being
	// none. Without a key a fresh one is made, and what is returned besides
	// the account is the authority to hand over (client add-authority); it is
	// kept nowhere else. Errors: ErrExists.
	AddAccount(ctx context.Context, petname string, key *grid.PublicKey, quota *int64) (Account, string, error)
	// Usage lists every account with what it holds.
	Usage(ctx context.Context) ([]AccountUsage, error)
}

// Operator of this node's storage server. Errors: ErrNoStorage.
func (n *Node) Operator() (Operator, error) {
	if n.config.Storage == nil {
		return nil, ErrNoStorage
	}
	return operator{n}, nil
}

// operator works through the running ledger.
type operator struct{ n *Node }

func (o operator) server() grid.ServerID {
	return grid.ServerID(grid.PublicKeyOf(o.n.config.Storage.Key))
}

// AddAccount implements Operator.
func (o operator) AddAccount(ctx context.Context, petname string, key *grid.PublicKey, quota *int64) (Account, string, error) {
	account, text, err := newAccount(o.server(), petname, key, quota)
	if err != nil {
		return Account{}, "", err
	}
	ctx, cancel := o.n.until(ctx)
	defer cancel()
	root := lease.Root{Key: account.Key, Petname: petname, Quota: quota}
	if _, err := ask[server.Changed](ctx, o.n, actors.ToStorage{Message: server.PutRoot{Root: root, New: true}}); err != nil {
		return Account{}, "", o.n.cause(public(err))
	}
	return account, text, nil
}

// maxPetname bounds a petname, in bytes.
const maxPetname = 64

// newAccount makes a fresh key where none is given, with a certificate that
// limits it to this server, so that its holder shows it nowhere else.
func newAccount(id grid.ServerID, petname string, key *grid.PublicKey, quota *int64) (Account, string, error) {
	if petname == "" || len(petname) > maxPetname {
		return Account{}, "", fmt.Errorf("a petname has 1 to %d bytes", maxPetname)
	}
	if key != nil {
		return Account{Petname: petname, Key: *key, Quota: quota}, "", nil
	}
	var seed [lease.SeedSize]byte
	_, _ = rand.Read(seed[:]) // never fails
	fresh := lease.OneKeyAccount(seed)
	private := fresh.Key(id)
	public := grid.PublicKeyOf(private)
	certificate := lease.Certificate{Delegate: public}
	certificate.Server, certificate.Root = &id, &public
	chain, err := lease.Chain{}.Sign(private, certificate)
	if err != nil {
		return Account{}, "", fmt.Errorf("make a key: %w", err)
	}
	text, err := lease.Authority{Holdings: []lease.Holding{{Chain: chain, Account: fresh}}}.Text()
	return Account{Petname: petname, Key: public, Quota: quota}, string(text), err
}

// Usage implements Operator.
func (o operator) Usage(ctx context.Context) ([]AccountUsage, error) {
	ctx, cancel := o.n.until(ctx)
	defer cancel()
	list, err := ask[server.UsageList](ctx, o.n, actors.ToStorage{Message: server.ListUsage{}})
	if err != nil {
		return nil, o.n.cause(public(err))
	}
	return accountUsage(o.server(), o.n.config.Nickname, list), nil
}

func accountUsage(id grid.ServerID, nickname string, list server.UsageList) []AccountUsage {
	out := make([]AccountUsage, len(list))
	for i, u := range list {
		out[i] = AccountUsage{
			Server: id, Nickname: nickname, Petname: u.Root.Petname, Key: u.Root.Key, Quota: u.Root.Quota,
			Bytes: u.Below.Stored.Bytes, Shares: int64(u.Below.Stored.Leases), Reserved: u.Below.Reserved.Bytes,
			BytesIn: u.Today.In, BytesOut: u.Today.Out,
		}
		if u.Column == lease.Anonymous {
			out[i].Petname = "anonymous"
		}
	}
	return out
}

// OfflineOperator works on the storage of a node that does not run. It holds
// the folder until it is closed.
type OfflineOperator struct {
	config Config
	lock   *os.File
	store  *store.Store
	rules  *lease.Ledger
}

var _ Operator = (*OfflineOperator)(nil)

// OpenOperator opens the storage of a node that does not run, without
// listening or connecting to anybody. Errors: ErrFolderInUse, ErrNoStorage.
func OpenOperator(_ context.Context, c Config) (*OfflineOperator, error) {
	if c.Storage == nil {
		return nil, ErrNoStorage
	}
	f := nodeFolder{c.Dir}
	lock, err := f.lock()
	if err != nil {
		return nil, err
	}
	s, err := store.Open(f.path("storage"), store.Options{})
	if err != nil {
		return nil, errors.Join(public(fmt.Errorf("open the storage: %w", err)), lock.Close())
	}
	rules := lease.NewLedger(s, lease.LedgerPolicy{Duration: leaseDuration})
	return &OfflineOperator{config: c, lock: lock, store: s, rules: rules}, nil
}

// Close lets the folder go.
func (o *OfflineOperator) Close() error { return errors.Join(o.store.Close(), o.lock.Close()) }

func (o *OfflineOperator) server() grid.ServerID {
	return grid.ServerID(grid.PublicKeyOf(o.config.Storage.Key))
}

// AddAccount implements Operator.
func (o *OfflineOperator) AddAccount(_ context.Context, petname string, key *grid.PublicKey, quota *int64) (Account, string, error) {
	account, text, err := newAccount(o.server(), petname, key, quota)
	if err != nil {
		return Account{}, "", err
	}
	roots, err := o.store.Roots()
	if err != nil {
		return Account{}, "", err
	}
	for _, r := range roots {
		if r.Key == account.Key || r.Petname == petname {
			return Account{}, "", fmt.Errorf("%w: %s, %s", ErrExists, r.Petname, r.Key)
		}
	}
	change, err := o.rules.PutRoot(lease.Root{Key: account.Key, Petname: petname, Quota: quota})
	if err != nil {
		return Account{}, "", err
	}
	commit, err := o.store.Apply(change)
	if err != nil {
		return Account{}, "", err
	}
	return account, text, commit.Wait()
}

// Usage implements Operator.
func (o *OfflineOperator) Usage(context.Context) ([]AccountUsage, error) {
	list, err := server.ListUsageOf(serverStore{o.store}, o.rules, time.Now())
	if err != nil {
		return nil, err
	}
	return accountUsage(o.server(), o.config.Nickname, list), nil
}

// OwnUsage asks every server that this node is logged in to for the column of
// the node's account there; the others are listed with the reason.
func (n *Node) OwnUsage(ctx context.Context) ([]AccountUsage, []ServerError, error) {
	if n.config.Client == nil {
		return nil, nil, ErrNoClient
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	picture, err := n.clientPicture(ctx, true)
	if err != nil {
		return nil, nil, n.cause(err)
	}
	var usage []AccountUsage
	var failed []ServerError
	for _, s := range picture.Servers {
		u, err := n.usageAt(ctx, s)
		if err != nil {
			failed = append(failed, ServerError{s.Announcement.Server, s.Announcement.Nickname, err})
			continue
		}
		usage = append(usage, u)
	}
	return usage, failed, nil
}

func (n *Node) usageAt(ctx context.Context, s client.ServerStatus) (AccountUsage, error) {
	if s.State != client.LoggedIn {
		if s.Err != nil {
			return AccountUsage{}, fmt.Errorf("%w: %w", client.ErrNotConnected, s.Err)
		}
		return AccountUsage{}, client.ErrNotConnected
	}
	reply, err := env.Ask[client.Reply](ctx, n.system, s.PID, func(replyTo *env.PID) any {
		return client.Call{ReplyTo: replyTo, Frame: wire.Frame{Message: &wire.Usage{}}}
	}, nil)
	if err = errors.Join(err, reply.Err); err != nil {
		return AccountUsage{}, n.cause(err)
	}
	r, ok := reply.Frame.Message.(*wire.UsageReport)
	if !ok {
		return AccountUsage{}, fmt.Errorf("unexpected answer %T", reply.Frame.Message)
	}
	u := AccountUsage{
		Server: s.Announcement.Server, Nickname: s.Announcement.Nickname, Key: r.Label,
		Bytes: int64(r.Bytes), Shares: int64(r.Shares), Reserved: int64(r.Reserved),
		BytesIn: int64(r.BytesIn), BytesOut: int64(r.BytesOut),
	}
	if r.HasQuota {
		quota := int64(r.Quota)
		u.Quota = &quota
	}
	return u, nil
}
