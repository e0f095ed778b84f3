package web

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/lease"
)

// statuses are those that Tahoe answers with, where it has the case.
var statuses = []struct {
	err    error
	status int
}{
	{tarn.ErrNoEntry, http.StatusNotFound},
	{tarn.ErrNotDirectory, http.StatusBadRequest},
	{tarn.ErrEntryExists, http.StatusConflict},
	{tarn.ErrReadOnly, http.StatusForbidden},
	{directory.ErrReadOnly, http.StatusForbidden},
	{tarn.ErrConflict, http.StatusConflict},
	{tarn.ErrChanged, http.StatusConflict},
	{tarn.ErrMutableKey, http.StatusBadRequest},
	{tarn.ErrBadEntry, http.StatusBadRequest},
	{directory.ErrDirectory, http.StatusUnprocessableEntity},
	{tarn.ErrCap, http.StatusBadRequest},
	{tarn.ErrNotEnoughShares, http.StatusGone},
	{lease.ErrAuthorityExpired, http.StatusForbidden},
	{lease.ErrAuthorityRevoked, http.StatusForbidden},
	{lease.ErrNoSuchRoot, http.StatusForbidden},
	{lease.ErrNotPermitted, http.StatusForbidden},
	{tarn.ErrTooFewServers, http.StatusInsufficientStorage},
	{tarn.ErrNoClient, http.StatusNotImplemented},
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

// failed answers with what the node says of a failure.
func (g *gateway) failed(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	if status == http.StatusInternalServerError {
		g.log.ErrorContext(r.Context(), "request failed", "method", methodName(r.Method), "error", err)
	}
	fail(w, status, "That did not work: "+err.Error()+".")
}

// fail answers with a sentence.
func fail(w http.ResponseWriter, status int, sentence string) {
	h := w.Header()
	h.Del("ETag")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, sentence+"\n") // the client is gone if this fails
}
