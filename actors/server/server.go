// Package server is the storage branch of the supervision tree: it accepts
// connections, lets accounts log in, pulls the shares that they offer, serves
// reads, and owns the lease table.
//
// Storage is the top. Below it the listener has an actor for each session, and
// that one a facet once its client has logged in, which carries what the login
// allows. login verifies chains. ledger is the only writer of the lease table.
// pull fetches one share; it outlives the connection over which it was
// offered. collector deletes what no lease keeps. slot keeps a reservation on a
// relay where nobody can dial the server. An announcer tells an introducer where
// the server is.
//
// Promises: nothing is acknowledged before it is durable; a share is readable
// only after all of it was verified; what an upload reserved is free again
// when it ends, however it ends; a change of the operator's mind holds from
// the next operation on. The actors use nothing but their env.Env, so the
// simulation runs them as they are.
package server

import (
	"crypto/ed25519"
	"slices"

	"github.com/tarn-grid/tarn/actors/inbound"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Config is what a storage server needs. It is not changed once given.
type Config struct {
	// Key is the server's identity; the listener must have the same one.
	Key      ed25519.PrivateKey
	Nickname string
	// NodeID is announced; the key's default one where it is zero.
	NodeID grid.NodeID
	// PermutationSeed is announced; the server's key where it is empty.
	PermutationSeed []byte
	// Listen accepts connections under Key.
	Listen inbound.Listen
	// Announce replaces the listener's own addresses in announcements.
	Announce []grid.Hint
	// Sequence is higher than that of any announcement that an earlier process
	// made, whatever the clock says.
	Sequence uint64
	// Relays are how the server is reached where nobody can dial it; nil where
	// everybody can. The listener's own addresses are then not announced.
	Relays *Relays
	// Introducers are told where the server is, each through Dialer.
	Introducers []transport.Target
	Dialer      transport.Dialer
	// Anonymous has that done, and relays asked, at times drawn at random.
	Anonymous bool
	// Store holds shares and the lease table.
	Store Store
	// References seal what a login hands out; the first one seals.
	References lease.ReferenceKeys
	Policy     lease.LedgerPolicy
	// Passing lets the server pass shares on; nil where it keeps them all.
	Passing *Passing
	// ReadsNeedAccount lets only accounts in good standing read.
	ReadsNeedAccount bool
	// Fatal is called, once, when the server can't go on: the disk refused to
	// make something durable, or the address can't be listened on. The process
	// must end; whatever runs in between acknowledges nothing more.
	Fatal func(error)
}

// server is the config's key as an id.
func (c *Config) server() grid.ServerID { return grid.ServerID(grid.PublicKeyOf(c.Key)) }

// standing is the operator's mind about keys as the table shows it; any
// goroutine may ask. An unreadable table accepts nobody.
func (c *Config) standing() lease.Standing {
	return lease.Standing{
		Roots: func(k grid.PublicKey) (lease.Root, bool) {
			root, ok, err := c.Store.Root(k)
			return root, ok && err == nil
		},
		Revoked: func(k grid.PublicKey) bool {
			revoked, err := c.Store.Revoked(k)
			return revoked || err != nil
		},
	}
}

// announcement is what the server says of itself, reachable at hints.
func (c *Config) announcement(sequence uint64, hints []grid.Hint, accepts []grid.PublicKey) grid.Announcement {
	a := grid.Announcement{
		Server: c.server(), Sequence: sequence, Nickname: c.Nickname, Hints: hints,
		NodeID: c.NodeID, PermutationSeed: c.PermutationSeed, Accepts: accepts,
		CertificateVersions: []uint{lease.CertificateVersion}, ReadsNeedAccount: c.ReadsNeedAccount,
	}
	if len(c.Announce) > 0 && c.Relays == nil {
		a.Hints = c.Announce
	}
	if c.Relays != nil {
		a.Hints = slices.Concat(c.Announce, hints)
		a.Hints = a.Hints[:min(len(a.Hints), wire.MaxHints)]
	}
	if a.NodeID == (grid.NodeID{}) {
		a.NodeID = a.Server.DefaultNodeID()
	}
	if len(a.PermutationSeed) == 0 {
		a.PermutationSeed = a.Server[:]
	}
	return a
}
