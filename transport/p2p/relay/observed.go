package relay

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multistream"

	"github.com/tarn-grid/tarn/transport/wire"
)

// ObservedProtocol names a stream on which the relay says, once, which
// address it sees the other side at.
const ObservedProtocol protocol.ID = "/tarn/1/observed"

// observedWithin bounds the telling and the asking.
const observedWithin = 10 * time.Second

// tellObserved serves ObservedProtocol.
func tellObserved(st network.Stream) {
	_ = st.SetDeadline(time.Now().Add(observedWithin)) // a stream without one ends with its connection
	if err := writeObserved(st); err != nil {
		_ = st.Reset() // nobody is left to be told
		return
	}
	_ = st.Close()
}

func writeObserved(st network.Stream) error {
	a, err := manet.ToNetAddr(st.Conn().RemoteMultiaddr())
	if err != nil {
		return err
	}
	seen, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return err
	}
	seen = netip.AddrPortFrom(seen.Addr().Unmap().WithZone(""), seen.Port())
	return wire.WriteFrame(st, wire.Frame{Message: &wire.Observed{Address: seen.String()}})
}

// AskObserved asks the relay at the other end of a connection which address
// it sees. The relay may lie.
func AskObserved(ctx context.Context, c network.MuxedConn) (netip.AddrPort, error) {
	none := netip.AddrPort{}
	ctx, cancel := context.WithTimeout(ctx, observedWithin)
	defer cancel()
	st, err := c.OpenStream(ctx)
	if err != nil {
		return none, fmt.Errorf("ask the relay for the address: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = st.Reset() })
	defer stop()
	defer func() { _ = st.Reset() }() // it has said what it had to
	if err := multistream.SelectProtoOrFail(ObservedProtocol, st); err != nil {
		return none, fmt.Errorf("ask the relay for the address: %w", err)
	}
	f, err := wire.ReadFrame(st, 0)
	if err != nil {
		return none, fmt.Errorf("ask the relay for the address: %w", err)
	}
	f.Release()
	m, ok := f.Message.(*wire.Observed)
	if !ok {
		return none, fmt.Errorf("ask the relay for the address: %w: answered by %T", wire.ErrMalformed, f.Message)
	}
	return netip.ParseAddrPort(m.Address)
}
