package privacy

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"sync"
	"time"

	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	coretransport "github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// observer is the listener of a storage server that writes down all that it
// sees of each connection, below TLS as well as above. It is made of libp2p's
// parts, so that it can look between them.
type observer struct {
	key      ed25519.PrivateKey
	socket   net.Listener
	upgrader coretransport.Upgrader
	accept   func(transport.Session) transport.SessionEvents
	running  sync.WaitGroup

	mu    sync.Mutex
	seen  map[grid.PublicKey]*notes // by the key of the other side
	order []*plain                  // of connections that are open, or were
}

var _ transport.Listener = (*observer)(nil)

// newObserver listens on loopback; serve begins to accept.
func newObserver(key ed25519.PrivateKey) (*observer, error) {
	socket, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &observer{key: key, socket: socket, seen: map[grid.PublicKey]*notes{}}
	o.upgrader, err = newUpgrader(key, time.Time{}, nil, *yamux.DefaultTransport)
	return o, err
}

// newUpgrader makes sessions of what carries bytes, with a certificate that is
// valid from then on, and TLS that change may have its way with.
func newUpgrader(key ed25519.PrivateKey, from time.Time, change func(*tls.Config), muxer yamux.Transport) (coretransport.Upgrader, error) {
	priv, err := libp2pcrypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(priv)
	if err != nil {
		return nil, err
	}
	identity, err := libp2ptls.NewIdentity(priv, libp2ptls.WithCertTemplate(&x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: from.AddDate(3000, 0, 0), Subject: pkix.Name{SerialNumber: "1"},
	}))
	if err != nil {
		return nil, err
	}
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: &muxer}}
	return upgrader.New([]sec.SecureTransport{tap{identity, id, change}}, muxers, nil, nil, nil)
}

func (o *observer) id() grid.ServerID { return grid.ServerID(grid.PublicKeyOf(o.key)) }

func (o *observer) serve(accept func(transport.Session) transport.SessionEvents) transport.Listener {
	o.accept = accept
	o.running.Go(func() {
		for {
			c, err := o.socket.Accept()
			if err != nil {
				return
			}
			o.running.Go(func() { o.observe(c) })
		}
	})
	return o
}

// observe follows one connection to its end.
func (o *observer) observe(c net.Conn) {
	n := newNotes(c)
	outer, err := manet.WrapNetConn(c)
	if err != nil {
		_ = c.Close()
		return
	}
	conn, err := o.upgrader.Upgrade(context.Background(), nil, &tapped{outer, n}, network.DirInbound, "", &network.NullScope{})
	if err != nil {
		return
	}
	raw, _ := conn.RemotePublicKey().Raw()
	s := &plain{conn: conn, local: grid.PublicKeyOf(o.key), remote: grid.PublicKey(raw), address: c.RemoteAddr().String(), notes: n}
	o.mu.Lock()
	o.seen[s.remote] = n
	o.order = append(o.order, s)
	o.mu.Unlock()
	s.ev = o.accept(s)
	s.serve()
}

// drop ends all connections, as a restart does.
func (o *observer) drop() {
	o.mu.Lock()
	all := o.order
	o.order = nil
	o.mu.Unlock()
	for _, s := range all {
		_ = s.conn.Close()
	}
}

func (o *observer) of(key grid.PublicKey) *notes {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen[key]
}

// Hints are where it listens.
func (o *observer) Hints() []grid.Hint {
	a, err := manet.FromNetAddr(o.socket.Addr())
	if err != nil {
		return nil
	}
	return []grid.Hint{grid.Hint(a.String())}
}

// Reserve takes no slot: nobody asks for one.
func (o *observer) Reserve(_ transport.Target, _ func(error), done func(transport.Slot, error)) func() {
	done(nil, transport.ErrRefused)
	return func() {}
}

// Close ends it with all connections.
func (o *observer) Close() error {
	err := o.socket.Close()
	o.drop()
	o.running.Wait()
	return err
}

// tapped is a connection of which notes are taken.
type tapped struct {
	manet.Conn
	notes *notes
}

func (t *tapped) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.notes.bytes("cipher from", b[:n])
	return n, err
}

func (t *tapped) Write(b []byte) (int, error) {
	n, err := t.Conn.Write(b)
	t.notes.bytes("cipher to", b[:n])
	return n, err
}

// tap is libp2p's TLS, of whose content notes are taken.
type tap struct {
	identity *libp2ptls.Identity
	local    peer.ID
	change   func(*tls.Config)
}

func (t tap) ID() protocol.ID { return libp2ptls.ID }

func (t tap) SecureInbound(ctx context.Context, c net.Conn, p peer.ID) (sec.SecureConn, error) {
	return t.secure(ctx, c, p, tls.Server)
}

func (t tap) SecureOutbound(ctx context.Context, c net.Conn, p peer.ID) (sec.SecureConn, error) {
	return t.secure(ctx, c, p, tls.Client)
}

func (t tap) secure(ctx context.Context, c net.Conn, p peer.ID, side func(net.Conn, *tls.Config) *tls.Conn) (sec.SecureConn, error) {
	config, keys := t.identity.ConfigForPeer(p)
	config.NextProtos = append([]string{yamux.ID}, config.NextProtos...)
	if t.change != nil {
		t.change(config)
	}
	secured := side(c, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	key := <-keys
	remote, err := peer.IDFromPublicKey(key)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	s := &clear{Conn: secured, local: t.local, remote: remote, key: key}
	if outer, ok := c.(*tapped); ok {
		s.notes = outer.notes
		s.notes.certificate(secured.ConnectionState().PeerCertificates[0])
	}
	return s, nil
}

// clear is what is inside of TLS.
type clear struct {
	*tls.Conn
	local, remote peer.ID
	key           libp2pcrypto.PubKey
	notes         *notes // nil at a client
}

func (c *clear) LocalPeer() peer.ID                   { return c.local }
func (c *clear) RemotePeer() peer.ID                  { return c.remote }
func (c *clear) RemotePublicKey() libp2pcrypto.PubKey { return c.key }

func (c *clear) ConnState() network.ConnectionState {
	m := protocol.ID(c.ConnectionState().NegotiatedProtocol)
	return network.ConnectionState{Security: libp2ptls.ID, StreamMultiplexer: m, UsedEarlyMuxerNegotiation: true}
}

func (c *clear) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.notes.bytes("clear from", b[:n])
	return n, err
}

func (c *clear) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.notes.bytes("clear to", b[:n])
	return n, err
}
