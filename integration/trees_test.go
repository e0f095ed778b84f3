//go:build integration

package integration_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/integration/nodes"
)

// gateway asks a client's.
type gateway struct {
	t   *testing.T
	url string
}

func gatewayOf(t *testing.T, client *nodes.Node) gateway {
	t.Helper()
	url, err := os.ReadFile(client.Path("node.url"))
	if err != nil {
		t.Fatal(err)
	}
	return gateway{t, strings.TrimRight(string(url), "/\n")}
}

// begin is a request that must succeed, and its answer, which is to be closed.
func (g gateway) begin(method, path string, body io.Reader) io.ReadCloser {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	if a.StatusCode >= 300 {
		said, _ := io.ReadAll(io.LimitReader(a.Body, 500))
		a.Body.Close()
		g.t.Fatalf("%s %.80s: %s: %s", method, path, a.Status, said)
	}
	return a.Body
}

func (g gateway) do(method, path string, body io.Reader) string {
	g.t.Helper()
	answer := g.begin(method, path, body)
	defer answer.Close()
	text, err := io.ReadAll(answer)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(text)
}

// children is the body of a request that makes a directory of that many files, of
// none of which there are shares anywhere.
func children(random *rand.ChaCha8, n int) *bytes.Buffer {
	var b bytes.Buffer
	for i := range n {
		c := file.CHK{Needed: 3, Total: 10, Size: 1000}
		_, _ = random.Read(c.Key[:])     // never fails
		_, _ = random.Read(c.UEBHash[:]) // nor this
		fmt.Fprintf(&b, `,"file %06d":["filenode",{"ro_uri":%q}]`, i, c)
	}
	b.WriteByte('}')
	b.Bytes()[0] = '{'
	return &b
}

// A tree of a million files with TARN_BIG=1, else of a hundred thousand, is listed, by
// the command and by the gateway, and summed up, in bounded memory.
func TestMillionNodes(t *testing.T) {
	directories, each := 100, 1000
	if nodes.Big() {
		directories = 1000
	}
	objects := 1 + directories + directories*each
	g := nodes.Start(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1, Gateway: true})
	web := gatewayOf(t, g.Client)
	random := rand.NewChaCha8([32]byte{1})
	var all bytes.Buffer
	for i := range directories {
		dir := web.do("POST", "/uri?t=mkdir-immutable", children(random, each))
		fmt.Fprintf(&all, `,"folder %d":["dirnode",{"ro_uri":%q}]`, i, dir)
	}
	all.WriteByte('}')
	all.Bytes()[0] = '{'
	root := web.do("POST", "/uri?t=mkdir-immutable", &all)

	lines := &lineCounter{}
	manifest := nodes.Begin(t, strings.NewReader(root), lines, "-d", g.Client.Dir, "manifest", "-").Wait()
	if manifest.Code != 0 || lines.n != objects {
		t.Errorf("manifest: exit code %d, %d lines, %s", manifest.Code, lines.n, manifest.Stderr)
	}
	wantMemory(t, "tarn manifest", manifest.PeakMemory)

	stream := web.begin("POST", "/uri/"+root+"?t=stream-manifest", nil)
	scanner := bufio.NewScanner(stream)
	var units, files int
	for ; scanner.Scan(); units++ {
		var unit struct{ Type string }
		if err := json.Unmarshal(scanner.Bytes(), &unit); err != nil {
			t.Fatalf("%s: %v", scanner.Bytes(), err)
		}
		if unit.Type == "file" {
			files++
		}
	}
	stream.Close()
	if scanner.Err() != nil || units != objects+1 || files != directories*each {
		t.Errorf("the gateway told of %d units, %d files: %v", units, files, scanner.Err())
	}

	stats := nodes.Run(t, strings.NewReader(root), "-d", g.Client.Dir, "stats", "--raw", "-")
	var sum struct {
		Files       int `json:"count-immutable-files"`
		Directories int `json:"count-directories"`
	}
	if err := json.Unmarshal([]byte(stats.Stdout), &sum); err != nil || sum.Files != directories*each || sum.Directories != directories+1 {
		t.Errorf("stats: %v: %s %s", err, stats.Stdout, stats.Stderr)
	}
	checkMemory(t, g)
}

// A directory with a hundred thousand entries is made, listed, read as a page and
// changed.
func TestHundredThousandEntries(t *testing.T) {
	const entries = 100_000
	g := nodes.Start(t, nodes.Options{Servers: 4, Needed: 2, Happy: 3, Total: 4, Gateway: true})
	web := gatewayOf(t, g.Client)
	dir := web.do("POST", "/uri?t=mkdir-with-children", children(rand.NewChaCha8([32]byte{2}), entries))
	tarn := func(args ...string) nodes.Result {
		t.Helper()
		r := nodes.Run(t, strings.NewReader("hello"), append([]string{"-d", g.Client.Dir}, args...)...)
		if r.Code != 0 {
			t.Fatalf("%.80q: exit code %d: %s", args, r.Code, r.Stderr)
		}
		return r
	}
	added := nodes.Run(t, strings.NewReader(dir), "-d", g.Client.Dir, "add-alias", "many")
	if added.Code != 0 {
		t.Fatal(added.Stderr)
	}
	tarn("put", "-", "many:new/letter")
	tarn("mv", "many:file 050000", "many:new/moved")
	tarn("unlink", "many:file 000000")
	if names := strings.Split(strings.TrimSuffix(tarn("ls", "many:").Stdout, "\n"), "\n"); len(names) != entries-1 || names[0] != "file 000001" || names[entries-2] != "new" {
		t.Errorf("%d names after the changes, %.100q", len(names), names)
	}
	if text := tarn("get", "many:new/letter").Stdout; text != "hello" {
		t.Errorf("read %q", text)
	}
	page := web.do("GET", "/uri/"+dir+"?t=", nil)
	if len(page) > 2<<20 || !strings.Contains(page, "file 000001") {
		t.Errorf("a page of %d bytes: %.200s", len(page), page)
	}
	if text := web.do("GET", "/uri/"+dir+"?t=json", nil); strings.Count(text, "ro_uri") != entries-1+1 {
		t.Errorf("%d entries as JSON", strings.Count(text, "ro_uri"))
	}
	t.Logf("the client's node took at most %.1f MB", float64(g.Client.PeakMemory())/1e6)
	if peak := g.Client.PeakMemory(); peak > 900e6 {
		t.Errorf("the client took %d bytes of memory", peak)
	}
}

// A client that is killed when a child is stored and its parent is not written yet: the
// directory is as it was, the child's leases are in the journal, and to do it again is
// all that is needed.
func TestKilledBetweenChildAndParent(t *testing.T) {
	const child = 100_000
	var proxy *nodes.Proxy
	g := nodes.Start(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1, Gateway: true, ServerArgs: func(int) []string {
		proxy = nodes.NewProxy(t)
		return proxy.ServerArgs()
	}})
	web := gatewayOf(t, g.Client)
	// The directory is so long that writing it is what the connection is held in.
	dir := web.do("POST", "/uri?t=mkdir-with-children", children(rand.NewChaCha8([32]byte{3}), 5000))
	before := web.do("GET", "/uri/"+dir+"?t=json", nil)
	put := func() *nodes.Command {
		text := dir + "/letter"
		return nodes.Begin(t, nodes.Random(4, child), nil, "-d", g.Client.Dir, "put", "-", text)
	}
	proxy.HoldSent(2 * child)
	command := put()
	nodes.Until(t, "the directory is being written", nodes.Patience, proxy.Held)
	g.Client.Kill()
	command.Wait().WantFailure(t, 3, "the node")
	proxy.Cut()
	proxy.Release()

	g.Client.Start()
	g.Client.WaitLogins(1)
	web = gatewayOf(t, g.Client)
	if after := web.do("GET", "/uri/"+dir+"?t=json", nil); after != before {
		t.Errorf("the directory has %d bytes as JSON, and had %d", len(after), len(before))
	}
	// Directory and child, each with a share and its lease.
	if _, shares, _ := g.Servers[0].Usage(); shares != 2 {
		t.Errorf("the server has %d shares", shares)
	}
	if reconciled := nodes.Run(t, nil, "-d", g.Client.Dir, "reconcile"); reconciled.Code != 0 {
		t.Errorf("journal and server don't agree: %s%s", reconciled.Stdout, reconciled.Stderr)
	}
	if again := put().Wait(); again.Code != 0 {
		t.Fatalf("put: %s", again.Stderr)
	}
	g.Servers[0].CheckClean()
	got := web.begin("GET", "/uri/"+dir+"/letter", nil)
	defer got.Close()
	compare := nodes.NewCompare(nodes.Random(4, child))
	if n, err := io.Copy(compare, got); err != nil || n != child || compare.Differs {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// lineCounter counts lines.
type lineCounter struct{ n int }

func (c *lineCounter) Write(b []byte) (int, error) {
	c.n += bytes.Count(b, []byte("\n"))
	return len(b), nil
}
