package tarn

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Operator decides who may store on a server, and sees how much they do. A
// name is a petname or a key, pub-v0-...; a petname means every key under it,
// where not only one can be meant (ErrAmbiguous). What is changed holds from
// the next operation on, and uploads that may not go on end. An account that is
// not there is ErrNoAccount.
type Operator interface {
	// AddAccount accepts a key as a root with that quota in bytes, nil being
	// none. Without a key a fresh one is made, and what is returned besides
	// the account is the authority to hand over (client add-authority); it is
	// kept nowhere else. Errors: ErrExists, lease.ErrKeyRevoked.
	AddAccount(ctx context.Context, petname string, key *grid.PublicKey, quota *int64) (Account, string, error)
	// AddKey is AddAccount for one more key of somebody who has an account.
	AddKey(ctx context.Context, petname string, key *grid.PublicKey, quota *int64) (Account, string, error)
	// AddManager accepts the key of an account manager: whoever holds a
	// certificate of it may store. The server announces the key to all, so that
	// they know. Errors: ErrExists.
	AddManager(ctx context.Context, petname string, key grid.PublicKey, quota *int64) (Account, error)
	// AddUsageReader accepts a key, or makes one as AddAccount does, that reads
	// what all accounts hold and does nothing else. Errors: ErrExists.
	AddUsageReader(ctx context.Context, petname string, key *grid.PublicKey) (Account, string, error)
	// Accounts lists all accounts, and the keys that are revoked.
	Accounts(ctx context.Context) ([]Account, []grid.PublicKey, error)
	// Usage lists every account with what it holds.
	Usage(ctx context.Context) ([]AccountUsage, error)
	// Traffic lists what every account moved, by UTC day, from a day on.
	Traffic(ctx context.Context, since time.Time) ([]AccountTraffic, error)

	// Audit lists who keeps the shares of a file, and by whose grants.
	Audit(ctx context.Context, si grid.StorageIndex) ([]AuditedLease, error)

	// Shares lists the shares of a file that are here, by number.
	Shares(ctx context.Context, si grid.StorageIndex) ([]KeptShare, error)
	// ExportShare writes a share as a Tahoe-LAFS server keeps it: in a file with
	// a lease that ends when the last one here does. The error is ErrNoShare, or
	// that of w.
	ExportShare(ctx context.Context, id lease.ShareID, w io.Writer) error
	// ImportShare takes in a share from such a file, of size bytes, proves it,
	// and keeps it until the last lease in the file ends, or for a month where none
	// runs. It is durable when this returns. Stored is false if it was here: what
	// is here is never changed by it. Errors: ErrImport, ErrOtherShare,
	// ErrServerFull, those of r.
	ImportShare(ctx context.Context, id lease.ShareID, r io.Reader, size int64) (stored bool, err error)
	// OfferShare says what a share is without its bytes: whether ImportShare
	// would store it. One that is here is kept for at least as long as it says.
	// The error is ErrOtherShare.
	OfferShare(ctx context.Context, id lease.ShareID, s ShareOffer) (wanted bool, err error)
	// HasMutable reports whether any share here can be changed. Such shares have
	// write enablers that were made for the server's node id.
	HasMutable(ctx context.Context) (bool, error)

	// SetDisabled refuses everything to an account, or ends that.
	SetDisabled(ctx context.Context, name string, disabled bool) (Changed, error)
	// SetQuota changes one account's quota, in bytes; nil is none.
	SetQuota(ctx context.Context, name string, quota *int64) (Changed, error)
	// Removal tells what hangs on an account; Remove forgets it. What it holds
	// stays until the leases lapse, unless cancelLeases is set: then all that was
	// made under it goes, which a running server does little by little.
	Removal(ctx context.Context, name string) (Removal, error)
	Remove(ctx context.Context, name string, cancelLeases bool) (Changed, error)
	// Rekey gives all that one account has to another key. Errors: ErrKeyInUse,
	// lease.ErrKeyRevoked.
	Rekey(ctx context.Context, name string, key grid.PublicKey) (Changed, error)
	// SetRevoked refuses everything in which a key stands, whether it has an
	// account or not, or ends that.
	SetRevoked(ctx context.Context, name string, revoked bool) (Changed, error)
	// SetAmbient lets clients without a key store, up to a quota in bytes, nil
	// being none; or ends that. They are the account AnonymousPetname.
	SetAmbient(ctx context.Context, on bool, quota *int64) (Changed, error)
}

// Petnames of what has no key: AnonymousPetname is clients without one,
// StarterPetname shares that were found on the disk.
const (
	AnonymousPetname = server.AnonymousPetname
	StarterPetname   = server.StarterPetname
)

// Account is a root that a server's operator added. That of clients without a
// key has the zero Key.
type Account struct {
	Petname  string
	Key      grid.PublicKey
	Quota    *int64 // bytes; nil is no limit
	Disabled bool
	Manager  bool // announced, as AddManager says
	// UsageOfAll is of a key that reads usage, as AddUsageReader says.
	UsageOfAll bool
}

// Changed says what a change was about: accounts as they are now, of a removal
// as they were; or keys. Ended is how many uploads in progress it ended.
type Changed struct {
	Accounts []Account
	Keys     []grid.PublicKey
	Ended    int
}

// AccountUsage is what one account holds on one server.
type AccountUsage struct {
	// Server is where.
	Server grid.ServerID
	// Nickname of that server.
	Nickname string
	// Petname is the operator's name for Key, if it is a root.
	Petname string
	Key     grid.PublicKey
	// Removed says that it may not store any more.
	Removed, Disabled bool
	// Bytes (as charged: share sizes and 128 for each lease), Shares and
	// Reserved (uploads in flight, bytes).
	Bytes, Shares, Reserved int64
	// Quota in bytes; nil is no limit.
	Quota *int64
	// BytesIn and BytesOut moved today, UTC, by the account and all below it.
	BytesIn, BytesOut int64
	// Delegated is what was made under the certificates that Key signed; it is
	// in Bytes, too. More says that there is more of it than is listed.
	Delegated []DelegatedUsage
	More      bool
}

// DelegatedUsage is what one key holds by the grant of another, and to whom it
// passed that on. Numbers are as in AccountUsage.
type DelegatedUsage struct {
	Petname                 string
	Key                     grid.PublicKey
	Bytes, Shares, Reserved int64
	BytesIn, BytesOut       int64
	Delegated               []DelegatedUsage
}

// AccountTraffic is what one account, and all below it, moved on one UTC day.
type AccountTraffic struct {
	Petname string
	Key     grid.PublicKey
	// Signer by whose grant Key moved it; it is part of what Signer's line says.
	// Zero for accounts themselves.
	Signer   grid.PublicKey
	Day      time.Time // its midnight
	BytesIn  int64
	BytesOut int64
}

// Removal is what hangs on the accounts of a name.
type Removal struct {
	Accounts []Account
	// Bytes, as charged, and Shares that were stored under them, themselves and
	// those to whom they delegated, each in Holders.
	Bytes, Shares int64
	Holders       []Holder
	// LastBytes and LastShares count what nobody else keeps; Last names up to
	// ten thousand of those shares.
	LastBytes, LastShares int64
	Last                  []LastShare
	// Ends is when the last lease ends by itself.
	Ends time.Time
	// Reserved is bytes of uploads in flight.
	Reserved int64
}

// Holder is a key and what it holds.
type Holder struct {
	Petname       string
	Key           grid.PublicKey
	Bytes, Shares int64
}

// LastShare is a share that would go.
type LastShare struct {
	StorageIndex grid.StorageIndex
	Num          grid.ShareNum
	Size         int64
}

// NamedKey is a key and the operator's name for it, if there is one.
type NamedKey struct {
	Petname string
	Key     grid.PublicKey
}

// AuditedLease is a lease on a share and how its holder came to it.
type AuditedLease struct {
	Share grid.ShareNum
	// Size is the share's, Charged the bytes that the holder pays for.
	Size, Charged int64
	// Holder is the account; AnonymousPetname and StarterPetname have no key.
	Holder                 NamedKey
	Made, Renewed, Expires time.Time
	// Keys lead from the account on the server to the key that logged in.
	Keys []NamedKey
	// Certificates is the chain as it was shown at a login, if Kept: it is kept
	// when something is stored or renewed after a login that showed it.
	Certificates lease.Chain
	Kept         bool
}

// operations is an Operator: what carries an operation out is the running
// ledger, or this process.
type operations struct {
	server   grid.ServerID
	nodeID   grid.NodeID
	nickname string
	store    server.Store
	carry    func(context.Context, server.Operation) (any, error)
}

// carried is the answer of one kind to an operation.
func carried[R any](ctx context.Context, o operations, op server.Operation) (R, error) {
	var none R
	reply, err := o.carry(ctx, op)
	if err != nil {
		return none, err
	}
	r, ok := reply.(R)
	if !ok {
		return none, fmt.Errorf("unexpected answer %T", reply)
	}
	return r, nil
}

// AddAccount implements Operator.
func (o operations) AddAccount(ctx context.Context, petname string, key *grid.PublicKey, quota *int64) (Account, string, error) {
	return o.add(ctx, key, server.PutRoot{Root: lease.Root{Petname: petname, Quota: quota}, New: true})
}

// AddKey implements Operator.
func (o operations) AddKey(ctx context.Context, petname string, key *grid.PublicKey, quota *int64) (Account, string, error) {
	return o.add(ctx, key, server.PutRoot{Root: lease.Root{Petname: petname, Quota: quota}, New: true, Another: true})
}

// AddUsageReader implements Operator.
func (o operations) AddUsageReader(ctx context.Context, petname string, key *grid.PublicKey) (Account, string, error) {
	root := lease.Root{Petname: petname, UsageOfAll: true, Operation: new(lease.OpReadUsage)}
	return o.add(ctx, key, server.PutRoot{Root: root, New: true})
}

// add puts a root of this key, or of a fresh one.
func (o operations) add(ctx context.Context, key *grid.PublicKey, put server.PutRoot) (Account, string, error) {
	account, text, err := newAccount(o.server, put.Root.Petname, key, put.Root.Quota)
	if err != nil {
		return Account{}, "", err
	}
	put.Root.Key = account.Key
	if _, err := o.changed(ctx, put); err != nil {
		return Account{}, "", err
	}
	return account, text, nil
}

// AddManager implements Operator.
func (o operations) AddManager(ctx context.Context, petname string, key grid.PublicKey, quota *int64) (Account, error) {
	if _, _, err := newAccount(o.server, petname, &key, quota); err != nil {
		return Account{}, err
	}
	root := lease.Root{Key: key, Petname: petname, Quota: quota, Manager: true}
	c, err := o.changed(ctx, server.PutRoot{Root: root, New: true})
	if err != nil {
		return Account{}, err
	}
	return c.Accounts[0], nil
}

func (o operations) changed(ctx context.Context, op server.Operation) (Changed, error) {
	c, err := carried[server.Changed](ctx, o, op)
	return Changed{Accounts: accountsOf(c.Roots), Keys: c.Keys, Ended: c.Ended}, err
}

func accountsOf(roots []lease.Root) []Account {
	list := make([]Account, len(roots))
	for i, r := range roots {
		list[i] = Account{Petname: r.Petname, Key: r.Key, Quota: r.Quota, Disabled: r.Disabled, Manager: r.Manager, UsageOfAll: r.UsageOfAll}
	}
	return list
}

// Accounts implements Operator.
func (o operations) Accounts(ctx context.Context) ([]Account, []grid.PublicKey, error) {
	list, err := carried[server.AccountList](ctx, o, server.ListAccounts{})
	return accountsOf(list.Roots), list.Revoked, err
}

// SetDisabled implements Operator.
func (o operations) SetDisabled(ctx context.Context, name string, disabled bool) (Changed, error) {
	return o.changed(ctx, server.SetDisabled{Name: name, Disabled: disabled})
}

// SetQuota implements Operator.
func (o operations) SetQuota(ctx context.Context, name string, quota *int64) (Changed, error) {
	return o.changed(ctx, server.SetQuota{Name: name, Quota: quota})
}

// Remove implements Operator.
func (o operations) Remove(ctx context.Context, name string, cancelLeases bool) (Changed, error) {
	return o.changed(ctx, server.RemoveRoot{Name: name, CancelLeases: cancelLeases})
}

// Rekey implements Operator.
func (o operations) Rekey(ctx context.Context, name string, key grid.PublicKey) (Changed, error) {
	return o.changed(ctx, server.Rekey{Name: name, Key: key})
}

// SetRevoked implements Operator.
func (o operations) SetRevoked(ctx context.Context, name string, revoked bool) (Changed, error) {
	return o.changed(ctx, server.Revoke{Name: name, Again: !revoked})
}

// ambientOperations is what a client without a key may do besides reading: it
// owns nothing that it could list or end.
const ambientOperations = lease.OpUpload | lease.OpAddLease | lease.OpRenewLease

// SetAmbient implements Operator.
func (o operations) SetAmbient(ctx context.Context, on bool, quota *int64) (Changed, error) {
	if !on {
		return o.Remove(ctx, AnonymousPetname, false)
	}
	few := ambientOperations
	return o.changed(ctx, server.PutRoot{Root: lease.Root{Petname: AnonymousPetname, Quota: quota, Operation: &few}})
}

// Usage implements Operator.
func (o operations) Usage(ctx context.Context) ([]AccountUsage, error) {
	list, err := carried[server.UsageList](ctx, o, server.ListUsage{})
	if err != nil {
		return nil, err
	}
	names := map[grid.PublicKey]string{}
	for _, u := range list {
		names[u.Root.Key] = u.Root.Petname
	}
	out := make([]AccountUsage, len(list))
	for i, u := range list {
		out[i] = AccountUsage{
			Server: o.server, Nickname: o.nickname, Petname: u.Root.Petname, Key: u.Root.Key, Quota: u.Root.Quota,
			Removed: u.Removed, Disabled: u.Root.Disabled,
			Bytes: u.Below.Stored.Bytes, Shares: u.Below.Stored.Leases, Reserved: u.Below.Reserved.Bytes,
			BytesIn: u.Today.In, BytesOut: u.Today.Out, Delegated: delegatedOf(u.Delegated, names), More: u.More,
		}
	}
	return out, nil
}

func delegatedOf(list []server.DelegatedUsage, names map[grid.PublicKey]string) []DelegatedUsage {
	var out []DelegatedUsage
	for _, d := range list {
		out = append(out, DelegatedUsage{
			Petname: names[d.Delegate], Key: d.Delegate,
			Bytes: d.Usage.Stored.Bytes, Shares: d.Usage.Stored.Leases, Reserved: d.Usage.Reserved.Bytes,
			BytesIn: d.Today.In, BytesOut: d.Today.Out, Delegated: delegatedOf(d.Below, names),
		})
	}
	return out
}

// Traffic implements Operator.
func (o operations) Traffic(ctx context.Context, since time.Time) ([]AccountTraffic, error) {
	list, err := carried[server.TrafficList](ctx, o, server.ListTraffic{Since: lease.DayOf(since)})
	out := make([]AccountTraffic, len(list))
	for i, t := range list {
		out[i] = AccountTraffic{
			Petname: t.Petname, Key: t.Of.Of.Key, Day: time.Unix(int64(t.Day)*24*60*60, 0).UTC(),
			BytesIn: t.In, BytesOut: t.Out,
		}
		if t.Of.Kind == lease.PairCounter {
			out[i].Key, out[i].Signer = t.Of.Delegate, t.Of.Of.Key
		}
	}
	return out, err
}

// Removal implements Operator.
func (o operations) Removal(ctx context.Context, name string) (Removal, error) {
	got, err := carried[server.Removal](ctx, o, server.AskRemoval{Name: name})
	if err != nil {
		return Removal{}, err
	}
	usage, err := o.Usage(ctx)
	if err != nil {
		return Removal{}, err
	}
	r := Removal{
		Accounts: accountsOf(got.Roots), Bytes: got.Leases.Bytes, Shares: got.Leases.Leases,
		LastBytes: got.Last.Bytes, LastShares: got.Last.Leases,
	}
	if got.LastEnd > 0 {
		r.Ends = time.Unix(got.LastEnd, 0)
	}
	names := map[grid.PublicKey]string{}
	for _, u := range usage {
		if u.Petname != StarterPetname {
			names[u.Key] = u.Petname
		}
		for _, a := range r.Accounts {
			if a.Key == u.Key {
				r.Reserved += u.Reserved
			}
		}
	}
	for _, h := range got.Accounts {
		r.Holders = append(r.Holders, Holder{names[h.Column.Key], h.Column.Key, h.Leases.Bytes, h.Leases.Leases})
	}
	for _, s := range got.LastShares {
		r.Last = append(r.Last, LastShare{s.ID.StorageIndex, s.ID.Num, s.Share.Size})
	}
	return r, nil
}

// Audit implements Operator.
func (o operations) Audit(ctx context.Context, si grid.StorageIndex) ([]AuditedLease, error) {
	a, err := carried[server.Audit](ctx, o, server.AskAudit{StorageIndex: si})
	if err != nil {
		return nil, err
	}
	name := func(k grid.PublicKey) NamedKey { return NamedKey{a.Petnames[k], k} }
	out := make([]AuditedLease, len(a.Leases))
	for i, l := range a.Leases {
		out[i] = AuditedLease{
			Share: l.ID.Share.Num, Size: l.Share.Size, Charged: l.Lease.Size + lease.LeaseOverhead, Holder: name(l.ID.Column.Key),
			Made: time.Unix(l.Lease.Made, 0), Renewed: time.Unix(l.Lease.Renewed, 0), Expires: time.Unix(l.Lease.Expires, 0),
			Certificates: l.Certificates, Kept: l.Kept,
		}
		if l.ID.Column.Kind != lease.KeyedColumn {
			out[i].Holder = NamedKey{Petname: l.ID.Column.String()}
		}
		for _, k := range l.Keys {
			out[i].Keys = append(out[i].Keys, name(k))
		}
	}
	return out, nil
}
