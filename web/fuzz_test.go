package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/web"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

// FuzzGet: whatever is asked for, the answer is well-formed, and what is sent
// is as long as its header says.
func FuzzGet(f *testing.F) {
	node := &memnode.Node{}
	g := web.Gateway(node, web.Options{})
	for _, seed := range []struct{ capability, span, filename string }{
		{"URI:LIT:krugkidfnzsc4", "bytes=1-3", "a.txt"},
		{"URI:LIT:", "bytes=-0", "..\\\x00"},
		{"URI:LIT:krugkidfnzsc4", "bytes=99999999999999999999-", "ä\u202e.html"},
		{"URI:CHK:x", "bytes=,", ""},
	} {
		f.Add(seed.capability, seed.span, seed.filename)
	}
	f.Fuzz(func(t *testing.T, capability, span, filename string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = "localhost"
		path := "/uri/" + url.PathEscape(capability)
		r.URL = &url.URL{Path: "/uri/" + capability, RawPath: path, RawQuery: url.Values{"filename": {filename}}.Encode()}
		r.Header.Set("Range", span)
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		check(t, w)
	})
}

func check(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code < 200 || w.Code > 599 || w.Header().Get("Content-Security-Policy") == "" {
		t.Errorf("status %d, headers %v", w.Code, w.Header())
	}
	for name, values := range w.Header() {
		if strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
			t.Errorf("%s: %q", name, values)
		}
	}
	length := w.Header().Get("Content-Length")
	if w.Code == http.StatusPartialContent && (w.Body.Len() == 0 || length == "" || w.Header().Get("Content-Range") == "") {
		t.Errorf("206 of %d bytes, headers %v", w.Body.Len(), w.Header())
	}
}
