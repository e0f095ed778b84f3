package tarn

import (
	"cmp"
	"crypto/ed25519"
	"io"
	"log/slog"
	"time"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Config says what a node is. Zero values switch a role off.
type Config struct {
	// Dir is the node's folder; it must exist and belong to this node alone.
	Dir string
	// Nickname is announced and shown to people; at most 64 bytes.
	Nickname string
	// Introducers are references of the introducers to learn servers from
	// and, as a storage server, to announce to.
	Introducers []IntroducerRef
	// Connections say how others are dialled; the zero value takes what
	// ConnectionsOf gives without settings. Of single servers the node's owner may
	// say something else in private/servers.yaml.
	Connections Connections
	// Anonymous keeps everything from being dialled, listened on or announced that
	// would make the node's address known: what is not allowed is an error of Open
	// (ErrNotAnonymous).
	Anonymous bool
	// Control is the node's identity towards whoever controls it. It is apart from
	// all others: no server, introducer or client is ever shown it.
	Control ed25519.PrivateKey
	// Client, Storage, Introducer, Relay, Manager, Aggregator, Helper, Renewer and
	// Repairer are the roles; nil is off.
	Client     *ClientConfig
	Storage    *StorageConfig
	Introducer *IntroducerConfig
	Relay      *RelayConfig
	Manager    *ManagerConfig
	Aggregator *AggregatorConfig
	Helper     *HelperConfig
	Renewer    *RenewerConfig
	Repairer   *RepairerConfig
	// Tor is the Tor beside the node.
	Tor TorConfig
	// Log receives everything; nil discards.
	Log *slog.Logger
}

// ClientConfig is the client role.
type ClientConfig struct {
	// Params are the encoding parameters of files that this node stores.
	Params file.Params
	// Convergence is the node's convergence secret (16 bytes or more); equal
	// files then get equal capabilities. Empty means a random key per file.
	Convergence []byte
	// Account is the seed from which the key for each server is derived.
	Account lease.Account
	// Roles are the keys by which others let this node act for them, renewer and
	// repairer: the same everywhere, for ever, since they are published.
	Roles map[string]lease.Account
	// Servers get new shares though they are not in the grid of the account
	// manager whose member the node is. Without an account manager any server
	// does that takes them.
	Servers []grid.ServerID
	// Helper is where files go that are to be stored through the node's helper;
	// nil if it has none.
	Helper *HelperRef
	// Subcontract lets a server that is short of room pass a share on to another
	// one, which the client names to it. The two then know that they serve one
	// client.
	Subcontract bool
}

// StorageConfig is the storage role.
type StorageConfig struct {
	// Key is the server's long-lived Ed25519 key: identity, announcements.
	Key ed25519.PrivateKey
	// Listen are multiaddrs to accept connections on, such as
	// /ip4/0.0.0.0/tcp/3457, or onion:3457 for an onion service at that port.
	Listen []string
	// OnionKey is that of its onion service, for ever; wanted where Listen has
	// onion: and a port.
	OnionKey ed25519.PrivateKey
	// Announce replaces the addresses that are announced; those listened on
	// when empty.
	Announce []grid.Hint
	// Relays are how the server is reached where nobody can dial it; nil where
	// everybody can. What it listens on is then not announced.
	Relays *StorageRelays
	// NodeID and PermutationSeed are announced: for what id writers of shares that
	// can be changed make their write enablers, and where the server stands for
	// each file. Zero and empty are made of Key; those of a Tahoe-LAFS server come
	// with its shares.
	NodeID          grid.NodeID
	PermutationSeed []byte
	// ReservedSpace is how many bytes of the disk are never used.
	ReservedSpace int64
	// ReadsNeedAccount lets only accounts read.
	ReadsNeedAccount bool
	// PassOnBelow is with how much room, in bytes beyond what is reserved, shares
	// are kept that might be passed on; 0 keeps all.
	PassOnBelow int64
}

// nodeID is the one that is announced.
func (c *StorageConfig) nodeID() grid.NodeID {
	if c.NodeID != (grid.NodeID{}) {
		return c.NodeID
	}
	return grid.ServerID(grid.PublicKeyOf(c.Key)).DefaultNodeID()
}

// IntroducerConfig is the introducer role.
type IntroducerConfig struct {
	// Key is the introducer's long-lived Ed25519 key.
	Key      ed25519.PrivateKey
	Listen   []string
	OnionKey ed25519.PrivateKey // see StorageConfig
	Announce []grid.Hint
}

// IntroducerRef says where an introducer is and who it is. Its text form is
// what create-introducer prints and others join with:
// tarn:introducer/v0-…@/ip4/192.0.2.7/tcp/3456,/dns/example.org/tcp/3456
type IntroducerRef struct {
	Server grid.ServerID
	Hints  []grid.Hint
}

// PutOptions change how a file is stored; the zero value takes the node's.
type PutOptions struct {
	// Params replace the node's encoding parameters.
	Params *file.Params
	// RandomKey gives the file a key of its own, so that nobody can tell that
	// two files are equal.
	RandomKey bool
	// Size of the input in bytes if it is known, else -1. A wrong one is an
	// error.
	Size int64
	// Authority to store under instead of the node's own; empty for that.
	Authority lease.Authority
	// Keep has the node keep a renewal cap of Authority, so that it renews the
	// leases of what was stored under that. Without it they end after a month,
	// unless the node has the authority anyway.
	Keep bool
	// Helped has a helper encode the file and place its shares, so that it goes
	// over this node's line once: Helper, or the node's own where that is nil.
	Helped bool
	Helper *HelperRef
	// OrDirectly has the shares stored from here where the helper fails.
	OrDirectly bool
	// Progress, if not nil, is called now and then with the bytes that have
	// been encoded, or are at the helper, and their total.
	Progress func(done, total int64)
}

// PutResult tells what became of a file.
type PutResult struct {
	// Cap is the read capability: all that is needed to get the file.
	Cap string
	// Size of the file in bytes.
	Size int64
	// Pushed and Found count shares newly stored and shares that were there
	// already; both are 0 for a file small enough to lie in its capability.
	Pushed, Found int
	// Happiness is the number of distinct servers that hold distinct shares.
	Happiness int
	// Placement says which servers hold which share.
	Placement map[grid.ShareNum][]grid.ServerID
	// Unrenewed are the servers where nobody renews the file's leases: it was
	// stored under an authority that this node does not have.
	Unrenewed []grid.ServerID
	// LeftOut are the servers that could not be asked, with the reason: not
	// reached, or they would not accept the authority.
	LeftOut []ServerError
	// NotHelped is why a helper failed and the shares were stored from here; nil
	// if none did.
	NotHelped error
}

// Option changes how a call uses servers.
type Option func(*options)

type options struct {
	authority lease.Authority
	onto      *Version
}

func optionsOf(how []Option) (o options) {
	for _, set := range how {
		set(&o)
	}
	return o
}

// Under has a call use an authority instead of the node's own: over connections
// of its own, which servers can't tell to be this node's. An authority without
// holdings is none, and the node's own is used.
func Under(a lease.Authority) Option { return func(o *options) { o.authority = a } }

// AuthorityOf is what Under was given, empty if it is not among the options: for
// who stands in for a Node.
func AuthorityOf(how ...Option) lease.Authority {
	return optionsOf(how).authority
}

// File is an open file. It reads any range; what it returns was verified
// against the capability first. It must be closed.
type File interface {
	// Size in bytes.
	Size() int64
	// WriteRange writes length bytes from offset on to w, in order, and stops
	// at the first error: what was written before it is right.
	WriteRange(w io.Writer, offset, length int64) error
	io.Closer
}

// ServerStatus is what a client knows of one storage server.
type ServerStatus struct {
	Server grid.ServerID
	// Nickname is what the server calls itself, Petname what the node's owner
	// calls it; either may be empty.
	Nickname, Petname string
	// State is idle, dialing, connected, logged-in or backoff.
	State string
	// Since is when State was reached.
	Since time.Time
	// Address is where it is reached now, Path how: direct, relay, hole-punched
	// or tor. Both are empty when it is not.
	Address, Path string
	// Account is the key that this node uses there.
	Account grid.PublicKey
	// LoggedIn says that the server accepts that account.
	LoggedIn bool
	// RoundTrip is the last one measured; 0 when unknown.
	RoundTrip time.Duration
	// LastError is why the last connection or login failed, empty when not.
	LastError string
	// Known is when its newest announcement arrived, zero if none did.
	Known time.Time
	// Stale says that it is known from an introducer that is not connected now.
	Stale bool
	// Room is the largest share that it would take now, as last heard, bytes.
	Room int64
}

// IntroducerStatus is what a node knows of one introducer.
type IntroducerStatus struct {
	Ref       IntroducerRef
	Connected bool
	Since     time.Time
	LastError string
}

// Status is a picture of the node.
type Status struct {
	Nickname    string
	Version     string
	Started     time.Time
	Introducers []IntroducerStatus
	Servers     []ServerStatus  // as a client
	Lent        []ServerStatus  // as a client: connected under authorities that came with requests (Under)
	Leases      *LeaseStatus    // as a client: what it stored
	Onions      []OnionStatus   // by role
	Storage     *StorageStatus  // as a storage server
	Introducer  *IntroducerRef  // as an introducer: the reference that others join with
	Relay       *RelayStatus    // as a relay
	Manager     *ManagerStatus  // as an account manager
	Helper      *HelperStatus   // as a helper
	Renewer     *RenewerStatus  // as a renewer
	Repairer    *RepairerStatus // as a repairer
	// Control is the node's identity towards whoever controls it, zero for none.
	Control grid.PublicKey
	// Mistakes are those of private/servers.yaml.
	Mistakes []OverrideMistake
}

// Name is what people call the server: its petname, or else its nickname.
func (s ServerStatus) Name() string { return cmp.Or(s.Petname, s.Nickname) }

// ManagerStatus is what an operator sees of the own account manager.
type ManagerStatus struct {
	Key               grid.PublicKey // what servers accept
	Hints             []grid.Hint
	Members, Sessions int
}

// LeaseStatus is what a client stored: how many files and leases its journal
// lists, and how many of the leases servers were found without.
type LeaseStatus struct{ Files, Leases, Lapsed int64 }

// StorageStatus is what an operator sees of the own server.
type StorageStatus struct {
	Server   grid.ServerID
	Hints    []grid.Hint
	Sessions int
	// Free is what the disk has; Reserved is bytes of uploads in flight.
	Free, Reserved int64
	Accounts       int
}
