package tarn_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
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
}

func newGrid(t testing.TB, servers int, p file.Params) *testGrid {
	t.Helper()
	g := &testGrid{t: t}
	in := g.open(tarn.Config{Introducer: &tarn.IntroducerConfig{Key: newKey(t), Listen: []string{"/ip4/127.0.0.1/tcp/0"}}})
	status, err := in.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g.ref = *status.Introducer
	account := newAccount(t)
	for i := range servers {
		g.addServer(fmt.Sprintf("s%d", i+1), account)
	}
	g.client = g.open(tarn.Config{
		Introducers: []tarn.IntroducerRef{g.ref},
		Client:      &tarn.ClientConfig{Params: p, Account: account, Convergence: bytes.Repeat([]byte("c"), 16)},
	})
	g.await(servers)
	return g
}

func (g *testGrid) open(c tarn.Config) *tarn.Node {
	g.t.Helper()
	c.Dir = g.t.TempDir()
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
	if _, _, err := op.AddAccount(g.t.Context(), "alice", &public, nil); err != nil {
		g.t.Fatal(err)
	}
}

// await waits until the client is logged in to that many servers.
func (g *testGrid) await(want int) {
	g.t.Helper()
	for {
		usage, failed, err := g.client.OwnUsage(g.t.Context())
		if err != nil {
			g.t.Fatal(err)
		}
		if len(usage) == want {
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
