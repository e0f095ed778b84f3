package web_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

// post sends a body of no type that means anything.
func post(t *testing.T, address, body string) answer {
	t.Helper()
	return ask(t, "POST", address, strings.NewReader(body), "Content-Type", "application/x-www-form-urlencoded")
}

// tree stores a directory "top" with files, a directory in it, and something of
// an unknown kind, and returns its capability.
func tree(t *testing.T, address string) string {
	t.Helper()
	large := store(t, address, content)
	sub := post(t, address+"/uri?t=mkdir-immutable", `{"deep <b>.txt": ["filenode", {"ro_uri": "URI:LIT:krugkidfnzsc4"}]}`)
	sub.want(t, 200, "URI:DIR2-LIT:")
	kids, err := json.Marshal(map[string]any{
		"large.bin": []any{"filenode", map[string]any{"ro_uri": large, "metadata": map[string]any{"mtime": 1_700_000_000.5, "ctime": 1, "note": "é"}}},
		"sub":       []any{"dirnode", map[string]any{"ro_uri": string(sub.body)}},
		"Ünicode 😀": []any{"filenode", map[string]any{"rw_uri": "URI:LIT:krugkidfnzsc4"}},
		"new":       []any{"unknown", map[string]any{"ro_uri": "URI:NEW:x", "metadata": nil}},
	})
	if err != nil {
		t.Fatal(err)
	}
	top := post(t, address+"/uri?t=mkdir-immutable", string(kids))
	top.want(t, 200, "URI:DIR2-CHK:")
	return string(top.body)
}

// TestDirectoryAsJSON: what Tahoe's command line reads is there, in ASCII, and
// can be sent back to make the same directory.
func TestDirectoryAsJSON(t *testing.T) {
	address := start(t, &memnode.Node{})
	top := tree(t, address)
	a := ask(t, "GET", address+"/uri/"+url.PathEscape(top)+"?t=json", nil)
	a.want(t, 200, "")
	for _, b := range a.body {
		if b != '\n' && (b < ' ' || b >= 0x7f) {
			t.Fatalf("byte %#x in %s", b, a.body)
		}
	}
	var pair []json.RawMessage
	var self struct {
		Mutable        bool   `json:"mutable"`
		Read           string `json:"ro_uri"`
		Write          string `json:"rw_uri"`
		Verify         string `json:"verify_uri"`
		Children       map[string][2]json.RawMessage
		ChildrenAsSent json.RawMessage `json:"children"`
	}
	if err := json.Unmarshal(a.body, &pair); err != nil || len(pair) != 2 || string(pair[0]) != `"dirnode"` {
		t.Fatalf("%v: %s", err, a.body)
	}
	if err := json.Unmarshal(pair[1], &self); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(self.ChildrenAsSent, &self.Children); err != nil {
		t.Fatal(err)
	}
	if self.Mutable || self.Read != top || self.Write != "" || !strings.HasPrefix(self.Verify, "URI:DIR2-CHK-Verifier:") || len(self.Children) != 4 {
		t.Errorf("%s", a.body)
	}
	for name, want := range map[string]string{
		"large.bin": `["filenode",{"mutable":false,"format":"CHK","size":4400,"ro_uri":"URI:CHK:`,
		"sub":       `["dirnode",{"mutable":false,"ro_uri":"URI:DIR2-LIT:`,
		"Ünicode 😀": `["filenode",{"mutable":false,"format":"CHK","size":8,"ro_uri":"URI:LIT:krugkidfnzsc4","metadata":{}}]`,
		"new":       `["unknown",{"mutable":false,"ro_uri":"imm.URI:NEW:x","metadata":{}}]`,
	} {
		got, _ := json.Marshal(self.Children[name])
		if !strings.HasPrefix(string(got), want) {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
	if got, _ := json.Marshal(self.Children["large.bin"]); !strings.Contains(string(got), `"mtime":1700000000.5`) {
		t.Errorf("no metadata in %s", got)
	}
	again := post(t, address+"/uri?t=mkdir-immutable", string(self.ChildrenAsSent))
	again.want(t, 200, "URI:DIR2-CHK:")
}

func TestPathsThroughDirectories(t *testing.T) {
	address := start(t, &memnode.Node{})
	at := address + "/uri/" + tree(t, address)
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/sub/deep%20%3Cb%3E.txt":       {200, "The end."},
		"/%C3%9Cnicode%20%F0%9F%98%80":  {200, ""},
		"/U%CC%88nicode%20%F0%9F%98%80": {200, ""},
		"/large.bin":                    {200, string(content[:40])},
		"/large.bin/":                   {400, "no children"},
		"/large.bin/x":                  {400, "not a directory"},
		"/none":                         {404, `no such entry in the directory: "none"`},
		"/sub//x":                       {400, "two slashes"},
		"/new":                          {400, "unknown kind"},
		"/new?t=uri":                    {200, "imm.URI:NEW:x"},
		"/new?t=json":                   {200, "unknown"},
		"/new?t=info":                   {200, "thing of unknown kind"},
		"/sub?t=uri":                    {200, "URI:DIR2-LIT:"},
		"/sub/?t=readonly-uri":          {200, "URI:DIR2-LIT:"},
		"/large.bin?t=json":             {200, `"mtime": 1700000000.5`},
		"/large.bin?t=info":             {200, "4.4kB"},
		"/sub?t=info":                   {200, "immutable directory"},
		"/sub/deep%20%3Cb%3E.txt?t=uri": {200, "URI:LIT:krugkidfnzsc4"},
		"/sub/deep%20%3Cb%3E.txt?save=t&filename=a.b": {200, "The end."},
	} {
		ask(t, "GET", at+path, nil).want(t, want.status, want.body)
	}
	file := ask(t, "GET", at+"/large.bin", nil, "Range", "bytes=0-3")
	file.want(t, 206, "the ")
	again := ask(t, "GET", at+"/large.bin", nil, "If-None-Match", file.Header.Get("ETag"))
	if again.StatusCode != 304 {
		t.Errorf("a file that did not change: %d", again.StatusCode)
	}
	if tag := ask(t, "GET", at+"/large.bin?t=json", nil).Header.Get("ETag"); tag == "" || tag == file.Header.Get("ETag") {
		t.Errorf("ETag %s of the file and its JSON", tag)
	}
	if name := ask(t, "GET", at+"/large.bin?save=true", nil).Header.Get("Content-Disposition"); name != "attachment; filename=large.bin" {
		t.Errorf("saved as %s", name)
	}
}

// TestDirectoryAsPage: names are text, nothing is in the title that should not
// be, and files are not linked through the directory.
func TestDirectoryAsPage(t *testing.T) {
	address := start(t, &memnode.Node{})
	top := tree(t, address)
	a := ask(t, "GET", address+"/uri/"+top+"/", nil)
	a.want(t, 200, "4 entries, immutable")
	page := string(a.body)
	key := strings.Split(top, ":")[2]
	_, rest, _ := strings.Cut(page, "<title>")
	if title, _, _ := strings.Cut(rest, "</title>"); strings.Contains(title, key) || title == "" {
		t.Errorf("title %q", title)
	}
	if !strings.Contains(page, `href="/named/URI:LIT:krugkidfnzsc4/@@named=/%C3%9Cnicode%20%F0%9F%98%80"`) {
		t.Errorf("no link to the file in\n%s", page)
	}
	below := ask(t, "GET", address+"/uri/"+top+"/sub/", nil)
	below.want(t, 200, "deep &lt;b&gt;.txt")
	if strings.Contains(string(below.body), "<b>") || !strings.Contains(string(below.body), `href="/uri/`+top+`/">top</a>`) {
		t.Errorf("%s", below.body)
	}
	for _, h := range []struct{ name, part string }{
		{"Content-Security-Policy", "default-src 'none'"}, {"Referrer-Policy", "strict-origin"}, {"X-Frame-Options", "DENY"},
	} {
		if !strings.Contains(a.Header.Get(h.name), h.part) {
			t.Errorf("%s: %q", h.name, a.Header.Get(h.name))
		}
	}
	ask(t, "GET", address+"/uri/URI:DIR2-LIT:", nil).want(t, 200, "It is empty")
	damaged := file.Directory{File: file.LIT{Data: "no directory"}}.String()
	ask(t, "GET", address+"/uri/"+damaged, nil).want(t, 422, "damaged directory")
}

func TestBadChildrenMakeNoDirectory(t *testing.T) {
	node := &memnode.Node{}
	address := start(t, node)
	key := strings.Repeat("a", 26) + ":" + strings.Repeat("a", 52)
	for _, body := range []string{
		"[]", "x", `{"a"`, `{"a": 1}`, `{"a": ["filenode"]}`, `{"a": ["filenode", {"ro_uri": 1}]}`,
		`{"a": ["filenode", {"ro_uri": "hello"}]}`, `{"a": ["filenode", {"ro_uri": "URI:SSK-RO:` + key + `"}]}`,
		`{"a": ["filenode", {"rw_uri": "URI:DIR2:` + key + `"}]}`, `{"a": ["unknown", {"rw_uri": "URI:NEW:x"}]}`,
		`{"a": ["filenode", {"ro_uri": "URI:LIT:", "metadata": 1}]}`, `{} {}`, `{"a": ["filenode", {"ro_uri": "URI:LIT:"}]}x`,
	} {
		a := post(t, address+"/uri?t=mkdir-immutable", body)
		a.want(t, 400, "")
		if strings.Contains(string(a.body), key) {
			t.Errorf("the answer repeats a capability: %s", a.body)
		}
	}
	if n := len(node.Options()); n != 0 {
		t.Errorf("%d directories were stored", n)
	}
	post(t, address+"/uri?t=mkdir-immutable", "").want(t, 200, "URI:DIR2-LIT:")
	made := post(t, address+"/uri?t=mkdir-immutable&redirect_to_result=true", "{}")
	if made.StatusCode != 303 || made.Header.Get("Location") != "/uri/URI:DIR2-LIT:/" {
		t.Errorf("%d to %q", made.StatusCode, made.Header.Get("Location"))
	}
}

// TestFormsOfTheInfoPage: a file can be checked from it, and a directory with all
// that is in it, under a handle that nobody else has.
func TestFormsOfTheInfoPage(t *testing.T) {
	node, address, top, ill := checkedTree(t)
	ask(t, "GET", address+"/uri/"+ill+"?t=info", nil).want(t, 200, `action="/uri/`+ill+`"`)
	if page := ask(t, "GET", address+"/uri/URI:LIT:?t=info", nil); strings.Contains(string(page.body), "<form") {
		t.Errorf("a form to check what has no shares: %s", page.body)
	}
	handles := map[string]bool{}
	for range 2 {
		page := string(ask(t, "GET", address+"/uri/"+top+"?t=info", nil).body)
		_, rest, _ := strings.Cut(page, `name="ophandle" value="`)
		handle, _, _ := strings.Cut(rest, `"`)
		handles[handle] = true
		a := post(t, address+"/uri/"+top, "t=start-deep-check&ophandle="+handle)
		if a.StatusCode != 302 || a.Header.Get("Location") != "/operations/"+handle {
			t.Errorf("%d to %q", a.StatusCode, a.Header.Get("Location"))
		}
		eventually(t, address+"/operations/"+handle+"?output=json")
	}
	if len(handles) != 2 || handles[""] {
		t.Errorf("handles %v", handles)
	}
	a := post(t, address+"/uri/"+ill, "t=check&verify=true")
	a.want(t, 200, "Not Healthy")
	if asked := node.Health.Asked; !asked[len(asked)-1].Verify {
		t.Errorf("asked %+v", asked[len(asked)-1])
	}
}

// TestStoredContentDoesNotRun: whatever name leads to it, what is stored is no
// page of the gateway.
func TestStoredContentDoesNotRun(t *testing.T) {
	w := newWorkspace(t)
	w.do("PUT /page.html 201", "<script>alert(1)</script>")
	named := "/named/" + string(w.do("GET /page.html?t=uri 200", "").body)
	for _, at := range []string{w.root + "/page.html", w.address + named + "/@@named=/page.html", w.address + named + "/a/b.svg", w.root + "/page.html?filename=x.xhtml"} {
		h := ask(t, "GET", at, nil).Header
		if !strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox;") || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") ||
			h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", at, h)
		}
	}
}

// A child with no capability at all is a name with metadata, as Tahoe has it:
// magic-folder says so that a file was deleted.
func TestNamesWithoutCapabilities(t *testing.T) {
	const kids, dir = `{"a": ["filenode", {"metadata": {}}]}`, "URI:DIR2-LIT:ge2tumj2mewdaormga5cymr2pn6syla"
	node := &memnode.Node{}
	node.Health.Checks = map[string]tarn.CheckResult{dir: {Report: health.Report{Literal: true}}}
	address := start(t, node)
	post(t, address+"/uri?t=mkdir-immutable", kids).want(t, 200, dir)
	at := address + "/uri/" + dir
	ask(t, "GET", at+"?t=json", nil).want(t, 200, `"a": ["unknown", {"metadata":{}}]`)
	ask(t, "GET", at+"/", nil).want(t, 200, "unknown")
	for path, status := range map[string]int{"": 400, "?t=json": 200, "?t=info": 200, "?t=uri": 404, "?t=readonly-uri": 404, "?t=rename-form": 400, "/x": 400} {
		ask(t, "GET", at+"/a"+path, nil).want(t, status, "")
	}
	post(t, at+"?t=stream-manifest", "").want(t, 200, `"path":["a"]`)
	post(t, at+"?t=stream-deep-check", "").want(t, 200, `"path":["a"]`)
	for _, slow := range []string{"manifest", "deep-check", "deep-stats"} {
		post(t, at+"?t=start-"+slow+"&ophandle="+slow, "").want(t, 302, "")
		eventually(t, address+"/operations/"+slow+"?output=JSON").want(t, 200, "finished")
		ask(t, "GET", address+"/operations/"+slow, nil).want(t, 200, "Done.")
	}
	post(t, address+"/uri?t=mkdir-with-children", kids).want(t, 400, "neither rw_uri nor ro_uri")
}

// TestErrorPages: who looks at the gateway with a browser is told what went wrong
// on a page, with a way back; programs get the sentence.
func TestErrorPages(t *testing.T) {
	address := start(t, &memnode.Node{})
	top := tree(t, address)
	dir := "/uri/" + url.PathEscape(top)
	for path, want := range map[string]struct {
		status     int
		says, back string
	}{
		dir + "/none":                 {404, "no such entry", dir + "/"},
		dir + "/sub/none":             {404, "no such entry", dir + "/sub/"},
		dir + "//x":                   {400, "two slashes", ""},
		"/uri/URI:CHK:x":              {400, "no capability", ""},
		"/uri/URI:LIT:/<script>":      {400, "not a directory", ""},
		"/none":                       {404, "nothing here", ""},
		"/operations/x":               {404, "no operation", ""},
		"/uri/%ff":                    {400, "can&#39;t be read", ""},
		dir + "/large.bin?save=maybe": {400, "true or false", dir + "/"},
	} {
		a := ask(t, "GET", address+path, nil, "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
		a.want(t, want.status, "</html>")
		page := string(a.body)
		if !strings.Contains(page, want.says) || strings.Contains(page, "<script>") || strings.Contains(page, "Back to") != (want.back != "") || !strings.Contains(page, `href="`+want.back) {
			t.Errorf("%s: %s", path, page)
		}
		if h := a.Header; !strings.HasPrefix(h.Get("Content-Type"), "text/html") || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, h)
		}
		plain := ask(t, "GET", address+path, nil, "Accept", "text/plain, */*")
		if !strings.HasPrefix(plain.Header.Get("Content-Type"), "text/plain") || strings.Contains(string(plain.body), "</html>") {
			t.Errorf("%s: a program gets %s", path, plain.body)
		}
	}
	wrong := ask(t, "POST", address+dir+"/sub/?t=nonsense", nil, "Accept", "text/html")
	if !strings.Contains(string(wrong.body), `href="`+dir+`/sub/"`) {
		t.Errorf("no way back in %s", wrong.body)
	}
}

// TestPagesAreNotKept: a page changes with the program, though what it shows may
// not.
func TestPagesAreNotKept(t *testing.T) {
	address := start(t, &memnode.Node{})
	at := address + "/uri/" + tree(t, address)
	for path, kept := range map[string]bool{"": false, "/": false, "?t=info": false, "?t=json": true, "/large.bin": true} {
		h := ask(t, "GET", at+path, nil).Header
		if (h.Get("ETag") != "") != kept || (h.Get("Cache-Control") == "no-store") == kept {
			t.Errorf("%s: %v", path, h)
		}
	}
	icon := ask(t, "GET", address+"/icon.svg", nil)
	icon.want(t, 200, "<svg")
	if !strings.HasPrefix(icon.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%v", icon.Header)
	}
}

// TestPageOfMany: a page shows a part of a large directory, directories first, and
// leads to the other parts.
func TestPageOfMany(t *testing.T) {
	address := start(t, &memnode.Node{})
	var kids strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&kids, `"%04d": ["filenode", {"ro_uri": "URI:LIT:"}], `, i)
	}
	made := post(t, address+"/uri?t=mkdir-immutable", "{"+kids.String()+`"zz": ["dirnode", {"ro_uri": "URI:DIR2-LIT:"}]}`)
	at := address + "/uri/" + string(made.body)
	for page, want := range map[string]struct {
		rows                  int
		first, later, earlier string
	}{"": {1000, "zz", "?page=2", ""}, "?page=2": {1000, "0999", "?page=3", "?page=1"}, "?page=3": {501, "1999", "", "?page=2"}} {
		a := ask(t, "GET", at+"/"+page, nil)
		body := string(a.body)
		_, rows, _ := strings.Cut(body, "<tbody>")
		if n := strings.Count(rows, "<tr>"); n != want.rows || !strings.Contains(rows[:600], ">"+want.first+"<") {
			t.Errorf("page %s: %d rows, %.600s", page, n, rows)
		}
		if strings.Contains(body, "Later") != (want.later != "") || !strings.Contains(body, want.later) || strings.Contains(body, "Earlier") != (want.earlier != "") || !strings.Contains(body, want.earlier) {
			t.Errorf("page %s leads elsewhere", page)
		}
	}
	ask(t, "GET", at+"/?page=4", nil).want(t, 400, "no such page")
}
