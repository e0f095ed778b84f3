package server

import (
	"errors"
	"log/slog"
	"strings"
	"syscall"

	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Refusals that are the server's own.
var (
	errBusy          = errors.New("too much at a time; try again later")
	errBadShare      = errors.New("what came does not verify")
	errTooSlow       = errors.New("the share came too slowly")
	errDetached      = errors.New("the client did not come back")
	errAbandoned     = errors.New("abandoned by the client")
	errSuperseded    = errors.New("the share was offered again")
	errOtherSize     = errors.New("the share is being uploaded with another size")
	errOthers        = errors.New("another key of this account is just uploading the share")
	errLoginRequired = errors.New("this server lets only accounts do that: log in first")
	errInterrupted   = errors.New("the server broke off the upload")
	errOutOfOrder    = errors.New("out of order")
	errOthersUsage   = errors.New("usage below a key is told to that key, and to whom its account let read usage")
	errTooMuch       = errors.New("more than the client's hello says that it takes")
)

// codes is the one table from errors to codes on the wire. The first entry
// that matches counts. Where a sentence is given it is what the client is
// told; elsewhere the error's own text is fit for it.
var codes = []struct {
	err      error
	code     wire.Code
	limit    string
	sentence string
}{
	{err: errBusy, code: wire.Busy},
	{err: errBadShare, code: wire.BadShare},
	{err: errTooSlow, code: wire.TooSlow},
	{err: errDetached, code: wire.TooSlow},
	{err: errAbandoned, code: wire.Abandoned},
	{err: errSuperseded, code: wire.Abandoned},
	{err: errOtherSize, code: wire.BadRequest},
	{err: errOthers, code: wire.Busy},
	{err: errLoginRequired, code: wire.LoginRequired},
	{err: errInterrupted, code: wire.Internal},
	{err: errOutOfOrder, code: wire.BadRequest},
	{err: errTooMuch, code: wire.BadRequest},
	{err: errNotStaged, code: wire.BadRequest},
	{err: errNotTaken, code: wire.NoSuchShare},
	{err: errOthersUsage, code: wire.NotPermitted, limit: "operation"},
	{err: lease.ErrOverQuota, code: wire.OverQuota},
	{err: lease.ErrServerFull, code: wire.ServerFull, sentence: "the server's disk is full"},
	{err: syscall.ENOSPC, code: wire.ServerFull, sentence: "the server's disk is full"},
	{err: lease.ErrWriteEnabler, code: wire.WrongEnabler, sentence: "the share has another write enabler"},
	{err: lease.ErrRaced, code: wire.Busy},
	{err: lease.ErrNoShare, code: wire.NoSuchShare},
	{err: lease.ErrNoLease, code: wire.NoSuchShare},
	{err: lease.ErrComing, code: wire.Busy},
	{err: lease.ErrNoReservation, code: wire.Abandoned, sentence: "the upload is not known any more; offer the share again"},
	{err: lease.ErrNoSuchRoot, code: wire.NotAccepted, sentence: "no account of this server stands behind this login; ask its operator to add one"},
	{err: lease.ErrAuthorityExpired, code: wire.AuthorityExpired},
	{err: lease.ErrAuthorityRevoked, code: wire.AuthorityRevoked, sentence: "the server's operator no longer accepts a key of this authority"},
	{err: lease.ErrNotPermitted, code: wire.NotPermitted},
	{err: lease.ErrWrongServer, code: wire.NotPermitted, limit: "server"},
	{err: lease.ErrWrongBeneficiary, code: wire.NotPermitted, limit: "beneficiary", sentence: "the login request was made for another connection"},
	{err: lease.ErrLeaseLabel, code: wire.BadRequest},
	{err: lease.ErrForged, code: wire.BadRequest},
	{err: lease.ErrMalformed, code: wire.BadRequest},
}

// wireError says err to a client. Numbers of a quota are only for those who
// may read usage. What is not in the table is the server's own fault, and its
// details are nobody else's business.
func wireError(err error, mayReadUsage bool) *wire.Error {
	for _, c := range codes {
		if !errors.Is(err, c.err) {
			continue
		}
		e := &wire.Error{Code: c.code, Limit: c.limit, Text: c.sentence}
		if e.Text == "" {
			e.Text = bounded(err.Error())
		}
		addDetails(e, err, mayReadUsage)
		return e
	}
	return &wire.Error{Code: wire.Internal, Text: "the server could not carry this out"}
}

// severity is how loud the log tells of a refusal: clients can cause as many
// as they like, except for those that are the server's own fault.
func severity(err error) slog.Level {
	if wireError(err, false).Code == wire.Internal && !errors.Is(err, errInterrupted) {
		return slog.LevelError
	}
	return slog.LevelDebug
}

func addDetails(e *wire.Error, err error, mayReadUsage bool) {
	if np, ok := errors.AsType[*lease.NotPermittedError](err); ok {
		e.Limit = np.Limit.String()
	}
	if oq, ok := errors.AsType[*lease.OverQuotaError](err); ok && mayReadUsage {
		e.Free = new(uint64(max(0, oq.Limit-oq.Used)))
	}
}

// bounded cuts a text to what the wire takes.
func bounded(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), wire.MaxText)], "")
}

// mayReadUsage reports whether a grant's own words allow it to see numbers.
func mayReadUsage(g lease.Grant) bool {
	return !g.Label.IsZero() && g.Effective.Operations().Has(lease.OpReadUsage)
}
