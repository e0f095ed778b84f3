package scale

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
)

// strange are servers that speak as no server does, below frames: each returns its
// address.
var strange = map[string]func(t *testing.T, key int) grid.Hint{
	"bytes that are no frames": func(t *testing.T, key int) grid.Hint {
		return streams(t, key, func(s network.Stream) {
			_, _ = io.Copy(s, io.LimitReader(rand.Reader, 1<<20)) // until the other side has had enough
		})
	},
	"zeros without an end": func(t *testing.T, key int) grid.Hint {
		return streams(t, key, func(s network.Stream) {
			for zeros := make([]byte, 1<<16); ; {
				if _, err := s.Write(zeros); err != nil {
					return
				}
			}
		})
	},
	"streams that nobody reads": func(t *testing.T, key int) grid.Hint {
		return streams(t, key, func(network.Stream) {})
	},
	"bytes that are no handshake": func(t *testing.T, _ int) grid.Hint {
		return sockets(t, func(c net.Conn) {
			_, _ = io.Copy(c, io.LimitReader(rand.Reader, 1<<20))
			_ = c.Close()
		})
	},
	"sockets that say nothing": func(t *testing.T, _ int) grid.Hint { return sockets(t, func(net.Conn) {}) },
}

// streams is a libp2p host with a key that is known, which does what it likes with
// the streams that are opened to it.
func streams(t *testing.T, key int, serve func(network.Stream)) grid.Hint {
	t.Helper()
	h, err := newHost(keyOf(key), bare{})
	if err == nil {
		err = h.swarm.Listen(ma.StringCast(loopback[0]))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	h.SetStreamHandler(protocol.ID(transport.Storage), serve)
	return grid.Hint(h.Addrs()[0].String())
}

// sockets is a TCP server that does what it likes with connections.
func sockets(t *testing.T, serve func(net.Conn)) grid.Hint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			go serve(c)
		}
	}()
	a, err := manet.FromNetAddr(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return grid.Hint(a.String())
}

// TestStrangeServers: three servers that are well take files and give them back while
// the node knows one of each strange kind, and dials them again and again. It says of
// each that it is not connected.
func TestStrangeServers(t *testing.T) {
	p := file.Params{Needed: 2, Happy: 3, Total: 3, SegmentSize: file.DefaultSegmentSize}
	account := newAccount(t)
	clauses := ""
	for n := range 3 {
		clauses += wellServer(t, 100+n, account)
	}
	n := 0
	for _, begin := range strange {
		clauses += clauseOf(keyOf(n), []grid.Hint{begin(t, n)})
		n++
	}
	c := client(t, folder(t, clauses), account)
	defer closeNode(t, c)
	awaitLogins(t, c, 3)
	for _, size := range []int{1000, 3 << 20} {
		data := make([]byte, size)
		_, _ = rand.Read(data)
		r, err := c.Put(t.Context(), bytes.NewReader(data), tarn.PutOptions{Size: int64(size), Params: &p})
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.Open(t.Context(), r.Cap)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := f.WriteRange(&got, 0, f.Size()); err != nil || !bytes.Equal(got.Bytes(), data) {
			t.Errorf("%d bytes came back of %d: %v", got.Len(), size, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	s, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Servers) != 3+len(strange) {
		t.Errorf("%d servers are known", len(s.Servers))
	}
	in := slices.DeleteFunc(s.Servers, func(s tarn.ServerStatus) bool { return s.State != "logged-in" })
	if len(in) != 3 {
		t.Errorf("the node is logged in at %d servers", len(in))
	}
}

// wellServer is a real storage server for an account.
func wellServer(t *testing.T, key int, account lease.Account) string {
	t.Helper()
	n, err := tarn.Open(t.Context(), tarn.Config{Dir: t.TempDir(), Storage: &tarn.StorageConfig{Key: keyOf(key), Listen: loopback}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNode(t, n) })
	op, err := n.Operator()
	if err != nil {
		t.Fatal(err)
	}
	public := account.PublicKey(grid.ServerID(grid.PublicKeyOf(keyOf(key))))
	if _, _, err := op.AddAccount(t.Context(), "client", &public, nil); err != nil {
		t.Fatal(err)
	}
	s, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return clauseOf(keyOf(key), s.Storage.Hints)
}
