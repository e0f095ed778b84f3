package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/file/mutable"
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
	{tarn.ErrInsideItself, http.StatusConflict},
	{tarn.ErrReadOnly, http.StatusForbidden},
	{tarn.ErrProhibited, http.StatusForbidden},
	{directory.ErrReadOnly, http.StatusForbidden},
	{tarn.ErrConflict, http.StatusConflict},
	{tarn.ErrChanged, http.StatusConflict},
	{mutable.ErrSize, http.StatusRequestEntityTooLarge},
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
	tell(w, r, status, failure+": "+err.Error()+".")
}

const failure = "That did not work"

// tell answers with a sentence: on a page, if a browser is to show it to somebody.
func tell(w http.ResponseWriter, r *http.Request, status int, sentence string) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		fail(w, status, sentence)
		return
	}
	w.Header().Del("ETag")
	w.Header().Set("Cache-Control", "no-store")
	title := failure
	if status == http.StatusNotFound {
		title = "Not found"
	}
	v := errorView{Title: title, Sentence: strings.TrimPrefix(sentence, failure+": "), Back: wayBack(r)}
	if err := writePage(w, status, errorPage, v); err != nil {
		fail(w, status, sentence)
	}
}

// errorView is a page that says what went wrong.
type errorView struct {
	Title, Sentence string
	Trail           []step
	Back            string // the directory that it was about; "" if it was about none
}

// wayBack is the directory to which a request was sent, or in which it looked for
// something.
func wayBack(r *http.Request) string {
	a, ok := parseAddress(r.URL.EscapedPath())
	if !ok || a.root != rootURI || slices.Contains(a.elements, "") {
		return ""
	}
	here := a.elements
	if r.Method != http.MethodPost && len(here) > 0 {
		here = here[:len(here)-1]
	}
	if len(here) == 0 {
		return ""
	}
	c, err := file.Parse(here[0])
	if _, isDirectory := c.(file.Directory); err != nil || !isDirectory {
		return ""
	}
	return objectPath(here[0], here[1:]...) + "/"
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
