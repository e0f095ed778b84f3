package p2p

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// dialer implements transport.Dialer.
type dialer struct {
	options Options
	punches *budget
}

// NewDialer returns a dialer of what the target's connections allow. A hint
// that names another peer than the one asked for is passed over, too.
func NewDialer(o Options) transport.Dialer {
	o = o.withDefaults()
	return &dialer{options: o, punches: o.budget()}
}

// dial is one way of a Dial, and the host that is made for it.
type dial struct {
	options Options
	punches *budget
	target  transport.Target
	way     transport.Way
	ev      transport.SessionEvents
	path    transport.Path // of the session; empty is as its address says
	id      peer.ID
	host    *host

	mu      sync.Mutex
	session *session // of the first connection that stood
}

// Dial connects from a new host.
func (d *dialer) Dial(t transport.Target, ev transport.SessionEvents, done func(transport.Session, error)) (cancel func()) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		s, err := d.connect(ctx, t, ev)
		if err != nil {
			done(nil, fmt.Errorf("dial %s: %w", t.Server.Short(), err))
			return
		}
		done(s, nil)
		s.events.Unlock() // held since the session was made: its events come after done
	}()
	return cancel
}

// connect tries one way after the other, each with a host that has no other.
// The session that it returns has its events locked.
func (d *dialer) connect(ctx context.Context, t transport.Target, ev transport.SessionEvents) (*session, error) {
	failed := fmt.Errorf("%w: %s", transport.ErrNoAddress, t.Connections.Barred(t.Hints))
	for _, way := range []transport.Way{transport.Direct, transport.Tor} {
		one := &dial{options: d.options.by(way), punches: d.punches, target: t, way: way, ev: ev}
		s, err := one.run(ctx)
		switch {
		case err == nil:
			return s, nil
		case ctx.Err() != nil && !errors.Is(err, transport.ErrNoAddress):
			return nil, err
		case errors.Is(err, errNotThisWay):
		case errors.Is(failed, transport.ErrNoAddress):
			failed = err
		case !errors.Is(err, transport.ErrNoAddress):
			failed = fmt.Errorf("%w; %w", failed, err)
		}
	}
	return nil, failed
}

// run makes the host and the connection.
func (d *dial) run(ctx context.Context) (*session, error) {
	id, err := peerOf(d.target.Server.Key())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", transport.ErrNoAddress, err)
	}
	d.id = id
	addrs := dialable(d.target, d.target.Connections.WayOf, d.way, id)
	if len(addrs) == 0 {
		return nil, errNotThisWay
	}
	if err := d.makeHost(addrs); err != nil {
		return nil, err
	}
	return d.connect(ctx, id, addrs)
}

// errNotThisWay is for a way in which no address may be dialled.
var errNotThisWay = fmt.Errorf("%w in this way", transport.ErrNoAddress)

// makeHost makes the host, under a new identity, with what it takes to dial the
// addresses in its way.
func (d *dial) makeHost(addrs []ma.Multiaddr) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make identity: %w", err)
	}
	h, err := d.options.hostFor(d.way, key, bulkWindow, &network.NullResourceManager{}, addrs)
	if err != nil {
		return err
	}
	d.host = h
	if need(addrs, ma.P_CIRCUIT) {
		if err := h.addCircuits(); err != nil {
			return errors.Join(err, h.close())
		}
	}
	return nil
}

// hostFor makes a host that can dial these addresses in one way, and nothing in
// another.
func (o Options) hostFor(way transport.Way, key ed25519.PrivateKey, window uint32, limits network.ResourceManager, addrs []ma.Multiaddr) (*host, error) {
	var more []swarm.Option
	if way == transport.Tor {
		if o.SOCKS == "" {
			return nil, fmt.Errorf("%w: it would go through Tor, and no SOCKS port of Tor is known", transport.ErrNoAddress)
		}
		more = append(more, swarm.WithMultiaddrResolver(noNames{}))
	}
	h, err := newHost(key, o.muxer(window), limits, o.DialTimeout, more...)
	if err != nil {
		return nil, err
	}
	if way == transport.Tor {
		err = h.addTor(o.SOCKS, addrs)
	} else {
		err = h.addDirect(addrs)
	}
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// connect dials from the host that was made.
func (d *dial) connect(ctx context.Context, id peer.ID, addrs []ma.Multiaddr) (*session, error) {
	d.host.swarm.Notify(&network.NotifyBundle{ConnectedF: d.connected, DisconnectedF: d.disconnected})
	d.host.swarm.SetStreamHandler(d.stream)
	d.host.peers.AddAddrs(id, addrs, peerstore.TempAddrTTL)
	ctx = network.WithDialPeerTimeout(ctx, d.options.DialTimeout) // libp2p's own is a minute
	limited, cancel := context.WithTimeout(ctx, d.options.DialTimeout)
	defer cancel()
	_, err := d.host.swarm.DialPeer(limited, id)
	d.mu.Lock()
	s := d.session
	d.mu.Unlock()
	if err == nil && s != nil && ctx.Err() == nil {
		return s, nil
	}
	d.abandon()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: given up", transport.ErrClosed)
	}
	return nil, dialError(err)
}

// abandon closes the host. A session that was made meanwhile ends unheard:
// nobody was told of it.
func (d *dial) abandon() {
	_ = d.host.close() // no connection comes after this
	d.mu.Lock()
	s := d.session
	d.mu.Unlock()
	if s != nil {
		s.ev = transport.SessionEvents{}
		s.events.Unlock()
		<-s.gone
	}
}

// dialError says in our words why a dial failed.
func dialError(err error) error {
	var mismatch sec.ErrPeerIDMismatch
	if errors.As(err, &mismatch) {
		return transport.ErrWrongServer
	}
	return fmt.Errorf("%w (%s)", transport.ErrUnreachable, dialCauses(err))
}

// dialCauses is one line: each address that was tried and what came of it.
func dialCauses(err error) string {
	var all *swarm.DialError
	if !errors.As(err, &all) || len(all.DialErrors) == 0 {
		return strings.Join(strings.Fields(err.Error()), " ")
	}
	var causes []string
	for _, e := range all.DialErrors {
		address, _ := ma.SplitFunc(e.Address, func(c ma.Component) bool { return c.Protocol().Code == ma.P_P2P })
		causes = append(causes, fmt.Sprintf("%s: %v", address, strings.Join(strings.Fields(e.Cause.Error()), " ")))
	}
	return strings.Join(causes, "; ")
}

// connected makes the session of the first connection; when two addresses
// answered at once the other connection is closed.
func (d *dial) connected(_ network.Network, c network.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.RemotePeer() != d.id {
		return // a relay on the way
	}
	if d.session != nil {
		go c.Close()
		return
	}
	s := newSession(c, d.target.Server.Key(), d.options)
	s.ev = d.ev
	s.host, s.dial = d.host, d
	switch {
	case d.path != "":
		s.path = d.path
	case d.way == transport.Tor && s.path == transport.PathDirect:
		s.path = transport.PathTor
	}
	s.admitted.Store(true)
	s.events.Lock()
	d.session = s
}

func (d *dial) disconnected(_ network.Network, c network.Conn) {
	if s := d.of(c); s != nil {
		s.disconnected()
	}
}

func (d *dial) stream(st network.Stream) {
	if s := d.of(st.Conn()); s != nil {
		s.accept(st)
		return
	}
	_ = st.ResetWithError(network.StreamGated)
}

func (d *dial) of(c network.Conn) *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session == nil || d.session.conn != c {
		return nil
	}
	return d.session
}

// dialable returns the target's addresses that are dialled in this way, without
// the peer's name.
func dialable(t transport.Target, wayOf func(grid.Hint) transport.Way, way transport.Way, id peer.ID) []ma.Multiaddr {
	var addrs []ma.Multiaddr
	for _, h := range t.Hints[:min(len(t.Hints), wire.MaxHints)] {
		if wayOf(h) != way {
			continue
		}
		a, named := peer.SplitAddr(ma.StringCast(string(h))) // it was parsed to learn its kind
		if named == "" || named == id {
			addrs = append(addrs, a)
		}
	}
	return addrs
}
