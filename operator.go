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
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Operator of this node's storage server. Errors: ErrNoStorage.
func (n *Node) Operator() (Operator, error) {
	if n.config.Storage == nil {
		return nil, ErrNoStorage
	}
	return operations{
		server: grid.ServerID(grid.PublicKeyOf(n.config.Storage.Key)), nodeID: n.config.Storage.nodeID(), nickname: n.config.Nickname,
		store: serverStore{n.store}, carry: n.operate,
	}, nil
}

// operate has the running ledger carry out an operation.
func (n *Node) operate(ctx context.Context, o server.Operation) (any, error) {
	ctx, cancel := n.until(ctx)
	defer cancel()
	reply, err := ask[any](ctx, n, actors.ToStorage{Message: o})
	if failed, ok := reply.(error); ok && err == nil {
		err = failed
	}
	if err != nil {
		return nil, n.cause(public(err))
	}
	return reply, nil
}

// maxPetname bounds a petname, in bytes.
const maxPetname = 64

// checkPetname refuses what could be taken for something else.
func checkPetname(petname string) error {
	_, notKey := grid.ParsePublicKey(petname)
	switch {
	case petname == "" || len(petname) > maxPetname:
		return fmt.Errorf("a petname has 1 to %d bytes", maxPetname)
	case petname == AnonymousPetname || petname == StarterPetname || notKey == nil:
		return fmt.Errorf("%w: %s means something else", ErrExists, petname)
	}
	return nil
}

// newAccount makes a fresh key where none is given, with a certificate that
// limits it to this server, so that its holder shows it nowhere else.
func newAccount(id grid.ServerID, petname string, key *grid.PublicKey, quota *int64) (Account, string, error) {
	if err := checkPetname(petname); err != nil {
		return Account{}, "", err
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

// OfflineOperator works on the storage of a node that does not run. It holds
// the folder until it is closed.
type OfflineOperator struct {
	operations
	folder nodeFolder
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
	s, err := f.openStorage()
	if err != nil {
		return nil, errors.Join(public(err), lock.Close())
	}
	rules := lease.NewLedger(s, lease.LedgerPolicy{Duration: leaseDuration, ReservedSpace: reservedSpace(c.Storage.ReservedSpace)})
	o := &OfflineOperator{folder: f, lock: lock, store: s, rules: rules}
	o.operations = operations{
		server: grid.ServerID(grid.PublicKeyOf(c.Storage.Key)), nodeID: c.Storage.nodeID(), nickname: c.Nickname,
		store: serverStore{s}, carry: o.operate,
	}
	return o, nil
}

// Close lets the folder go.
func (o *OfflineOperator) Close() error { return errors.Join(o.store.Close(), o.lock.Close()) }

// operate carries out an operation on the table itself.
func (o *OfflineOperator) operate(_ context.Context, op server.Operation) (any, error) {
	reply, err := server.Books{Store: serverStore{o.store}, Rules: o.rules}.Carry(op, time.Now())
	if err != nil {
		return nil, public(err)
	}
	return reply, nil
}

// OwnUsage asks every server that this node is logged in to for the column of
// the node's account there; the others are listed with the reason.
func (n *Node) OwnUsage(ctx context.Context, how ...Option) ([]AccountUsage, []ServerError, error) {
	if n.config.Client == nil {
		return nil, nil, ErrNoClient
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	picture, err := n.clientPicture(ctx, client.AskStatus{Settled: true, Authority: AuthorityOf(how...)})
	if err != nil {
		return nil, nil, n.cause(err)
	}
	var usage []AccountUsage
	var failed []ServerError
	for _, s := range picture.Servers {
		u, err := n.usageAt(ctx, s)
		if err != nil {
			failed = append(failed, ServerError{s.Announcement.Server, s.Name(), err})
			continue
		}
		usage = append(usage, u)
	}
	return usage, failed, nil
}

func (n *Node) usageAt(ctx context.Context, s client.ServerStatus) (AccountUsage, error) {
	r, _, err := askServer[*wire.UsageReport](ctx, n, s, &wire.Usage{})
	if err != nil {
		return AccountUsage{}, err
	}
	u := AccountUsage{
		Server: s.Announcement.Server, Nickname: s.Name(), Key: r.Label,
		Bytes: int64(r.Bytes), Shares: int64(r.Shares), Reserved: int64(r.Reserved),
		BytesIn: int64(r.BytesIn), BytesOut: int64(r.BytesOut),
	}
	if r.HasQuota {
		quota := int64(r.Quota)
		u.Quota = &quota
	}
	return u, nil
}
