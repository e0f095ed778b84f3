package server

import (
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Query is an Operation that only reads the table, and perhaps all of it.
type Query interface {
	Operation
	// Ask answers from the table as it is.
	Ask(s Store, now time.Time) (any, error)
}

// queryStep is how many records a query looks at before others of the disk get
// a turn.
const queryStep = 10_000

// ListAccounts asks for all accounts and revoked keys; answered by AccountList.
type ListAccounts struct{}

// AccountList is every root, and every key that is refused, by key.
type AccountList struct {
	Roots   []lease.Root
	Revoked []grid.PublicKey
}

func (ListAccounts) operation() {}

// Ask implements Query.
func (ListAccounts) Ask(s Store, _ time.Time) (any, error) {
	roots, err := s.Roots()
	if err != nil {
		return nil, err
	}
	revoked, err := s.RevokedKeys()
	return AccountList{roots, revoked}, err
}

// AskRemoval asks what would happen if an account were removed and its leases
// cancelled; answered by Removal.
type AskRemoval struct{ Name string }

// Removal is what hangs on one or several accounts, at the moment.
type Removal struct {
	Roots []lease.Root
	// Leases that were made under them, and their cost in bytes; by account.
	Leases   lease.Counter
	Accounts []AccountLeases
	// Last is the shares that only those leases keep, and their bytes.
	Last lease.Counter
	// LastShares names them, as many as MaxLastShares.
	LastShares []lease.StoredShare
	// LastEnd is when the last of the leases ends by itself, Unix seconds.
	LastEnd int64
}

// MaxLastShares bounds the list in a Removal.
const MaxLastShares = 10_000

// AccountLeases is how much a column holds under the accounts in question.
type AccountLeases struct {
	Column lease.Column
	Leases lease.Counter
}

func (AskRemoval) operation() {}

// Ask implements Query.
func (q AskRemoval) Ask(s Store, _ time.Time) (any, error) {
	roots, err := Books{Store: s}.resolve(q.Name)
	if err != nil {
		return nil, err
	}
	w := removalWalk{store: s, shared: map[lease.ShareID]uint32{}, columns: map[lease.Column]int{}}
	w.Roots = roots
	for _, r := range roots {
		if err := w.under(r.Key); err != nil {
			return nil, err
		}
	}
	return w.Removal, nil
}

type removalWalk struct {
	Removal
	store   Store
	shared  map[lease.ShareID]uint32 // leases seen on shares that have several
	columns map[lease.Column]int     // their places in Accounts
}

func (w *removalWalk) under(root grid.PublicKey) error {
	var cursor []byte
	for {
		leases, next, err := w.store.ScanUnder(root, cursor, queryStep)
		if err != nil {
			return err
		}
		for _, l := range leases {
			if err := w.lease(l); err != nil {
				return err
			}
		}
		if next == nil {
			return nil
		}
		cursor = next
	}
}

func (w *removalWalk) lease(l lease.StoredLease) error {
	i, ok := w.columns[l.ID.Column]
	if !ok {
		i = len(w.Accounts)
		w.columns[l.ID.Column] = i
		w.Accounts = append(w.Accounts, AccountLeases{Column: l.ID.Column})
	}
	for _, c := range []*lease.Counter{&w.Leases, &w.Accounts[i].Leases} {
		c.Bytes += l.Lease.Size + lease.LeaseOverhead
		c.Leases++
	}
	w.LastEnd = max(w.LastEnd, l.Lease.Expires)
	share, ok, err := w.store.Share(l.ID.Share)
	if err != nil || !ok {
		return err
	}
	if share.Leases > 1 {
		w.shared[l.ID.Share]++
	}
	if share.Leases == 1 || w.shared[l.ID.Share] == share.Leases {
		w.last(l.ID.Share, share)
	}
	return nil
}

func (w *removalWalk) last(id lease.ShareID, share lease.Share) {
	w.Last.Bytes += share.Size
	w.Last.Leases++
	if len(w.LastShares) < MaxLastShares {
		w.LastShares = append(w.LastShares, lease.StoredShare{ID: id, Share: share})
	}
}

// ListTraffic asks for the traffic of every account, and of everybody below
// one, since a day; answered by TrafficList.
type ListTraffic struct{ Since lease.Day }

// TrafficList is one line for each day of a root, of a pair and of clients
// without a key, oldest first.
type TrafficList []AccountTraffic

// AccountTraffic is what was moved on one day below a root or a pair, or by
// clients without a key.
type AccountTraffic struct {
	Petname string // of the root, or the pair's delegate
	lease.TrafficKey
	lease.Traffic
}

func (ListTraffic) operation() {}

// Ask implements Query.
func (q ListTraffic) Ask(s Store, _ time.Time) (any, error) {
	roots, err := s.Roots()
	if err != nil {
		return nil, err
	}
	petnames := map[grid.PublicKey]string{{}: AnonymousPetname}
	for _, r := range roots {
		petnames[r.Key] = r.Petname
	}
	list := TrafficList{}
	err = s.TrafficSince(q.Since, func(k lease.TrafficKey, t lease.Traffic) error {
		of := k.Of.Of.Key
		switch k.Of.Kind {
		case lease.PairCounter:
			of = k.Of.Delegate
		case lease.ColumnCounter:
			if k.Of.Of.Kind == lease.KeyedColumn { // is part of its root's
				return nil
			}
		}
		list = append(list, AccountTraffic{petnames[of], k, t})
		return nil
	})
	return list, err
}
