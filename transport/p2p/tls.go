package p2p

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
)

// secured is libp2p's TLS with a certificate that says nothing but its key. That
// of libp2ptls.New tells by this node's clock in which second it was made: a clock
// that is wrong by some minutes would link all connections of a node.
type secured struct {
	identity *libp2ptls.Identity
	local    peer.ID
}

var _ sec.SecureTransport = (*secured)(nil)

// newTLS makes it for a key.
func newTLS(key crypto.PrivKey) (*secured, error) {
	local, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	identity, err := libp2ptls.NewIdentity(key, silentCertificate())
	if err != nil {
		return nil, err
	}
	return &secured{identity: identity, local: local}, nil
}

// silentCertificate has libp2p make a certificate, for TLS or QUIC, that says
// nothing but its key.
func silentCertificate() libp2ptls.IdentityOption {
	return libp2ptls.WithCertTemplate(&x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC), // no end (RFC 5280, section 4.1.2.5)
		Subject:      pkix.Name{SerialNumber: "1"},                                // an issuer has to have a name
	})
}

// ID is TLS 1.3 as libp2p specifies it.
func (s *secured) ID() protocol.ID { return libp2ptls.ID }

// SecureInbound accepts any peer where p is empty.
func (s *secured) SecureInbound(ctx context.Context, c net.Conn, p peer.ID) (sec.SecureConn, error) {
	return s.secure(ctx, c, p, tls.Server)
}

// SecureOutbound fails unless the other side is p.
func (s *secured) SecureOutbound(ctx context.Context, c net.Conn, p peer.ID) (sec.SecureConn, error) {
	return s.secure(ctx, c, p, tls.Client)
}

func (s *secured) secure(ctx context.Context, c net.Conn, p peer.ID, side func(net.Conn, *tls.Config) *tls.Conn) (sec.SecureConn, error) {
	config, keys := s.identity.ConfigForPeer(p)
	config.NextProtos = append([]string{yamux.ID}, config.NextProtos...)
	inner := side(c, config)
	if err := inner.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("secure connection: %w", err), c.Close())
	}
	key := <-keys // the handshake does not succeed without it
	remote, err := peer.IDFromPublicKey(key)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("secure connection: %w", err), c.Close())
	}
	return &securedConn{Conn: inner, local: s.local, remote: remote, key: key}, nil
}

// securedConn is a connection under TLS.
type securedConn struct {
	*tls.Conn
	local, remote peer.ID
	key           crypto.PubKey
}

// LocalPeer is this side's identity, RemotePeer and RemotePublicKey what the
// other one proved.
func (c *securedConn) LocalPeer() peer.ID             { return c.local }
func (c *securedConn) RemotePeer() peer.ID            { return c.remote }
func (c *securedConn) RemotePublicKey() crypto.PubKey { return c.key }

// ConnState says whether the muxer was agreed on along with TLS.
func (c *securedConn) ConnState() network.ConnectionState {
	state := network.ConnectionState{Security: libp2ptls.ID}
	if c.ConnectionState().NegotiatedProtocol == yamux.ID {
		state.StreamMultiplexer, state.UsedEarlyMuxerNegotiation = yamux.ID, true
	}
	return state
}
