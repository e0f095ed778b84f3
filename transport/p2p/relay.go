package p2p

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p/relay"
)

// relayWindow is up to how many bytes of a circuit a relay holds for whom does
// not take them fast enough, each way: with what is being copied, 1.2 MB for a
// circuit at the worst.
const relayWindow = 512 << 10

// relayService implements transport.RelayService.
type relayService struct {
	*relay.Service
	host *host
}

// ServeRelay relays under key at TCP multiaddrs, as Listen listens.
func ServeRelay(key ed25519.PrivateKey, addresses []string, limits transport.RelayLimits, o Options) (transport.RelayService, error) {
	o = o.withDefaults()
	o.Window = relayWindow
	addrs, err := parseListen(addresses)
	if err != nil {
		return nil, err
	}
	h, err := newHost(key, o.muxer(earlyWindow), relay.Connections(limits), o.DialTimeout)
	if err != nil {
		return nil, err
	}
	if err := h.addTCP(); err != nil {
		return nil, errors.Join(err, h.close())
	}
	service, err := relay.New(h, limits)
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	r := &relayService{service, h}
	for _, a := range addrs {
		if err := h.swarm.AddListenAddr(a); err != nil {
			return nil, errors.Join(fmt.Errorf("listen at %s: %w", a, err), r.Close())
		}
	}
	return r, nil
}

// Hints are the addresses listened at.
func (r *relayService) Hints() []grid.Hint { return r.host.hints() }

// Close ends the relay and every circuit.
func (r *relayService) Close() error { return errors.Join(r.Service.Close(), r.host.close()) }
