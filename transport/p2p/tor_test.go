package p2p_test

import (
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/tor"
	"github.com/tarn-grid/tarn/transport/transporttest"
)

// socksToy is a SOCKS port that knows where names and onion addresses are.
type socksToy struct {
	address tor.Address

	mu    sync.Mutex
	asked []asked
	of    map[string]string // host:port as asked -> where it is
}

// asked is a request, by whom.
type asked struct{ user, host string }

func newSOCKSToy(t *testing.T) *socksToy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	y := &socksToy{address: tor.Address(l.Addr().String()), of: map[string]string{}}
	var group sync.WaitGroup
	t.Cleanup(func() { l.Close(); group.Wait() })
	group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() { y.serve(c) })
		}
	})
	return y
}

func (y *socksToy) serve(c net.Conn) {
	defer c.Close()
	read := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(c, b) // a request that ends early is refused as empty
		return b
	}
	read(int(read(2)[1]))
	c.Write([]byte{5, 2})
	user := string(read(int(read(2)[1])))
	read(int(read(1)[0]))
	c.Write([]byte{1, 0})
	host := ""
	switch read(4)[3] {
	case 1:
		host = netip.AddrFrom4([4]byte(read(4))).String()
	case 3:
		host = string(read(int(read(1)[0])))
	}
	b := read(2)
	host = net.JoinHostPort(host, strconv.Itoa(int(b[0])<<8|int(b[1])))
	y.mu.Lock()
	y.asked = append(y.asked, asked{user, host})
	to := y.of[host]
	y.mu.Unlock()
	out, err := net.Dial("tcp", to)
	if err != nil {
		c.Write([]byte{5, 0xF0, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	defer out.Close()
	c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	go func() {
		_, _ = io.Copy(out, c)
		out.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(c, out)
}

// as makes host lead to where hint, of the loopback, is.
func (y *socksToy) as(host string, hint grid.Hint) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.of[host] = "127.0.0.1:" + strings.Split(string(hint), "/")[4]
}

const (
	onionName = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd"
	onionHint = "/onion3/" + onionName + ":3457"
	nameHint  = "/dns/storage.example.invalid/tcp/3457"
)

var overTor = transport.Connections{TCP: transport.Tor, Onion: transport.Tor}

// elsewhere is a listener that is known by an address of its own.
type elsewhere struct {
	transport.Listener
	hint grid.Hint
}

func (e elsewhere) Hints() []grid.Hint { return []grid.Hint{e.hint} }

func TestSuiteThroughTor(t *testing.T) {
	for hint, host := range map[grid.Hint]string{onionHint: onionName + ".onion:3457", nameHint: "storage.example.invalid:3457"} {
		transporttest.Run(t, func(t *testing.T) transporttest.World {
			y := newSOCKSToy(t)
			dead := grid.Hint(strings.Replace(string(hint), "3457", "1", 1))
			return transporttest.World{
				Dialer:      p2p.NewDialer(p2p.Options{SOCKS: y.address}),
				DeadHint:    dead,
				Connections: overTor,
				Listen: func(key ed25519.PrivateKey, accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
					l, err := p2p.Listen(key, loopback, p2p.Options{}, accept)
					if err != nil {
						return nil, err
					}
					y.as(host, l.Hints()[0])
					return elsewhere{l, hint}, nil
				},
			}
		})
	}
}

// TestEachConnectionIsItsOwnCircuit: Tor sees another user for each session,
// and names as they were announced.
func TestEachConnectionIsItsOwnCircuit(t *testing.T) {
	target, accepted := listen(t, p2p.Options{}, transport.SessionEvents{})
	y := newSOCKSToy(t)
	y.as(onionName+".onion:3457", target.Hints[0])
	y.as("storage.example.invalid:3457", target.Hints[0])
	port := strings.Split(string(target.Hints[0]), "/")[4]
	y.as("127.0.0.1:"+port, target.Hints[0])
	target.Connections = overTor
	d := p2p.NewDialer(p2p.Options{SOCKS: y.address})
	users := map[string]bool{}
	for hint, host := range map[grid.Hint]string{
		onionHint: onionName + ".onion:3457", nameHint: "storage.example.invalid:3457", target.Hints[0]: "127.0.0.1:" + port,
	} {
		target.Hints = []grid.Hint{hint, "/ip4/127.0.0.1/udp/" + grid.Hint(port) + "/quic-v1"}
		s, err := dial(t, d, target, transport.SessionEvents{})
		if err != nil {
			t.Fatal(err)
		}
		<-accepted
		if s.Address() != string(hint) || s.Path() != transport.PathTor {
			t.Errorf("%s was reached at %s, path %s", hint, s.Address(), s.Path())
		}
		last := y.asked[len(y.asked)-1]
		if last.host != host || last.user == "" || users[last.user] {
			t.Errorf("Tor was asked for %s by %q", last.host, last.user)
		}
		users[last.user] = true
	}
	if len(y.asked) != 3 {
		t.Errorf("Tor was asked %d times: %v", len(y.asked), y.asked)
	}
}

// TestNothingButTor: what a clause sends through Tor is not dialled in another
// way, whether Tor is there or not.
func TestNothingButTor(t *testing.T) {
	target, accepted := listen(t, p2p.Options{}, transport.SessionEvents{})
	target.Connections = transport.Connections{TCP: transport.Tor, Onion: transport.Tor}
	y := newSOCKSToy(t)
	for name, c := range map[string]struct {
		socks tor.Address
		hint  grid.Hint
		err   error
		says  string
	}{
		"no Tor in the settings": {"", target.Hints[0], transport.ErrNoAddress, "no SOCKS port of Tor is known"},
		"Tor is off":             {"127.0.0.1:1", target.Hints[0], transport.ErrUnreachable, "Tor does not answer at 127.0.0.1:1"},
		"no way from Tor":        {y.address, target.Hints[0], transport.ErrUnreachable, "the onion service's descriptor can't be found"},
		"a name of this machine": {y.address, "/dns/localhost/tcp/1", transport.ErrUnreachable, "/dns/localhost/tcp/1: "},
		"QUIC":                   {y.address, "/ip4/127.0.0.1/udp/1/quic-v1", transport.ErrNoAddress, ""},
	} {
		target.Hints = []grid.Hint{c.hint}
		_, err := dial(t, p2p.NewDialer(p2p.Options{SOCKS: c.socks}), target, transport.SessionEvents{})
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(accepted) != 0 {
		t.Error("the server was reached")
	}
}

// TestDirectBeforeTor: a clause with both tries the direct way first, and the
// other one when that fails.
func TestDirectBeforeTor(t *testing.T) {
	target, _ := listen(t, p2p.Options{}, transport.SessionEvents{})
	y := newSOCKSToy(t)
	y.as(onionName+".onion:3457", target.Hints[0])
	d := p2p.NewDialer(p2p.Options{SOCKS: y.address})
	target.Connections = transport.Connections{TCP: transport.Direct, Onion: transport.Tor}
	good := target.Hints[0]
	for first, want := range map[grid.Hint]grid.Hint{good: good, "/ip4/127.0.0.1/tcp/1": onionHint} {
		target.Hints = []grid.Hint{onionHint, first}
		s, err := dial(t, d, target, transport.SessionEvents{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Address() != string(want) {
			t.Errorf("%v was reached at %s", target.Hints, s.Address())
		}
	}
	target.Hints = []grid.Hint{"/ip4/127.0.0.1/tcp/1", "/onion3/" + onionName + ":1"}
	_, err := dial(t, d, target, transport.SessionEvents{})
	if !errors.Is(err, transport.ErrUnreachable) || !strings.Contains(err.Error(), "/tcp/1: ") || !strings.Contains(err.Error(), "/onion3/") {
		t.Errorf("neither way led there: %v", err)
	}
}

// TestOnionListener: the onion address is announced, what lies behind it is
// not, and other addresses are.
func TestOnionListener(t *testing.T) {
	onion := p2p.Onion{Control: tor.Control{Address: "127.0.0.1:1"}, Key: key(7)}
	want := tor.Hint(key(7), 3457)
	for _, c := range []struct{ others, listen []string }{
		{nil, []string{"onion:3457"}},
		{loopback, []string{"onion:3457", loopback[0]}},
	} {
		accepted := make(chan transport.Session, 1)
		l, err := p2p.Listen(key(1), c.listen, p2p.Options{Onion: onion}, func(s transport.Session) transport.SessionEvents {
			accepted <- s
			return transport.SessionEvents{}
		})
		if err != nil {
			t.Fatal(err)
		}
		hints := l.Hints()
		if len(hints) != len(c.others)+1 || hints[len(hints)-1] != want {
			t.Errorf("listening at %v announces %v", c.listen, hints)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range [][]string{{"onion:0"}, {"onion:1", "onion:2"}} {
		if _, err := p2p.Listen(key(1), bad, p2p.Options{Onion: onion}, nil); err == nil {
			t.Errorf("listens at %v", bad)
		}
	}
	if _, err := p2p.Listen(key(1), []string{"onion:1"}, p2p.Options{}, nil); !errors.Is(err, transport.ErrNoAddress) {
		t.Errorf("an onion service without Tor: %v", err)
	}
}

// TestSlotThroughTor: where relays are reached through Tor, so is the one on
// which a listener takes a slot; nothing else is dialled, and clients come as
// they come to any slot.
func TestSlotThroughTor(t *testing.T) {
	r, relay := serveRelay(t, transport.RelayLimits{})
	y := newSOCKSToy(t)
	y.as("relay.example.invalid:3461", relay.Hints[0])
	l, accepted := listener(t, 1, p2p.Options{SOCKS: y.address}, transport.SessionEvents{})
	known := relay.Hints[0]
	relay.Hints, relay.Connections = []grid.Hint{"/dns/relay.example.invalid/tcp/3461"}, transport.Connections{TCP: transport.Direct, Relay: transport.Tor}
	slot, err := reserve(t, l, relay, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(y.asked) != 1 || y.asked[0].host != "relay.example.invalid:3461" {
		t.Errorf("Tor was asked for %v", y.asked)
	}
	if slots := r.Status().Slots; len(slots) != 1 || slots[0].Server != grid.ServerID(grid.PublicKeyOf(key(1))) {
		t.Errorf("slots: %+v", slots)
	}
	hint := grid.Hint(strings.Replace(string(slot.Hints()[0]), string(relay.Hints[0]), string(known), 1))
	target := transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(1))), Hints: []grid.Hint{hint}, Connections: transport.DirectConnections}
	s, err := dial(t, p2p.NewDialer(p2p.Options{}), target, transport.SessionEvents{})
	if err != nil {
		t.Fatal(err)
	}
	if theirs := <-accepted; s.Path() != transport.PathRelay || theirs.Remote() != s.Local() {
		t.Errorf("reached by %s", s.Path())
	}
	renewed := make(chan error, 1)
	slot.Renew(func(err error) { renewed <- err })
	if err := <-renewed; err != nil {
		t.Errorf("renew: %v", err)
	}
}

// TestSlotInNoOtherWay: a slot is not taken in a way that the settings for
// relays do not say, whatever they say of TCP.
func TestSlotInNoOtherWay(t *testing.T) {
	r, relay := serveRelay(t, transport.RelayLimits{})
	known := relay.Hints
	for name, c := range map[string]struct {
		socks tor.Address
		hints []grid.Hint
		way   transport.Way
		err   error
		says  string
	}{
		"no Tor in the settings": {"", known, transport.Tor, transport.ErrNoAddress, "no SOCKS port of Tor is known"},
		"Tor is off":             {"127.0.0.1:1", known, transport.Tor, transport.ErrUnreachable, "Tor does not answer at 127.0.0.1:1"},
		"disabled":               {"", known, transport.Disabled, transport.ErrNoAddress, "relays are not reached"},
		"QUIC":                   {"127.0.0.1:1", []grid.Hint{"/ip4/127.0.0.1/udp/1/quic-v1"}, transport.Tor, transport.ErrNoAddress, "relays are reached by tor, and it has no address for that"},
	} {
		l, _ := listener(t, 1, p2p.Options{SOCKS: c.socks}, transport.SessionEvents{})
		relay.Hints, relay.Connections = c.hints, transport.Connections{TCP: transport.Direct, Relay: c.way}
		if _, err := reserve(t, l, relay, nil); !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if st := r.Status(); len(st.Slots) != 0 {
		t.Errorf("slots: %+v", st.Slots)
	}
}
