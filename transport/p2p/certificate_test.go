package p2p

import (
	"crypto/ed25519"
	"crypto/x509"
	"testing"
	"time"

	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/quic-go/quic-go"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// overTLS is the certificate that a node shows over TCP.
func overTLS(t *testing.T, key libp2pcrypto.PrivKey) *x509.Certificate {
	s, err := newTLS(key)
	if err != nil {
		t.Fatal(err)
	}
	config, _ := s.identity.ConfigForPeer("")
	c, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// overQUIC is the certificate that a client shows over QUIC to a server under this
// key, which is not made of our parts.
func overQUIC(t *testing.T, key libp2pcrypto.PrivKey) *x509.Certificate {
	identity, err := libp2ptls.NewIdentity(key)
	if err != nil {
		t.Fatal(err)
	}
	config, _ := identity.ConfigForPeer("")
	l, err := quic.ListenAddr("127.0.0.1:0", config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at, err := manet.FromNetAddr(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := key.GetPublic().Raw()
	if err != nil {
		t.Fatal(err)
	}
	stop := NewDialer(Options{}).Dial(transport.Target{
		Server: grid.ServerID(raw), Hints: []grid.Hint{grid.Hint(at.String() + "/quic-v1")}, Connections: transport.Connections{QUIC: transport.Direct},
	}, transport.SessionEvents{}, func(transport.Session, error) {})
	defer stop()
	c, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseWithError(0, "")
	return c.ConnectionState().TLS.PeerCertificates[0]
}

// TestCertificatesTellNoTime: what is not the key of a certificate is the same in
// all, whenever and wherever they were made.
func TestCertificatesTellNoTime(t *testing.T) {
	for name, shown := range map[string]func(*testing.T, libp2pcrypto.PrivKey) *x509.Certificate{"TLS": overTLS, "QUIC": overQUIC} {
		t.Run(name, func(t *testing.T) {
			key, err := libp2pcrypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
			if err != nil {
				t.Fatal(err)
			}
			c := shown(t, key)
			if !c.NotBefore.Equal(time.Unix(0, 0)) || c.NotAfter.Year() != 9999 {
				t.Errorf("valid from %v until %v", c.NotBefore, c.NotAfter)
			}
			if c.SerialNumber.Int64() != 1 || c.Subject.String() != "SERIALNUMBER=1" || c.Issuer.String() != "SERIALNUMBER=1" {
				t.Errorf("serial %v, subject %v, issuer %v", c.SerialNumber, c.Subject, c.Issuer)
			}
			if len(c.Extensions) != 1 || len(c.DNSNames)+len(c.IPAddresses)+len(c.URIs)+len(c.EmailAddresses) > 0 {
				t.Errorf("it says more than its key: %v", c.Extensions)
			}
		})
	}
}
