package p2p

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multistream"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// victim is a listener that takes everything and records how conversations
// end.
type victim struct {
	target transport.Target
	frames chan wire.Frame
	ended  chan error
}

func newVictim(t *testing.T, admit bool) *victim {
	t.Helper()
	return newVictimOf(t, Options{}, admit)
}

func newVictimOf(t *testing.T, o Options, admit bool) *victim {
	t.Helper()
	v := &victim{frames: make(chan wire.Frame, 100), ended: make(chan error, 100)}
	handler := func(e transport.Event) {
		switch e := e.(type) {
		case transport.Received:
			v.frames <- e.Frame
		case transport.Ended:
			v.ended <- e.Err
		}
	}
	key := newKey(t)
	l, err := Listen(key, []string{"/ip4/127.0.0.1/tcp/0"}, o, func(s transport.Session) transport.SessionEvents {
		if admit {
			s.Admit()
		}
		return transport.SessionEvents{Incoming: func(transport.Conversation, transport.Protocol) (transport.Handler, int) { return handler, 10 }}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	v.target = transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key)), Hints: l.Hints(), Connections: transport.DirectConnections}
	return v
}

// intrude connects to the victim with a bare libp2p host.
func (v *victim) intrude(t *testing.T) network.Conn {
	t.Helper()
	h, err := newHost(newKey(t), Options{}.withDefaults().muxer(earlyWindow), &network.NullResourceManager{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.close() })
	if err := errors.Join(h.addTCP(), h.addQUIC()); err != nil {
		t.Fatal(err)
	}
	id, err := peerOf(v.target.Server.Key())
	if err != nil {
		t.Fatal(err)
	}
	h.peers.AddAddrs(id, dialable(v.target, v.target.Connections.WayOf, transport.Direct, id), peerstore.TempAddrTTL)
	c, err := h.swarm.DialPeer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func openStream(t *testing.T, c network.Conn) network.Stream {
	t.Helper()
	st, err := c.NewStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := st.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return st
}

func TestGarbageBreaksTheProtocol(t *testing.T) {
	v := newVictim(t, true)
	c := v.intrude(t)
	for name, garbage := range map[string][]byte{
		"text":        []byte("GET / HTTP/1.1\r\n\r\n"),
		"zeros":       make([]byte, 100),
		"huge body":   {0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff, 0x83, 2, 3, 0xa0},
		"bad message": {0, 0, 0, 4, 0, 0, 0, 0, 0x83, 99, 3, 0xa0},
	} {
		lazy := multistream.NewMSSelect(openStream(t, c), protocol.ID(transport.Storage))
		if _, err := lazy.Write(garbage); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := <-v.ended; !errors.Is(err, transport.ErrProtocol) {
			t.Errorf("%s: the victim says %v", name, err)
		}
		var reset *network.StreamError
		if _, err := io.ReadAll(lazy); !errors.As(err, &reset) || reset.ErrorCode != network.StreamProtocolViolation {
			t.Errorf("%s: the intruder is told %v", name, err)
		}
	}
}

func TestCutFrameBreaksTheProtocol(t *testing.T) {
	v := newVictim(t, true)
	st := openStream(t, v.intrude(t))
	lazy := multistream.NewMSSelect(st, protocol.ID(transport.Storage))
	if _, err := lazy.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0x83}); err != nil {
		t.Fatal(err)
	}
	if err := st.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-v.ended; !errors.Is(err, transport.ErrProtocol) {
		t.Errorf("frame cut in the middle: %v", err)
	}
}

func TestForeignProtocolsAreNotSpoken(t *testing.T) {
	v := newVictim(t, true)
	c := v.intrude(t)
	for _, p := range []protocol.ID{"/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0", "/tarn/2/storage"} {
		lazy := multistream.NewMSSelect(openStream(t, c), p)
		var no multistream.ErrNotSupported[protocol.ID]
		if _, err := lazy.Read(make([]byte, 1)); !errors.As(err, &no) {
			t.Errorf("%s: %v", p, err)
		}
		_ = lazy.Close()
	}
}

// TestWindowsGrowAfterAdmit asks for memory as yamux and QUIC do.
func TestWindowsGrowAfterAdmit(t *testing.T) {
	for _, at := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		accepted := make(chan *session, 1)
		key := newKey(t)
		l, err := Listen(key, []string{at}, Options{}, func(s transport.Session) transport.SessionEvents {
			accepted <- s.(*session)
			return transport.SessionEvents{}
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		both := transport.Connections{TCP: transport.Direct, QUIC: transport.Direct}
		v := &victim{target: transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key)), Hints: l.Hints(), Connections: both}}
		v.intrude(t)
		s := <-accepted
		span, err := s.scope.PeerScope().BeginSpan()
		if err != nil {
			t.Fatal(err)
		}
		for _, asked := range []interface{ ReserveMemory(int, uint8) error }{span, s.scope} {
			if err := asked.ReserveMemory(1, network.ReservationPriorityAlways); err != nil {
				t.Errorf("%s: first window: %v", at, err)
			}
			if err := asked.ReserveMemory(1, network.ReservationPriorityMedium); !errors.Is(err, errNotAdmitted) {
				t.Errorf("%s: larger window before login: %v", at, err)
			}
		}
		s.Admit()
		for _, asked := range []interface{ ReserveMemory(int, uint8) error }{span, s.scope} {
			if err := asked.ReserveMemory(1, network.ReservationPriorityMedium); err != nil {
				t.Errorf("%s: larger window after login: %v", at, err)
			}
		}
	}
}

// TestClientSaysNothing looks at a dialled session from the server's side.
func TestClientSaysNothing(t *testing.T) {
	key := newKey(t)
	server, err := newHost(key, Options{}.withDefaults().muxer(earlyWindow), &network.NullResourceManager{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.close() })
	if err := server.addTCP(); err != nil {
		t.Fatal(err)
	}
	conns := make(chan network.Conn, 1)
	streams := make(chan network.Stream, 10)
	server.swarm.Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) { conns <- c }})
	server.swarm.SetStreamHandler(func(st network.Stream) { streams <- st })
	if err := server.swarm.AddListenAddr(ma.StringCast("/ip4/127.0.0.1/tcp/0")); err != nil {
		t.Fatal(err)
	}
	target := transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key)), Hints: []grid.Hint{grid.Hint(server.swarm.ListenAddresses()[0].String())}, Connections: transport.DirectConnections}
	ready, closed := make(chan transport.Session, 1), make(chan error, 1)
	NewDialer(Options{}).Dial(target, transport.SessionEvents{Closed: func(err error) { closed <- err }},
		func(s transport.Session, err error) {
			if err != nil {
				t.Error(err)
			}
			ready <- s
		})
	s := (<-ready).(*session)
	c := <-conns
	if s.conn.ConnState().Security != "/tls/1.0.0" {
		t.Errorf("secured by %s", s.conn.ConnState().Security)
	}
	if l := s.host.swarm.ListenAddresses(); len(l) != 0 {
		t.Errorf("a dialled host listens at %v", l)
	}
	for _, p := range []protocol.ID{"/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"} {
		st := openStream(t, c)
		lazy := multistream.NewMSSelect(st, p)
		var no multistream.ErrNotSupported[protocol.ID]
		if _, err := lazy.Read(make([]byte, 1)); !errors.As(err, &no) {
			t.Errorf("%s: %v", p, err)
		}
		_ = st.Reset()
	}
	s.Close()
	<-closed
	if len(streams) != 0 {
		t.Error("the client opened a stream by itself")
	}
}

// TestSilentPeerIsFound cuts a connection without a word in its middle.
func TestSilentPeerIsFound(t *testing.T) {
	v := newVictim(t, true)
	silence := make(chan struct{})
	v.target.Hints = []grid.Hint{faltering(t, v.target.Hints[0], silence)}
	ready, closed := make(chan transport.Session, 1), make(chan error, 1)
	NewDialer(Options{KeepAlive: 100 * time.Millisecond}).Dial(v.target,
		transport.SessionEvents{Closed: func(err error) { closed <- err }},
		func(s transport.Session, err error) {
			if err != nil {
				t.Error(err)
			}
			ready <- s
		})
	if s := <-ready; s == nil {
		return
	}
	close(silence)
	if err := <-closed; !errors.Is(err, transport.ErrClosed) {
		t.Errorf("silent peer: %v", err)
	}
}

// faltering forwards one connection until silence is closed; then it swallows
// everything, and keeps the connections open.
func faltering(t *testing.T, to grid.Hint, silence chan struct{}) grid.Hint {
	t.Helper()
	_, address, err := manet.DialArgs(ma.StringCast(string(to)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); _ = l.Close() })
	go func() {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", address)
		if err != nil {
			_ = in.Close()
			return
		}
		go forward(out, in, silence)
		go forward(in, out, silence)
		<-ctx.Done()
		_ = in.Close()
		_ = out.Close()
	}()
	port := l.Addr().(*net.TCPAddr).Port
	return grid.Hint("/ip4/127.0.0.1/tcp/" + strconv.Itoa(port))
}

func forward(to io.Writer, from io.Reader, silence chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-silence:
		default:
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

// TestHandshakesMakeRoom has strangers open connections and say nothing. They
// are few at a time, and an honest client gets in all the same; without others
// a handshake ends by itself.
func TestHandshakesMakeRoom(t *testing.T) {
	const most = 4
	v := newVictimOf(t, Options{Connections: most + 2, Handshakes: most, HandshakeTimeout: time.Minute}, true)
	_, address, err := manet.DialArgs(ma.StringCast(string(v.target.Hints[0])))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan int, 3*most)
	for n := range 3 * most {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		go func() {
			_, _ = io.Copy(io.Discard, c) // the end is all that matters
			ended <- n
		}()
	}
	gone := map[int]bool{}
	for range 2 * most {
		gone[<-ended] = true
	}
	v.intrude(t)
	gone[<-ended] = true // one more, for the honest one
	if len(gone) != 2*most+1 {
		t.Errorf("%d handshakes ended, want %d", len(gone), 2*most+1)
	}
	for n := 3*most - most/2; n < 3*most; n++ {
		if gone[n] {
			t.Errorf("handshake %d has ended, and is newer than others that have not", n)
		}
	}
}

// TestHandshakeTime has a stranger say nothing, and another one only part of what
// it has to.
func TestHandshakeTime(t *testing.T) {
	v := newVictimOf(t, Options{HandshakeTimeout: 200 * time.Millisecond}, true)
	_, address, err := manet.DialArgs(ma.StringCast(string(v.target.Hints[0])))
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range []string{"", "\x13/multistream/1.0.0\n", "\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n\x16\x03\x01"} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, said); err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if _, err := io.Copy(io.Discard, c); errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("after %q the connection stays", said)
		}
	}
}

// TestHandshakesOfAListener: those of real connections take turns, too.
func TestHandshakesOfAListener(t *testing.T) {
	const most, more, each = 2, 5, 10
	v := newVictimOf(t, Options{Handshakes: most, HandshakeRate: each}, true)
	begin := time.Now()
	for range most + more {
		v.intrude(t)
	}
	if took, least := time.Since(begin), more*time.Second/each; took < least {
		t.Errorf("%d handshakes took %v, want at least %v", most+more, took, least)
	}
}

// TestPlacesComeBack counts all kinds of ends of connections.
func TestPlacesComeBack(t *testing.T) {
	for _, o := range []Options{{Handshakes: 2}, {Handshakes: 100}} {
		l := newConnLimits(o.withDefaults())
		from := ma.StringCast("/ip4/192.0.2.1/tcp/1")
		var all []network.ConnManagementScope
		for n := range 20 {
			if n%2 == 0 {
				l.InterceptAccept(&pretended{from})
			}
			if s, err := l.OpenConnection(network.DirInbound, true, from); err == nil {
				all = append(all, s)
			}
			if s, err := l.OpenConnection(network.DirOutbound, true, from); err == nil {
				all = append(all, s)
			}
		}
		for n, s := range all {
			if n%3 == 0 {
				l.established(s.(*connScope))
			}
			s.Done()
			s.Done()
			l.established(s.(*connScope))
		}
		if l.open != 0 || l.half.Len() != 0 || len(l.halves) != 0 || l.quic != 0 || len(l.coming) != 0 {
			t.Errorf("%d open, %d (%d) and %d in handshake, %d coming", l.open, l.half.Len(), len(l.halves), l.quic, len(l.coming))
		}
	}
}

// pretended is an accepted connection that is nothing but its address.
type pretended struct{ from ma.Multiaddr }

func (p *pretended) LocalMultiaddr() ma.Multiaddr  { return p.from }
func (p *pretended) RemoteMultiaddr() ma.Multiaddr { return p.from }
func (p *pretended) Close() error                  { return nil }
