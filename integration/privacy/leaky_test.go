package privacy

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	coretransport "github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// leaky is a transport.Dialer that is made of libp2p's parts as a node's is, and
// has one mistake, which is the same at all servers of one client.
type leaky struct {
	key    ed25519.PrivateKey // for all connections; nil is a new one for each
	port   bool               // the same for all connections
	clock  time.Time          // in its certificates
	tls    func(*tls.Config)
	noise  bool // is all that it knows
	window uint32
	first  func(network.MuxedConn) // what is done before Tarn's own stream

	mu   sync.Mutex
	from *net.TCPAddr // of the first connection
}

func (d *leaky) Dial(t transport.Target, ev transport.SessionEvents, done func(transport.Session, error)) func() {
	go func() {
		s, err := d.dial(t)
		if err != nil {
			done(nil, err)
			return
		}
		s.ev = ev
		done(s, nil)
		s.serve()
	}()
	return func() {}
}

func (d *leaky) dial(t transport.Target) (*plain, error) {
	if len(t.Hints) == 0 {
		return nil, transport.ErrNoAddress
	}
	key := d.key
	if key == nil {
		_, key, _ = ed25519.GenerateKey(rand.Reader) // never fails
	}
	c, err := d.connect(t.Hints[0])
	if err != nil {
		return nil, err
	}
	up, err := d.upgrader(key)
	if err != nil {
		return nil, err
	}
	server := t.Server.Key()
	pub, err := libp2pcrypto.UnmarshalEd25519PublicKey(server[:])
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPublicKey(pub)
	if err != nil {
		return nil, err
	}
	conn, err := up.Upgrade(context.Background(), nil, c, network.DirOutbound, id, &network.NullScope{})
	if err != nil {
		return nil, err
	}
	if d.first != nil {
		d.first(conn)
	}
	return newPlain(conn, grid.PublicKeyOf(key), server, string(t.Hints[0]), nil), nil
}

// upgrader makes sessions as a node's does, but for the mistake.
func (d *leaky) upgrader(key ed25519.PrivateKey) (coretransport.Upgrader, error) {
	muxer := *yamux.DefaultTransport
	if d.window > 0 {
		muxer.InitialStreamWindowSize = d.window
	}
	muxers := muxersOf(muxer)
	secured, err := newNoise(key, muxers)
	if err != nil {
		return nil, err
	}
	all := []sec.SecureTransport{secured}
	if !d.noise {
		first, err := newTLS(key, d.clock, d.tls)
		if err != nil {
			return nil, err
		}
		all = []sec.SecureTransport{first, secured}
	}
	return upgrader.New(all, muxers, nil, nil, nil)
}

func (d *leaky) connect(h grid.Hint) (manet.Conn, error) {
	a, err := ma.NewMultiaddr(string(h))
	if err != nil {
		return nil, err
	}
	network, address, err := manet.DialArgs(a)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{}
	if d.port {
		d.mu.Lock()
		defer d.mu.Unlock()
		dialer.Control = reusePort
		if d.from == nil {
			d.from = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
		}
		dialer.LocalAddr = d.from
	}
	c, err := dialer.Dial(network, address)
	if err != nil {
		d.from = nil // somebody else has the port
		return nil, err
	}
	if d.port {
		d.from, _ = c.LocalAddr().(*net.TCPAddr)
	}
	return manet.WrapNetConn(c)
}

// reusePort lets two connections to different servers come from one port.
func reusePort(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	})
	if err != nil {
		return err
	}
	return failed
}

// leak is a mistake, and the field that gives the client away.
type leak struct {
	field string
	plant func(client int) habits
	noise bool // the servers know nothing else
	later bool // it shows when the node connects again
}

// leaks are the mistakes that must be found, each under the field that gives the
// client away.
var leaks = map[string]leak{
	"agent string": {field: "connect.mux.stream[0].content", plant: func(i int) habits {
		return habits{dialer: &leaky{first: func(c network.MuxedConn) {
			say(c, "/ipfs/id/push/1.0.0", fmt.Sprintf("tarn/0.%d.0", i%8))
		}}}
	}},
	"reused key": {field: "connect.key", plant: func(int) habits {
		_, key, _ := ed25519.GenerateKey(rand.Reader) // never fails
		return habits{dialer: &leaky{key: key}}
	}},
	"reused port": {field: "connect.port", plant: func(int) habits { return habits{dialer: &leaky{port: true}} }},
	"clock": {field: "connect.certificate.not-before", plant: func(i int) habits {
		return habits{dialer: &leaky{clock: time.Now().Add(time.Duration(i-planted) * time.Minute)}}
	}},
	"server name": {field: "connect.hello.server-name", plant: func(i int) habits {
		return habits{dialer: &leaky{tls: func(c *tls.Config) { c.ServerName = fmt.Sprintf("client%d.example", i) }}}
	}},
	"ALPN order": {field: "connect.hello.alpn", plant: func(i int) habits {
		return habits{dialer: &leaky{tls: func(c *tls.Config) {
			if i%2 == 0 {
				c.NextProtos = []string{"libp2p", yamux.ID}
			}
		}}}
	}},
	"window size": {field: "connect.mux.windows", plant: func(i int) habits {
		return habits{dialer: &leaky{window: uint32(256+64*(i%8)) << 10}}
	}},
	"stream order": {field: "connect.mux.stream[0].line[1]", plant: func(i int) habits {
		return habits{dialer: &leaky{first: func(c network.MuxedConn) {
			if i%2 == 0 {
				say(c, string(transport.Pull), "")
			}
		}}}
	}},
	"agent string under Noise": {noise: true, field: "connect.mux.stream[0].content", plant: func(i int) habits {
		return habits{dialer: &leaky{first: func(c network.MuxedConn) {
			say(c, "/ipfs/id/push/1.0.0", fmt.Sprintf("tarn/0.%d.0", i%8))
		}}}
	}},
	"what is asked for before Noise": {noise: true, field: "connect.preamble", plant: func(i int) habits {
		return habits{dialer: &leaky{noise: i%2 == 0}}
	}},
	"reference of another server": {later: true, field: "restart.from.Resume[0].reference", plant: func(int) habits {
		return habits{dialer: realDialer(), mixed: true}
	}},
}

// say opens a stream for a protocol and says something on it.
func say(c network.MuxedConn, protocol, words string) {
	st, err := c.OpenStream(context.Background())
	if err != nil {
		return
	}
	line := func(s string) string { return string(rune(len(s)+1)) + s + "\n" }
	_, _ = st.Write([]byte(line("/multistream/1.0.0") + line(protocol) + words))
}
