package p2p

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	coretransport "github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p/punch"
	"github.com/tarn-grid/tarn/transport/wire"
)

// punchProtocol is for an offer to punch, over a session through a relay.
//
// The client asks the relay how a fresh port of it is seen, and offers that
// (wire.Punch); the server does the same and answers (wire.Punching); the client
// says that it begins (wire.Done), and both dial.
const punchProtocol protocol.ID = "/tarn/1/punch"

const (
	// punchTime bounds a punch, from the offer on.
	punchTime = 15 * time.Second
	// agreeTime bounds what is said before.
	agreeTime = 10 * time.Second
)

// Punch implements transport.Session.
func (s *session) Punch(ev transport.SessionEvents, done func(transport.Session, error)) (cancel func()) {
	ctx, cancel := context.WithTimeout(context.Background(), punchTime+agreeTime)
	go func() {
		defer cancel()
		next, err := s.punch(ctx, ev)
		if err != nil {
			done(nil, fmt.Errorf("connect directly: %w", err))
			return
		}
		done(next, nil)
		next.events.Unlock() // held since the session was made: its events come after done
	}()
	return cancel
}

// mayPunch is for sessions that were dialled through a relay under a clause that
// says so.
func (s *session) mayPunch() bool {
	if s.dial == nil || s.path != transport.PathRelay {
		return false
	}
	c := s.dial.target.Connections
	return c.Punch && c.MayPunch()
}

func (s *session) punch(ctx context.Context, ev transport.SessionEvents) (*session, error) {
	if !s.mayPunch() {
		return nil, transport.ErrNoPunch
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	h, hole, err := s.options.dig(ctx, key, bulkWindow, &network.NullResourceManager{}, s.conn)
	if err != nil {
		return nil, err
	}
	defer hole.Close()
	to, err := s.offerPunch(ctx, wire.Punch{Key: grid.PublicKeyOf(key), Address: hole.Seen().String()})
	if err == nil && !s.dial.punches.spend(to.Addr(), time.Now()) {
		err = fmt.Errorf("%w: too many tries in a minute", transport.ErrNoPunch)
	}
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	d := &dial{options: s.options, punches: s.dial.punches, target: s.dial.target, ev: ev, id: s.dial.id, host: h, path: transport.PathPunched}
	return d.through(ctx, hole, to, network.DirOutbound)
}

// dig makes a host that can go through nothing but a hole, and that hole, which
// the relay of a connection has seen.
func (o Options) dig(ctx context.Context, key ed25519.PrivateKey, window uint32, limits network.ResourceManager, c network.Conn) (*host, *punch.Hole, error) {
	at, id, err := relayOf(c)
	if err != nil {
		return nil, nil, err
	}
	h, err := newHost(key, o.muxer(window), limits, punchTime)
	if err != nil {
		return nil, nil, err
	}
	ask, err := o.stranger(limits)
	if err != nil {
		return nil, nil, errors.Join(err, h.close())
	}
	hole, err := punch.Open(ctx, ask, h.upgrader, limits, at, id)
	if err != nil {
		return nil, nil, errors.Join(err, h.close())
	}
	return h, hole, nil
}

// stranger makes sessions under an identity for one question.
func (o Options) stranger(limits network.ResourceManager) (coretransport.Upgrader, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	return newUpgrader(priv, o.muxer(earlyWindow), limits)
}

// relayOf is where the relay of a circuit is, as it was reached.
func relayOf(c network.Conn) (ma.Multiaddr, peer.ID, error) {
	before, _ := ma.SplitFunc(c.RemoteMultiaddr(), func(c ma.Component) bool { return c.Protocol().Code == ma.P_CIRCUIT })
	at, id := peer.SplitAddr(before)
	if at == nil || id == "" {
		return nil, "", fmt.Errorf("%w: not through a relay", transport.ErrNoPunch)
	}
	return at, id, nil
}

// through connects by the hole; the session has its events locked.
func (d *dial) through(ctx context.Context, hole *punch.Hole, to netip.AddrPort, dir network.Direction) (*session, error) {
	at, err := punch.Address(to)
	if err != nil {
		return nil, errors.Join(err, d.host.close())
	}
	if err := d.host.swarm.AddTransport(punch.Transport{Hole: hole, Dir: dir}); err != nil {
		return nil, errors.Join(err, d.host.close())
	}
	return d.connect(ctx, d.id, []ma.Multiaddr{at})
}

// offerPunch tells the other side of our port, and learns of its own.
func (s *session) offerPunch(ctx context.Context, m wire.Punch) (netip.AddrPort, error) {
	none := netip.AddrPort{}
	st, err := s.conn.NewStream(network.WithAllowLimitedConn(ctx, "a relay's limits leave room for it"))
	if err != nil {
		return none, err
	}
	defer func() { _ = st.Close() }()
	if err := st.SetDeadline(time.Now().Add(agreeTime)); err != nil {
		return none, err
	}
	lazy := multistream.NewMSSelect(st, punchProtocol)
	if err := wire.WriteFrame(lazy, wire.Frame{ID: 1, Message: &m}); err != nil {
		return none, err
	}
	f, err := wire.ReadFrame(lazy, 0)
	if err != nil {
		return none, fmt.Errorf("%w: %w", transport.ErrNoPunch, err)
	}
	f.Release()
	answer, ok := f.Message.(*wire.Punching)
	if !ok {
		return none, fmt.Errorf("%w: answered by %T", transport.ErrNoPunch, f.Message)
	}
	to, err := s.options.punchable(answer.Address)
	if err != nil {
		return none, err
	}
	return to, wire.WriteFrame(lazy, wire.Frame{ID: 2, Message: &wire.Done{}})
}

// special are addresses beside private ones that are nobody's in public: of this
// network, shared behind carriers' routers, for benchmarks, and reserved.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
}

// punchable is an address that may be dialled because somebody says so: a public
// one, at a port that no well-known service has.
func (o Options) punchable(text string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return a, fmt.Errorf("%w: %w", transport.ErrNoPunch, err)
	}
	ip := a.Addr().Unmap()
	public := ip.IsGlobalUnicast() && !ip.IsPrivate() && !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(ip) })
	if !public && !o.PunchAnywhere || a.Port() < 1024 {
		return a, fmt.Errorf("%w: %s is no public address with a port for it", transport.ErrNoPunch, a)
	}
	return a, nil
}

// offeredPunch serves a stream of punchProtocol.
func (s *session) offeredPunch(st network.Stream) {
	if s.punched == nil || !s.admitted.Load() {
		_ = st.ResetWithError(network.StreamGated)
		return
	}
	s.punched(st)
}

// punch answers an offer and does its part. What comes of it is an accepted
// session like any other.
func (l *listener) punch(s *session, st network.Stream) {
	ctx, cancel := context.WithTimeout(l.ending, punchTime+agreeTime)
	defer cancel()
	defer func() { _ = st.Reset() }()                         // it has said what it had to
	defer context.AfterFunc(ctx, func() { _ = st.Reset() })() // so that nothing waits for the other side
	if err := st.SetDeadline(time.Now().Add(agreeTime)); err != nil {
		return
	}
	f, err := wire.ReadFrame(st, 0)
	if err != nil {
		return
	}
	f.Release()
	m, ok := f.Message.(*wire.Punch)
	if !ok {
		return
	}
	if err := l.agree(ctx, s, st, f.ID, m); err != nil {
		_ = wire.WriteFrame(st, wire.Frame{ID: f.ID, Answer: true, Message: wire.NewError(wire.Busy, err.Error())})
		_ = st.Close()
	}
}

func (l *listener) agree(ctx context.Context, s *session, st network.Stream, id uint64, m *wire.Punch) error {
	to, err := l.options.punchable(m.Address)
	if err != nil {
		return err
	}
	client, err := peerOf(m.Key)
	if err != nil {
		return err
	}
	if !l.punches.spend(to.Addr(), time.Now()) {
		return fmt.Errorf("%w: too many tries in a minute", transport.ErrNoPunch)
	}
	h, hole, err := l.options.dig(ctx, l.key, earlyWindow, l.limits, s.conn)
	if err != nil {
		return err
	}
	defer hole.Close()
	if err := begin(st, id, hole.Seen()); err != nil {
		return errors.Join(err, h.close())
	}
	return l.through(ctx, h, hole, to, client)
}

// begin tells our port and waits until the client begins.
func begin(st network.Stream, id uint64, seen netip.AddrPort) error {
	if err := wire.WriteFrame(st, wire.Frame{ID: id, Answer: true, Message: &wire.Punching{Address: seen.String()}}); err != nil {
		return err
	}
	f, err := wire.ReadFrame(st, 0)
	if err != nil {
		return err
	}
	f.Release()
	if _, ok := f.Message.(*wire.Done); !ok {
		return fmt.Errorf("%w: %T instead of a beginning", transport.ErrProtocol, f.Message)
	}
	return nil
}

// through is dial.through on the listener's side.
func (l *listener) through(ctx context.Context, h *host, hole *punch.Hole, to netip.AddrPort, client peer.ID) error {
	at, err := punch.Address(to)
	if err != nil {
		return errors.Join(err, h.close())
	}
	if err := h.swarm.AddTransport(punch.Transport{Hole: hole, Dir: network.DirInbound}); err != nil {
		return errors.Join(err, h.close())
	}
	h.swarm.Notify(&network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { l.welcome(c, h) },
		DisconnectedF: l.disconnected,
	})
	h.swarm.SetStreamHandler(l.stream)
	h.peers.AddAddr(client, at, punchTime)
	limited, cancel := context.WithTimeout(ctx, punchTime)
	defer cancel()
	if _, err := h.swarm.DialPeer(limited, client); err != nil {
		return errors.Join(err, h.close())
	}
	return nil
}
