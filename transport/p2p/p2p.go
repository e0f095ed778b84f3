// Package p2p is the transport over libp2p, and the only importer of it: TCP,
// TLS 1.3 (Noise where the other side has no TLS), yamux; QUIC where asked; and
// TCP through Tor.
//
// A Dialer makes a host for each connection: a fresh Ed25519 identity, those
// dialers that the target's connections name, no listener, no identify
// service, no shared source port. What the other side
// learns is that key, the network address, and the names of the protocols. A
// Listener has the node's long-lived identity and limits of its own.
//
// Both pin identities: a dialled session is with the Ed25519 key that was
// asked for, or there is none; an accepted one has proved the key that it is
// known by. The suite in transport/transporttest passes.
package p2p

import (
	"crypto/ed25519"
	"log/slog"
	"time"

	yamuxconfig "github.com/libp2p/go-yamux/v5"

	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"

	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/tor"
)

// Options bound what a connection may cost. The zero value of each field
// means its default.
type Options struct {
	// Connections is how many a listener has at a time, those in handshake
	// included. Whoever closes some for others must allow fewer. Default 1280.
	Connections int
	// Handshakes is how many of them are in handshake at a time. Where there are
	// more, one of those is closed that have waited longest, of the source that has
	// most of them; a quarter as many more over QUIC, where a new one is refused
	// instead. Each takes some 20 KiB. HandshakeTimeout bounds one.
	// Default 192 and 10 s.
	Handshakes       int
	HandshakeTimeout time.Duration
	// HandshakeRate is how many of them may begin in a second, beyond as many at
	// once as Handshakes: they are most of what a stranger costs. Over TCP the others
	// wait in the order in which they came; over QUIC, where it is a quarter as many
	// more, they are refused. Default 200.
	HandshakeRate int
	// Conversations is how many the other side may have open in a session,
	// after Admit if the session was accepted; before, it is one. Default 128.
	Conversations int
	// Window is up to how many bytes of a conversation the other side may send
	// before they are read. It starts at 1 MiB where the session was dialled, at
	// 256 KiB where it was accepted, and doubles while the reader keeps up;
	// before Admit it stays as it is. Default 4 MiB. QUIC has windows of its
	// own, 512 KiB at first, 768 KiB for a connection before Admit, and up to
	// 15 MiB after.
	Window uint32
	// DialTimeout bounds a dial, handshakes included; TorDialTimeout one through
	// Tor. Default 15 s and 90 s.
	DialTimeout, TorDialTimeout time.Duration
	// KeepAlive is after how much silence the other side is asked whether it
	// lives; without an answer for as long again, the session is over.
	// Default 15 s, which QUIC always has.
	KeepAlive time.Duration
	// Punch lets clients that come to a listener through a relay have it make a
	// direct connection, which tells them its address.
	Punch bool
	// Punches is how many direct connections are tried for in a minute, and
	// PunchesPerAddress how many at one network address. Default 60 and 6.
	Punches, PunchesPerAddress int
	// PunchAnywhere allows addresses that are not public, for tests.
	PunchAnywhere bool
	// Stall is how long a frame may make no progress before its conversation
	// is given up, so that who does not read cannot pin memory. Default 60 s.
	Stall time.Duration

	// SOCKS is Tor's port for those connections of a dialer, and of a listener to
	// relays, that go through Tor; without it there are none.
	SOCKS tor.Address
	// Onion makes the onion service of a listener that is to have one.
	Onion Onion
}

// Onion is what an onion service is made of.
type Onion struct {
	// Control is Tor's control port.
	Control tor.Control
	// Key is the service's own, for ever; its address is made of it.
	Key ed25519.PrivateKey
	// Log hears when the service comes and goes; nil discards.
	Log *slog.Logger
	// Changed hears why the service is not there, and nil when it is; nil is for
	// nobody to hear it.
	Changed func(error)
}

func (o Options) withDefaults() Options {
	setDefault(&o.Connections, 1280)
	setDefault(&o.Handshakes, 192)
	setDefault(&o.HandshakeTimeout, 10*time.Second)
	setDefault(&o.HandshakeRate, 200)
	setDefault(&o.Conversations, 128)
	setDefault(&o.Window, 4<<20)
	setDefault(&o.DialTimeout, 15*time.Second)
	setDefault(&o.TorDialTimeout, 90*time.Second)
	setDefault(&o.KeepAlive, 15*time.Second)
	setDefault(&o.Punches, 60)
	setDefault(&o.PunchesPerAddress, 6)
	setDefault(&o.Stall, 60*time.Second)
	return o
}

// by is o for dials in one way: Tor takes its time.
func (o Options) by(way transport.Way) Options {
	if way == transport.Tor {
		o.DialTimeout = o.TorDialTimeout
		o.KeepAlive *= 3
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// earlyWindow is yamux's own first window, in bytes; it cannot be smaller.
const earlyWindow = 256 << 10

// bulkWindow is the first window on the dialling side, to which downloads
// come: a fresh conversation gets a megabyte without waiting for a round trip.
const bulkWindow = 1 << 20

// negotiateTimeout bounds how long an opened stream takes to say its protocol.
const negotiateTimeout = 10 * time.Second

// protocols are those that a stream may name.
var protocols = []transport.Protocol{transport.Storage, transport.Pull, transport.Introduction, transport.Membership, transport.Helping}

// muxer is yamux with our windows and a faster look for dead connections.
func (o Options) muxer(firstWindow uint32) *yamux.Transport {
	c := yamuxconfig.Config(*yamux.DefaultTransport)
	c.KeepAliveInterval = o.KeepAlive
	c.ConnectionWriteTimeout = o.KeepAlive
	c.MaxStreamWindowSize = max(o.Window, earlyWindow)
	c.InitialStreamWindowSize = min(firstWindow, c.MaxStreamWindowSize)
	c.AcceptBacklog = 128
	c.MaxIncomingStreams = uint32(2 * o.Conversations)
	t := yamux.Transport(c)
	return &t
}
