package p2p

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/quic-go/quic-go"
)

// addQUIC lets the host dial and listen at QUIC addresses. It keeps no
// session tickets and no address tokens, and each dial has a socket of its
// own: a shared one would have the same port towards every server.
func (h *host) addQUIC() error {
	var reset quic.StatelessResetKey
	var token quic.TokenGeneratorKey
	_, _ = rand.Read(reset[:]) // never fails
	_, _ = rand.Read(token[:])
	options := []quicreuse.Option{quicreuse.DisableReuseport(), quicreuse.OverrideListenUDP(h.sockets.listen)}
	if l, ok := h.limits.(*connLimits); ok {
		options = append(options, quicreuse.ConnContext(l.openQUIC), quicreuse.VerifySourceAddress(func(net.Addr) bool { return l.crowded() }))
	}
	sockets, err := quicreuse.NewConnManager(reset, token, options...)
	if err != nil {
		return fmt.Errorf("add QUIC: %w", err)
	}
	t, err := libp2pquic.NewTransport(h.key, sockets, nil, nil, h.limits, libp2pquic.WithTLSIdentityOption(silentCertificate()))
	if err != nil {
		return fmt.Errorf("add QUIC: %w", err)
	}
	return h.swarm.AddTransport(t)
}

// openQUIC counts a connection from its first packet on, as TCP's are.
func (l *connLimits) openQUIC(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	from, err := quicreuse.ToQuicMultiaddr(info.RemoteAddr, quic.Version1)
	if err != nil {
		return ctx, err
	}
	scope, err := l.OpenConnection(network.DirInbound, false, from)
	if err != nil {
		return ctx, err
	}
	context.AfterFunc(ctx, scope.Done)
	return network.WithConnManagementScope(ctx, scope), nil
}

// sockets are a host's for UDP. libp2p leaves that of a dial open when its
// connection ends, unless it may share it with other dials.
type sockets struct {
	mu     sync.Mutex
	open   []*net.UDPConn
	closed bool
}

func (s *sockets) listen(network string, at *net.UDPAddr) (net.PacketConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	c, err := net.ListenUDP(network, at)
	if err != nil {
		return nil, err
	}
	s.open = append(s.open, c)
	return c, nil
}

func (s *sockets) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.open {
		_ = c.Close() // again where a dial failed
	}
}
