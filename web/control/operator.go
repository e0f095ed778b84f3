package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
)

// Operator is tarn.Operator in JSON forms. One comes from Client.Operator, for
// a node that runs, another from OperatorOf, in the same process.
type Operator struct {
	// call carries out what stands in the table of calls under a name.
	call   func(ctx context.Context, name string, ask, into any) error
	shares shareCalls
}

// OperatorOf is o in this process.
func OperatorOf(o tarn.Operator) Operator {
	return Operator{shares: shareCalls{o.ImportShare, o.ExportShare}, call: func(ctx context.Context, name string, ask, into any) error {
		body, err := json.Marshal(ask)
		if err != nil {
			return fmt.Errorf("encode the question: %w", err)
		}
		answer, err := operatorCalls[name](ctx, o, body)
		if err != nil {
			return err
		}
		b, err := json.Marshal(answer)
		if err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
		return json.Unmarshal(b, into)
	}}
}

// Operator is that of the node's own server; its calls fail with
// tarn.ErrNoStorage if it has none.
func (c *Client) Operator() Operator {
	return Operator{shares: shareCalls{c.importShare, c.exportShare}, call: func(ctx context.Context, name string, ask, into any) error {
		body, err := json.Marshal(ask)
		if err != nil {
			return fmt.Errorf("encode the question: %w", err)
		}
		return c.call(ctx, http.MethodPost, pathOperator+name, bytes.NewReader(body), into)
	}}
}

// operatorCall answers one kind of question; body is its JSON.
type operatorCall func(ctx context.Context, o tarn.Operator, body []byte) (any, error)

// operatorCalls are the names of all calls, which end their paths.
var operatorCalls = map[string]operatorCall{
	"accounts/add": callOf(addAccount),
	"accounts":     callOf(listAccounts),
	"managers/add": callOf(addManager),
	"readers/add":  callOf(addReader),
	"usage":        callOf(operatorUsage),
	"audit":        callOf(audit),
	"traffic":      callOf(listTraffic),
	"disable":      callOf(setDisabled),
	"quota":        callOf(setQuota),
	"removal":      callOf(askRemoval),
	"remove":       callOf(remove),
	"rekey":        callOf(rekey),
	"revoke":       callOf(setRevoked),
	"ambient":      callOf(setAmbient),

	"shares":         callOf(listShares),
	"shares/offer":   callOf(offerShare),
	"shares/mutable": callOf(hasMutable),
}

func callOf[A, R any](call func(context.Context, tarn.Operator, A) (R, error)) operatorCall {
	return func(ctx context.Context, o tarn.Operator, body []byte) (any, error) {
		var ask A
		if err := readObject(bytes.NewReader(body), &ask); err != nil {
			return nil, err
		}
		return call(ctx, o, ask)
	}
}

func (s *server) operatorHandlers(mux *http.ServeMux) {
	s.shareHandlers(mux)
	for name, call := range operatorCalls {
		mux.HandleFunc("POST "+pathOperator+name, func(w http.ResponseWriter, r *http.Request) {
			answer, err := s.operate(r, call)
			reply(w, answer, err)
		})
	}
}

func (s *server) operate(r *http.Request, call operatorCall) (any, error) {
	operator, err := s.node.Operator()
	if err != nil {
		return nil, err
	}
	var body json.RawMessage
	if err := readObject(r.Body, &body); err != nil {
		return nil, err
	}
	return call(r.Context(), operator, body)
}

// nothing asks without more words.
type nothing struct{}

// Account is tarn.Account as JSON; no quota is null, and clients without a key
// have an empty one.
type Account struct {
	Petname  string `json:"petname"`
	Key      string `json:"key"`
	Quota    *int64 `json:"quota"`
	Disabled bool   `json:"disabled"`
	Manager  bool   `json:"manager,omitempty"`
	Reader   bool   `json:"usage_of_all,omitempty"`
}

func accountOf(a tarn.Account) Account {
	return Account{Petname: a.Petname, Key: keyText(a.Key), Quota: a.Quota, Disabled: a.Disabled, Manager: a.Manager, Reader: a.UsageOfAll}
}

func listOf[A, B any](list []A, of func(A) B) []B {
	out := make([]B, len(list))
	for i, a := range list {
		out[i] = of(a)
	}
	return out
}

// NewAccount asks for an account: a petname, a key unless the server is to
// make one, and a quota in bytes unless there is no limit. Another lets the
// petname have one more key.
type NewAccount struct {
	Petname string `json:"petname"`
	Key     string `json:"key,omitempty"`
	Quota   *int64 `json:"quota"`
	Another bool   `json:"another,omitempty"`
}

// AddedAccount is what became of it. Authority is a secret text to hand over
// when the server made the key, else empty.
type AddedAccount struct {
	Petname   string `json:"petname"`
	Key       string `json:"key"`
	Quota     *int64 `json:"quota"`
	Authority string `json:"authority,omitempty"`
}

// AddAccount makes an account.
func (o Operator) AddAccount(ctx context.Context, ask NewAccount) (added AddedAccount, err error) {
	return added, o.call(ctx, "accounts/add", ask, &added)
}

func addAccount(ctx context.Context, o tarn.Operator, ask NewAccount) (AddedAccount, error) {
	key, err := optionalKey(ask.Key)
	if err != nil {
		return AddedAccount{}, err
	}
	add := o.AddAccount
	if ask.Another {
		add = o.AddKey
	}
	a, authority, err := add(ctx, ask.Petname, key, ask.Quota)
	return AddedAccount{Petname: a.Petname, Key: keyText(a.Key), Quota: a.Quota, Authority: authority}, err
}

// NewManager asks to accept an account manager's key.
type NewManager struct {
	Petname string `json:"petname"`
	Key     string `json:"key"`
	Quota   *int64 `json:"quota"`
}

// AddManager accepts an account manager's key.
func (o Operator) AddManager(ctx context.Context, ask NewManager) (added Account, err error) {
	return added, o.call(ctx, "managers/add", ask, &added)
}

func addManager(ctx context.Context, o tarn.Operator, ask NewManager) (Account, error) {
	key, err := readKey(ask.Key)
	if err != nil {
		return Account{}, err
	}
	a, err := o.AddManager(ctx, ask.Petname, key, ask.Quota)
	return accountOf(a), err
}

// NewUsageReader asks to let a key, or one that the server is to make, read
// what all accounts hold.
type NewUsageReader struct {
	Petname string `json:"petname"`
	Key     string `json:"key,omitempty"`
}

// AddUsageReader lets a key read what all accounts hold.
func (o Operator) AddUsageReader(ctx context.Context, ask NewUsageReader) (added AddedAccount, err error) {
	return added, o.call(ctx, "readers/add", ask, &added)
}

func addReader(ctx context.Context, o tarn.Operator, ask NewUsageReader) (AddedAccount, error) {
	key, err := optionalKey(ask.Key)
	if err != nil {
		return AddedAccount{}, err
	}
	a, authority, err := o.AddUsageReader(ctx, ask.Petname, key)
	return AddedAccount{Petname: a.Petname, Key: keyText(a.Key), Authority: authority}, err
}

func optionalKey(text string) (*grid.PublicKey, error) {
	if text == "" {
		return nil, nil
	}
	key, err := readKey(text)
	if err != nil {
		return nil, err
	}
	return &key, nil
}

// Accounts is every account, and the keys that are refused wherever they stand.
type Accounts struct {
	Accounts []Account `json:"accounts"`
	Revoked  []string  `json:"revoked"`
}

// Accounts lists all accounts.
func (o Operator) Accounts(ctx context.Context) (list Accounts, err error) {
	return list, o.call(ctx, "accounts", nothing{}, &list)
}

func listAccounts(ctx context.Context, o tarn.Operator, _ nothing) (Accounts, error) {
	accounts, revoked, err := o.Accounts(ctx)
	return Accounts{listOf(accounts, accountOf), listOf(revoked, keyText)}, err
}

// AccountUsage is tarn.AccountUsage as JSON; sizes are bytes, and no quota is
// null.
type AccountUsage struct {
	Server    string           `json:"server"`
	Nickname  string           `json:"nickname"`
	Petname   string           `json:"petname,omitempty"`
	Key       string           `json:"key"`
	Removed   bool             `json:"removed,omitempty"`
	Disabled  bool             `json:"disabled,omitempty"`
	Bytes     int64            `json:"bytes"`
	Shares    int64            `json:"shares"`
	Reserved  int64            `json:"reserved"`
	Quota     *int64           `json:"quota"`
	BytesIn   int64            `json:"bytes_in_today"`
	BytesOut  int64            `json:"bytes_out_today"`
	Delegated []DelegatedUsage `json:"delegated,omitempty"`
	More      bool             `json:"more_delegated,omitempty"`
}

// DelegatedUsage is tarn.DelegatedUsage as JSON.
type DelegatedUsage struct {
	Petname   string           `json:"petname,omitempty"`
	Key       string           `json:"key"`
	Bytes     int64            `json:"bytes"`
	Shares    int64            `json:"shares"`
	Reserved  int64            `json:"reserved"`
	BytesIn   int64            `json:"bytes_in_today"`
	BytesOut  int64            `json:"bytes_out_today"`
	Delegated []DelegatedUsage `json:"delegated,omitempty"`
}

func accountUsageOf(u tarn.AccountUsage) AccountUsage {
	return AccountUsage{
		Server: u.Server.String(), Nickname: u.Nickname, Petname: u.Petname, Key: keyText(u.Key),
		Removed: u.Removed, Disabled: u.Disabled,
		Bytes: u.Bytes, Shares: u.Shares, Reserved: u.Reserved, Quota: u.Quota,
		BytesIn: u.BytesIn, BytesOut: u.BytesOut, Delegated: listOf(u.Delegated, delegatedUsageOf), More: u.More,
	}
}

func delegatedUsageOf(d tarn.DelegatedUsage) DelegatedUsage {
	return DelegatedUsage{
		Petname: d.Petname, Key: keyText(d.Key), Bytes: d.Bytes, Shares: d.Shares, Reserved: d.Reserved,
		BytesIn: d.BytesIn, BytesOut: d.BytesOut, Delegated: listOf(d.Delegated, delegatedUsageOf),
	}
}

// Usage is what all accounts hold.
func (o Operator) Usage(ctx context.Context) (list []AccountUsage, err error) {
	return list, o.call(ctx, "usage", nothing{}, &list)
}

func operatorUsage(ctx context.Context, o tarn.Operator, _ nothing) ([]AccountUsage, error) {
	list, err := o.Usage(ctx)
	return listOf(list, accountUsageOf), err
}

// AccountTraffic is tarn.AccountTraffic as JSON; the day is 2026-11-26, UTC.
type AccountTraffic struct {
	Day      string `json:"day"`
	Petname  string `json:"petname,omitempty"`
	Key      string `json:"key"`
	Signer   string `json:"signer,omitempty"` // whose line this is a part of
	BytesIn  int64  `json:"bytes_in"`
	BytesOut int64  `json:"bytes_out"`
}

type sinceDay struct {
	Since string `json:"since"`
}

// Traffic is what every account moved, by UTC day, from a day on.
func (o Operator) Traffic(ctx context.Context, since time.Time) (list []AccountTraffic, err error) {
	return list, o.call(ctx, "traffic", sinceDay{since.UTC().Format(time.DateOnly)}, &list)
}

func listTraffic(ctx context.Context, o tarn.Operator, ask sinceDay) ([]AccountTraffic, error) {
	since, err := time.Parse(time.DateOnly, ask.Since)
	if err != nil {
		return nil, fmt.Errorf("%w: since %q", ErrRequest, ask.Since)
	}
	list, err := o.Traffic(ctx, since)
	return listOf(list, func(t tarn.AccountTraffic) AccountTraffic {
		return AccountTraffic{t.Day.Format(time.DateOnly), t.Petname, keyText(t.Key), keyText(t.Signer), t.BytesIn, t.BytesOut}
	}), err
}

// Changed is tarn.Changed as JSON.
type Changed struct {
	Accounts []Account `json:"accounts"`
	Keys     []string  `json:"keys"`
	Ended    int       `json:"uploads_ended"`
}

func changedOf(c tarn.Changed, err error) (Changed, error) {
	return Changed{listOf(c.Accounts, accountOf), listOf(c.Keys, keyText), c.Ended}, err
}

type disabling struct {
	Name     string `json:"name"`
	Disabled bool   `json:"disabled"`
}

// SetDisabled refuses everything to an account, or ends that.
func (o Operator) SetDisabled(ctx context.Context, name string, disabled bool) (c Changed, err error) {
	return c, o.call(ctx, "disable", disabling{name, disabled}, &c)
}

func setDisabled(ctx context.Context, o tarn.Operator, ask disabling) (Changed, error) {
	return changedOf(o.SetDisabled(ctx, ask.Name, ask.Disabled))
}

type newQuota struct {
	Name  string `json:"name"`
	Quota *int64 `json:"quota"`
}

// SetQuota changes one account's quota, in bytes; nil is none.
func (o Operator) SetQuota(ctx context.Context, name string, quota *int64) (c Changed, err error) {
	return c, o.call(ctx, "quota", newQuota{name, quota}, &c)
}

func setQuota(ctx context.Context, o tarn.Operator, ask newQuota) (Changed, error) {
	return changedOf(o.SetQuota(ctx, ask.Name, ask.Quota))
}

// Removal is tarn.Removal as JSON.
type Removal struct {
	Accounts   []Account   `json:"accounts"`
	Bytes      int64       `json:"bytes"`
	Shares     int64       `json:"shares"`
	Holders    []Holder    `json:"holders"`
	LastBytes  int64       `json:"last_bytes"`
	LastShares int64       `json:"last_shares"`
	Last       []LastShare `json:"last"`
	Ends       time.Time   `json:"ends,omitzero"`
	Reserved   int64       `json:"reserved"`
}

// Holder is tarn.Holder as JSON.
type Holder struct {
	Petname string `json:"petname,omitempty"`
	Key     string `json:"key"`
	Bytes   int64  `json:"bytes"`
	Shares  int64  `json:"shares"`
}

// LastShare is tarn.LastShare as JSON.
type LastShare struct {
	StorageIndex string `json:"storage_index"`
	Share        int    `json:"share"`
	Size         int64  `json:"size"`
}

type removing struct {
	Name   string `json:"name"`
	Cancel bool   `json:"cancel_leases,omitempty"`
}

// Removal tells what hangs on an account.
func (o Operator) Removal(ctx context.Context, name string) (r Removal, err error) {
	return r, o.call(ctx, "removal", removing{Name: name}, &r)
}

func askRemoval(ctx context.Context, o tarn.Operator, ask removing) (Removal, error) {
	r, err := o.Removal(ctx, ask.Name)
	return Removal{
		Accounts: listOf(r.Accounts, accountOf), Bytes: r.Bytes, Shares: r.Shares,
		Holders: listOf(r.Holders, func(h tarn.Holder) Holder {
			return Holder{h.Petname, keyText(h.Key), h.Bytes, h.Shares}
		}),
		LastBytes: r.LastBytes, LastShares: r.LastShares,
		Last: listOf(r.Last, func(l tarn.LastShare) LastShare {
			return LastShare{l.StorageIndex.String(), int(l.Num), l.Size}
		}),
		Ends: r.Ends, Reserved: r.Reserved,
	}, err
}

// Remove forgets an account.
func (o Operator) Remove(ctx context.Context, name string, cancelLeases bool) (c Changed, err error) {
	return c, o.call(ctx, "remove", removing{name, cancelLeases}, &c)
}

func remove(ctx context.Context, o tarn.Operator, ask removing) (Changed, error) {
	return changedOf(o.Remove(ctx, ask.Name, ask.Cancel))
}

type rekeying struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// Rekey gives all that one account has to another key.
func (o Operator) Rekey(ctx context.Context, name string, key grid.PublicKey) (c Changed, err error) {
	return c, o.call(ctx, "rekey", rekeying{name, key.String()}, &c)
}

func rekey(ctx context.Context, o tarn.Operator, ask rekeying) (Changed, error) {
	key, err := readKey(ask.Key)
	if err != nil {
		return Changed{}, err
	}
	return changedOf(o.Rekey(ctx, ask.Name, key))
}

type revoking struct {
	Name    string `json:"name"`
	Revoked bool   `json:"revoked"`
}

// SetRevoked refuses everything in which a key stands, or ends that.
func (o Operator) SetRevoked(ctx context.Context, name string, revoked bool) (c Changed, err error) {
	return c, o.call(ctx, "revoke", revoking{name, revoked}, &c)
}

func setRevoked(ctx context.Context, o tarn.Operator, ask revoking) (Changed, error) {
	return changedOf(o.SetRevoked(ctx, ask.Name, ask.Revoked))
}

type ambience struct {
	On    bool   `json:"on"`
	Quota *int64 `json:"quota"`
}

// SetAmbient lets clients without a key store, up to a quota, or ends that.
func (o Operator) SetAmbient(ctx context.Context, on bool, quota *int64) (c Changed, err error) {
	return c, o.call(ctx, "ambient", ambience{on, quota}, &c)
}

func setAmbient(ctx context.Context, o tarn.Operator, ask ambience) (Changed, error) {
	return changedOf(o.SetAmbient(ctx, ask.On, ask.Quota))
}

// NamedKey is tarn.NamedKey as JSON.
type NamedKey struct {
	Petname string `json:"petname,omitempty"`
	Key     string `json:"key,omitempty"`
}

func namedKeyOf(k tarn.NamedKey) NamedKey { return NamedKey{k.Petname, keyText(k.Key)} }

// AuditedLease is tarn.AuditedLease as JSON, the certificates as lease encodes
// them; null where they were not kept.
type AuditedLease struct {
	Share        int        `json:"share"`
	Size         int64      `json:"size"`
	Charged      int64      `json:"charged"`
	Holder       NamedKey   `json:"holder"`
	Made         time.Time  `json:"made"`
	Renewed      time.Time  `json:"renewed"`
	Expires      time.Time  `json:"expires"`
	Keys         []NamedKey `json:"keys"`
	Certificates []byte     `json:"certificates"`
}

type auditing struct {
	StorageIndex string `json:"storage_index"`
}

// Audit lists who keeps the shares of a file, and by whose grants.
func (o Operator) Audit(ctx context.Context, si grid.StorageIndex) (list []AuditedLease, err error) {
	return list, o.call(ctx, "audit", auditing{si.String()}, &list)
}

func audit(ctx context.Context, o tarn.Operator, ask auditing) ([]AuditedLease, error) {
	si, err := grid.ParseStorageIndex(ask.StorageIndex)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	list, err := o.Audit(ctx, si)
	return listOf(list, func(l tarn.AuditedLease) AuditedLease {
		a := AuditedLease{
			Share: int(l.Share), Size: l.Size, Charged: l.Charged, Holder: namedKeyOf(l.Holder),
			Made: l.Made, Renewed: l.Renewed, Expires: l.Expires, Keys: listOf(l.Keys, namedKeyOf),
		}
		if l.Kept {
			a.Certificates = l.Certificates.Encode()
		}
		return a
	}), err
}
