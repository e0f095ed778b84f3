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
	"github.com/libp2p/go-libp2p/p2p/security/noise"
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

// newObserver listens on loopback; serve begins to accept. One that does not know
// TLS has clients fall back to Noise.
func newObserver(key ed25519.PrivateKey, noise bool) (*observer, error) {
	socket, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &observer{key: key, socket: socket, seen: map[grid.PublicKey]*notes{}}
	muxers := muxersOf(*yamux.DefaultTransport)
	var secured sec.SecureTransport
	if noise {
		secured, err = newNoise(key, muxers)
	} else {
		secured, err = newTLS(key, time.Time{}, nil)
	}
	if err != nil {
		return nil, err
	}
	o.upgrader, err = upgrader.New([]sec.SecureTransport{secured}, muxers, nil, nil, nil)
	return o, err
}

func muxersOf(m yamux.Transport) []upgrader.StreamMuxer {
	return []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: &m}}
}

// newNoise is libp2p's Noise, of whose content notes are taken.
func newNoise(key ed25519.PrivateKey, muxers []upgrader.StreamMuxer) (sec.SecureTransport, error) {
	priv, err := libp2pcrypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, err
	}
	t, err := noise.New(noise.ID, priv, muxers)
	return tap{t}, err
}

// newTLS is libp2p's TLS, with a certificate that is valid from then on, that change
// may have its way with.
func newTLS(key ed25519.PrivateKey, from time.Time, change func(*tls.Config)) (sec.SecureTransport, error) {
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
	return tap{changedTLS{identity, id, change}}, nil
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
	s := newPlain(conn, grid.PublicKeyOf(o.key), grid.PublicKey(raw), c.RemoteAddr().String(), n)
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

// tap takes notes of what is inside of a connection that is tapped.
type tap struct{ sec.SecureTransport }

func (t tap) SecureInbound(ctx context.Context, c net.Conn, p peer.ID) (sec.SecureConn, error) {
	s, err := t.SecureTransport.SecureInbound(ctx, c, p)
	outer, ok := c.(*tapped)
	if err != nil || !ok {
		return s, err
	}
	if inner, ok := s.(*tlsConn); ok {
		outer.notes.certificate(inner.Conn.ConnectionState().PeerCertificates[0])
	}
	return &clear{s, outer.notes}, nil
}

// changedTLS is libp2p's TLS, but for a change.
type changedTLS struct {
	identity *libp2ptls.Identity
	local    peer.ID
	change   func(*tls.Config)
}

func (t changedTLS) ID() protocol.ID { return libp2ptls.ID }

func (t changedTLS) SecureInbound(ctx context.Context, c net.Conn, p peer.ID) (sec.SecureConn, error) {
	return t.secure(ctx, c, p, tls.Server)
}

func (t changedTLS) SecureOutbound(ctx context.Context, c net.Conn, p peer.ID) (sec.SecureConn, error) {
	return t.secure(ctx, c, p, tls.Client)
}

func (t changedTLS) secure(ctx context.Context, c net.Conn, p peer.ID, side func(net.Conn, *tls.Config) *tls.Conn) (sec.SecureConn, error) {
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
	return &tlsConn{Conn: secured, local: t.local, remote: remote, key: key}, nil
}

// tlsConn is a connection under TLS.
type tlsConn struct {
	*tls.Conn
	local, remote peer.ID
	key           libp2pcrypto.PubKey
}

func (c *tlsConn) LocalPeer() peer.ID                   { return c.local }
func (c *tlsConn) RemotePeer() peer.ID                  { return c.remote }
func (c *tlsConn) RemotePublicKey() libp2pcrypto.PubKey { return c.key }

func (c *tlsConn) ConnState() network.ConnectionState {
	m := protocol.ID(c.ConnectionState().NegotiatedProtocol)
	return network.ConnectionState{Security: libp2ptls.ID, StreamMultiplexer: m, UsedEarlyMuxerNegotiation: true}
}

// clear is what is inside of TLS or Noise.
type clear struct {
	sec.SecureConn
	notes *notes
}

func (c *clear) Read(b []byte) (int, error) {
	n, err := c.SecureConn.Read(b)
	c.notes.bytes("clear from", b[:n])
	return n, err
}

func (c *clear) Write(b []byte) (int, error) {
	n, err := c.SecureConn.Write(b)
	c.notes.bytes("clear to", b[:n])
	return n, err
}
