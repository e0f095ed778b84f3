package lease

import (
	"bytes"
	"cmp"
	"crypto/subtle"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// LeaseOverhead is what a lease costs beside its share's bytes, so that a
// million empty leases are not free. In bytes.
const LeaseOverhead = 128

// CertificateOverhead is what each certificate of a stored chain costs, once
// for all leases that a label holds under that chain. In bytes.
const CertificateOverhead = 128

// ColumnKind tells the columns with a key from the two without.
type ColumnKind uint8

// The kinds of column. The numbers are stored: they are never reused.
const (
	KeyedColumn     ColumnKind = iota // an account
	StarterColumn                     // shares found on disk or imported: not renewable
	AnonymousColumn                   // clients without a key, and traffic under roots that are gone
)

// Column is a column of the lease table: the label of its leases. The zero
// value names no column.
type Column struct {
	Kind ColumnKind
	Key  grid.PublicKey // zero unless Kind is KeyedColumn
}

// The columns without a key.
var (
	Starter   = Column{Kind: StarterColumn}
	Anonymous = Column{Kind: AnonymousColumn}
)

// ColumnOf is the column of an account's key; the zero key is Anonymous, since
// no account has it.
func ColumnOf(key grid.PublicKey) Column {
	if key.IsZero() {
		return Anonymous
	}
	return Column{Key: key}
}

// String is the key, or starter, or anonymous.
func (c Column) String() string {
	switch c.Kind {
	case StarterColumn:
		return "starter"
	case AnonymousColumn:
		return "anonymous"
	default:
		return c.Key.String()
	}
}

// Compare orders columns: accounts by key, then starter, then anonymous.
func (c Column) Compare(d Column) int {
	return cmp.Or(cmp.Compare(c.Kind, d.Kind), bytes.Compare(c.Key[:], d.Key[:]))
}

// ShareID names one share of one file.
type ShareID struct {
	StorageIndex grid.StorageIndex
	Num          grid.ShareNum
}

// String is storage index, slash, share number.
func (s ShareID) String() string { return s.StorageIndex.String() + "/" + s.Num.String() }

// Compare orders by storage index, then number.
func (s ShareID) Compare(t ShareID) int {
	return cmp.Or(bytes.Compare(s.StorageIndex[:], t.StorageIndex[:]), cmp.Compare(s.Num, t.Num))
}

// ShareState is where a share stands in its life. COMING is not among them: it
// is a reservation in the Ledger's memory. The numbers are stored.
type ShareState uint8

// The states of a share that the table knows.
const (
	Stable ShareState = iota + 1 // whole, durable, readable
	Going                        // without a lease: its bytes are being deleted
)

// WriteEnabler is the secret that lets whoever may mutate change a share. The
// first write records it. No share that can be changed has the zero one.
type WriteEnabler [32]byte

// String and GoString keep it out of logs and errors.
func (WriteEnabler) String() string { return "(secret)" }

// GoString is String, for %#v.
func (WriteEnabler) GoString() string { return "(secret)" }

// Equal compares in constant time.
func (e WriteEnabler) Equal(f WriteEnabler) bool {
	return subtle.ConstantTimeCompare(e[:], f[:]) == 1
}

// Share is the table's record of a share.
type Share struct {
	State   ShareState
	Size    int64   // bytes of the body
	UEBHash UEBHash // zero where the share is mutable
	// Enabler is the write enabler of a mutable share, zero of any other; Writes
	// is how often such a share was written since it is there.
	Enabler WriteEnabler
	Writes  uint64
	// File numbers the file that holds the body; 0 means that the body lies in
	// the table itself.
	File   uint64
	Leases uint32 // how many there are; a share without one is Going
}

// Mutable reports whether the share can be changed.
func (s Share) Mutable() bool { return s.Enabler != WriteEnabler{} }

// LeaseID names a lease: no column has two on one share.
type LeaseID struct {
	Column Column
	Share  ShareID
}

// Compare orders by column, then share.
func (l LeaseID) Compare(m LeaseID) int {
	return cmp.Or(l.Column.Compare(m.Column), l.Share.Compare(m.Share))
}

// Lease keeps a share. Times are Unix seconds.
type Lease struct {
	Made, Renewed, Expires int64
	Size                   int64  // what it is charged for, without overhead
	Chain                  uint32 // id of the stored chain; 0 is none: no root, no pairs
}

// StoredShare is a share that is in the table, with its name.
type StoredShare struct {
	ID    ShareID
	Share Share
}

// StoredLease is a lease that is in the table, with its name.
type StoredLease struct {
	ID    LeaseID
	Lease Lease
}

// ChainRecord is by whose grants a label came to its leases. It is stored once for
// all leases of the label under it.
type ChainRecord struct {
	Column Column
	Digest Digest           // zero when the root acts for itself
	Keys   []grid.PublicKey // as in Grant: the root first
	Pairs  []Pair           // as in Grant
	// Certificates is the chain itself, if the grant had it. A View tells it
	// apart.
	Certificates []byte
}

// Cost is what the label, the root and every pair pay for the chain itself.
func (c ChainRecord) Cost() int64 { return chainCost(c.Keys) }

func chainCost(keys []grid.PublicKey) int64 {
	return CertificateOverhead * int64(max(0, len(keys)-1))
}

// Charges is every counter that a lease under the chain moves.
func (c ChainRecord) Charges() []CounterKey { return charges(c.Column, c.Keys, c.Pairs) }

func charges(column Column, keys []grid.PublicKey, pairs []Pair) []CounterKey {
	all := []CounterKey{{Kind: ColumnCounter, Of: column}}
	if len(keys) > 0 {
		all = append(all, RootCounterKey(keys[0]))
	}
	for _, p := range pairs {
		all = append(all, PairCounterKey(p.Signer, p.Delegate))
	}
	return all
}

// ChainKey finds the id of a stored chain.
type ChainKey struct {
	Column Column
	Root   grid.PublicKey
	Digest Digest
}

func (k ChainKey) compare(m ChainKey) int {
	return cmp.Or(k.Column.Compare(m.Column), bytes.Compare(k.Root[:], m.Root[:]), bytes.Compare(k.Digest[:], m.Digest[:]))
}

// Key is under what the chain is found.
func (c ChainRecord) Key() ChainKey {
	k := ChainKey{Column: c.Column, Digest: c.Digest}
	if len(c.Keys) > 0 {
		k.Root = c.Keys[0]
	}
	return k
}

// CounterKind says what a counter counts. The numbers are stored.
type CounterKind uint8

// The kinds of counter.
const (
	ColumnCounter CounterKind = iota + 1 // leases with this label
	RootCounter                          // leases whose chain starts at this key
	PairCounter                          // leases whose chain contains this pair
)

// CounterKey names a counter.
type CounterKey struct {
	Kind     CounterKind
	Of       Column         // the label; the root; the pair's signer
	Delegate grid.PublicKey // of a pair
}

// ColumnCounterKey names the counter of a label.
func ColumnCounterKey(c Column) CounterKey { return CounterKey{Kind: ColumnCounter, Of: c} }

// RootCounterKey names the counter of a root.
func RootCounterKey(k grid.PublicKey) CounterKey {
	return CounterKey{Kind: RootCounter, Of: Column{Key: k}}
}

// PairCounterKey names the counter of a pair.
func PairCounterKey(signer, delegate grid.PublicKey) CounterKey {
	return CounterKey{Kind: PairCounter, Of: Column{Key: signer}, Delegate: delegate}
}

// Compare orders by kind, owner, delegate.
func (k CounterKey) Compare(m CounterKey) int {
	return cmp.Or(cmp.Compare(k.Kind, m.Kind), k.Of.Compare(m.Of), bytes.Compare(k.Delegate[:], m.Delegate[:]))
}

// columns is whose ids the counter's record needs.
func (k CounterKey) columns() []Column {
	if k.Kind == PairCounter {
		return []Column{k.Of, {Key: k.Delegate}}
	}
	return []Column{k.Of}
}

// Counter is a sum over leases. A counter at zero is not stored.
type Counter struct {
	Bytes  int64 // sizes, overheads, and the chains' cost
	Leases int64
}

// KeyEntry is the short id of a key and how many counters and roots use it.
// A key that nothing uses has none.
type KeyEntry struct {
	ID   uint32
	Refs uint32
}

// Ids below FirstKeyID are of columns without a key.
const (
	StarterID   = 1
	AnonymousID = 2
	FirstKeyID  = 16
)

// Sequence names a source of ids that are never given twice.
type Sequence uint8

// The sequences. The numbers are stored.
const (
	KeySequence Sequence = iota + 1
	ChainSequence
)

// Day is a UTC day: days since 1 January 1970.
type Day int32

// Date is the day as 2026-11-26.
func (d Day) Date() string { return time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly) }

// DayOf is the UTC day of t.
func DayOf(t time.Time) Day {
	s := t.Unix()
	if s < 0 {
		return Day((s - 86399) / 86400)
	}
	return Day(s / 86400)
}

// TrafficKey names what was moved on a day for what a counter counts: by a
// column itself, by all below a root, by all below a pair.
type TrafficKey struct {
	Of  CounterKey
	Day Day
}

// Compare orders by counter, then day.
func (k TrafficKey) Compare(m TrafficKey) int {
	return cmp.Or(k.Of.Compare(m.Of), cmp.Compare(k.Day, m.Day))
}

// Traffic is bytes moved: In was written by the account, Out was read.
type Traffic struct {
	In, Out int64
}

func (t Traffic) plus(u Traffic) Traffic { return Traffic{t.In + u.In, t.Out + u.Out} }

// String says what is counted.
func (k CounterKey) String() string {
	switch k.Kind {
	case RootCounter:
		return "root " + k.Of.String()
	case PairCounter:
		return "pair " + k.Of.String() + " for " + k.Delegate.String()
	default:
		return "column " + k.Of.String()
	}
}
