package tarn_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// testGrid is an introducer, storage servers and a client in this process.
type testGrid struct {
	t       testing.TB
	ref     tarn.IntroducerRef
	servers []*tarn.Node
	ids     []grid.ServerID
	client  *tarn.Node
	folder  string        // the client's
	account lease.Account // the client's, which every server accepts
}

func newGrid(t testing.TB, servers int, p file.Params) *testGrid {
	t.Helper()
	g := &testGrid{t: t, folder: t.TempDir()}
	in := g.open(tarn.Config{Introducer: &tarn.IntroducerConfig{Key: newKey(t), Listen: []string{"/ip4/127.0.0.1/tcp/0"}}})
	status, err := in.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g.ref = *status.Introducer
	account := newAccount(t)
	g.account = account
	for i := range servers {
		g.addServer(fmt.Sprintf("s%d", i+1), account)
	}
	g.client = g.open(tarn.Config{
		Dir:         g.folder,
		Introducers: []tarn.IntroducerRef{g.ref},
		Client:      &tarn.ClientConfig{Params: p, Account: account, Convergence: bytes.Repeat([]byte("c"), 16)},
	})
	g.await(servers)
	return g
}

func (g *testGrid) open(c tarn.Config) *tarn.Node {
	g.t.Helper()
	if c.Dir == "" {
		c.Dir = g.t.TempDir()
	}
	if testing.Verbose() {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", c.Nickname)
	}
	n, err := tarn.Open(g.t.Context(), c)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			g.t.Errorf("close %s: %v", c.Nickname, err)
		}
	})
	return n
}

func (g *testGrid) addServer(name string, account lease.Account) {
	g.t.Helper()
	g.addServerQuota(name, account, nil)
}

func (g *testGrid) addServerQuota(name string, account lease.Account, quota *int64) {
	g.t.Helper()
	key := newKey(g.t)
	n := g.open(tarn.Config{
		Nickname: name, Introducers: []tarn.IntroducerRef{g.ref},
		Storage: &tarn.StorageConfig{Key: key, Listen: []string{"/ip4/127.0.0.1/tcp/0"}},
	})
	id := grid.ServerID(grid.PublicKeyOf(key))
	g.servers, g.ids = append(g.servers, n), append(g.ids, id)
	op, err := n.Operator()
	if err != nil {
		g.t.Fatal(err)
	}
	public := account.PublicKey(id)
	if _, _, err := op.AddAccount(g.t.Context(), "alice", &public, quota); err != nil {
		g.t.Fatal(err)
	}
}

// await waits until the client knows every server and is logged in to that many.
func (g *testGrid) await(want int) {
	g.t.Helper()
	for {
		usage, failed, err := g.client.OwnUsage(g.t.Context())
		if err != nil {
			g.t.Fatal(err)
		}
		if len(usage) == want && len(failed) == len(g.servers)-want {
			return
		}
		g.t.Log("waiting:", len(usage), failed)
	}
}

func newKey(t testing.TB) ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAccount(t testing.TB) lease.Account {
	a, err := lease.NewAccount(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (g *testGrid) put(data []byte) tarn.PutResult {
	g.t.Helper()
	r, err := g.client.Put(g.t.Context(), bytes.NewReader(data), tarn.PutOptions{Size: int64(len(data))})
	if err != nil {
		g.t.Fatal(err)
	}
	return r
}

func (g *testGrid) get(capability string) []byte {
	g.t.Helper()
	f, err := g.client.Open(g.t.Context(), capability)
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	var b bytes.Buffer
	if err := f.WriteRange(&b, 0, f.Size()); err != nil {
		g.t.Fatal(err)
	}
	return b.Bytes()
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func TestFilesComeBack(t *testing.T) {
	g := newGrid(t, 5, file.Params{Needed: 3, Happy: 4, Total: 5, SegmentSize: 128 << 10})
	for _, size := range []int{0, 1, 55, 56, 4096, 100_000, 128 << 10, 128<<10 + 1, 1 << 20, 5<<20 + 12345} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			data := random(size)
			r := g.put(data)
			if want, err := tarn.Cap(t.Context(), bytes.NewReader(data), file.Params{Needed: 3, Happy: 4, Total: 5, SegmentSize: 128 << 10}, bytes.Repeat([]byte("c"), 16)); err != nil || want != r.Cap {
				t.Errorf("capability %s, want %s (%v)", r.Cap, want, err)
			}
			if got := g.get(r.Cap); !bytes.Equal(got, data) {
				t.Errorf("got %d bytes that are not those put (%d)", len(got), size)
			}
		})
	}
}

// A block larger than one read takes several.
func TestLargeBlocks(t *testing.T) {
	p := file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 5 << 20}
	g := newGrid(t, 1, p)
	data := random(12<<20 + 1)
	if got := g.get(g.put(data).Cap); !bytes.Equal(got, data) {
		t.Error("what came back is not what went in")
	}
}

func TestRangesOfAFile(t *testing.T) {
	p := file.Params{Needed: 2, Happy: 3, Total: 3, SegmentSize: 64 << 10}
	g := newGrid(t, 3, p)
	data := random(1<<20 + 777)
	f, err := g.client.Open(t.Context(), g.put(data).Cap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, r := range [][2]int64{{0, 0}, {0, 1}, {100, 70_000}, {65_535, 2}, {65_536, 65_536}, {1 << 20, 777}, {0, f.Size()}, {f.Size(), 0}, {3, 500_000}} {
		var b bytes.Buffer
		if err := f.WriteRange(&b, r[0], r[1]); err != nil || !bytes.Equal(b.Bytes(), data[r[0]:r[0]+r[1]]) {
			t.Errorf("range %v: %d bytes, %v", r, b.Len(), err)
		}
	}
	for _, r := range [][2]int64{{-1, 1}, {0, f.Size() + 1}, {f.Size() + 1, 0}, {1 << 62, 1 << 62}} {
		if err := f.WriteRange(io.Discard, r[0], r[1]); err == nil {
			t.Errorf("range %v was read", r)
		}
	}
	stop := errors.New("enough")
	if err := f.WriteRange(failingWriter{stop}, 0, f.Size()); !errors.Is(err, stop) {
		t.Errorf("a writer that fails: %v", err)
	}
	var b bytes.Buffer
	if err := f.WriteRange(&b, 0, f.Size()); err != nil || !bytes.Equal(b.Bytes(), data) {
		t.Errorf("after a failed range: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestBadCapabilities(t *testing.T) {
	g := newGrid(t, 1, file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 1 << 20})
	good := g.put(random(1000)).Cap
	for _, bad := range []string{"", "x", good[:len(good)-9], strings.Replace(good, "CHK", "CHQ", 1), good + ":", "URI:CHK-Verifier" + good[7:], "URI:DIR2-LIT:"} {
		if _, err := g.client.Open(t.Context(), bad); !errors.Is(err, tarn.ErrCap) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	missing := "URI:CHK:" + strings.Repeat("a", 26) + good[8+26:]
	f, err := g.client.Open(t.Context(), missing)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.WriteRange(io.Discard, 0, f.Size()); !errors.Is(err, tarn.ErrNotEnoughShares) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestQuotaHolds(t *testing.T) {
	p := file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 1 << 20}
	g := newGrid(t, 0, p)
	account := newAccount(t)
	quota := int64(300_000)
	g.addServerQuota("small", account, &quota)
	g.client = g.open(tarn.Config{Introducers: []tarn.IntroducerRef{g.ref}, Client: &tarn.ClientConfig{Params: p, Account: account}})
	g.await(1)
	stored := 0
	for range 5 {
		_, err := g.client.Put(t.Context(), bytes.NewReader(random(100_000)), tarn.PutOptions{Size: -1})
		if err == nil {
			stored++
			continue
		}
		if !errors.Is(err, tarn.ErrTooFewServers) {
			t.Errorf("over quota: %v", err)
		}
	}
	if stored != 2 {
		t.Errorf("%d files of 100,000 bytes under a quota of 300,000 (want 2: shares are a little larger)", stored)
	}
	usage, _, err := g.client.OwnUsage(t.Context())
	if err != nil || len(usage) != 1 || usage[0].Bytes > quota || usage[0].Bytes < 200_000 || usage[0].Reserved != 0 || *usage[0].Quota != quota {
		t.Errorf("usage %+v, %v", usage, err)
	}
}

func TestFreshKeyIsHandedOver(t *testing.T) {
	p := file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 1 << 20}
	g := newGrid(t, 1, p)
	op, err := g.servers[0].Operator()
	if err != nil {
		t.Fatal(err)
	}
	account, text, err := op.AddAccount(t.Context(), "bob", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := op.AddAccount(t.Context(), "bob", nil, nil); !errors.Is(err, tarn.ErrExists) {
		t.Errorf("the same petname again: %v", err)
	}
	bob := g.open(tarn.Config{Introducers: []tarn.IntroducerRef{g.ref}, Client: &tarn.ClientConfig{Params: p, Account: newAccount(t)}})
	if _, err := bob.Put(t.Context(), bytes.NewReader(random(1000)), tarn.PutOptions{Size: -1}); !errors.Is(err, tarn.ErrTooFewServers) {
		t.Errorf("before he has an authority: %v", err)
	}
	if _, err := bob.AddAuthority(t.Context(), strings.NewReader("no authority")); !errors.Is(err, lease.ErrAuthority) {
		t.Errorf("nonsense: %v", err)
	}
	if _, err := bob.AddAuthority(t.Context(), strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Put(t.Context(), bytes.NewReader(random(1000)), tarn.PutOptions{Size: -1}); err != nil {
		t.Fatal(err)
	}
	usage, err := op.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range usage {
		if u.Petname == "bob" && (u.Key != account.Key || u.Shares != 1 || u.Bytes < 1000) {
			t.Errorf("bob's usage: %+v", u)
		}
		if u.Petname == "alice" && u.Shares != 0 {
			t.Errorf("alice pays for bob: %+v", u)
		}
	}
}

func TestPutRefusesWrongSize(t *testing.T) {
	g := newGrid(t, 1, file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 1 << 20})
	for _, size := range []int64{0, 99, 101} {
		if _, err := g.client.Put(t.Context(), bytes.NewReader(random(100)), tarn.PutOptions{Size: size}); err == nil {
			t.Errorf("100 bytes were taken for %d", size)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.client.Put(ctx, bytes.NewReader(random(100)), tarn.PutOptions{Size: -1}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before it began: %v", err)
	}
}

// Blocks are small where a file is cut into many shares: servers may then ask
// for no more at a time than the client holds encoded.
func TestManySharesOfALargeFile(t *testing.T) {
	g := newGrid(t, 3, file.Params{Needed: 20, Happy: 3, Total: 60, SegmentSize: 128 << 10})
	data := random(24 << 20)
	if got := g.get(g.put(data).Cap); !bytes.Equal(got, data) {
		t.Error("another file came back")
	}
}
