package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/users"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotRunning  = 3
	exitNotFound    = 4
	exitRefused     = 5
	exitInTheWay    = 6
	exitSettings    = 7
	exitUnhealthy   = 8
	exitPartly      = 9
	exitInterrupted = 130
)

const exitHelp = `Exit codes:
  0    done
  1    failed for a reason not listed here
  2    the command line, a capability or another input is not right
  3    no node is running in the folder, or it ended meanwhile
  4    not enough shares were found, or no such node, file or account
  5    refused: too few servers take the file, over quota, not permitted
  6    something is in the way: folder or port in use, name taken, no
       permission, disk full
  7    the node's settings or key files can't be used
  8    a file is not as it should be, though it can be read
  9    done in part: what was left out is named
  130  interrupted`

// Errors of the commands themselves.
var (
	errNoNode    = errors.New("there is no node here")
	errNotEmpty  = errors.New("the folder is not empty")
	errWrite     = errors.New("can't be written")
	errFolder    = errors.New("is a folder")
	errSettings  = errors.New("settings can't be used")
	errKeys      = errors.New("key file can't be used")
	errUserThere = errors.New("there is such a user already")
	errNoUser    = errors.New("there is no such user")
	errDiffers   = errors.New("what came back is not what went in")
	errBadSize   = errors.New("not a size")
	errBadName   = errors.New("not a name")
	errProblems  = errors.New("the storage is not in order")
	errUnhealthy = errors.New("the file is not healthy")

	errUnhealthyTree = errors.New("not everything is healthy")

	errPartly    = errors.New("not everything could be done")
	errReports   = errors.New("not every report can be relied on")
	errDemoEnded = errors.New("a node of the demo ended by itself")
)

// usageError is a command line that can't be right.
type usageError struct {
	err     error
	command string // its path, "tarn put"; empty when help would not help
}

func (u usageError) Error() string { return u.err.Error() }
func (u usageError) Unwrap() error { return u.err }

// notRunningError says where no node runs.
type notRunningError struct{ dir string }

func (n notRunningError) Error() string { return fmt.Sprintf("no node is running in %s", n.dir) }
func (n notRunningError) Unwrap() error { return control.ErrNotRunning }

// exits is the only place where errors become exit codes; the first that
// fits counts.
var exits = []struct {
	err  error
	code int
}{
	{context.Canceled, exitInterrupted},
	{control.ErrNotRunning, exitNotRunning},
	{tarn.ErrNoEntry, exitNotFound},
	{tarn.ErrEntryExists, exitInTheWay},
	{control.ErrPlace, exitUsage},
	{tarn.ErrNotDirectory, exitUsage},
	{tarn.ErrInsideItself, exitUsage},
	{directory.ErrEntry, exitUsage},
	{errNoAlias, exitUsage},
	{errAliasTaken, exitInTheWay},
	{tarn.ErrCap, exitUsage},
	{file.ErrNotCapability, exitUsage},
	{file.ErrMalformed, exitUsage},
	{file.ErrClaim, exitUsage},
	{tarn.ErrNotEnoughShares, exitNotFound},
	{errNoNode, exitNotFound},
	{tarn.ErrNoAccount, exitNotFound},
	{lease.ErrNoSuchRoot, exitRefused},
	{lease.ErrAuthorityExpired, exitRefused},
	{lease.ErrAuthorityRevoked, exitRefused},
	{lease.ErrNotPermitted, exitRefused},
	{tarn.ErrTooFewServers, exitRefused},
	{tarn.ErrReadOnly, exitRefused},
	{tarn.ErrProhibited, exitRefused},
	{tarn.ErrConflict, exitInTheWay},
	{tarn.ErrMustForce, exitUnhealthy},
	{tarn.ErrFormat, exitUsage},
	{tarn.ErrMutableKey, exitUsage},
	{tarn.ErrClosed, exitNotRunning},
	{control.ErrBrokenOff, exitNotRunning},
	{tarn.ErrFolderInUse, exitInTheWay},
	{tarn.ErrPortInUse, exitInTheWay},
	{tarn.ErrExists, exitInTheWay},
	{tarn.ErrKeyInUse, exitInTheWay},
	{tarn.ErrServerFull, exitInTheWay},
	{tarn.ErrNoShare, exitNotFound},
	{lease.ErrKeyRevoked, exitInTheWay},
	{errNotEmpty, exitInTheWay},
	{errWrite, exitInTheWay},
	{errSettings, exitSettings},
	{errKeys, exitSettings},
	{errUnhealthy, exitUnhealthy},
	{errUnhealthyTree, exitUnhealthy},
	{errPartly, exitPartly},
	{tarn.ErrTreeUnread, exitPartly},
	{tarn.ErrDamaged, exitSettings},
	{tarn.ErrAmbiguous, exitUsage},
	{tarn.ErrNoStorage, exitUsage},
	{tarn.ErrNoClient, exitUsage},
	{tarn.ErrNoManager, exitUsage},
	{tarn.ErrNoAggregator, exitUsage},
	{tarn.ErrNoRenewer, exitUsage},
	{tarn.ErrNoRenewal, exitNotFound},
	{tarn.ErrRenewalTaken, exitInTheWay},
	{tarn.ErrRenewerFull, exitInTheWay},
	{tarn.ErrRenewalName, exitUsage},
	{lease.ErrRenewalCap, exitUsage},
	{tarn.ErrNoRepairer, exitUsage},
	{tarn.ErrNoRepair, exitNotFound},
	{tarn.ErrRepairTaken, exitInTheWay},
	{tarn.ErrRepairerFull, exitInTheWay},
	{lease.ErrRepairCap, exitUsage},
	{tarn.ErrMembershipRef, exitUsage},
	{tarn.ErrUsageReports, exitUsage},
	{membership.ErrTerms, exitUsage},
	{membership.ErrUnknown, exitNotFound},
	{membership.ErrClaimed, exitInTheWay},
	{tarn.ErrNoMembership, exitNotFound},
	{tarn.ErrIntroducerRef, exitUsage},
	{file.ErrParams, exitUsage},
	{grid.ErrPublicKey, exitUsage},
	{grid.ErrServerID, exitUsage},
	{grid.ErrBase32, exitUsage},
	{lease.ErrAuthority, exitUsage},
	{lease.ErrCertificates, exitUsage},
	{lease.ErrKeys, exitUsage},
	{lease.ErrAccount, exitUsage},
	{lease.ErrMalformed, exitUsage},
	{lease.ErrNotSigner, exitRefused},
	{lease.ErrNoCommonServer, exitRefused},
	{lease.ErrLeaseLabel, exitRefused},
	{lease.ErrWrongServer, exitRefused},
	{tarn.ErrNoAuthority, exitNotFound},
	{errThere, exitInTheWay},
	{errUserThere, exitInTheWay},
	{errNoUser, exitNotFound},
	{users.ErrUsers, exitSettings},
	{users.ErrName, exitUsage},
	{users.ErrRoot, exitUsage},
	{users.ErrKey, exitUsage},
	{users.ErrPassword, exitUsage},
	{errNotUnderstood, exitUsage},
	{errBadTime, exitUsage},
	{errBadSize, exitUsage},
	{errBadName, exitUsage},
	{fs.ErrNotExist, exitNotFound},
	{syscall.EADDRNOTAVAIL, exitSettings},
	{fs.ErrPermission, exitInTheWay},
	{syscall.EROFS, exitInTheWay},
	{syscall.ENOTDIR, exitInTheWay},
	{syscall.ENOSPC, exitInTheWay},
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	for _, e := range exits {
		if errors.Is(err, e.err) {
			return e.code
		}
	}
	return exitFailed
}

// adviceFor is what to do next, where that is known.
func adviceFor(err error) string {
	var notRunning notRunningError
	var usage usageError
	switch {
	case errors.As(err, &notRunning):
		return fmt.Sprintf("Start it with: tarn -d %s run", notRunning.dir)
	case errors.As(err, &usage) && usage.command != "":
		return fmt.Sprintf("See: %s --help", usage.command)
	case errors.Is(err, tarn.ErrTooFewServers):
		return "See how much room each server has for you, and why some don't take files: tarn status\nHow many servers it takes is shares-happy in the node's tarn.yaml."
	case errors.Is(err, tarn.ErrNotEnoughShares):
		return "Servers that hold shares may be away, or the capability may have a typing error. See: tarn status"
	case errors.Is(err, tarn.ErrFolderInUse):
		return "If that is the node running already, use it; tarn status with the same -d shows it."
	case errors.Is(err, tarn.ErrPortInUse):
		return "End that program, or give the node another address in its tarn.yaml."
	case errors.Is(err, tarn.ErrHelper):
		return "Without --helper the shares are sent from here; with --helper --or-directly they are where the helper fails."
	case errors.Is(err, control.ErrBrokenOff):
		return "The node ended before it was done; what it logged says why. Start it again with: tarn run"
	case errors.Is(err, tarn.ErrNoAccount):
		return "See who has one: tarn server list-accounts"
	case errors.Is(err, lease.ErrKeyRevoked):
		return "Accept it again first, with: tarn server unrevoke KEY"
	case errors.Is(err, lease.ErrNoSuchRoot):
		return "Ask the server's operator to add your account; your key is shown by: tarn client account-key"
	}
	return ""
}
