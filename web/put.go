package web

import (
	"io"
	"net/http"
	"strings"

	"github.com/tarn-grid/tarn"
)

// put stores the body and answers with the capability, as Tahoe's PUT /uri.
func (g *gateway) put(w http.ResponseWriter, r *http.Request) {
	if sentence := unsupportedPut(r); sentence != "" {
		fail(w, http.StatusNotImplemented, sentence)
		return
	}
	result, err := g.node.Put(r.Context(), r.Body, tarn.PutOptions{Size: r.ContentLength})
	if err != nil {
		g.failed(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, result.Cap) // the client is gone if this fails
}

// unsupportedPut is what Tahoe can do with PUT /uri and this version can't;
// storing something else instead would be worse than refusing.
func unsupportedPut(r *http.Request) string {
	query := r.URL.Query()
	switch {
	case query.Get("t") != "":
		return "This version stores files; it makes no directories yet."
	case query.Has("format") && !strings.EqualFold(query.Get("format"), "chk"):
		return "This version stores immutable files (format=CHK) only."
	case query.Has("mutable") && query.Get("mutable") != "false":
		return "This version stores immutable files only."
	case r.Header.Get("Content-Range") != "":
		return "A file is stored whole; Content-Range is not supported."
	}
	return ""
}
