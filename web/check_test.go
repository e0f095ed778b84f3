package web_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/web/internal/memnode"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// report is of a file with so many good shares on servers of their own, any of
// which is enough; three are all.
func report(good int) tarn.CheckResult {
	r := health.Report{StorageIndex: grid.StorageIndex{1}, Needed: 1, Happy: 3, Total: 3}
	for i := range good {
		c := health.Copy{Server: grid.ServerID{byte(i + 1)}, Num: grid.ShareNum(i)}
		r.Good, r.Responding = append(r.Good, c), append(r.Responding, c.Server)
	}
	if good < 3 {
		r.Corrupt = []health.Fault{{Copy: health.Copy{Server: grid.ServerID{9}, Num: 2}, Err: fmt.Errorf("flipped")}}
	}
	return tarn.CheckResult{Report: r}
}

// checkedTree is a directory with good files, one that lost shares, and one that
// is in its capability.
func checkedTree(t *testing.T) (node *memnode.Node, address, top, ill string) {
	t.Helper()
	node = &memnode.Node{}
	address = start(t, node)
	node.Health.Checks = map[string]tarn.CheckResult{"URI:LIT:": {Report: health.Report{Literal: true}}}
	var kids []string
	for i := range 30 {
		c := store(t, address, bytes.Repeat([]byte{byte(i)}, 100))
		node.Health.Checks[c] = report(3)
		if i == 17 {
			ill = c
			node.Health.Checks[c] = report(1)
		}
		kids = append(kids, fmt.Sprintf(`"f%02d": ["filenode", {"ro_uri": "%s"}]`, i, c))
	}
	kids = append(kids, `"lit": ["filenode", {"ro_uri": "URI:LIT:"}], "new": ["unknown", {"ro_uri": "URI:NEW:x"}]`)
	made := post(t, address+"/uri?t=mkdir-immutable", "{"+strings.Join(kids, ",")+"}")
	top = string(made.body)
	node.Health.Checks[top] = report(3)
	return node, address, top, ill
}

func TestCheck(t *testing.T) {
	node, address, top, ill := checkedTree(t)
	at := address + "/uri/" + url.PathEscape(top)
	a := post(t, at+"/f17?t=check&output=JSON&verify=true&add-lease=on", "")
	a.want(t, 200, `"count-shares-good": 1`)
	var result struct {
		Summary string
		Results struct {
			Healthy bool
			Corrupt [][3]any `json:"list-corrupt-shares"`
		}
	}
	if err := json.Unmarshal(a.body, &result); err != nil || result.Results.Healthy || len(result.Results.Corrupt) != 1 || result.Summary == "" {
		t.Errorf("%v: %s", err, a.body)
	}
	if asked := node.Health.Asked; len(asked) != 1 || !asked[0].Verify || !asked[0].AddLease {
		t.Errorf("asked %+v", asked)
	}
	post(t, address+"/uri/"+ill+"?t=check", "").want(t, 200, "Not Healthy")
	post(t, at+"?t=check", "").want(t, 200, "Healthy")
	post(t, at+"/lit?t=check&output=json", "").want(t, 200, `"healthy": true`)
	post(t, at+"/none?t=check", "").want(t, 404, "no such entry")
	post(t, at+"/f17?t=check&verify=perhaps", "").want(t, 400, "verify=")
	ask(t, "GET", at+"/f17?t=check", nil).want(t, 400, "Unknown")
	if to := post(t, at+"/f17?t=check&when_done=.", "").Header.Get("Location"); !strings.HasSuffix(to, "/") {
		t.Errorf("sent to %q", to)
	}
}

// TestStreamDeepCheck: a line for each object, in the order of the walk, though
// several are checked at once.
func TestStreamDeepCheck(t *testing.T) {
	node, address, top, ill := checkedTree(t)
	a := post(t, address+"/uri/"+top+"?t=stream-deep-check", "")
	var paths []string
	healthy, last := 0, map[string]any{}
	for lines := bufio.NewScanner(bytes.NewReader(a.body)); lines.Scan(); {
		var unit struct {
			Path    []string
			Cap     string
			Type    string
			Results struct{ Results struct{ Healthy bool } } `json:"check-results"`
		}
		last = map[string]any{}
		if json.Unmarshal(lines.Bytes(), &unit) != nil || json.Unmarshal(lines.Bytes(), &last) != nil {
			t.Fatalf("%s", lines.Bytes())
		}
		if unit.Type == "stats" {
			continue
		}
		paths = append(paths, strings.Join(unit.Path, "/"))
		if unit.Results.Results.Healthy {
			healthy++
		} else if unit.Cap != ill {
			t.Errorf("not healthy: %s", lines.Bytes())
		}
	}
	if len(paths) != 33 || healthy != 32 || last["type"] != "stats" {
		t.Errorf("%d objects, %d healthy, at last %v", len(paths), healthy, last)
	}
	for i, path := range paths[1:31] {
		if path != fmt.Sprintf("f%02d", i) {
			t.Fatalf("%q is not in order", paths)
		}
	}
	delete(node.Health.Checks, ill) // which then can't be checked
	broken := post(t, address+"/uri/"+top+"?t=stream-deep-check", "")
	lines := strings.Split(strings.TrimSpace(string(broken.body)), "\n")
	if end := lines[len(lines)-1]; !strings.HasPrefix(end, "ERROR: ") || len(lines) != 19 {
		t.Errorf("%d lines, the last %s", len(lines), end)
	}
}

func TestDeepCheckUnderAHandle(t *testing.T) {
	node, address, top, ill := checkedTree(t)
	a := post(t, address+"/uri/"+top+"?t=start-deep-check&ophandle=x&output=JSON", "")
	if a.StatusCode != 302 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	done := eventually(t, address+a.Header.Get("Location"))
	for _, part := range []string{
		`"count-objects-checked": 31`, `"count-objects-healthy": 30`, `"count-objects-unhealthy": 1`, `"count-corrupt-shares": 1`, `"count-files": 31`,
		"\"list-unhealthy-files\": [\n  [\n   [\n    \"f17\"",
	} {
		if !strings.Contains(string(done.body), part) {
			t.Errorf("no %s in %s", part, done.body)
		}
	}
	page := ask(t, "GET", address+"/operations/x", nil)
	page.want(t, 200, `href="/uri/`+ill)
	c, err := file.Parse(ill)
	if err != nil {
		t.Fatal(err)
	}
	one := "/operations/x/" + tahoe.StorageIndexText(c)
	page.want(t, 200, `href="`+one+`"`)
	ask(t, "GET", address+one, nil).want(t, 200, "Not Healthy: 1 share")
	ask(t, "GET", address+one+"?output=json", nil).want(t, 200, `"count-shares-good": 1`)
	ask(t, "GET", address+one+"?output=odd", nil).want(t, 400, "output=")
	ask(t, "GET", address+"/operations/x/aaaaaaaaaaaaaaaaaaaaaaaaaa", nil).want(t, 404, "no object with this")
	ask(t, "GET", address+"/operations/x/odd", nil).want(t, 404, "no object with this")
	well := healthyOf(t, node, ill)
	one = "/operations/x/" + tahoe.StorageIndexText(well)
	ask(t, "GET", address+one, nil).want(t, 200, "Healthy")
	ask(t, "GET", address+one+"?output=json", nil).want(t, 200, `"healthy": true`)
	node.Health.Checks[well.String()] = report(2) // since then
	ask(t, "GET", address+one+"?output=json", nil).want(t, 200, `"count-shares-good": 2`)
	delete(node.Health.Checks, well.String())
	ask(t, "GET", address+one+"?output=json", nil).want(t, 400, "nobody said how it is")
	ask(t, "GET", address+"/operations/none/aaaaaaaaaaaaaaaaaaaaaaaaaa", nil).want(t, 404, "no operation")
	post(t, address+one, "").want(t, 404, "handle")
	post(t, address+"/uri/"+top+"?t=start-deep-stats&ophandle=s", "")
	ask(t, "GET", address+"/operations/s/aaaaaaaaaaaaaaaaaaaaaaaaaa", nil).want(t, 404, "knows no more")
	post(t, address+"/uri/URI:LIT:?t=start-deep-check&ophandle=y", "").want(t, 400, "for directories")
	for _, what := range []string{"start-deep-check&ophandle=y", "stream-deep-check"} {
		post(t, address+"/uri/"+top+"?t="+what+"&repair=true&force=true", "").want(t, 400, "force=")
	}
}

// healthyOf is one of the files that are healthy.
func healthyOf(t *testing.T, node *memnode.Node, ill string) file.Capability {
	t.Helper()
	for _, text := range slices.Sorted(maps.Keys(node.Health.Checks)) {
		if c, err := file.Parse(text); err == nil && text != ill && !node.Health.Checks[text].Literal && c.Kind() == file.KindCHK {
			return c
		}
	}
	t.Fatal("none is healthy")
	return nil
}

// TestRepair: as it was, whether anything was tried, and as it is.
func TestRepair(t *testing.T) {
	node, address, top, ill := checkedTree(t)
	node.Health.Repairs = map[string]tarn.RepairResult{"URI:LIT:": {Before: tarn.CheckResult{Report: health.Report{Literal: true}}, After: tarn.CheckResult{Report: health.Report{Literal: true}}}}
	for c, r := range node.Health.Checks {
		if !r.Literal {
			node.Health.Repairs[c] = tarn.RepairResult{Before: r, After: report(3), Attempted: c == ill}
		}
	}
	a := post(t, address+"/uri/"+ill+"?t=check&repair=true&output=JSON", "")
	var result struct {
		Attempted  bool                                     `json:"repair-attempted"`
		Successful bool                                     `json:"repair-successful"`
		Pre        struct{ Results struct{ Healthy bool } } `json:"pre-repair-results"`
		Post       struct{ Results struct{ Healthy bool } } `json:"post-repair-results"`
	}
	if err := json.Unmarshal(a.body, &result); err != nil || !result.Attempted || !result.Successful || result.Pre.Results.Healthy || !result.Post.Results.Healthy {
		t.Errorf("%v: %s", err, a.body)
	}
	post(t, address+"/uri/"+ill+"?t=check&repair=true", "").want(t, 200, "Before the repair")
	if asked := node.Health.Asked; asked[len(asked)-1].Force {
		t.Error("a repair gives up a version that nobody said may go")
	}
	post(t, address+"/uri/"+ill+"?t=check&repair=true&force=true", "").want(t, 200, "Before the repair")
	if asked := node.Health.Asked; !asked[len(asked)-1].Force {
		t.Error("force=true was not handed on")
	}
	post(t, address+"/uri/"+ill+"?t=check&repair=true&force=perhaps", "").want(t, 400, "force")
	stream := post(t, address+"/uri/"+top+"?t=stream-deep-check&repair=true", "")
	if n := bytes.Count(stream.body, []byte(`"check-and-repair-results":{`)); n != 33 {
		t.Errorf("%d repairs in %s", n, stream.body)
	}
	if n := bytes.Count(stream.body, []byte(`"repair-attempted":true`)); n != 1 {
		t.Errorf("%d were tried", n)
	}
	started := post(t, address+"/uri/"+top+"?t=start-deep-check&repair=true&ophandle=r&output=JSON", "")
	done := eventually(t, address+started.Header.Get("Location"))
	c, err := file.Parse(ill)
	if err != nil {
		t.Fatal(err)
	}
	one := address + "/operations/r/" + tahoe.StorageIndexText(c)
	ask(t, "GET", one, nil).want(t, 200, "Before the repair")
	ask(t, "GET", one+"?output=JSON", nil).want(t, 200, `"repair-successful": true`)
	for _, part := range []string{
		`"count-objects-checked": 31`, `"count-objects-healthy-pre-repair": 30`, `"count-objects-healthy-post-repair": 31`, `"count-repairs-attempted": 1`,
		`"count-repairs-successful": 1`, `"count-corrupt-shares-pre-repair": 1`, `"count-corrupt-shares-post-repair": 0`, `"repair-successful": true`,
	} {
		if !strings.Contains(string(done.body), part) {
			t.Errorf("no %s in %s", part, done.body)
		}
	}
}
