package dav

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/tree"
)

// request is what is known of one while it is served.
type request struct {
	method    string
	size      int64     // of the body, or -1
	mustBeNew bool      // the file that is put
	at        time.Time // when the file that is put changed, if timed
	timed     bool
	replace   map[string]bool // what a move or copy may replace
	err       error           // why the last thing failed that did
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	if q, ok := ctx.Value(requestKey{}).(*request); ok {
		return q
	}
	return &request{size: -1}
}

// failed notes an error. Those of which webdav makes an answer by itself have to be
// the values that it knows.
func (q *request) failed(err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fs.ErrNotExist
	case errors.Is(err, fs.ErrExist) && !q.mustBeNew:
		return fs.ErrExist
	}
	q.err = err
	return err
}

// statuses of errors; the first that fits counts.
var statuses = []struct {
	err    error
	status int
}{
	{fs.ErrExist, http.StatusPreconditionFailed},
	{fs.ErrPermission, http.StatusForbidden},
	{tree.ErrRoot, http.StatusForbidden},
	{tree.ErrInsideItself, http.StatusForbidden},
	{tree.ErrName, http.StatusBadRequest},
	{tree.ErrDirectory, http.StatusMethodNotAllowed},
	{tree.ErrNotDirectory, http.StatusMethodNotAllowed},
	{tree.ErrNotEmpty, http.StatusConflict},
	{tree.ErrUnknown, http.StatusForbidden},
	{tarn.ErrBadEntry, http.StatusForbidden},
	{tarn.ErrConflict, http.StatusConflict},
	{tarn.ErrChanged, http.StatusServiceUnavailable},
	{tarn.ErrNotEnoughShares, http.StatusServiceUnavailable},
	{lease.ErrAuthorityExpired, http.StatusForbidden},
	{lease.ErrAuthorityRevoked, http.StatusForbidden},
	{lease.ErrNoSuchRoot, http.StatusForbidden},
	{lease.ErrNotPermitted, http.StatusForbidden},
	{tarn.ErrTooFewServers, http.StatusInsufficientStorage},
	{tarn.ErrClosed, http.StatusServiceUnavailable},
	{context.Canceled, http.StatusServiceUnavailable},
}

func statusOf(err error) int {
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	return http.StatusInternalServerError
}

// answer is a sentence.
func answer(w http.ResponseWriter, status int, sentence string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	for _, name := range []string{"Content-Disposition", "Content-Length", "X-OC-Mtime"} {
		h.Del(name)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, sentence+"\n") // the client is gone if this fails
}

// answerer tells why something failed, where webdav knows nothing better to say
// than that it did.
type answerer struct {
	http.ResponseWriter
	request *request
	told    bool // the rest is not to be sent
}

// Unwrap is for http.ResponseController.
func (a *answerer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (a *answerer) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		a.Header().Del("Content-Disposition")
		a.Header().Del("X-OC-Mtime")
		a.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	if err := a.request.err; err != nil && status >= http.StatusBadRequest && status != http.StatusLocked {
		a.told = true
		answer(a.ResponseWriter, statusOf(err), "That did not work: "+innermost(err).Error()+".")
		return
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answerer) Write(p []byte) (int, error) {
	if a.told {
		return len(p), nil
	}
	return a.ResponseWriter.Write(p)
}

// ownCloudTime is when a file changed that is put, as ownCloud's clients say it, in
// seconds.
func ownCloudTime(h http.Header) (time.Time, bool) {
	seconds, err := strconv.ParseInt(h.Get("X-OC-Mtime"), 10, 64)
	if err != nil || seconds < 0 || seconds > 1e11 {
		return time.Time{}, false
	}
	return time.Unix(seconds, 0), true
}
