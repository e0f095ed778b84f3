package p2p_test

import (
	"crypto/ed25519"
	"runtime"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/transporttest"
)

// listenBench is listen for benchmarks; every session is admitted.
func listenBench(b *testing.B, events func(transport.Session) transport.SessionEvents) transport.Target {
	b.Helper()
	l, err := p2p.Listen(key(1), loopback, p2p.Options{Connections: 1 << 20}, func(s transport.Session) transport.SessionEvents {
		s.Admit()
		return events(s)
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(1))), Hints: l.Hints(), Connections: transport.DirectConnections}
}

// BenchmarkDial is a new identity, its host, and the connection; both ends.
func BenchmarkDial(b *testing.B) {
	target := listenBench(b, func(transport.Session) transport.SessionEvents { return transport.SessionEvents{} })
	d := p2p.NewDialer(p2p.Options{})
	for b.Loop() {
		closed := make(chan struct{})
		s, err := dial(b, d, target, transport.SessionEvents{Closed: func(error) { close(closed) }})
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
		<-closed
	}
}

// BenchmarkIdleConnections reports what a connection costs while nothing
// happens, both ends together.
func BenchmarkIdleConnections(b *testing.B) {
	target := listenBench(b, func(transport.Session) transport.SessionEvents { return transport.SessionEvents{} })
	d := p2p.NewDialer(p2p.Options{})
	const many = 200
	for b.Loop() {
		before := memory()
		goroutines := runtime.NumGoroutine()
		closed := make(chan struct{}, many)
		var sessions []transport.Session
		for range many {
			s, err := dial(b, d, target, transport.SessionEvents{Closed: func(error) { closed <- struct{}{} }})
			if err != nil {
				b.Fatal(err)
			}
			sessions = append(sessions, s)
		}
		b.ReportMetric(float64(memory()-before)/many/1024, "KiB/connection")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/many, "goroutines/connection")
		for _, s := range sessions {
			s.Close()
		}
		for range many {
			<-closed
		}
	}
}

// memory is heap and stacks in use, in bytes.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// BenchmarkPull is over TCP, QUIC and a relay what an upload's pulls are, beside the
// same bytes through TLS alone.
func BenchmarkPull(b *testing.B) {
	for name, c := range map[string]struct {
		listen      []string
		connections transport.Connections
	}{"tcp": {loopback, transport.DirectConnections}, "quic": {quicLoopback, overQUIC}} {
		b.Run(name, func(b *testing.B) {
			transporttest.Pull(b, transporttest.World{
				Dialer: p2p.NewDialer(p2p.Options{}), Connections: c.connections,
				Listen: func(key ed25519.PrivateKey, accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
					return p2p.Listen(key, c.listen, p2p.Options{}, accept)
				},
			})
		})
	}
	b.Run("relay", func(b *testing.B) {
		_, relay := serveRelay(b, transport.RelayLimits{Data: 1 << 50})
		transporttest.Pull(b, transporttest.World{
			Dialer: p2p.NewDialer(p2p.Options{}), Connections: transport.DirectConnections,
			Listen: func(key ed25519.PrivateKey, accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
				l, err := p2p.Listen(key, loopback, p2p.Options{}, accept)
				if err != nil {
					return nil, err
				}
				slot, err := reserve(b, l, relay, nil)
				return hidden{l, slot}, err
			},
		})
	})
	b.Run("tls", transporttest.PullTLS)
}
