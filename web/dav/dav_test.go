package dav_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/dav"
	"github.com/tarn-grid/tarn/web/internal/memnode"
	"github.com/tarn-grid/tarn/web/tree"
	"github.com/tarn-grid/tarn/web/users"
)

type source map[string]users.User

func (s source) User(name string) (users.User, bool) {
	u, ok := s[name]
	return u, ok
}

const password = "correct horse"

// hashed is made once: it is meant to take long.
var hashed = sync.OnceValues(func() (string, error) { return users.Hash(password) })

// server is one with the users alice, who can write, and bob, who can read the same.
type server struct {
	t    *testing.T
	url  string
	node *memnode.Node
	root tarn.MutableResult
}

func serve(t *testing.T) server {
	t.Helper()
	node := &memnode.Node{}
	root, err := node.MakeDirectory(t.Context(), tarn.MutableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hash, err := hashed()
	if err != nil {
		t.Fatal(err)
	}
	s := source{"alice": {Name: "alice", Root: root.Cap, Hash: hash}, "bob": {Name: "bob", Root: root.ReadCap, Hash: hash}, "carol": {Name: "carol", Root: root.Cap}}
	h, err := dav.Handler(tree.New(node, t.TempDir()), s, dav.Options{})
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(h)
	t.Cleanup(listener.Close)
	return server{t, listener.URL, node, root}
}

// do asks as alice; header is pairs.
func (s server) do(method, path, body string, header ...string) (*http.Response, string) {
	s.t.Helper()
	return s.as("alice", method, path, strings.NewReader(body), header...)
}

func (s server) as(name, method, path string, body io.Reader, header ...string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.SetBasicAuth(name, password)
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if strings.Contains(string(text), "URI:") {
		s.t.Errorf("%s %s: a capability is in the answer", method, path)
	}
	return answer, string(text)
}

// want wants a status.
func (s server) want(status int, method, path, body string, header ...string) string {
	s.t.Helper()
	answer, text := s.do(method, path, body, header...)
	if answer.StatusCode != status {
		s.t.Errorf("%s %s: %d %s, want %d", method, path, answer.StatusCode, text, status)
	}
	return text
}

var long = strings.Repeat("a file that does not lie in its capability. ", 10)

// What every program does.
func TestDAV(t *testing.T) {
	s := serve(t)
	s.want(http.StatusCreated, "MKCOL", "/dir", "")
	s.want(http.StatusMethodNotAllowed, "MKCOL", "/dir", "")
	s.want(http.StatusConflict, "MKCOL", "/no/dir", "")
	s.want(http.StatusUnsupportedMediaType, "MKCOL", "/body", "<x/>")
	answer, _ := s.do("PUT", "/dir/a%20file.txt", long)
	tag := answer.Header.Get("ETag")
	if answer.StatusCode != http.StatusCreated || tag == "" {
		t.Errorf("put: %d, tag %q", answer.StatusCode, tag)
	}
	s.want(http.StatusCreated, "PUT", "/empty", "")
	s.want(http.StatusConflict, "PUT", "/no/file", "x")
	s.want(http.StatusMethodNotAllowed, "PUT", "/dir", "x")
	answer, text := s.do("GET", "/dir/a%20file.txt", "")
	if text != long || answer.Header.Get("ETag") != tag || answer.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("get: %q, %v", text, answer.Header)
	}
	if text := s.want(http.StatusPartialContent, "GET", "/dir/a%20file.txt", "", "Range", "bytes=2-5"); text != long[2:6] {
		t.Errorf("range: %q", text)
	}
	s.want(http.StatusNotModified, "GET", "/dir/a%20file.txt", "", "If-None-Match", tag)
	s.want(http.StatusNotFound, "GET", "/nothing", "")
	list := s.want(http.StatusMultiStatus, "PROPFIND", "/dir/", "", "Depth", "1")
	if !strings.Contains(list, "/dir/a%20file.txt") || !strings.Contains(list, "<D:getcontentlength>440<") || !strings.Contains(list, strings.Trim(tag, `"`)) {
		t.Errorf("list: %s", list)
	}

	s.want(http.StatusCreated, "COPY", "/dir/a%20file.txt", "", "Destination", s.url+"/copy")
	s.want(http.StatusPreconditionFailed, "COPY", "/empty", "", "Destination", s.url+"/copy", "Overwrite", "F")
	if text := s.want(http.StatusOK, "GET", "/copy", ""); text != long {
		t.Errorf("copy: %q", text)
	}
	s.want(http.StatusCreated, "COPY", "/dir", "", "Destination", s.url+"/dir2")
	s.want(http.StatusPreconditionFailed, "MOVE", "/empty", "", "Destination", s.url+"/copy", "Overwrite", "F")
	s.want(http.StatusNoContent, "MOVE", "/empty", "", "Destination", s.url+"/copy")
	if text := s.want(http.StatusOK, "GET", "/copy", ""); text != "" {
		t.Errorf("moved over: %q", text)
	}
	s.want(http.StatusNotFound, "GET", "/empty", "")
	s.want(http.StatusForbidden, "MOVE", "/dir", "", "Destination", s.url+"/dir/below")
	s.want(http.StatusForbidden, "MOVE", "/dir", "", "Destination", s.url+"/dir/a%20file.txt")
	if text := s.want(http.StatusOK, "GET", "/dir/a%20file.txt", ""); text != long {
		t.Errorf("what a move that failed was to replace: %q", text)
	}
	s.want(http.StatusNoContent, "DELETE", "/dir", "")
	s.want(http.StatusNotFound, "DELETE", "/dir", "")
	s.want(http.StatusForbidden, "DELETE", "/", "")
	if text := s.want(http.StatusOK, "GET", "/dir2/a%20file.txt", ""); text != long {
		t.Errorf("copy of a directory: %q", text)
	}
}

// A file that does not come whole leaves what was there.
func TestBrokenPut(t *testing.T) {
	s := serve(t)
	s.want(http.StatusCreated, "PUT", "/file", long)
	for _, path := range []string{"/file", "/new"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), "PUT", s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("alice", password)
		_, _ = io.WriteString(c, "PUT "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: "+r.Header.Get("Authorization")+"\r\nContent-Length: 1000\r\n\r\nonly this")
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(c) // until the server is done with it
		c.Close()
	}
	if text := s.want(http.StatusOK, "GET", "/file", ""); text != long {
		t.Errorf("%q", text)
	}
	s.want(http.StatusNotFound, "GET", "/new", "")
}

// Conditions of a write count.
func TestConditions(t *testing.T) {
	s := serve(t)
	s.want(http.StatusCreated, "PUT", "/file", long, "If-None-Match", "*")
	s.want(http.StatusPreconditionFailed, "PUT", "/file", "x", "If-None-Match", "*")
	answer, _ := s.do("HEAD", "/file", "")
	s.want(http.StatusPreconditionFailed, "PUT", "/file", "x", "If-Match", `"other"`)
	s.want(http.StatusCreated, "PUT", "/file", "second", "If-Match", answer.Header.Get("ETag"))
	s.want(http.StatusPreconditionFailed, "DELETE", "/file", "", "If-Match", answer.Header.Get("ETag"))
	s.want(http.StatusBadRequest, "PUT", "/file", "x", "Content-Range", "bytes 0-0/3")
	if text := s.want(http.StatusOK, "GET", "/file", ""); text != "second" {
		t.Errorf("%q", text)
	}
}

// Locks hold off whoever does not have their token, under both names of a directory.
func TestLocks(t *testing.T) {
	s := serve(t)
	s.want(http.StatusCreated, "PUT", "/file", long)
	lock := `<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>`
	answer, text := s.do("LOCK", "/file", lock, "Timeout", "Infinite")
	token := answer.Header.Get("Lock-Token")
	if answer.StatusCode != http.StatusOK || token == "" || !strings.Contains(text, "Second-3600") {
		t.Errorf("lock: %d %s", answer.StatusCode, text)
	}
	s.want(http.StatusLocked, "PUT", "/file", "x")
	s.want(http.StatusCreated, "PUT", "/file", "x", "If", "("+token+")")
	s.want(http.StatusNoContent, "UNLOCK", "/file", "", "Lock-Token", token)
	s.want(http.StatusCreated, "PUT", "/file", "y")
}

// Who is no user gets in nowhere, nor does a page elsewhere; who can only read
// changes nothing, and is told so.
func TestWhoMayDoWhat(t *testing.T) {
	s := serve(t)
	s.want(http.StatusCreated, "PUT", "/file", long)
	for _, name := range []string{"", "mallory", "carol"} { // carol has no password
		answer, _ := s.as(name, "PROPFIND", "/", nil, "Depth", "1")
		if answer.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(answer.Header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%q: %d", name, answer.StatusCode)
		}
	}
	s.want(http.StatusForbidden, "GET", "/file", "", "Host", "evil.example")
	s.want(http.StatusForbidden, "PUT", "/file", "x", "Origin", "http://evil.example")
	s.want(http.StatusForbidden, "GET", "/file", "", "Sec-Fetch-Site", "cross-site")
	s.want(http.StatusForbidden, "PROPFIND", "/", "", "Depth", "infinity")
	s.want(http.StatusForbidden, "PROPFIND", "/", "")
	for _, c := range [][]string{{"PUT", "/file"}, {"PUT", "/new"}, {"MKCOL", "/new"}, {"DELETE", "/file"}, {"MOVE", "/file"}} {
		answer, text := s.as("bob", c[0], c[1], strings.NewReader(""), "Destination", s.url+"/other")
		if answer.StatusCode != http.StatusForbidden || !strings.Contains(text, "can only read") {
			t.Errorf("bob: %v: %d %s", c, answer.StatusCode, text)
		}
	}
	if _, text := s.as("bob", "GET", "/file", nil); text != long {
		t.Errorf("bob: %q", text)
	}
}

// What the node can't do is told as what it is.
func TestFailures(t *testing.T) {
	s := serve(t)
	s.want(http.StatusCreated, "PUT", "/file", strings.Repeat(long, 10))
	s.node.PutError = tarn.ErrTooFewServers
	if text := s.want(http.StatusInsufficientStorage, "PUT", "/new", long); !strings.Contains(text, "too few servers") {
		t.Error(text)
	}
	s.node.PutError, s.node.EditError = nil, tarn.ErrConflict
	s.want(http.StatusConflict, "PUT", "/new", long)
	s.want(http.StatusConflict, "DELETE", "/file", "")
	s.want(http.StatusConflict, "MOVE", "/file", "", "Destination", s.url+"/other")
	s.node.EditError = nil
	s.want(http.StatusNotFound, "GET", "/new", "")
	s.want(http.StatusOK, "GET", "/file", "")
}

// ownCloud's clients say when a file changed.
func TestOwnCloudTime(t *testing.T) {
	s := serve(t)
	answer, _ := s.do("PUT", "/file", long, "X-OC-Mtime", "1000000000")
	if answer.Header.Get("X-OC-Mtime") != "accepted" {
		t.Error("not accepted")
	}
	answer, _ = s.do("HEAD", "/file", "")
	if got, err := http.ParseTime(answer.Header.Get("Last-Modified")); err != nil || !got.Equal(time.Unix(1e9, 0)) {
		t.Errorf("%v, %v", got, err)
	}
}
