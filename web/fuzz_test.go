package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/file"
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

// FuzzDirectory: whatever a directory holds, it can be listed, looked into and
// gone through, or is refused.
func FuzzDirectory(f *testing.F) {
	node := &memnode.Node{}
	g := web.Gateway(node, web.Options{})
	for _, seed := range []string{
		"", "34:4:gone,0:,0:,17:{\"deleted\": true},,", "29:1:a,12:URI:LIT:krug,0:,2:{},,", "36:3:sub,17:URI:DIR2-LIT:ge2t,0:,2:{},,",
		"32:3:new,9:URI:NEW:x,0:,7:{\"a\":1},,", "20:1:b,3:URI,0:,2:{},,", "40:1:a,12:URI:LIT:krug,0:,12:{\"mtime\": 1},,",
	} {
		f.Add(seed, "a")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		at := "/uri/" + url.PathEscape(file.Directory{File: file.LIT{Data: text}}.String())
		below := at + "/" + url.PathEscape(name)
		for _, ask := range [][2]string{
			{"GET", at}, {"GET", at + "?t=json"}, {"GET", at + "?t=info"}, {"GET", below}, {"GET", below + "?t=json"}, {"GET", below + "?t=info"},
			{"POST", at + "?t=stream-manifest"}, {"DELETE", below},
		} {
			u, err := url.ParseRequestURI(ask[1])
			if err != nil {
				return
			}
			r := httptest.NewRequest(ask[0], "/", nil)
			r.URL, r.Host = u, "localhost"
			w := httptest.NewRecorder()
			g.ServeHTTP(w, r)
			check(t, w)
			if w.Code >= 500 {
				t.Errorf("%s %s: %d: %s", ask[0], ask[1], w.Code, w.Body)
			}
		}
	})
}

// FuzzRequest: no address, query or form is answered with anything but a
// well-formed answer, and none of this has a node fail.
func FuzzRequest(f *testing.F) {
	node := &memnode.Node{}
	g := web.Gateway(node, web.Options{})
	for _, seed := range []struct{ method, target, kind, body string }{
		{"GET", "/uri/URI:DIR2-LIT:/a%2Fb//c?t=json", "", ""},
		{"GET", "/uri?uri=URI%3ALIT%3A&t=info&t=uri", "", ""},
		{"GET", "/named/URI:LIT:/@@named=/x.html?save=1", "", ""},
		{"POST", "/uri?t=mkdir-immutable", "", `{"a": ["filenode", {"ro_uri": "URI:LIT:", "metadata": {"tahoe": {}}}]}`},
		{"POST", "/uri?when_done=//x/%25(uri)s", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\\\\\"\r\n\r\nx\r\n--b--\r\n"},
		{"POST", "/uri/URI:DIR2-LIT:/?t=start-manifest&ophandle=%2F&retain-for=-1", "application/x-www-form-urlencoded", "output=JSON&a;b"},
		{"POST", "/operations/x?t=cancel", "", ""},
		{"PUT", "/cap?format=MdMf&cred=LS0=", "", "body"},
	} {
		f.Add(seed.method, seed.target, seed.kind, seed.body)
	}
	f.Fuzz(func(t *testing.T, method, target, kind, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || method == "" || strings.ContainsFunc(method, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return // net/http refuses it before
		}
		r := httptest.NewRequest("GET", "/", strings.NewReader(body))
		r.Method, r.URL, r.Host = method, u, "localhost"
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		check(t, w)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented && w.Code != http.StatusServiceUnavailable {
			t.Errorf("%d: %s", w.Code, w.Body)
		}
		if to := w.Header().Get("Location"); to != "" && (!strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//")) {
			t.Errorf("sent on to %q", to)
		}
	})
}
