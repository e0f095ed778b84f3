package tarn

import (
	"errors"
	"fmt"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
	"github.com/tarn-grid/tarn/lease/store"
)

// Errors that callers act on; all arrive wrapped with what happened.
var (
	// ErrFolderInUse means that another process runs on the node's folder.
	ErrFolderInUse = errors.New("the node's folder is in use by another tarn process")
	// ErrPortInUse means that an address can't be listened on.
	ErrPortInUse = errors.New("the address is in use by another program")
	// ErrCap means that a capability is malformed, or of a kind that can't be
	// read as a file.
	ErrCap = errors.New("not a capability of a file")
	// ErrNotEnoughShares means that the servers that could be reached hold too
	// few good shares of a file.
	ErrNotEnoughShares = errors.New("not enough good shares")
	// ErrTooFewServers means that too few servers would take a file's shares.
	ErrTooFewServers = errors.New("too few servers")
	// ErrNoStorage, ErrNoClient mean that the node does not have that role.
	ErrNoStorage = errors.New("this node is not a storage server")
	ErrNoClient  = errors.New("this node is not a client")
	// ErrExists means that a petname or a key is an account's already.
	ErrExists = errors.New("there is such an account already")
	// ErrNoAccount means that no account has that petname or key, ErrAmbiguous
	// that several have, and ErrKeyInUse that a key which was to take another
	// one's place has one already.
	ErrNoAccount = errors.New("there is no such account here")
	ErrAmbiguous = errors.New("there are several keys under that name")
	ErrKeyInUse  = errors.New("the key is in use on this server already")
	// ErrDamaged means that a file of the node's own is not as it was written.
	// What it has in it is not told: it may be a secret that belongs elsewhere.
	ErrDamaged = errors.New("is damaged")
	// ErrReadOnly means that a capability does not let its holder write, ErrConflict
	// that somebody else wrote at the same time, ErrChanged that what was being read
	// is not there any more because of that.
	ErrReadOnly = errors.New("the capability can only read")
	ErrConflict = errors.New("somebody else wrote at the same time")
	ErrChanged  = errors.New("the file has been changed meanwhile")
	// ErrMustForce means that repairing a mutable file would give up a version of it
	// that cannot be read now, or was written at the same time as another.
	ErrMustForce = client.ErrMustForce
	// ErrProhibited means that the node's access.blacklist has the file.
	ErrProhibited = errors.New("access prohibited")
	// ErrClosed means that the node was closed.
	ErrClosed = errors.New("the node is closed")
)

// ServerError says why one server gave no answer.
type ServerError struct {
	Server   grid.ServerID
	Nickname string
	Err      error
}

// Error names the server.
func (e ServerError) Error() string { return fmt.Sprintf("%s: %v", e.Server.Short(), e.Err) }

// Unwrap gives the cause.
func (e ServerError) Unwrap() error { return e.Err }

// kind gives an error of the rooms below a sentinel of this package, without
// saying the same twice.
type kind struct{ sentinel, err error }

func (k kind) Error() string        { return k.err.Error() }
func (k kind) Unwrap() error        { return k.err }
func (k kind) Is(target error) bool { return target == k.sentinel }

// public makes errors of the rooms below into those of this package.
func public(err error) error {
	var few *placement.TooFewServers
	var shares *transfer.NotEnoughShares
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*client.ConflictError)):
		return kind{ErrConflict, err}
	case errors.Is(err, client.ErrChanged):
		return kind{ErrChanged, err}
	case errors.Is(err, client.ErrRepairTakesWriteCap):
		return kind{ErrReadOnly, err}
	case errors.Is(err, mutable.ErrUnrecoverable):
		return kind{ErrNotEnoughShares, err}
	case errors.As(err, &few):
		return kind{ErrTooFewServers, err}
	case errors.As(err, &shares):
		return kind{ErrNotEnoughShares, err}
	case errors.Is(err, store.ErrLocked):
		return kind{ErrFolderInUse, err}
	case errors.Is(err, server.ErrExists), errors.Is(err, membership.ErrExists):
		return kind{ErrExists, err}
	case errors.Is(err, server.ErrNoAccount):
		return kind{ErrNoAccount, err}
	case errors.Is(err, server.ErrAmbiguous):
		return kind{ErrAmbiguous, err}
	case errors.Is(err, lease.ErrKeyInUse):
		return kind{ErrKeyInUse, err}
	case errors.Is(err, client.ErrNotReadable), errors.Is(err, immutable.ErrCapability):
		return kind{ErrCap, err}
	}
	return err
}
