package web_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

// start serves node on a real port, as the limits and aborts of net/http are
// part of what is promised.
func start(t *testing.T, node web.Node, hosts ...string) string {
	t.Helper()
	server := httptest.NewServer(web.Gateway(node, web.Options{Hosts: hosts}))
	t.Cleanup(server.Close)
	return server.URL
}

type answer struct {
	*http.Response
	body []byte
	err  error // of reading the body
}

// ask does a request; headers come in pairs, "Host" is the host.
func ask(t *testing.T, method, address string, body io.Reader, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(r) // no redirects
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	return answer{response, read, err}
}

func (a answer) want(t *testing.T, status int, part string) {
	t.Helper()
	if a.StatusCode != status || !strings.Contains(string(a.body), part) {
		t.Errorf("%s %s: %d %q, want %d with %q", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.body, status, part)
	}
}

var content = []byte(strings.Repeat("the quick brown fox jumps over the lazy dog\n", 100))

func store(t *testing.T, address string, b []byte) string {
	t.Helper()
	a := ask(t, "PUT", address+"/uri", bytes.NewReader(b))
	a.want(t, http.StatusCreated, "URI:")
	return string(a.body)
}

func TestFileGoesInAndComesBack(t *testing.T) {
	node := &memnode.Node{}
	address := start(t, node)
	for name, b := range map[string][]byte{"empty": {}, "small": []byte("hello"), "stored": content} {
		capability := store(t, address, b)
		for how, path := range map[string]string{
			"encoded": url.QueryEscape(capability), "plain": capability, "path-escaped": url.PathEscape(capability),
		} {
			a := ask(t, "GET", address+"/uri/"+path, nil)
			if a.StatusCode != 200 || !bytes.Equal(a.body, b) || a.err != nil {
				t.Errorf("%s, %s: %d, %d bytes, %v", name, how, a.StatusCode, len(a.body), a.err)
			}
		}
		head := ask(t, "HEAD", address+"/uri/"+capability, nil)
		if head.StatusCode != 200 || head.ContentLength != int64(len(b)) || len(head.body) != 0 {
			t.Errorf("%s: HEAD %d, length %d", name, head.StatusCode, head.ContentLength)
		}
	}
}

func TestPutPassesTheSizeOn(t *testing.T) {
	node := &memnode.Node{}
	address := start(t, node)
	store(t, address, content)
	ask(t, "PUT", address+"/uri", io.MultiReader(bytes.NewReader(content))).want(t, 201, "URI:CHK:")
	options := node.Options()
	if len(options) != 2 || options[0].Size != int64(len(content)) || options[1].Size != -1 {
		t.Errorf("sizes passed on: %+v", options)
	}
}

func TestUnsupportedPutsStoreNothing(t *testing.T) {
	node := &memnode.Node{}
	address := start(t, node)
	ask(t, "PUT", address+"/uri", bytes.NewReader(content), "Content-Range", "bytes 0-9/100").
		want(t, http.StatusNotImplemented, "Content-Range")
	if n := len(node.Options()); n != 0 {
		t.Errorf("%d files were stored", n)
	}
	ask(t, "PUT", address+"/uri?format=chk", bytes.NewReader(content)).want(t, 201, "URI:CHK:")
}

func TestRanges(t *testing.T) {
	address := start(t, &memnode.Node{})
	at := address + "/uri/" + store(t, address, content)
	n := len(content)
	whole := string(content)
	for header, want := range map[string]struct {
		status int
		body   string
		where  string
	}{
		"bytes=0-9":                       {206, whole[:10], "bytes 0-9/" + fmt.Sprint(n)},
		"bytes=10-":                       {206, whole[10:], fmt.Sprintf("bytes 10-%d/%d", n-1, n)},
		"bytes=-5":                        {206, whole[n-5:], fmt.Sprintf("bytes %d-%d/%d", n-5, n-1, n)},
		"bytes=-99999999":                 {206, whole, fmt.Sprintf("bytes 0-%d/%d", n-1, n)},
		"bytes=4390-99999999999999999999": {206, whole[4390:], fmt.Sprintf("bytes 4390-%d/%d", n-1, n)},
		fmt.Sprintf("bytes=%d-", n-1):     {206, whole[n-1:], fmt.Sprintf("bytes %d-%d/%d", n-1, n-1, n)},
		fmt.Sprintf("bytes=%d-", n):       {416, "", fmt.Sprintf("bytes */%d", n)},
		"bytes=99999999999999999999-":     {416, "", fmt.Sprintf("bytes */%d", n)},
		"bytes=-0":                        {416, "", fmt.Sprintf("bytes */%d", n)},
		"bytes=5-4":                       {200, whole, ""},
		"bytes=0-1,3-4":                   {200, whole, ""},
		"bytes=":                          {200, whole, ""},
		"bytes=-":                         {200, whole, ""},
		"bytes=+1-2":                      {200, whole, ""},
		"bytes=0x1-2":                     {200, whole, ""},
		"lines=1-2":                       {200, whole, ""},
		"nonsense":                        {200, whole, ""},
	} {
		a := ask(t, "GET", at, nil, "Range", header)
		if a.StatusCode != want.status || a.Header.Get("Content-Range") != want.where || want.status != 416 && string(a.body) != want.body {
			t.Errorf("%s: %d, %q, %d bytes", header, a.StatusCode, a.Header.Get("Content-Range"), len(a.body))
		}
	}
	head := ask(t, "HEAD", at, nil, "Range", "bytes=0-9")
	if head.StatusCode != 206 || head.ContentLength != 10 {
		t.Errorf("HEAD with a range: %d, length %d", head.StatusCode, head.ContentLength)
	}
}

func TestEmptyFileHasNoRange(t *testing.T) {
	address := start(t, &memnode.Node{})
	ask(t, "GET", address+"/uri/URI:LIT:", nil, "Range", "bytes=0-0").want(t, 416, "0 bytes")
}

func TestETag(t *testing.T) {
	address := start(t, &memnode.Node{})
	capability := store(t, address, content)
	at := address + "/uri/" + capability
	tag := ask(t, "GET", at, nil).Header.Get("ETag")
	if len(tag) < 20 || strings.Contains(capability, strings.Trim(tag, `"`)) {
		t.Fatalf("ETag %q", tag)
	}
	for header, status := range map[string]int{tag: 304, `"x", W/` + tag: 304, "*": 304, `"x"`: 200} {
		if a := ask(t, "GET", at, nil, "If-None-Match", header); a.StatusCode != status {
			t.Errorf("If-None-Match %s: %d", header, a.StatusCode)
		}
	}
	for header, status := range map[string]int{tag: 206, `"x"`: 200, "Mon, 02 Jan 2006 15:04:05 GMT": 200} {
		if a := ask(t, "GET", at, nil, "Range", "bytes=0-0", "If-Range", header); a.StatusCode != status {
			t.Errorf("If-Range %s: %d", header, a.StatusCode)
		}
	}
	other := store(t, address, append([]byte("x"), content...))
	if again := ask(t, "GET", address+"/uri/"+other, nil).Header.Get("ETag"); again == tag {
		t.Error("two files have one ETag")
	}
}

func TestStoredContentIsPowerless(t *testing.T) {
	address := start(t, &memnode.Node{})
	at := address + "/uri/" + store(t, address, []byte("<script>alert(1)</script>"+string(content)))
	for filename, want := range map[string]struct{ kind, disposition string }{
		"":                 {"application/octet-stream", ""},
		"a.txt":            {"text/plain; charset=utf-8", `inline; filename=a.txt`},
		"a.PNG":            {"image/png", `inline; filename=a.PNG`},
		"a.html":           {"text/html; charset=utf-8", `attachment; filename=a.html`},
		"a.svg":            {"image/svg+xml", `attachment; filename=a.svg`},
		"a.unheard":        {"application/octet-stream", `attachment; filename=a.unheard`},
		"../../etc/x.txt":  {"text/plain; charset=utf-8", `inline; filename=x.txt`},
		`..\x.txt`:         {"text/plain; charset=utf-8", `inline; filename=x.txt`},
		"..":               {"application/octet-stream", ""},
		"a\r\nX: y.txt":    {"text/plain; charset=utf-8", `inline; filename="aX: y.txt"`},
		"a\u202Etxt.html":  {"text/html; charset=utf-8", `attachment; filename=atxt.html`},
		"ä.txt":            {"text/plain; charset=utf-8", `inline; filename*=utf-8''%C3%A4.txt`},
		`quote".txt`:       {"text/plain; charset=utf-8", `inline; filename="quote\".txt"`},
		"broken\xff.txt":   {"text/plain; charset=utf-8", `inline; filename=broken.txt`},
		"name;filename=.x": {"application/octet-stream", `attachment; filename="name;filename=.x"`},
	} {
		a := ask(t, "GET", at+"?filename="+url.QueryEscape(filename), nil)
		h := a.Header
		if h.Get("Content-Type") != want.kind || h.Get("Content-Disposition") != want.disposition {
			t.Errorf("%q: %s, %s", filename, h.Get("Content-Type"), h.Get("Content-Disposition"))
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" ||
			!strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox;") || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%q: unsafe headers %v", filename, h)
		}
	}
	long := ask(t, "GET", at+"?filename="+strings.Repeat("ä", 5000)+".txt", nil).Header.Get("Content-Disposition")
	if len(long) > 1000 || !strings.HasSuffix(long, ".txt") {
		t.Errorf("a long name became %d bytes", len(long))
	}
	if save := ask(t, "GET", at+"?filename=a.txt&save=true", nil).Header.Get("Content-Disposition"); save != "attachment; filename=a.txt" {
		t.Errorf("save=true: %s", save)
	}
}

func TestHosts(t *testing.T) {
	address := start(t, &memnode.Node{}, "Tarn.Example.")
	for host, status := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:1": 200, "127.9.8.7:3456": 200, "localhost:3456": 200, "LOCALHOST.": 200,
		"[::1]:3456": 200, "[::1]": 200, "tarn.example": 200, "tarn.example:80": 200,
		"evil.example": 403, "evil.example:3456": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403,
		"10.0.0.1": 403, "0.0.0.0:3456": 403, "2130706433": 403, "tarn.example.evil": 403, "x@localhost": 403,
	} {
		for _, method := range []string{"GET", "PUT"} {
			path := map[string]string{"GET": "/", "PUT": "/uri"}[method]
			want := status
			if method == "PUT" && status == 200 {
				want = 201
			}
			if a := ask(t, method, address+path, strings.NewReader(""), "Host", host); a.StatusCode != want {
				t.Errorf("%s with host %q: %d, want %d", method, host, a.StatusCode, want)
			}
		}
	}
}

func TestOtherSitesStoreNothing(t *testing.T) {
	node := &memnode.Node{}
	address := start(t, node)
	for _, headers := range [][]string{
		{"Origin", "http://evil.example"},
		{"Origin", "null"},
		{"Origin", "http://localhost:1"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
	} {
		ask(t, "PUT", address+"/uri", bytes.NewReader(content), headers...).want(t, 403, "another site")
	}
	if n := len(node.Options()); n != 0 {
		t.Errorf("%d files were stored", n)
	}
	ask(t, "PUT", address+"/uri", bytes.NewReader(content), "Origin", address).want(t, 201, "URI:CHK:")
	ask(t, "PUT", address+"/uri", bytes.NewReader(content), "Sec-Fetch-Site", "same-origin").want(t, 201, "URI:CHK:")
}

func TestOtherSitesEmbedNothing(t *testing.T) {
	node := &memnode.Node{}
	address := start(t, node)
	good := address + "/uri/" + store(t, address, content)
	for _, site := range []string{"cross-site", "same-site"} {
		for _, how := range [][2]string{{"no-cors", "image"}, {"cors", "empty"}, {"navigate", "iframe"}, {"", ""}} {
			ask(t, "GET", good, nil, "Sec-Fetch-Site", site, "Sec-Fetch-Mode", how[0], "Sec-Fetch-Dest", how[1]).want(t, 403, "another site")
		}
		ask(t, "GET", good, nil, "Sec-Fetch-Site", site, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document").want(t, 200, "")
	}
	for _, site := range []string{"same-origin", "none"} {
		ask(t, "GET", good, nil, "Sec-Fetch-Site", site, "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image").want(t, 200, "")
	}
}

func TestBadCapabilities(t *testing.T) {
	node := &memnode.Node{}
	address := start(t, node)
	good := store(t, address, content)
	key := strings.Repeat("a", 26)
	hash := strings.Repeat("a", 52)
	for text, status := range map[string]int{
		"":                                       400,
		"URI:":                                   400,
		"URI:CHK:":                               400,
		good[:len(good)-30]:                      400,
		good + "x":                               400,
		good + "/":                               400,
		good + "/child":                          400,
		"hello":                                  400,
		"../../etc/passwd":                       400,
		"URI:LIT:1":                              400,
		"URI:CHK:" + key + ":" + hash + ":3:2:9": 400,
		"URI:CHK:" + key + ":" + hash + ":3:10:99999999999999999999":    400,
		"URI:CHK:" + key + ":" + hash + ":3:10:1000":                    410,
		"URI:CHK-Verifier:" + key + ":" + hash + ":3:10:1000":           400,
		"URI:DIR2:" + key + ":" + hash:                                  410,
		"URI:SSK-RO:" + key + ":" + hash:                                410,
		"URI:SSK-Verifier:" + key + ":" + hash:                          400,
		"URI:DIR2-Verifier:" + key + ":" + hash:                         400,
		"URI:CHK:" + key + ":" + hash + ":3:10:1000\x00":                400,
		"URI:CHK:" + key + ":" + hash + ":3:10:1000\r\nSet-Cookie: a=b": 400,
		"imm." + good: 200,
	} {
		for _, method := range []string{"GET", "HEAD"} {
			a := ask(t, method, address+"/uri/"+url.PathEscape(text), nil)
			if a.StatusCode != status {
				t.Errorf("%s %q: %d %s, want %d", method, text, a.StatusCode, a.body, status)
			}
			if status >= 400 && len(text) > 30 && strings.Contains(fmt.Sprint(a.Header, string(a.body)), text[8:30]) {
				t.Errorf("the answer repeats %q", text)
			}
		}
	}
}

func TestOtherAddressesAndMethods(t *testing.T) {
	address := start(t, &memnode.Node{})
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/favicon.ico", 404}, {"GET", "//uri/URI:LIT:", 404}, {"GET", "/uri", 400}, {"GET", "/uri?uri=x", 400}, {"GET", "/URI/x", 404}, {"GET", "/uri/URI:LIT:/x", 400}, {"GET", "/uri/URI:LIT:/", 400},
		{"GET", "/uri/URI:DIR2-LIT://", 400}, {"GET", "/uri/%ff", 400}, {"GET", "/uri/URI:DIR2-LIT:/%ff", 400}, {"GET", "/uri/URI:DIR2-LIT:/x", 404},
		{"GET", "/named", 404}, {"GET", "/file/URI:LIT:/a/b.txt", 200}, {"GET", "/named/URI:DIR2-LIT:", 400}, {"POST", "/named/URI:LIT:/x", 405},
		{"GET", "/cap/URI:LIT:", 200}, {"GET", "/uri/URI:LIT:?t=nonsense", 400}, {"POST", "/uri?t=nonsense", 400}, {"PUT", "/uri?t=nonsense", 400},
		{"POST", "/uri/URI:LIT:?t=nonsense", 400}, {"GET", "/?t=nonsense", 400}, {"GET", "/uri/URI:LIT:?save=perhaps", 400}, {"PUT", "/uri?format=zip", 400},
		{"GET", "/operations/x", 404}, {"GET", "/operations", 404}, {"DELETE", "/operations/x", 405}, {"GET", "/statistics/x", 404},
		{"GET", "/uri/URI:LIT:?a=%zz", 400}, {"GET", "/statistics?t=nonsense", 400},
		{"GET", "/a/../uri/URI:LIT:", 404}, {"GET", "/uri/%zz", 400}, {"POST", "/uri", 400}, {"DELETE", "/uri/URI:LIT:", 400},
		{"PUT", "/uri/URI:LIT:", 400}, {"PUT", "/uri/URI:DIR2-LIT:", 400}, {"PUT", "/uri/URI:LIT:/x", 409}, {"PUT", "/uri/URI:DIR2-LIT:/x", 403}, {"POST", "/", 405}, {"OPTIONS", "/uri", 405}, {"PROPFIND", "/", 405},
		{"GET", "/v1/status", 404}, {"GET", "/metrics", 404},
	} {
		if status := rawStatus(t, address, c.method, c.path); status != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, status, c.status)
		}
	}
}

func TestFailuresOfTheNode(t *testing.T) {
	for err, status := range map[error]int{
		fmt.Errorf("place: %w", tarn.ErrTooFewServers): 507,
		lease.ErrNoSuchRoot:                            403,
		lease.ErrAuthorityExpired:                      403,
		tarn.ErrNoClient:                               501,
		context.Canceled:                               503,
		errors.New("disk on fire"):                     500,
	} {
		address := start(t, &memnode.Node{PutError: err})
		ask(t, "PUT", address+"/uri", bytes.NewReader(content)).want(t, status, err.Error())
	}
}

// TestLargeBodyIsRefusedInWords: the answer must reach a client that is still
// sending.
func TestLargeBodyIsRefusedInWords(t *testing.T) {
	address := start(t, &memnode.Node{PutError: tarn.ErrTooFewServers})
	ask(t, "PUT", address+"/uri", bytes.NewReader(make([]byte, 8<<20))).want(t, 507, "That did not work")
}

func TestFailureBeforeTheFirstByteHasAStatus(t *testing.T) {
	node := &memnode.Node{ReadError: fmt.Errorf("read: %w", tarn.ErrNotEnoughShares)}
	address := start(t, node)
	a := ask(t, "GET", address+"/uri/"+store(t, address, content)+"?filename=a.txt", nil, "Range", "bytes=5-")
	a.want(t, http.StatusGone, tarn.ErrNotEnoughShares.Error())
	if a.err != nil || a.Header.Get("ETag") != "" || a.Header.Get("Content-Range") != "" || a.Header.Get("Content-Disposition") != "" {
		t.Errorf("%v with %v", a.err, a.Header)
	}
}

func TestFailureInMidDownloadIsNoCleanEnd(t *testing.T) {
	node := &memnode.Node{ReadError: tarn.ErrNotEnoughShares, ReadLimit: 1000}
	address := start(t, node)
	a := ask(t, "GET", address+"/uri/"+store(t, address, content), nil)
	if a.StatusCode != 200 || a.err == nil {
		t.Errorf("status %d, error %v: the download looks whole", a.StatusCode, a.err)
	}
	if !bytes.HasPrefix(content, a.body) || len(a.body) > 1000 {
		t.Errorf("%d bytes that are no beginning of the file", len(a.body))
	}
}

// TestNothingRunsInTheBackground: what is stored can't be made a service worker.
func TestNothingRunsInTheBackground(t *testing.T) {
	address := start(t, &memnode.Node{})
	at := address + "/uri/" + store(t, address, content) + "?filename=sw.js"
	ask(t, "GET", at, nil).want(t, 200, "")
	ask(t, "GET", at, nil, "Service-Worker", "script").want(t, 403, "inside a browser")
}
