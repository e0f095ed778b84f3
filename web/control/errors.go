package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
)

// Errors of the socket itself.
var (
	// ErrNotRunning means that nobody listens on the socket.
	ErrNotRunning = errors.New("no node is running")
	// ErrRequest is a request that a correct command never sends, usually one
	// of another version.
	ErrRequest = errors.New("request not understood")
	// ErrBrokenOff means that the node ended in the middle of an answer.
	ErrBrokenOff = errors.New("the node broke off its answer")
	// ErrPlace is a capability where a name in a directory is wanted.
	ErrPlace = errors.New("no name in a directory")
	// ErrOutput means that what came from the node could not be written where
	// it was to go.
	ErrOutput = errors.New("can't write the file")
)

// codes are the errors that keep their identity across the socket. The first
// that fits is used, so what is more special stands first.
var codes = []struct {
	code   string
	err    error
	status int
}{
	{"no-entry", tarn.ErrNoEntry, http.StatusNotFound},
	{"inside-itself", tarn.ErrInsideItself, http.StatusConflict},
	{"entry-exists", tarn.ErrEntryExists, http.StatusConflict},
	{"no-place", ErrPlace, http.StatusBadRequest},
	{"not-a-directory", tarn.ErrNotDirectory, http.StatusBadRequest},
	{"bad-entry", directory.ErrEntry, http.StatusBadRequest},
	{"damaged-directory", directory.ErrDirectory, http.StatusUnprocessableEntity},
	{"bad-capability", tarn.ErrCap, http.StatusBadRequest},
	{"not-enough-shares", tarn.ErrNotEnoughShares, http.StatusGone},
	{"tree-unread", tarn.ErrTreeUnread, http.StatusConflict},
	{"conflict", tarn.ErrConflict, http.StatusConflict},
	{"changed", tarn.ErrChanged, http.StatusConflict},
	{"must-force", tarn.ErrMustForce, http.StatusConflict},
	{"read-only", tarn.ErrReadOnly, http.StatusForbidden},
	{"prohibited", tarn.ErrProhibited, http.StatusForbidden},
	{"bad-format", tarn.ErrFormat, http.StatusBadRequest},
	{"bad-key", tarn.ErrMutableKey, http.StatusBadRequest},
	{"authority-expired", lease.ErrAuthorityExpired, http.StatusForbidden},
	{"authority-revoked", lease.ErrAuthorityRevoked, http.StatusForbidden},
	{"no-account", lease.ErrNoSuchRoot, http.StatusForbidden},
	{"not-permitted", lease.ErrNotPermitted, http.StatusForbidden},
	{"too-few-servers", tarn.ErrTooFewServers, http.StatusInsufficientStorage},
	{"not-helped", tarn.ErrHelper, http.StatusBadGateway},
	{"no-helper", tarn.ErrNoHelper, http.StatusConflict},
	{"bad-helper-reference", tarn.ErrHelperRef, http.StatusBadRequest},
	{"no-storage", tarn.ErrNoStorage, http.StatusConflict},
	{"no-client", tarn.ErrNoClient, http.StatusConflict},
	{"no-manager", tarn.ErrNoManager, http.StatusConflict},
	{"no-aggregator", tarn.ErrNoAggregator, http.StatusConflict},
	{"no-renewer", tarn.ErrNoRenewer, http.StatusConflict},
	{"bad-renewal-cap", lease.ErrRenewalCap, http.StatusBadRequest},
	{"bad-renewal-name", tarn.ErrRenewalName, http.StatusBadRequest},
	{"no-renewal-cap", tarn.ErrNoRenewal, http.StatusNotFound},
	{"renewal-cap-of-others", tarn.ErrRenewalTaken, http.StatusConflict},
	{"too-many-renewal-caps", tarn.ErrRenewerFull, http.StatusConflict},
	{"no-repairer", tarn.ErrNoRepairer, http.StatusConflict},
	{"bad-repair-cap", lease.ErrRepairCap, http.StatusBadRequest},
	{"no-repair-cap", tarn.ErrNoRepair, http.StatusNotFound},
	{"repair-cap-of-others", tarn.ErrRepairTaken, http.StatusConflict},
	{"too-many-files", tarn.ErrRepairerFull, http.StatusConflict},
	{"nothing-in-common", lease.ErrNoCommonServer, http.StatusConflict},
	{"exists", tarn.ErrExists, http.StatusConflict},
	{"no-such-account", tarn.ErrNoAccount, http.StatusNotFound},
	{"ambiguous", tarn.ErrAmbiguous, http.StatusConflict},
	{"key-in-use", tarn.ErrKeyInUse, http.StatusConflict},
	{"no-import", tarn.ErrImport, http.StatusBadRequest},
	{"other-share", tarn.ErrOtherShare, http.StatusConflict},
	{"no-share", tarn.ErrNoShare, http.StatusNotFound},
	{"server-full", tarn.ErrServerFull, http.StatusInsufficientStorage},
	{"key-revoked", lease.ErrKeyRevoked, http.StatusConflict},
	{"unknown", membership.ErrUnknown, http.StatusNotFound},
	{"claimed", membership.ErrClaimed, http.StatusConflict},
	{"no-membership", tarn.ErrNoMembership, http.StatusNotFound},
	{"bad-terms", membership.ErrTerms, http.StatusBadRequest},
	{"bad-membership-reference", tarn.ErrMembershipRef, http.StatusBadRequest},
	{"bad-parameters", file.ErrParams, http.StatusBadRequest},
	{"no-authority", tarn.ErrNoAuthority, http.StatusNotFound},
	{"bad-authority", lease.ErrAuthority, http.StatusBadRequest},
	{"bad-certificates", lease.ErrCertificates, http.StatusBadRequest},
	{"bad-keys", lease.ErrKeys, http.StatusBadRequest},
	{"not-signer", lease.ErrNotSigner, http.StatusBadRequest},
	{"bad-request", ErrRequest, http.StatusBadRequest},
	{"closed", tarn.ErrClosed, http.StatusServiceUnavailable},
	{"interrupted", context.Canceled, http.StatusServiceUnavailable},
}

const (
	codeFailed   = "failed"
	statusFailed = http.StatusInternalServerError
)

// codeOf is the code and the HTTP status of err.
func codeOf(err error) (string, int) {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code, c.status
		}
	}
	return codeFailed, statusFailed
}

// errorObject is an error on its way.
type errorObject struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func objectOf(err error) *errorObject {
	code, _ := codeOf(err)
	return &errorObject{Code: code, Message: err.Error()}
}

// Error is a failure that the node reported. It unwraps to the sentinel that
// it was there, if it was one.
type Error struct {
	Code    string
	Message string
}

// Error is the node's sentence.
func (e *Error) Error() string { return e.Message }

// Unwrap is the sentinel of package tarn, file or lease for the code; nil if
// there is none.
func (e *Error) Unwrap() error {
	for _, c := range codes {
		if c.code == e.Code {
			return c.err
		}
	}
	return nil
}

// brokenOff says no more than that if the connection just ended.
func brokenOff(err error) error {
	if connectionEnded(err) {
		return ErrBrokenOff
	}
	return fmt.Errorf("%w: %w", ErrBrokenOff, err)
}

func connectionEnded(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

func (o *errorObject) err() error {
	if o.Message == "" {
		return &Error{Code: o.Code, Message: fmt.Sprintf("the node failed without saying why (%s)", o.Code)}
	}
	return &Error{Code: o.Code, Message: o.Message}
}
