package web_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/web"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

func TestStreamManifest(t *testing.T) {
	address := start(t, &memnode.Node{})
	top := tree(t, address)
	a := post(t, address+"/uri/"+top+"?t=stream-manifest", "")
	a.want(t, 200, "")
	var units []map[string]any
	for lines := bufio.NewScanner(bytes.NewReader(a.body)); lines.Scan(); {
		var unit map[string]any
		if err := json.Unmarshal(lines.Bytes(), &unit); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		units = append(units, unit)
	}
	if len(units) != 7 {
		t.Fatalf("%d units: %s", len(units), a.body)
	}
	root, last := units[0], units[6]
	if root["type"] != "directory" || len(root["path"].([]any)) != 0 || root["cap"] != top || root["storage-index"] == "" ||
		!strings.HasPrefix(root["verifycap"].(string), "URI:DIR2-CHK-Verifier:") || root["repaircap"] != root["verifycap"] {
		t.Errorf("root %v", root)
	}
	if stats := last["stats"].(map[string]any); last["type"] != "stats" || stats["count-directories"] != 2.0 || stats["count-files"] != 3.0 ||
		stats["count-unknown"] != 1.0 || stats["size-immutable-files"] != 4400.0 || stats["api-version"] != 1.0 {
		t.Errorf("stats %v", last)
	}
	literal := units[5]
	if literal["verifycap"] != "" || literal["type"] != "file" || literal["path"].([]any)[0] != "sub" {
		t.Errorf("a literal file: %v", literal)
	}
	post(t, address+"/uri/URI:LIT:?t=stream-manifest", "").want(t, 400, "for directories")
}

// TestStreamSaysWhereItBroke: the line before ERROR: is the directory that
// can't be read.
func TestStreamSaysWhereItBroke(t *testing.T) {
	address := start(t, &memnode.Node{})
	gone := file.Directory{File: file.CHK{Needed: 1, Total: 1, Size: 100}}.String()
	made := post(t, address+"/uri?t=mkdir-immutable", `{"gone": ["dirnode", {"ro_uri": "`+gone+`"}]}`)
	a := post(t, address+"/uri/"+string(made.body)+"?t=stream-manifest", "")
	lines := strings.Split(strings.TrimSpace(string(a.body)), "\n")
	if len(lines) != 3 || !strings.Contains(lines[1], `"gone"`) || !strings.HasPrefix(lines[2], `ERROR: read "gone": not enough good shares`) {
		t.Errorf("%s", a.body)
	}
}

func TestOperationsUnderHandles(t *testing.T) {
	address := start(t, &memnode.Node{})
	at := address + "/uri/" + tree(t, address)
	post(t, at+"?t=start-manifest", "").want(t, 400, "ophandle=")
	post(t, at+"?t=start-manifest", "ophandle="+strings.Repeat("x", 1<<20)).want(t, 400, "too long")
	for what, want := range map[string][]string{
		"manifest":   {`"finished": true`, `"origin": "`, `"count-files": 3`, `"verifycaps": [`, `"storage-index": [`, `"large.bin"`},
		"deep-stats": {`"finished": true`, `"count-literal-files": 2`, `"largest-directory-children": 4`, `"size-files-histogram": [`},
		"deep-size":  {`"finished":true`, `"size-immutable-files":4400`},
	} {
		started := post(t, at+"?t=start-"+what+"&ophandle="+what+"&output=JSON", "")
		to := started.Header.Get("Location")
		if started.StatusCode != 302 || to != "/operations/"+what+"?output=JSON" {
			t.Fatalf("%s: %d to %q: %s", what, started.StatusCode, to, started.body)
		}
		a := eventually(t, address+to)
		for _, part := range want {
			if !strings.Contains(string(a.body), part) {
				t.Errorf("%s: no %s in %s", what, part, a.body)
			}
		}
		ask(t, "GET", address+"/operations/"+what, nil).want(t, 200, "Done.")
		ask(t, "GET", address+"/operations/"+what+"?output=text", nil).want(t, 200, "finished")
		ask(t, "GET", address+"/operations/"+what+"?output=xml", nil).want(t, 400, "output=")
		ask(t, "GET", address+"/operations/"+what+"?t=status&release-after-complete=true", nil).want(t, 200, "Done.")
		ask(t, "GET", address+"/operations/"+what, nil).want(t, 404, "no operation")
	}
}

// eventually asks until the operation has finished.
func eventually(t *testing.T, address string) answer {
	t.Helper()
	for {
		a := ask(t, "GET", address, nil)
		if a.StatusCode != 200 || strings.Contains(strings.ReplaceAll(string(a.body), " ", ""), `"finished":true`) {
			return a
		}
		if t.Context().Err() != nil {
			t.Fatal("it does not end")
		}
	}
}

// stuck is a node on which directories take until somebody gives up, or until
// they are let go.
type stuck struct {
	*memnode.Node
	release chan struct{}
	given   chan error
}

func (s *stuck) ReadDirectory(ctx context.Context, c file.Directory, how ...tarn.Option) (*directory.Directory, error) {
	select {
	case <-s.release:
		return s.Node.ReadDirectory(ctx, c, how...)
	case <-ctx.Done():
		s.given <- ctx.Err()
		return nil, ctx.Err()
	}
}

// do asks a gateway without a network, whose time is that of the bubble.
func do(g http.Handler, method, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

func TestCancelledOperationsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &stuck{&memnode.Node{}, make(chan struct{}), make(chan error, 1)}
		g := web.Gateway(node, web.Options{})
		do(g, "POST", "/uri/URI:DIR2-LIT:?t=start-deep-stats&ophandle=a")
		if w := do(g, "GET", "/operations/a"); w.Code != 200 || w.Header().Get("Refresh") != "60" || !strings.Contains(w.Body.String(), "Cancel") {
			t.Errorf("while it runs: %d %s", w.Code, w.Body)
		}
		if w := do(g, "GET", "/operations/a?t=cancel"); w.Code != 400 {
			t.Errorf("a GET cancelled it: %d", w.Code)
		}
		if w := do(g, "POST", "/operations/a?t=cancel&output=json"); w.Code != 200 || !strings.Contains(w.Body.String(), `"finished": false`) {
			t.Errorf("cancelled: %d %s", w.Code, w.Body)
		}
		<-node.given
		if w := do(g, "POST", "/operations/a?t=cancel"); w.Code != 404 {
			t.Errorf("cancelled twice: %d", w.Code)
		}
	})
}
