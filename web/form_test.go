package web_test

import (
	"bytes"
	"encoding/base64"
	"mime/multipart"
	"net/url"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

// form is a form with a file, behind which its other fields come.
func form(t *testing.T, fileName string, content []byte, fields ...string) (body *bytes.Buffer, kind string) {
	t.Helper()
	body = &bytes.Buffer{}
	w := multipart.NewWriter(body)
	if fileName != "" {
		part, err := w.CreateFormFile("file", fileName)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return body, w.FormDataContentType()
}

func TestUploadByForm(t *testing.T) {
	node := &memnode.Node{}
	address := start(t, node)
	body, kind := form(t, `C:\photos\ä<b>.txt`, content, "t", "upload")
	a := ask(t, "POST", address+"/uri", body, "Content-Type", kind)
	a.want(t, 200, "URI:CHK:")
	if page := string(a.body); strings.Contains(page, "<b>") || !strings.Contains(page, "4.4kB") || strings.Contains(page, "photos") {
		t.Errorf("page %s", page)
	}
	body, kind = form(t, "a.txt", content, "t", "upload", "when_done", "/uri/%(uri)s?filename=a.txt")
	a = ask(t, "POST", address+"/uri", body, "Content-Type", kind)
	if a.StatusCode != 302 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	back := ask(t, "GET", address+a.Header.Get("Location"), nil)
	if back.StatusCode != 200 || !bytes.Equal(back.body, content) {
		t.Errorf("%s leads to %d, %d bytes", a.Header.Get("Location"), back.StatusCode, len(back.body))
	}
}

// TestNoOpenRedirect: a browser is sent on within the gateway alone.
func TestNoOpenRedirect(t *testing.T) {
	node := &memnode.Node{}
	address := start(t, node)
	own := strings.TrimPrefix(address, "http://")
	for to, want := range map[string]string{
		".":                     "/",
		"/":                     "/",
		"uri/x?t=info":          "/uri/x?t=info",
		"?a=b":                  "/uri?a=b",
		"http://" + own + "/x":  "/x",
		"//" + own + "/x":       "/x",
		"http://evil.example/":  "",
		"//evil.example/":       "",
		"https:evil.example":    "",
		`/\evil.example`:        "/%5Cevil.example",
		`\\evil.example`:        "/%5C%5Cevil.example",
		"javascript:alert(1)":   "",
		"data:text/html,x":      "",
		"http://x@" + own + "/": "",
		"//":                    "/uri",
		"/.//evil.example":      "",
		"/a/..//evil.example":   "/evil.example",
		"///evil.example":       "",
		"%0d%0aX: y":            "",
		"/%0d%0aX: y":           "/%0D%0AX:%20y",
		"\r\nX: y":              "",
	} {
		body, kind := form(t, "a", []byte("x"), "t", "upload", "when_done", to)
		a := ask(t, "POST", address+"/uri", body, "Content-Type", kind)
		got := a.Header.Get("Location")
		if want == "" && (a.StatusCode != 400 || got != "") || want != "" && (a.StatusCode != 302 || !strings.EqualFold(got, want)) {
			t.Errorf("%q: %d to %q, want %q", to, a.StatusCode, got, want)
		}
	}
}

func TestBadForms(t *testing.T) {
	node := &memnode.Node{}
	address := start(t, node)
	good, kind := form(t, "a", content, "t", "upload")
	cut := good.Bytes()[:good.Len()-20]
	two := strings.Replace(good.String(), `name="t"`, `name="file"; filename="b"`, 1)
	none, noneKind := form(t, "", nil, "t", "upload")
	fields := strings.Repeat("a=b&", 3)
	for name, c := range map[string]struct {
		body, kind string
		status     int
	}{
		"cut off":           {string(cut), kind, 400},
		"two files":         {two, kind, 400},
		"no file":           {none.String(), noneKind, 400},
		"no boundary":       {good.String(), "multipart/form-data", 400},
		"other boundary":    {good.String(), "multipart/form-data; boundary=x", 400},
		"encoded":           {fields + "t=upload", "application/x-www-form-urlencoded", 400},
		"encoded, bad":      {"%zz", "application/x-www-form-urlencoded", 400},
		"encoded, too long": {strings.Repeat("a=b&", 2<<20), "application/x-www-form-urlencoded", 413},
	} {
		a := ask(t, "POST", address+"/uri", strings.NewReader(c.body), "Content-Type", c.kind)
		if a.StatusCode != c.status {
			t.Errorf("%s: %d %s, want %d", name, a.StatusCode, a.body, c.status)
		}
	}
	if n := len(node.Options()); n != 0 {
		t.Errorf("%d files were stored", n)
	}
}

// TestGoToACapability: a pasted capability becomes an address, and what else was
// asked stays.
func TestGoToACapability(t *testing.T) {
	address := start(t, &memnode.Node{})
	for query, want := range map[string]string{
		"uri=URI%3ALIT%3Akrugkidfnzsc4&filename=a%26b.txt": "/uri/URI:LIT:krugkidfnzsc4?filename=a%26b.txt",
		"uri=+URI:DIR2-LIT:%0A":                            "/uri/URI:DIR2-LIT:/",
	} {
		a := ask(t, "GET", address+"/uri?"+query, nil)
		if a.StatusCode != 302 || a.Header.Get("Location") != want {
			t.Errorf("%s: %d to %q", query, a.StatusCode, a.Header.Get("Location"))
		}
	}
}

// TestAuthorityOfARequest: by argument or header, whole or in parts, for reading
// and for storing.
func TestAuthorityOfARequest(t *testing.T) {
	authority := lease.Authority{Holdings: []lease.Holding{{Account: lease.AccountOf([lease.SeedSize]byte{7})}}}
	text, err := authority.Text()
	if err != nil {
		t.Fatal(err)
	}
	coded := base64.StdEncoding.EncodeToString(text)
	third := len(coded) / 3
	ways := map[string][]string{
		"cred":         nil,
		"own":          {"X-Tarn-Authority", coded},
		"url alphabet": {"X-Tarn-Authority", base64.RawURLEncoding.EncodeToString(text)},
		"Tahoe's":      {"X-Tahoe-Storage-Authority", coded},
		"parts": {
			"X-Tahoe-Storage-Authority-10", coded[2*third:], "X-Tahoe-Storage-Authority-9", coded[third : 2*third],
			"X-Tahoe-Storage-Authority-01", coded[:third],
		},
	}
	for name, headers := range ways {
		node := &memnode.Node{}
		address := start(t, node)
		query := ""
		if headers == nil {
			query = "?cred=" + url.QueryEscape(string(text))
		}
		a := ask(t, "PUT", address+"/uri"+query, bytes.NewReader(content), headers...)
		a.want(t, 201, "URI:CHK:")
		ask(t, "GET", address+"/uri/"+string(a.body)+query, nil, headers...).want(t, 200, "the quick")
		put, read := node.Options(), node.Under()
		if len(put) != 1 || put[0].Authority.ID() != authority.ID() || len(read) != 1 || read[0].ID() != authority.ID() {
			t.Errorf("%s: stored under %v, read under %v", name, put, read)
		}
	}
	node := &memnode.Node{}
	address := start(t, node)
	ask(t, "PUT", address+"/uri", bytes.NewReader(content), "X-Tarn-Authority", "***").want(t, 400, "neither")
	ask(t, "PUT", address+"/uri?cred="+coded[:third], bytes.NewReader(content)).want(t, 400, "can't be used")
	if n := len(node.Options()); n != 0 {
		t.Errorf("%d files were stored under no authority", n)
	}
}

// TestHugeRequests: what a client sends besides a file is bounded, whatever it is
// in, and is refused in words.
func TestHugeRequests(t *testing.T) {
	node := &memnode.Node{}
	address := start(t, node)
	part := "--b\r\nContent-Disposition: form-data; name=\"" + strings.Repeat("x", 2<<20) + "\"\r\n\r\nv\r\n"
	many := 1_000_000
	if testing.Short() {
		many = 6_000_000 // is too long as a text, which is found sooner
	}
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	child := func(metadata string) string {
		return `{"a": ["filenode", {"ro_uri": "URI:LIT:", "metadata": ` + metadata + `}]}`
	}
	for name, c := range map[string]struct {
		query, kind, body string
		status            int
	}{
		"long names of fields": {"t=mkdir", "multipart/form-data; boundary=b", strings.Repeat(part, 4) + "--b--\r\n", 413},
		"many fields":          {"t=mkdir", "application/x-www-form-urlencoded", strings.Repeat("a&", 100_000), 400},
		"many children":        {"t=mkdir-immutable", "", `{"a":["",{}]` + strings.Repeat(`,"a":["",{}]`, many) + "}", 413},
		"nested children":      {"t=mkdir-immutable", "", nested(20_000), 400},
		"nested metadata":      {"t=mkdir-immutable", "", child(nested(20_000)), 400},
		"long metadata":        {"t=mkdir-immutable", "", child(`{"a": "` + strings.Repeat("x", 2<<20) + `"}`), 400},
		"numbers":              {"t=mkdir-immutable", "", child(strings.Repeat("9", 1000)), 400},
	} {
		a := ask(t, "POST", address+"/uri?"+c.query, strings.NewReader(c.body), "Content-Type", c.kind)
		if a.StatusCode != c.status || len(a.body) > 1000 || !strings.HasSuffix(string(a.body), ".\n") {
			t.Errorf("%s: %d %.200s", name, a.StatusCode, a.body)
		}
	}
	for path, status := range map[string]int{
		"/uri/URI:DIR2-LIT:" + strings.Repeat("/x", 3000):                        400,
		"/uri/URI:DIR2-LIT:/" + strings.Repeat("x", 100_000):                     404,
		"/uri/URI:CHK:" + strings.Repeat("a", 100_000):                           400,
		"/uri/URI:LIT:?filename=" + strings.Repeat("x", 100_000):                 200,
		"/uri/URI:LIT:?" + strings.Repeat("a=b&", 20_000):                        400,
		"/operations/" + strings.Repeat("x", 100_000):                            404,
		"/uri/URI:DIR2-LIT:?page=99999999999999999999":                           400,
		"/uri/URI:DIR2-LIT:?page=-1":                                             400,
		"/uri/URI:DIR2-LIT:/" + strings.Repeat("%F0%9F%98%80", 1000) + "?t=json": 404,
	} {
		ask(t, "GET", address+path, nil).want(t, status, "")
	}
	ranges := "bytes=" + strings.Repeat("0-,", 10_000)
	ask(t, "GET", address+"/uri/URI:LIT:krugkidfnzsc4", nil, "Range", ranges).want(t, 200, "The end.")
	if n := len(node.Options()); n != 0 {
		t.Errorf("%d things were stored", n)
	}
}
