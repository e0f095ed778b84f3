package transporttest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// What a server that pulls a share reads, and how many reads it has in flight.
const (
	pullSize   = 256 << 10
	pullFlight = 8
)

// Pull measures reads over a conversation that the server opened, as an upload
// makes them. The two ends are in this process.
func Pull(b *testing.B, w World) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	accepted := make(chan transport.Session, 100)
	l, err := w.Listen(key, func(s transport.Session) transport.SessionEvents {
		s.Admit()
		accepted <- s
		return transport.SessionEvents{}
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	target := transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key)), Hints: l.Hints(), Connections: w.Connections}
	dialled := make(chan transport.Session, 1)
	w.Dialer.Dial(target, transport.SessionEvents{Incoming: answerReads}, func(s transport.Session, err error) {
		if err != nil {
			b.Error(err)
		}
		dialled <- s
	})
	client := <-dialled
	if client == nil {
		return
	}
	b.Cleanup(client.Close)
	server := <-accepted
	for server.Remote() != client.Local() { // of a dial that failed at the other end
		server = <-accepted
	}
	pull(b, server)
}

// answerReads is the client's side.
func answerReads(c transport.Conversation, _ transport.Protocol) (transport.Handler, int) {
	body := make([]byte, pullSize)
	return func(e transport.Event) {
		if r, ok := e.(transport.Received); ok {
			f := wire.Frame{ID: r.Frame.ID, Answer: true, Message: &wire.Data{Lengths: []uint64{pullSize}}}
			c.Send(f.WithBody(nil, body))
			c.Grant(1)
		}
	}, pullFlight
}

func pull(b *testing.B, s transport.Session) {
	got := make(chan struct{}, pullFlight)
	c := s.Open(transport.Pull, func(e transport.Event) {
		if r, ok := e.(transport.Received); ok {
			r.Frame.Release()
			got <- struct{}{}
		}
	}, pullFlight)
	ask := func(id int) {
		c.Send(wire.Frame{ID: uint64(id + 1), Message: &wire.ReadOffer{Offset: uint64(id) * pullSize, Length: pullSize}})
	}
	b.SetBytes(pullSize)
	b.ReportAllocs()
	for id := range pullFlight {
		ask(id)
	}
	for id := pullFlight; b.Loop(); id++ {
		<-got
		c.Grant(1)
		ask(id)
	}
}

// PullTLS measures as many bytes at a time through TLS 1.3 over TCP on this
// machine, with nothing else between its ends.
func PullTLS(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	config := &tls.Config{DynamicRecordSizingDisabled: true, MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{selfSigned(b)}}
	accepted := make(chan error, 1)
	go func() {
		in, err := l.Accept()
		if err == nil {
			defer in.Close()
			server := tls.Server(in, config)
			for body := make([]byte, pullSize); err == nil; {
				_, err = server.Write(body) // until the other side has enough
			}
		}
		accepted <- err
	}()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	client := tls.Client(out, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true})
	body := make([]byte, pullSize)
	b.SetBytes(pullSize)
	for b.Loop() {
		if _, err := io.ReadFull(client, body); err != nil {
			b.Fatal(err)
		}
	}
	out.Close()
	<-accepted
}

func selfSigned(b *testing.B) tls.Certificate {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		b.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
