package control_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
	"github.com/tarn-grid/tarn/web/internal/memnode"
)

var content = []byte(strings.Repeat("the quick brown fox jumps over the lazy dog\n", 50_000))

// start serves node on a socket in dir and returns a client for it.
func start(t *testing.T, node control.Node, dir string) *control.Client {
	t.Helper()
	path := filepath.Join(dir, "control.sock")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: control.Handler(node)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	client := control.NewClient(path)
	t.Cleanup(func() {
		client.Close()
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return client
}

func read(t *testing.T, c *control.Client, capability string, offset, length int64) ([]byte, error) {
	t.Helper()
	get, err := c.Get(t.Context(), capability, offset, length)
	if err != nil {
		return nil, err
	}
	defer get.Close()
	var out bytes.Buffer
	n, err := get.WriteTo(&out)
	if n != int64(out.Len()) {
		t.Errorf("WriteTo says %d bytes and wrote %d", n, out.Len())
	}
	return out.Bytes(), err
}

func TestPutAndGet(t *testing.T) {
	node := &memnode.Node{}
	c := start(t, node, t.TempDir())
	var done int64
	params := file.Params{Needed: 3, Happy: 4, Total: 5, SegmentSize: 1 << 17}
	result, err := c.Put(t.Context(), bytes.NewReader(content), tarn.PutOptions{
		Size: int64(len(content)), RandomKey: true, Params: &params,
		Progress: func(d, _ int64) { done = d },
	})
	if err != nil || result.Size != int64(len(content)) || result.Pushed != 1 || len(result.Placement[0]) != 1 {
		t.Fatalf("Put = %+v, %v", result, err)
	}
	if done != int64(len(content)) {
		t.Errorf("progress ended at %d", done)
	}
	got := node.Options()[0]
	if !got.RandomKey || got.Size != int64(len(content)) || *got.Params != params {
		t.Errorf("options arrived as %+v", got)
	}
	for _, r := range []struct{ offset, length, from, to int64 }{
		{0, -1, 0, int64(len(content))}, {5, 10, 5, 15}, {5, 0, 5, 5}, {100, 1 << 40, 100, int64(len(content))},
	} {
		b, err := read(t, c, result.Cap, r.offset, r.length)
		if err != nil || !bytes.Equal(b, content[r.from:r.to]) {
			t.Errorf("Get(%d, %d) = %d bytes, %v", r.offset, r.length, len(b), err)
		}
	}
	if _, err := read(t, c, result.Cap, -1, 1); !errors.Is(err, control.ErrRequest) {
		t.Errorf("a negative offset: %v", err)
	}
}

func TestPutOfUnknownSize(t *testing.T) {
	node := &memnode.Node{}
	c := start(t, node, t.TempDir())
	result, err := c.Put(t.Context(), io.MultiReader(bytes.NewReader(content)), tarn.PutOptions{Size: -1})
	if err != nil || result.Size != int64(len(content)) || node.Options()[0].Size != -1 {
		t.Errorf("Put = %+v, %v", result, err)
	}
}

// TestErrorsKeepTheirIdentity: a command decides by errors.Is, whichever
// process the error comes from.
func TestErrorsKeepTheirIdentity(t *testing.T) {
	for _, want := range []error{
		tarn.ErrTooFewServers, tarn.ErrNotEnoughShares, tarn.ErrCap, tarn.ErrNoClient, tarn.ErrNoStorage, tarn.ErrExists,
		lease.ErrNoSuchRoot, lease.ErrAuthorityExpired, lease.ErrAuthorityRevoked, lease.ErrNotPermitted, lease.ErrAuthority,
		file.ErrParams,
	} {
		c := start(t, &memnode.Node{PutError: want}, t.TempDir())
		_, err := c.Put(t.Context(), bytes.NewReader(content), tarn.PutOptions{Size: -1})
		if !errors.Is(err, want) || err.Error() != want.Error() {
			t.Errorf("%v arrived as %v", want, err)
		}
	}
	c := start(t, &memnode.Node{PutError: errors.New("disk on fire")}, t.TempDir())
	_, err := c.Put(t.Context(), bytes.NewReader(content), tarn.PutOptions{Size: -1})
	if err == nil || err.Error() != "disk on fire" || errors.Unwrap(err) != nil {
		t.Errorf("an error without a code arrived as %v", err)
	}
}

// TestRefusalReachesAClientThatStillSends: neither side may wait for the
// other, and the words must arrive.
func TestRefusalReachesAClientThatStillSends(t *testing.T) {
	c := start(t, &memnode.Node{PutError: tarn.ErrTooFewServers}, t.TempDir())
	forever := io.MultiReader(bytes.NewReader(make([]byte, 16<<20)), iotest.ErrReader(nil))
	_, err := c.Put(t.Context(), forever, tarn.PutOptions{Size: -1})
	if !errors.Is(err, tarn.ErrTooFewServers) {
		t.Errorf("Put = %v", err)
	}
}

func TestInputThatBreaksOffIsNotStored(t *testing.T) {
	node := &memnode.Node{}
	c := start(t, node, t.TempDir())
	broken := errors.New("bad disk")
	_, err := c.Put(t.Context(), io.MultiReader(bytes.NewReader(content), iotest.ErrReader(broken)), tarn.PutOptions{Size: -1})
	if !errors.Is(err, broken) {
		t.Errorf("Put = %v", err)
	}
	if n := node.Stored(); n != 0 {
		t.Errorf("%d files were stored", n)
	}
}

func TestFailureInMidGet(t *testing.T) {
	for _, limit := range []int64{0, 1, 1_000_000} {
		node := &memnode.Node{ReadError: tarn.ErrNotEnoughShares, ReadLimit: limit}
		c := start(t, node, t.TempDir())
		result, err := c.Put(t.Context(), bytes.NewReader(content), tarn.PutOptions{Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		b, err := read(t, c, result.Cap, 0, -1)
		if !errors.Is(err, tarn.ErrNotEnoughShares) || !bytes.Equal(b, content[:limit]) {
			t.Errorf("after %d bytes: %d bytes, %v", limit, len(b), err)
		}
	}
}

func TestGetThatBreaksOffIsNotWhole(t *testing.T) {
	c := start(t, panicking{&memnode.Node{}}, t.TempDir())
	b, err := read(t, c, "URI:LIT:", 0, -1)
	if !errors.Is(err, control.ErrBrokenOff) || len(b) != 0 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// panicking is a node that goes away in the middle of a download.
type panicking struct{ *memnode.Node }

func (panicking) Open(context.Context, string, ...tarn.Option) (tarn.File, error) {
	return panickingFile{}, nil
}

type panickingFile struct{}

func (panickingFile) Size() int64                              { return 10 }
func (panickingFile) Close() error                             { return nil }
func (panickingFile) WriteRange(io.Writer, int64, int64) error { panic(http.ErrAbortHandler) }

func TestErrorsOfTheWriterAreTheCallers(t *testing.T) {
	c := start(t, &memnode.Node{}, t.TempDir())
	result, err := c.Put(t.Context(), bytes.NewReader(content), tarn.PutOptions{Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	get, err := c.Get(t.Context(), result.Cap, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer get.Close()
	full := errors.New("disk full")
	if _, err := get.WriteTo(failing{full}); !errors.Is(err, full) || !errors.Is(err, control.ErrOutput) || errors.Is(err, control.ErrBrokenOff) {
		t.Errorf("WriteTo = %v", err)
	}
}

func TestANodeThatEndsBeforeItAnswersBreaksOff(t *testing.T) {
	c := start(t, vanishing{&memnode.Node{}}, t.TempDir())
	if _, err := c.Put(t.Context(), bytes.NewReader(content), tarn.PutOptions{Size: -1}); !errors.Is(err, control.ErrBrokenOff) {
		t.Errorf("Put = %v", err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, control.ErrBrokenOff) || strings.Contains(err.Error(), "EOF") {
		t.Errorf("Status = %v", err)
	}
}

// vanishing is a node that is killed whenever it is asked something.
type vanishing struct{ *memnode.Node }

func (vanishing) Put(context.Context, io.Reader, tarn.PutOptions) (tarn.PutResult, error) {
	panic(http.ErrAbortHandler)
}

func (vanishing) Status(context.Context) (tarn.Status, error) { panic(http.ErrAbortHandler) }

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestBadCapability(t *testing.T) {
	c := start(t, &memnode.Node{}, t.TempDir())
	secret := "URI:CHK:" + strings.Repeat("b", 26)
	if _, err := read(t, c, secret, 0, -1); !errors.Is(err, tarn.ErrCap) || strings.Contains(err.Error(), "bbbb") {
		t.Errorf("%v", err)
	}
}

// An authority travels in bodies, before the file that is stored with it, and is
// used for that call alone.
func TestUnderAnAuthority(t *testing.T) {
	node := &memnode.Node{}
	c := start(t, node, t.TempDir())
	authority := lease.Authority{Holdings: []lease.Holding{{Account: lease.OneKeyAccount([lease.SeedSize]byte{5})}}}
	text, err := authority.Text()
	if err != nil {
		t.Fatal(err)
	}
	under := c.Under(append(text, "And a word after it.\n"...))
	stored, err := under.Put(t.Context(), bytes.NewReader(content), control.PutOptions{Size: int64(len(content))})
	if err != nil || node.Options()[0].Authority.ID() != authority.ID() {
		t.Fatalf("Put under %v, %v", node.Options(), err)
	}
	if got, err := read(t, under, stored.Cap, 0, -1); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := under.OwnUsage(t.Context()); err != nil {
		t.Error(err)
	}
	if got, err := read(t, c, stored.Cap, 0, -1); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got := node.Under(); len(got) != 3 || got[0].ID() != authority.ID() || got[1].ID() != authority.ID() || len(got[2].Holdings) != 0 {
		t.Errorf("used %d authorities: %v", len(got), got)
	}
	damaged := c.Under(text[:len(text)/2])
	if _, err := damaged.Put(t.Context(), bytes.NewReader(content), control.PutOptions{Size: -1}); !errors.Is(err, lease.ErrAuthority) {
		t.Errorf("Put under half an authority: %v", err)
	}
	if _, err := read(t, damaged, stored.Cap, 0, -1); !errors.Is(err, lease.ErrAuthority) {
		t.Errorf("Get under half an authority: %v", err)
	}
	if _, err := damaged.OwnUsage(t.Context()); !errors.Is(err, lease.ErrAuthority) {
		t.Errorf("OwnUsage under half an authority: %v", err)
	}
}

func TestOwnUsage(t *testing.T) {
	node := &memnode.Node{
		Own:    []tarn.AccountUsage{{Server: grid.ServerID{7}, Bytes: 10}},
		Failed: []tarn.ServerError{{Server: grid.ServerID{8}, Nickname: "s8", Err: errors.New("gone")}},
	}
	c := start(t, node, t.TempDir())
	own, err := c.OwnUsage(t.Context())
	if err != nil || own.Accounts[0].Bytes != 10 || own.Failed[0].Error != "gone" {
		t.Errorf("OwnUsage = %+v, %v", own, err)
	}
	if _, err := c.AddAuthority(t.Context(), strings.NewReader("nonsense")); !errors.Is(err, lease.ErrAuthority) {
		t.Errorf("AddAuthority = %v", err)
	}
	if _, err := c.Operator().Usage(t.Context()); !errors.Is(err, tarn.ErrNoStorage) {
		t.Errorf("usage without storage: %v", err)
	}
	if err := c.Metrics(t.Context(), io.Discard); err != nil {
		t.Errorf("Metrics: %v", err)
	}
}

func TestStatus(t *testing.T) {
	node := &memnode.Node{Now: tarn.Status{
		Nickname: "n", Servers: []tarn.ServerStatus{{Server: grid.ServerID{1}, State: "backoff", LastError: "why"}},
		Storage:    &tarn.StorageStatus{Server: grid.ServerID{2}, Hints: []grid.Hint{"/ip4/127.0.0.1/tcp/1"}, Free: 7},
		Introducer: &tarn.IntroducerRef{Server: grid.ServerID{3}, Hints: []grid.Hint{"/ip4/127.0.0.1/tcp/2"}},
	}}
	s, err := start(t, node, t.TempDir()).Status(t.Context())
	if err != nil || s.Nickname != "n" || s.Servers[0].LastError != "why" || s.Storage.Free != 7 || !strings.HasPrefix(s.Introducer, "tarn:introducer/") {
		t.Errorf("Status = %+v, %v", s, err)
	}
}

func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{
		"no socket": filepath.Join(dir, "control.sock"),
		"no folder": filepath.Join(dir, "nowhere", "control.sock"),
		"long name": filepath.Join(dir, strings.Repeat("x", 150), "control.sock"),
	} {
		if _, err := control.NewClient(path).Status(t.Context()); !errors.Is(err, control.ErrNotRunning) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCancelledCall(t *testing.T) {
	c := start(t, &memnode.Node{}, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestLongFolder: a socket address has about a hundred bytes, a folder's name
// may have many more.
func TestLongFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("a", 120), strings.Repeat("b", 120))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := start(t, &memnode.Node{Now: tarn.Status{Nickname: "far away"}}, dir)
	s, err := c.Status(t.Context())
	if err != nil || s.Nickname != "far away" {
		t.Errorf("Status = %+v, %v", s, err)
	}
	info, err := os.Stat(filepath.Join(dir, "control.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
}

func TestSocketIsReplacedAndRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// FuzzRequests: no request ends in a panic.
func FuzzRequests(f *testing.F) {
	handler := control.Handler(&memnode.Node{Server: openOperator(f)})
	f.Add("/v1/get", "", `{"cap":"URI:LIT:krugkidfnzsc4","offset":1,"length":2}`)
	f.Add("/v1/put", "needed=3&happy=1&total=2&segment-size=9", "content")
	f.Add("/v1/operator/accounts/add", "", `{"petname":"x","key":"pub-v0-","quota":-1}`)
	f.Add("/v1/operator/removal", "", `{"name":"x"}`)
	f.Add("/v1/operator/rekey", "", `{"name":"x","key":"pub-v0-x"}`)
	f.Add("/v1/operator/traffic", "", `{"since":"2026-02-30"}`)
	f.Add("/v1/operator/ambient", "", `{"on":true,"quota":-1}`)
	f.Add("/v1/authority", "", "-----BEGIN TARN AUTHORITY-----")
	f.Fuzz(func(t *testing.T, path, query, body string) {
		r, err := http.NewRequest("POST", "http://node/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Path, r.URL.RawQuery = path, query
		w := &recorder{header: http.Header{}}
		handler.ServeHTTP(w, r)
	})
}

// recorder is a ResponseWriter with the two extras that put needs.
type recorder struct{ header http.Header }

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) EnableFullDuplex() error     { return nil }
func (r *recorder) Flush()                      {}

func TestProfiles(t *testing.T) {
	s := httptest.NewServer(control.Handler(&memnode.Node{}))
	defer s.Close()
	r, err := http.Get(s.URL + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK || !bytes.Contains(text, []byte("TestProfiles")) {
		t.Errorf("status %d, %v:\n%s", r.StatusCode, err, text)
	}
}
