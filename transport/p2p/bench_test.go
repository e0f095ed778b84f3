package p2p_test

import (
	"runtime"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/wire"
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

// BenchmarkPull reads 256 KiB at a time over a conversation that the server
// opened, eight in flight, as an upload does.
func BenchmarkPull(b *testing.B) {
	const size, inFlight = 256 << 10, 8
	accepted := make(chan transport.Session, 1)
	target := listenBench(b, func(s transport.Session) transport.SessionEvents {
		accepted <- s
		return transport.SessionEvents{}
	})
	body := make([]byte, size)
	answer := func(c transport.Conversation, p transport.Protocol) (transport.Handler, int) {
		return func(e transport.Event) {
			if r, ok := e.(transport.Received); ok {
				f := wire.Frame{ID: r.Frame.ID, Answer: true, Message: &wire.Data{Lengths: []uint64{size}}}
				c.Send(f.WithBody(nil, body))
				c.Grant(1)
			}
		}, inFlight
	}
	if _, err := dial(b, p2p.NewDialer(p2p.Options{}), target, transport.SessionEvents{Incoming: answer}); err != nil {
		b.Fatal(err)
	}
	got := make(chan struct{}, inFlight)
	c := (<-accepted).Open(transport.Pull, func(e transport.Event) {
		if r, ok := e.(transport.Received); ok {
			r.Frame.Release()
			got <- struct{}{}
		}
	}, inFlight)
	ask := func(id int) {
		c.Send(wire.Frame{ID: uint64(id + 1), Message: &wire.ReadOffer{Offset: uint64(id) * size, Length: size}})
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for id := range inFlight {
		ask(id)
	}
	for id := inFlight; b.Loop(); id++ {
		<-got
		c.Grant(1)
		ask(id)
	}
}
