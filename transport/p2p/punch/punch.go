// Package punch makes a direct TCP connection between two nodes that routers
// let nobody in to: both dial each other at the same time from ports whose
// outside addresses they were told, so that each router takes the other's
// packets for answers.
//
// Main type: Hole, a fresh port. A relay says how the port looks from outside;
// the two tell each other through that relay, and begin.
//
// Promises: one address is dialled, as often as attempts says and no more; only
// who proves the identity that was agreed on gets a connection; the port
// listens until the hole is closed and no longer.
package punch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-reuseport"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tarn-grid/tarn/transport/p2p/relay"
)

const (
	// attempts is how often the other side is dialled; each sends a few packets.
	attempts = 16
	// between is at most the time between two of them, where the first was
	// refused: short beside the way of a packet, so that this side nearly always
	// waits for the other, and another one each time, so that the two are not in
	// step.
	between = 8 * time.Millisecond
	// grace is how long the other side is waited for when all were refused.
	grace = 2 * time.Second
	// candidates is how many connections may come before the right one.
	candidates = 4
)

// Hole is a port from which a connection is made, and at which one may come.
type Hole struct {
	upgrader transport.Upgrader
	limits   network.ResourceManager
	listener net.Listener
	local    net.Addr
	relay    transport.CapableConn // keeps what the router knows of the port
	seen     netip.AddrPort
	once     sync.Once
}

// Open takes a port and asks a relay how it is seen. Ask is the identity for
// that, and of no other connection: a relay takes two connections of one identity
// for the same. Up is that of the connection through the hole.
func Open(ctx context.Context, ask, up transport.Upgrader, limits network.ResourceManager, at ma.Multiaddr, id peer.ID) (*Hole, error) {
	where, err := manet.ToNetAddr(at)
	if err != nil {
		return nil, fmt.Errorf("open a port: %w", err)
	}
	tcp, ok := where.(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("open a port: the relay is at %s", at)
	}
	family, any := "tcp4", "0.0.0.0:0"
	if tcp.IP.To4() == nil {
		family, any = "tcp6", "[::]:0"
	}
	l, err := reuseport.Listen(family, any)
	if err != nil {
		return nil, fmt.Errorf("open a port: %w", err)
	}
	h := &Hole{upgrader: up, limits: limits, listener: l, local: l.Addr()}
	if err := h.ask(ctx, ask, tcp, id); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// ask connects to the relay from the port and asks what it sees.
func (h *Hole) ask(ctx context.Context, as transport.Upgrader, at *net.TCPAddr, id peer.ID) error {
	raw, err := h.dial(ctx, at)
	if err != nil {
		return fmt.Errorf("reach the relay: %w", err)
	}
	if h.relay, err = h.upgrade(ctx, as, raw, network.DirOutbound, id); err != nil {
		return fmt.Errorf("reach the relay: %w", err)
	}
	h.seen, err = relay.AskObserved(ctx, h.relay)
	return err
}

// dial connects from the port.
func (h *Hole) dial(ctx context.Context, to net.Addr) (net.Conn, error) {
	d := net.Dialer{LocalAddr: h.local, Control: reuseport.Control}
	return d.DialContext(ctx, to.Network(), to.String())
}

// upgrade makes a raw connection one with whom is expected; the raw one is
// closed where that fails.
func (h *Hole) upgrade(ctx context.Context, as transport.Upgrader, raw net.Conn, dir network.Direction, id peer.ID) (transport.CapableConn, error) {
	c, err := manet.WrapNetConn(raw)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	scope, err := h.limits.OpenConnection(dir, true, c.RemoteMultiaddr())
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	up, err := as.Upgrade(ctx, Transport{h, dir}, c, dir, id, scope) // it closes what it can't upgrade
	if err != nil {
		return nil, err
	}
	if up.RemotePeer() != id {
		return nil, errors.Join(errors.New("somebody else answers"), up.Close())
	}
	return up, nil
}

// Seen is how the relay sees the port. It may lie.
func (h *Hole) Seen() netip.AddrPort { return h.seen }

// Close gives the port back. Connections that were made stay.
func (h *Hole) Close() {
	h.once.Do(func() {
		_ = h.listener.Close() // nobody is interested in it any more
		if h.relay != nil {
			_ = h.relay.Close()
		}
	})
}

// Through dials and accepts until there is a connection with whom is expected.
// As to the handshake one side is the client (DirOutbound) and the other the
// server, whoever's packets come first.
func (h *Hole) Through(ctx context.Context, to netip.AddrPort, dir network.Direction, id peer.ID) (transport.CapableConn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	raw := make(chan net.Conn)
	defer context.AfterFunc(ctx, func() { _ = h.listener.Close() })() // ends accept
	var work sync.WaitGroup
	work.Go(func() { h.accept(ctx, to.Addr(), raw) })
	work.Go(func() {
		if !h.attempt(ctx, to, raw) {
			time.AfterFunc(grace, cancel)
		}
	})
	done := make(chan transport.CapableConn)
	work.Go(func() { h.handshakes(ctx, raw, done, dir, id) })
	defer work.Wait()
	defer cancel()
	select {
	case c := <-done:
		return c, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("punch a hole to %s: %w", to, context.Cause(ctx))
	}
}

// accept takes connections from the expected address.
func (h *Hole) accept(ctx context.Context, from netip.Addr, raw chan<- net.Conn) {
	for {
		c, err := h.listener.Accept()
		if err != nil {
			return
		}
		if remote, err := netip.ParseAddrPort(c.RemoteAddr().String()); err != nil || remote.Addr().Unmap() != from {
			_ = c.Close()
			continue
		}
		give(ctx, raw, c)
	}
}

// attempt dials until it gets through; false if it has tried often enough.
func (h *Hole) attempt(ctx context.Context, to netip.AddrPort, raw chan<- net.Conn) bool {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for range attempts {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return true
		}
		if c, err := h.dial(ctx, net.TCPAddrFromAddrPort(to)); err == nil {
			give(ctx, raw, c)
			return true
		}
		pause.Reset(rand.N(between))
	}
	return false
}

func give(ctx context.Context, raw chan<- net.Conn, c net.Conn) {
	select {
	case raw <- c:
	case <-ctx.Done():
		_ = c.Close()
	}
}

// handshakes tries a few connections at a time; the first that is with the right
// one is it.
func (h *Hole) handshakes(ctx context.Context, raw <-chan net.Conn, done chan<- transport.CapableConn, dir network.Direction, id peer.ID) {
	var each sync.WaitGroup
	defer each.Wait()
	for range candidates {
		select {
		case c := <-raw:
			each.Go(func() {
				up, err := h.upgrade(ctx, h.upgrader, c, dir, id)
				if err != nil {
					return
				}
				select {
				case done <- up:
				case <-ctx.Done():
					_ = up.Close()
				}
			})
		case <-ctx.Done():
			return
		}
	}
}
