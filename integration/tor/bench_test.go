//go:build integration

package tor_test

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/tor"
	"github.com/tarn-grid/tarn/transport/transporttest"
)

// BenchmarkPullThroughTor is what transport/p2p's BenchmarkPull is, through an
// exit (four hops of Tor's, all on this machine) and to an onion service.
func BenchmarkPullThroughTor(b *testing.B) {
	n := newNetwork(b)
	services := n.client("services", "SocksPort 0\n")
	port := freePorts(b, 1)[0]
	proxy := n.client("proxy", fmt.Sprintf("SocksPort 127.0.0.1:%d ExtendedErrors\n", port))
	services.ready()
	proxy.ready()
	dialer := p2p.NewDialer(p2p.Options{SOCKS: tor.Address(fmt.Sprintf("127.0.0.1:%d", port))})
	through := transport.Connections{TCP: transport.Tor, Onion: transport.Tor}
	_, onionKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	for name, listen := range map[string]string{"exit": "/ip4/127.0.0.1/tcp/0", "onion": "onion:3457"} {
		b.Run(name, func(b *testing.B) {
			transporttest.Pull(b, transporttest.World{
				Dialer: persistent{dialer}, Connections: through,
				Listen: func(key ed25519.PrivateKey, accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
					return p2p.Listen(key, []string{listen}, p2p.Options{Onion: p2p.Onion{Control: services.control(), Key: onionKey}}, accept)
				},
			})
		})
	}
}

// persistent dials until somebody answers: Tor needs some time to make an onion
// service known, and now and then a circuit fails.
type persistent struct{ to transport.Dialer }

// Dial implements transport.Dialer.
func (p persistent) Dial(target transport.Target, ev transport.SessionEvents, done func(transport.Session, error)) func() {
	until := time.Now().Add(patience)
	var again func(s transport.Session, err error)
	again = func(s transport.Session, err error) {
		if err != nil && time.Now().Before(until) {
			p.to.Dial(target, ev, again)
			return
		}
		done(s, err)
	}
	return p.to.Dial(target, ev, again)
}
