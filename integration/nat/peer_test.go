//go:build integration

package nat_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
)

// asPeer is the variable by which this program, started again in a namespace,
// is told what to be: a relay, the server of a house, or a client of that one.
const asPeer = "TARN_NAT_PEER"

var relayKey = ed25519.NewKeyFromSeed([]byte("a relay in a network of its own "))

// serverKey is that of the server in a house.
func serverKey(house string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(house))
	return ed25519.NewKeyFromSeed(seed[:])
}

const relayHint = grid.Hint("/ip4/" + publicIP + "/tcp/3461")

func relayTarget() transport.Target {
	return transport.Target{Server: grid.ServerID(grid.PublicKeyOf(relayKey)), Hints: []grid.Hint{relayHint}, Connections: transport.DirectConnections}
}

// peerOptions let one address be punched at as often as a test wants.
var peerOptions = p2p.Options{Punch: true, Punches: 1 << 10, PunchesPerAddress: 1 << 10}

// bePeer is the whole life of a peer; it ends with standard input.
func bePeer(what string) error {
	switch what {
	case "relay":
		r, err := p2p.ServeRelay(relayKey, []string{string(relayHint)}, transport.RelayLimits{}, p2p.Options{})
		if err != nil {
			return err
		}
		defer r.Close()
		return said("ready")
	}
	if house, ok := strings.CutPrefix(what, "server "); ok {
		return beServer(serverKey(house))
	}
	if plugs, ok := strings.CutPrefix(what, "wire "); ok {
		return beWire(strings.Fields(plugs))
	}
	var tries int
	var house string
	if _, err := fmt.Sscanf(what, "client %d %s", &tries, &house); err != nil {
		return err
	}
	return beClient(tries, grid.ServerID(grid.PublicKeyOf(serverKey(house))))
}

// said prints a line and waits for the end.
func said(line string) error {
	if _, err := io.WriteString(os.Stdout, line+"\n"); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func beServer(key ed25519.PrivateKey) error {
	l, err := p2p.Listen(key, []string{"/ip4/0.0.0.0/tcp/0"}, peerOptions, func(s transport.Session) transport.SessionEvents {
		s.Admit()
		return transport.SessionEvents{}
	})
	if err != nil {
		return err
	}
	defer l.Close()
	done := make(chan error, 1)
	l.Reserve(relayTarget(), func(error) {}, func(_ transport.Slot, err error) { done <- err })
	if err := <-done; err != nil {
		return err
	}
	return said("ready")
}

// outcome is what came of a client's tries.
type outcome struct {
	Relayed, Direct int
	Errors          []string
}

// beClient goes through the relay, and tries for a direct connection, so many
// times.
func beClient(tries int, server grid.ServerID) error {
	pub, err := crypto.UnmarshalEd25519PublicKey(relayKey.Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	id, err := peer.IDFromPublicKey(pub)
	if err != nil {
		return err
	}
	target := transport.Target{
		Server: server, Connections: transport.DirectConnections,
		Hints: []grid.Hint{relayHint + grid.Hint("/p2p/"+id.String()+"/p2p-circuit")},
	}
	d := p2p.NewDialer(peerOptions)
	var o outcome
	for range tries {
		s, err := await(func(done func(transport.Session, error)) { d.Dial(target, transport.SessionEvents{}, done) })
		if err != nil {
			o.Errors = append(o.Errors, err.Error())
			continue
		}
		o.Relayed++
		direct, err := await(func(done func(transport.Session, error)) { s.Punch(transport.SessionEvents{}, done) })
		if err != nil {
			o.Errors = append(o.Errors, err.Error())
		} else {
			o.Direct++
			direct.Close()
		}
		s.Close()
	}
	return json.NewEncoder(os.Stdout).Encode(o)
}

func await(begin func(func(transport.Session, error))) (transport.Session, error) {
	type result struct {
		s   transport.Session
		err error
	}
	results := make(chan result, 1)
	begin(func(s transport.Session, err error) { results <- result{s, err} })
	r := <-results
	return r.s, r.err
}

// peer starts one in a namespace and returns its first line.
func (n *network) peer(t *testing.T, short, what string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("ip", "netns", "exec", n.name(short), self)
	c.Env = append(os.Environ(), asPeer+"="+what)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // ends it
		if err := c.Wait(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s says nothing: %v", what, err)
	}
	return line
}

// tries is how often two houses try to connect directly.
const tries = 20

// TestPunchedThrough counts: through routers that give a port one address
// outside, whatever is sent to, nearly all tries must succeed, and with a relay
// all are reached.
func TestPunchedThrough(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.peer(t, "public", "relay")
	all, direct := 0, 0
	for _, c := range []struct {
		name           string
		server, client kind
	}{
		{"the same port outside", keepsPort, keepsPort},
		{"another port outside, of the server", ownPort, keepsPort},
		{"another port outside, of both", ownPort, ownPort},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, from := n.house(c.server), n.house(c.client)
			n.peer(t, at.name, "server "+at.name)
			var o outcome
			if err := json.Unmarshal([]byte(n.peer(t, from.name, fmt.Sprintf("client %d %s", tries, at.name))), &o); err != nil {
				t.Fatal(err)
			}
			if o.Relayed != tries {
				t.Errorf("reached through the relay %d times of %d", o.Relayed, tries)
			}
			t.Logf("direct %d of %d, not: %q", o.Direct, tries, o.Errors)
			all, direct = all+tries, direct+o.Direct
		})
	}
	t.Logf("direct %d of %d", direct, all)
	if direct*100 < all*95 {
		t.Errorf("direct %d of %d, want 95 %%", direct, all)
	}
}

// TestRefusingRouters answer what they do not let in with a refusal. It ends a
// try; but where packets take their time, tries follow each other so fast that
// they cross.
func TestRefusingRouters(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	at, from := n.house(keepsPort), n.house(ownPort)
	at.refuse()
	from.refuse()
	n.far(t)
	n.peer(t, "public", "relay")
	n.peer(t, at.name, "server "+at.name)
	var o outcome
	if err := json.Unmarshal([]byte(n.peer(t, from.name, fmt.Sprintf("client %d %s", tries, at.name))), &o); err != nil {
		t.Fatal(err)
	}
	t.Logf("direct %d of %d, not: %q", o.Direct, tries, o.Errors)
	if o.Relayed != tries || o.Direct*100 < tries*95 {
		t.Errorf("reached %d times of %d, %d directly", o.Relayed, tries, o.Direct)
	}
}

// TestSymmetric stays on the relay where a router gives each destination a port
// of its own.
func TestSymmetric(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.peer(t, "public", "relay")
	at, from := n.house(symmetric), n.house(symmetric)
	n.peer(t, at.name, "server "+at.name)
	var o outcome
	if err := json.Unmarshal([]byte(n.peer(t, from.name, "client 1 "+at.name)), &o); err != nil {
		t.Fatal(err)
	}
	if o.Relayed != 1 || o.Direct != 0 || len(o.Errors) != 1 {
		t.Errorf("%+v", o)
	}
}
