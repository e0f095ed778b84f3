package p2p

import (
	"fmt"
	"log/slog"
	"slices"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/tor"
)

// onionListener is reached as an onion service, too. Tor brings what comes
// there to a port of this machine that is told nobody.
type onionListener struct {
	*listener
	service *tor.Service
	onion   grid.Hint
	behind  grid.Hint
}

// splitOnion takes the port of an onion service out of the addresses to listen
// at; 0 is none.
func splitOnion(addresses []string) (others []string, port uint16, err error) {
	for _, a := range addresses {
		p, is := tor.OnionPort(a)
		if is && port != 0 {
			return nil, 0, fmt.Errorf("listen at %q: there is an onion service already, and one is enough", a)
		}
		if is {
			port = p
		} else {
			others = append(others, a)
		}
	}
	return others, port, nil
}

var anyLoopback = ma.StringCast("/ip4/127.0.0.1/tcp/0")

// serveOnion makes the onion service. It is not yet there when this returns:
// Tor may start later.
func (l *listener) serveOnion(port uint16) (*onionListener, error) {
	o := l.options.Onion
	if o.Key == nil || o.Control.Address == "" {
		return nil, fmt.Errorf("listen at an onion service: %w: Tor's control port is not known", transport.ErrNoAddress)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Changed == nil {
		o.Changed = func(error) {}
	}
	before := l.Hints()
	if err := l.listen(anyLoopback); err != nil {
		return nil, err
	}
	behind := slices.DeleteFunc(l.Hints(), func(h grid.Hint) bool { return slices.Contains(before, h) })
	_, target, err := manet.DialArgs(ma.StringCast(string(behind[0])))
	if err != nil {
		return nil, fmt.Errorf("listen at an onion service: %w", err)
	}
	return &onionListener{
		listener: l, behind: behind[0], onion: tor.Hint(o.Key, port),
		service: o.Control.Serve(o.Key, port, target, o.Log, o.Changed),
	}, nil
}

// Hints are the onion address and what else was asked for.
func (l *onionListener) Hints() []grid.Hint {
	others := slices.DeleteFunc(l.listener.Hints(), func(h grid.Hint) bool { return h == l.behind })
	return append(others, l.onion)
}

// Close ends the onion service, and what the listener does.
func (l *onionListener) Close() error {
	l.service.Close()
	return l.listener.Close()
}
