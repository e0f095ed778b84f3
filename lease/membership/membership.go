// Package membership is what an account manager decides: who is a member of
// its grid, on what terms, with which keys, and which servers the grid has.
//
// Main types: Book is the table of all that; Change is what one decision does
// to it, to be made durable before it is applied.
//
// Promises: a book decides and does nothing else, and the same arguments give
// the same answer; a one-time secret makes one account a member and no other,
// however often that one claims it again; a key belongs to one member at one
// server for as long as he is one, so that nobody has two budgets there; what
// is not in the book gets no card.
package membership

import (
	"crypto/sha256"
	"errors"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Errors that callers act on. All arrive wrapped with what happened.
var (
	// ErrExists is a name that a member, or a server that the grid, has already.
	ErrExists = errors.New("there is one already")
	// ErrUnknown is a name, a key or a server that is not in the book.
	ErrUnknown = errors.New("not known to the account manager")
	// ErrClaimed is a one-time secret that another account has used.
	ErrClaimed = errors.New("the membership was claimed by another account")
	// ErrClaimEnded is a one-time secret that nobody used in time.
	ErrClaimEnded = errors.New("the membership was not claimed in time; ask for a new reference")
	// ErrKeyTaken is a key that another member has, or a second one at a server.
	ErrKeyTaken = errors.New("an account has one key at a server, and nobody else has it")
	// ErrFull means that the bounds of the book are reached.
	ErrFull = errors.New("the account manager can't take more")
	// ErrTerms is a name, quota or end that makes no sense.
	ErrTerms = errors.New("not the terms of a membership")
)

// Bounds of a book.
const (
	// MaxMembers is how many members there may be.
	MaxMembers = 100_000
	// maxName bounds the name of a member or a server, in bytes.
	maxName = 64
	// lastTime is the latest Until, in Unix seconds: some 30000 years.
	lastTime = 1 << 40
)

// ClaimPeriod is how long an account has to claim a membership, unless it was
// said otherwise.
const ClaimPeriod = 28 * 24 * time.Hour

// Secret is a one-time secret: who shows it first becomes the member.
type Secret [16]byte

// String keeps the secret out of logs and errors.
func (Secret) String() string { return "(secret)" }

// GoString is String, for %#v.
func (Secret) GoString() string { return "(secret)" }

// claimTag separates this hash from all others.
const claimTag = "tarn membership claim v1:"

// Hash is what the book keeps of a secret.
func (s Secret) Hash() [32]byte { return sha256.Sum256(append([]byte(claimTag), s[:]...)) }

// Member is one entry of the book.
type Member struct {
	Name string
	// Quota is the most bytes of leases at each server, a plan size; nil is no
	// limit.
	Quota *int64
	// Until is when the membership ends, in Unix seconds; nil is never.
	Until *int64
	// Added and Joined are Unix seconds; Joined is 0 until an account claimed
	// the membership.
	Added, Joined int64
	// Claim is the hash of the one-time secret, which nobody can claim with from
	// ClaimUntil on, in Unix seconds; 0 is never.
	Claim      [32]byte
	ClaimUntil int64
	// Account is the member's key for the manager, zero until it was claimed.
	Account grid.PublicKey
}

// Lapsed reports whether nobody claimed the membership in time.
func (m Member) Lapsed(now int64) bool {
	return m.Account.IsZero() && m.ClaimUntil != 0 && m.ClaimUntil <= now
}

// Ended reports whether there are no new cards any more.
func (m Member) Ended(now int64) bool { return m.Until != nil && *m.Until <= now }

// Server is one server of the grid.
type Server struct {
	ID   grid.ServerID
	Name string // for people
}

// KeyList is the newest list of keys that a member signed.
type KeyList struct {
	Member string
	Signed []byte // lease.DecodeKeyList
}

// State is all that a book is made from.
type State struct {
	Members  []Member
	Keys     []KeyList
	Servers  []Server
	Sequence uint64 // of the list of servers
}

// Change is what one decision does to the book. It says new values, not
// differences; what is nil stays as it is.
type Change struct {
	Remove *Member  // to be forgotten, with his keys, before all else
	Member *Member  // to be put in place of the one of that name
	Keys   *KeyList // likewise, after the member
	Grid   *Grid
}

// Grid is the list of servers.
type Grid struct {
	Servers  []Server // by id
	Sequence uint64
}

// List is what members are told of the grid.
func (g Grid) List() lease.ServerList {
	list := lease.ServerList{Sequence: g.Sequence}
	for _, s := range g.Servers {
		list.Servers = append(list.Servers, s.ID)
	}
	return list
}

// Empty reports whether there is nothing to do.
func (c Change) Empty() bool {
	return c.Member == nil && c.Keys == nil && c.Remove == nil && c.Grid == nil
}
