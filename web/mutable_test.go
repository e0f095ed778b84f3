package web_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/web/internal/memnode"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// workspace is a gateway with a new directory.
type workspace struct {
	*testing.T
	node    *memnode.Node
	address string
	root    string // the directory's address, without a slash
}

func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	node := &memnode.Node{}
	address := start(t, node)
	made := post(t, address+"/uri?t=mkdir", "")
	made.want(t, 200, "URI:DIR2:")
	return &workspace{t, node, address, address + "/uri/" + url.PathEscape(string(made.body))}
}

// do does "METHOD /path status part" with a body.
func (w *workspace) do(line, body string) answer {
	w.Helper()
	parts := strings.SplitN(line, " ", 4)
	var status int
	if _, err := fmt.Sscan(parts[2], &status); err != nil {
		w.Fatal(err)
	}
	a := ask(w.T, parts[0], w.root+parts[1], strings.NewReader(body), "Content-Type", "text/plain")
	part := ""
	if len(parts) > 3 {
		part = parts[3]
	}
	a.want(w.T, status, part)
	return a
}

// names are those in a directory.
func (w *workspace) names(path string) []string {
	w.Helper()
	var names []string
	for name, c := range w.object(path).Children {
		names = append(names, name+" "+c.Kind[:1])
	}
	slices.Sort(names)
	return names
}

func (w *workspace) object(path string) tahoe.Object {
	w.Helper()
	o, err := tahoe.Read(bytes.NewReader(w.do("GET "+path+"?t=json 200", "").body))
	if err != nil {
		w.Fatal(err)
	}
	return o
}

func (w *workspace) wantNames(path string, want ...string) {
	w.Helper()
	if got := w.names(path); !slices.Equal(got, want) {
		w.Errorf("in %q are %q, want %q", path, got, want)
	}
}

func TestPutIntoDirectories(t *testing.T) {
	w := newWorkspace(t)
	w.do("PUT /a/b/file.txt 201 URI:LIT:", "one")
	w.do("GET /a/b/file.txt 200 one", "")
	w.do("PUT /a/b/file.txt 200 URI:LIT:", "two")
	w.do("GET /a/b/file.txt 200 two", "")
	w.do("PUT /a/b/file.txt?replace=false 409 such an entry", "three")
	w.do("PUT /a/b/file.txt?replace=only-files 200", "three")
	w.do("PUT /a/b 400 a directory by that name", "x")
	w.do("PUT /a/b/file.txt/more 409 file is in the way", "x")
	w.do("PUT /x?replace=perhaps 400 replace=", "x")
	w.do("PUT /x?offset=5 400 for mutable files", "x")
	w.do("PUT /x?offset=-5 400 offset=", "x")
	w.do("PUT /x?t=nonsense 400 Unknown", "x")
	w.wantNames("", "a d")
	w.wantNames("/a/b", "file.txt f")
	w.do("DELETE /a/b/file.txt 200 URI:LIT:", "")
	w.do("DELETE /a/b/file.txt 404 no such entry in the directory", "")
	w.do("DELETE /a/none/x 404", "")
	w.do("DELETE  400 Say its name", "")
	w.wantNames("/a/b")
	w.do("PUT /%C3%A4%2Fb 400 the name", "slash")
	w.do("PUT /%C3%A4 201", "umlaut")
	w.wantNames("", "a d", "ä f")
}

func TestMutableFiles(t *testing.T) {
	w := newWorkspace(t)
	for format, kind := range map[string]string{"sdmf": "URI:SSK:", "MDMF": "URI:MDMF:"} {
		made := w.do("PUT /"+format+"?format="+format+" 201 "+kind, "hello world")
		again := w.do("PUT /"+format+" 200 "+kind, "HELLO")
		if !bytes.Equal(made.body, again.body) {
			t.Errorf("%s: another file took its place", format)
		}
		w.do("GET /"+format+" 200 HELLO", "")
		w.do("PUT /"+format+"?offset=5 200 "+kind, " there")
		w.do("GET /"+format+" 200 HELLO there", "")
		w.do("PUT /"+format+"?offset=0 200", "J")
		w.do("GET /"+format+" 200 JELLO there", "")
		w.do("PUT /"+format+"?replace=false 409", "x")
		at := w.address + "/uri/" + string(made.body)
		ask(t, "PUT", at, strings.NewReader("by capability")).want(t, 200, kind)
		ask(t, "GET", at, nil).want(t, 200, "by capability")
		lesser := ask(t, "GET", at+"?t=readonly-uri", nil)
		ask(t, "PUT", w.address+"/uri/"+string(lesser.body), strings.NewReader("x")).want(t, 400, "only read it")
		ask(t, "GET", w.address+"/uri/"+string(lesser.body), nil).want(t, 200, "by capability")
		if a := ask(t, "GET", at, nil); a.Header.Get("ETag") != "" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("a file that can change: %v", a.Header)
		}
		o := w.object("/" + format)
		if o.Format != strings.ToUpper(format) || !*o.Mutable || *o.Size != int64(len("by capability")) || o.Write != string(made.body) || o.Read != string(lesser.body) {
			t.Errorf("%+v", o)
		}
	}
	ask(t, "PUT", w.address+"/uri?mutable=true", strings.NewReader("x")).want(t, 201, "URI:SSK:")
	ask(t, "POST", w.address+"/uri?format=mdmf&t=upload", nil).want(t, 400, "form")
	key := base64.URLEncoding.EncodeToString([]byte("a key"))
	first := ask(t, "PUT", w.address+"/uri?format=sdmf&private-key="+key, strings.NewReader("x"))
	second := ask(t, "PUT", w.address+"/uri?format=sdmf&private-key="+key, strings.NewReader("x"))
	if first.StatusCode != 201 || !bytes.Equal(first.body, second.body) {
		t.Errorf("one key gave %s and %s", first.body, second.body)
	}
	ask(t, "PUT", w.address+"/uri?format=sdmf&private-key=***", strings.NewReader("x")).want(t, 400, "private-key=")
}

func TestMakeDirectories(t *testing.T) {
	w := newWorkspace(t)
	made := w.do("POST /a/b?t=mkdir 200 URI:DIR2:", "")
	again := w.do("PUT /a/b/?t=mkdir 200 URI:DIR2:", "")
	if !bytes.Equal(made.body, again.body) {
		t.Error("a directory that was there was made again")
	}
	w.do("POST /a?t=mkdir&name=c&format=mdmf 200 URI:DIR2-MDMF:", "")
	w.do("POST /a/d?t=mkdir&format=chk 400", "")
	w.do("POST /deep/er?t=mkdir-with-children 200 URI:DIR2:", `{"x": ["filenode", {"rw_uri": "URI:LIT:", "metadata": {"mine": 1}}]}`)
	w.do("POST /deep/er?t=mkdir-with-children 409", `{}`)
	w.do("POST /deep?t=mkdir-immutable&name=fixed 200 URI:DIR2-LIT:", `{"y": ["filenode", {"ro_uri": "URI:LIT:"}]}`)
	w.do("POST /deep?t=mkdir-immutable&name=fixed 409", `{}`)
	w.do("POST /deep/fixed/below?t=mkdir 403", "")
	w.do("PUT /file 201", "x")
	w.do("POST /file/below?t=mkdir 409 file is in the way", "")
	w.do("POST /file?t=mkdir 409 in the way", "")
	w.wantNames("", "a d", "deep d", "file f")
	w.wantNames("/a", "b d", "c d")
	w.wantNames("/deep", "er d", "fixed d")
	if m := string(w.object("/deep/er/x").Metadata); !strings.Contains(m, `"mine"`) {
		t.Errorf("metadata %s", m)
	}
}

func TestLinks(t *testing.T) {
	w := newWorkspace(t)
	w.do("PUT /file 201", "a file")
	w.do("PUT /dir/one?t=uri 200 URI:LIT:pa", "URI:LIT:pa\n")
	w.do("PUT /dir/one?t=uri&replace=false 409", "URI:LIT:pe")
	w.do("PUT /dir?t=uri&replace=only-files 409", "URI:LIT:pe")
	w.do("PUT /dir/two?t=uri 400 no capability", "hello")
	w.do("PUT /dir/two?t=uri 400", "URI:NEW:can-write-for-all-we-know")
	w.do("PUT /dir/new?t=uri 200", "ro.URI:NEW:x")
	w.do("POST /dir?t=uri&name=three&uri=URI:LIT:pi 200 URI:LIT:pi", "")
	w.do("POST /dir?t=uri&name=three&uri=URI:LIT:pe&replace=false 409", "")
	w.do("POST /dir?t=uri&uri=URI:LIT:pi 400", "")
	w.wantNames("/dir", "new u", "one f", "three f")
	w.do("POST /dir?t=rename&from_name=three&to_name=drei 200 thing moved", "")
	w.do("POST /dir?t=rename&from_name=three&to_name=x 404", "")
	w.do("POST /dir?t=rename&from_name=one 400", "")
	w.do("POST /dir?t=rename&from_name=one&to_name=a/b 400", "")
	w.do("POST /dir?t=rename&from_name=one&to_name=drei&replace=false 409", "")
	w.do("POST /dir?t=rename&from_name=one&to_name=one&replace=false 200", "")
	w.wantNames("/dir", "drei f", "new u", "one f")
	to := url.QueryEscape(strings.TrimPrefix(w.root, w.address+"/uri/"))
	w.do("POST /dir?t=relink&from_name=drei&to_dir="+to+" 200 thing moved", "")
	w.do("POST /dir?t=relink&from_name=one&to_dir="+to+"&to_name=file&replace=false 409", "")
	w.do("POST /dir?t=relink&from_name=one&to_dir="+to+"/dir/&to_name=eins 200", "")
	w.do("POST /dir?t=relink&from_name=eins&to_dir="+to+"/none 404", "")
	w.do("POST /dir?t=relink&from_name=eins&to_dir=URI:LIT: 400", "")
	w.do("POST /dir?t=relink&from_name=eins&to_dir=URI:DIR2-LIT: 403", "")
	w.do("POST /dir/deep?t=mkdir 200", "")
	for _, inside := range []string{"/dir", "/dir/deep"} {
		w.do("POST ?t=relink&from_name=dir&to_dir="+to+inside+" 409 moved into itself", "")
	}
	w.do("DELETE /dir/deep 200", "")
	w.wantNames("", "dir d", "drei f", "file f")
	w.wantNames("/dir", "eins f", "new u")
	w.do("POST /dir?t=unlink&name=eins 200 thing unlinked", "")
	w.do("POST /dir?t=delete&name=eins 404", "")
	w.wantNames("/dir", "new u")
}

// TestMetadataOfLinks: what a link says of itself is kept by whatever changes
// it, and its times are the gateway's.
func TestMetadataOfLinks(t *testing.T) {
	w := newWorkspace(t)
	w.do("POST ?t=set_children 200 Okay", `{"a": ["filenode", {"ro_uri": "URI:LIT:", "metadata": {"mine": [1], "tahoe": {"linkcrtime": 5}}}], "b": ["filenode", {"rw_uri": "URI:LIT:pa"}]}`)
	type times struct {
		Mine  []int
		Tahoe struct{ Linkcrtime, Linkmotime float64 }
	}
	read := func(path string) (m times) {
		t.Helper()
		if err := json.Unmarshal(w.object(path).Metadata, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	first := read("/a")
	if len(first.Mine) != 1 || first.Tahoe.Linkcrtime < 1e9 || first.Tahoe.Linkmotime < first.Tahoe.Linkcrtime {
		t.Errorf("%+v", first)
	}
	w.do("PUT /a 200", "new content")
	if second := read("/a"); len(second.Mine) != 1 || second.Tahoe.Linkcrtime != first.Tahoe.Linkcrtime || second.Tahoe.Linkmotime < first.Tahoe.Linkmotime {
		t.Errorf("%+v", second)
	}
	w.do("POST ?t=rename&from_name=a&to_name=c 200", "")
	if moved := read("/c"); len(moved.Mine) != 1 {
		t.Errorf("%+v", moved)
	}
	w.do("POST ?t=set-children&overwrite=false 409", `{"d": ["filenode", {"ro_uri": "URI:LIT:"}], "c": ["filenode", {"ro_uri": "URI:LIT:"}]}`)
	w.wantNames("", "b f", "c f") // all or none
	w.do("POST ?t=set_children 400", `{"d": ["filenode", {}]}`)
	w.do("POST /new/dir?t=set_children 200", `{"d": ["filenode", {"ro_uri": "URI:LIT:"}]}`)
	w.wantNames("/new/dir", "d f")
}

// TestWritersMeet: what another one wrote in the same moment is kept.
func TestWritersMeet(t *testing.T) {
	w := newWorkspace(t)
	w.node.Mutable.Meanwhile = func() { w.do("PUT /theirs 201", "x") }
	w.do("PUT /ours 201", "y")
	w.wantNames("", "ours f", "theirs f")
	w.node.Mutable.Meanwhile = func() { w.do("POST /a?t=mkdir&name=b 200", "") }
	w.do("PUT /a/c 201", "y")
	w.wantNames("/a", "b d", "c f")
}

func TestReadOnlyDirectories(t *testing.T) {
	w := newWorkspace(t)
	w.do("PUT /dir/file?format=sdmf 201", "x")
	lesser := w.do("GET ?t=readonly-uri 200 URI:DIR2-RO:", "")
	w.root = w.address + "/uri/" + string(lesser.body)
	before := len(w.node.Options())
	for _, line := range []string{
		"PUT /new 403", "PUT /dir/new 403", "PUT /dir/file 400", "DELETE /dir 403", "POST ?t=mkdir&name=x 403", "POST /x?t=mkdir 403",
		"POST ?t=unlink&name=dir 403", "POST ?t=rename&from_name=dir&to_name=x 403", "POST ?t=set_children 403", "PUT /x?t=uri 403",
	} {
		body := "URI:LIT:"
		if strings.Contains(line, "set_children") {
			body = `{"x": ["filenode", {"ro_uri": "URI:LIT:"}]}`
		}
		w.do(line, body)
	}
	if n := len(w.node.Options()); n != before {
		t.Errorf("%d files were stored for nothing", n-before)
	}
	if o := w.object("/dir/file"); o.Write != "" || o.Read == "" {
		t.Errorf("a read-only directory gives %+v", o)
	}
	w.do("GET /dir/ 200 read-only", "")
}

func TestUploadIntoDirectories(t *testing.T) {
	w := newWorkspace(t)
	send := func(path, fileName, content string, status int, fields ...string) answer {
		t.Helper()
		body, kind := form(t, fileName, []byte(content), append(fields, "t", "upload")...)
		a := ask(t, "POST", w.root+path, body, "Content-Type", kind)
		a.want(t, status, "")
		return a
	}
	send("/", "a.txt", "one", 200)
	send("/", "x", "two", 200, "name", "b.txt")
	send("/new/", "c.txt", "three", 200)
	send("/new/d.txt", "x", "four", 200)
	send("/", "a.txt", "five", 409, "replace", "false")
	send("/", "x", "six", 400, "name", "a/b")
	if a := send("/new/", "e.txt", "seven", 302, "when_done", "."); !strings.HasSuffix(a.Header.Get("Location"), "/new/") {
		t.Errorf("sent to %q", a.Header.Get("Location"))
	}
	w.wantNames("", "a.txt f", "b.txt f", "new d")
	w.wantNames("/new", "c.txt f", "d.txt f", "e.txt f")
	w.do("GET /b.txt 200 two", "")
	w.do("PUT /m?format=sdmf 201", "old")
	send("/m", "x", "new", 200)
	w.do("GET /m 200 new", "")
}

// TestPagesToChangeThings: what a page's forms send does what they say, and the
// browser comes back to the page.
func TestPagesToChangeThings(t *testing.T) {
	w := newWorkspace(t)
	w.do("PUT /%3Ca%20b%3E.txt 201", "x")
	page := string(w.do("GET / 200", "").body)
	for _, part := range []string{`value="upload"`, `value="mkdir"`, `value="unlink"`, `value="&lt;a b&gt;.txt"`, `t=rename-form&amp;name=%3Ca`} {
		if !strings.Contains(page, part) {
			t.Errorf("no %s in\n%s", part, page)
		}
	}
	rename := string(w.do("GET /?t=rename-form&name=%3Ca%20b%3E.txt 200", "").body)
	if strings.Contains(rename, "<a b>") || !strings.Contains(rename, `name="from_name" value="&lt;a b&gt;.txt"`) {
		t.Errorf("%s", rename)
	}
	submit := func(fields string, headers ...string) answer {
		t.Helper()
		headers = append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)
		return ask(t, "POST", w.root+"/", strings.NewReader(fields), headers...)
	}
	for _, fields := range []string{
		"t=rename&when_done=.&replace=false&from_name=%3Ca+b%3E.txt&to_name=b.txt", "t=mkdir&when_done=.&replace=false&name=dir",
		"t=uri&when_done=.&replace=false&uri=URI:LIT:&name=empty", "t=unlink&when_done=.&name=b.txt",
	} {
		a := submit(fields, "Sec-Fetch-Site", "same-origin", "Origin", w.address)
		if a.StatusCode != 302 || a.Header.Get("Location") != strings.TrimPrefix(w.root, w.address)+"/" {
			t.Errorf("%s: %d to %q: %s", fields, a.StatusCode, a.Header.Get("Location"), a.body)
		}
	}
	w.wantNames("", "dir d", "empty f")
	for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "http://evil.example"}, {"Origin", "null"}} {
		submit("t=unlink&name=empty", headers...).want(t, 403, "another site")
	}
	w.wantNames("", "dir d", "empty f")
}

func TestLongListingsHavePages(t *testing.T) {
	w := newWorkspace(t)
	var kids strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&kids, `, "n%04d": ["filenode", {"ro_uri": "URI:LIT:"}]`, i)
	}
	w.do("POST ?t=set_children 200", "{"+kids.String()[2:]+"}")
	first := string(w.do("GET / 200 2500 entries", "").body)
	last := string(w.do("GET /?page=3 200 n2499", "").body)
	if strings.Contains(first, "n1000") || !strings.Contains(first, "page=2") || strings.Contains(first, "Earlier") ||
		strings.Contains(last, "n1999") || strings.Contains(last, "Later") {
		t.Error("the pages are not cut right")
	}
	w.do("GET /?page=4 400", "")
	w.do("GET /?page=0 400", "")
}
