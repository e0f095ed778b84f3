package scale

import (
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
)

// nothing is closed with a host.
type nothing struct{}

func (nothing) Close() error { return nil }

// options are what libp2p's own host has besides, one at a time.
var options = map[string]func() (bare, error){
	"bare":  func() (bare, error) { return bare{}, nil },
	"noise": func() (bare, error) { return bare{noise: true}, nil },
	"identify": func() (bare, error) {
		return bare{more: func(h *bareHost) (io.Closer, error) {
			s, err := identify.NewIDService(h)
			if err == nil {
				s.Start()
			}
			return s, err
		}}, nil
	},
	"ping": func() (bare, error) {
		return bare{more: func(h *bareHost) (io.Closer, error) {
			ping.NewPingService(h)
			return nothing{}, nil
		}}, nil
	},
	"relay": func() (bare, error) {
		return bare{more: func(h *bareHost) (io.Closer, error) {
			c, err := circuit.New(h, h.upgrader)
			if err != nil {
				return nil, err
			}
			c.Start()
			return c, h.swarm.AddTransport(c)
		}}, nil
	},
	"quic-transport": func() (bare, error) {
		return bare{more: func(h *bareHost) (io.Closer, error) {
			sockets, err := quicreuse.NewConnManager(quic.StatelessResetKey{1}, quic.TokenGeneratorKey{1})
			if err != nil {
				return nil, err
			}
			t, err := libp2pquic.NewTransport(h.key, sockets, nil, nil, &network.NullResourceManager{})
			if err != nil {
				return nil, err
			}
			return sockets, h.swarm.AddTransport(t)
		}}, nil
	},
}

// BenchmarkOptions reports what a connection costs the side that dials, each from a
// host of its own, to a server in another process: as this project makes it, and with
// libp2p's own parts, first the least of them and then one more each. Nothing is said
// over the connections.
func BenchmarkOptions(b *testing.B) {
	clauses := startFarm(b, 1)
	hint := clauses[strings.Index(clauses, "[")+1 : strings.Index(clauses, "]")]
	b.Run("ours", func(b *testing.B) { each(b, func() (io.Closer, error) { return dialOurs(hint) }) })
	for name, with := range options {
		b.Run(name, func(b *testing.B) {
			each(b, func() (io.Closer, error) { return dialBare(b, with, hint) })
		})
	}
}

// each reports what a connection costs.
func each(b *testing.B, dial func() (io.Closer, error)) {
	many := 200
	if testing.Short() {
		many = 10
	}
	for b.Loop() {
		before := spent(b)
		var all []io.Closer
		for range many {
			c, err := dial()
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, c)
		}
		cost := atRest(b).less(before)
		b.ReportMetric(float64(cost.bytes)/1024/float64(many), "KiB/connection")
		b.ReportMetric(float64(cost.goroutines)/float64(many), "goroutines/connection")
		b.ReportMetric(cost.cpu.Seconds()*1e3/float64(many), "CPU-ms/connection")
		for _, c := range all {
			if err := c.Close(); err != nil {
				b.Error(err)
			}
		}
		atRest(b)
	}
}

type ours struct{ transport.Session }

func (o ours) Close() error {
	o.Session.Close()
	return nil
}

func dialOurs(hint string) (io.Closer, error) {
	type result struct {
		session transport.Session
		err     error
	}
	done := make(chan result, 1)
	id := grid.ServerID(grid.PublicKeyOf(keyOf(0)))
	p2p.NewDialer(p2p.Options{}).Dial(
		transport.Target{Server: id, Hints: []grid.Hint{grid.Hint(hint)}, Connections: transport.DirectConnections},
		transport.SessionEvents{}, func(s transport.Session, err error) { done <- result{s, err} })
	r := <-done
	return ours{r.session}, r.err
}

func dialBare(b *testing.B, with func() (bare, error), hint string) (io.Closer, error) {
	o, err := with()
	if err != nil {
		return nil, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	h, err := newHost(key, o)
	if err != nil {
		return nil, err
	}
	server, err := crypto.UnmarshalEd25519PrivateKey(keyOf(0))
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(server)
	if err != nil {
		return nil, err
	}
	h.Peerstore().AddAddrs(id, []ma.Multiaddr{ma.StringCast(hint)}, peerstore.PermanentAddrTTL)
	_, err = h.swarm.DialPeer(b.Context(), id)
	return h, err
}
