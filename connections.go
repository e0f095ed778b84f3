package tarn

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
)

// Connections says for each kind of address how it is dialled: tcp, quic, onion,
// relay -> direct, tor or disabled.
type Connections = transport.Connections

// AddressKinds are all kinds of address, in the order in which people read them.
func AddressKinds() []transport.Kind { return transport.Kinds() }

// ErrConnections means that settings of connections can't be.
var ErrConnections = errors.New("no way to connect")

// ConnectionsOf reads settings by kind of address; what they don't say is direct
// for TCP and relays, and else disabled. Under anonymous it is tor, where Tor
// carries it.
func ConnectionsOf(ways map[string]string, punch, anonymous bool) (Connections, error) {
	c := Connections{TCP: transport.Direct, QUIC: transport.Disabled, Onion: transport.Disabled, Relay: transport.Direct, Punch: punch}
	if anonymous {
		c.TCP, c.Onion, c.Relay = transport.Tor, transport.Tor, transport.Tor
	}
	for _, name := range sortedKeys(ways) {
		kind := transport.Kind(name)
		if !slices.Contains(transport.Kinds(), kind) {
			return c, fmt.Errorf("%w: there is no kind of address %q", ErrConnections, name)
		}
		c = c.With(kind, transport.Way(ways[name]))
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("%w: %w", ErrConnections, err)
	}
	return c, nil
}

// rules are the settings for connections to servers.
func (c Config) rules() clause.Rules {
	r := clause.Rules{Connections: c.Connections, Anonymous: c.Anonymous}
	if r.Connections == (Connections{}) {
		r.Connections, _ = ConnectionsOf(nil, false, c.Anonymous) // the defaults can be
	}
	return r
}

// target is the node that a reference names. References have no clause: the
// node's settings count.
func (c Config) target(ref IntroducerRef) transport.Target {
	return transport.Target{Server: ref.Server, Hints: ref.Hints, Connections: c.rules().Connections}
}

// targets are the introducers.
func (c Config) targets() []transport.Target {
	var all []transport.Target
	for _, ref := range c.Introducers {
		all = append(all, c.target(ref))
	}
	return all
}

// ErrNotAnonymous means that a configuration says anonymous, and would make the
// node's address known all the same. It comes as a *NotAnonymous.
var ErrNotAnonymous = errors.New("the settings would make this node's address known, and anonymous: true forbids that")

// NotAnonymous is all that would make the node's address known, by setting.
type NotAnonymous struct{ Reasons []string }

// Error is a list.
func (e *NotAnonymous) Error() string {
	return fmt.Sprintf("%v:\n  %s", ErrNotAnonymous, strings.Join(e.Reasons, "\n  "))
}

// Is makes it an ErrNotAnonymous.
func (e *NotAnonymous) Is(target error) bool { return target == ErrNotAnonymous }

// Revealing is what of the configuration would make the node's address known, by
// setting: nothing is allowed of it under Anonymous.
func (c Config) Revealing() []string {
	var all []string
	r := c.rules().Connections
	for _, kind := range transport.Kinds() {
		if r.Of(kind) == transport.Direct {
			all = append(all, fmt.Sprintf("connections.%s: direct shows it to whoever is dialled", kind))
		}
	}
	if r.Punch {
		all = append(all, "connections.punch: true shows it to the servers behind relays")
	}
	if c.Client != nil && c.Client.Subcontract {
		all = append(all, "client.subcontract: true tells servers of each other")
	}
	for _, role := range c.listening() {
		all = append(all, role.revealing()...)
	}
	return all
}

// listeningRole is where a role of a node can be reached.
type listeningRole struct {
	name             string
	listen, announce []string
	onion            ed25519.PrivateKey
}

func (c Config) listening() []listeningRole {
	var all []listeningRole
	add := func(name string, listen []string, announce []grid.Hint, onion ed25519.PrivateKey) {
		all = append(all, listeningRole{name, listen, hintTexts(announce), onion})
	}
	if s := c.Storage; s != nil {
		add("storage", s.Listen, s.Announce, s.OnionKey)
	}
	if s := c.Introducer; s != nil {
		add("introducer", s.Listen, s.Announce, s.OnionKey)
	}
	if s := c.Relay; s != nil {
		add("relay", s.Listen, s.Announce, nil)
	}
	if s := c.Manager; s != nil {
		add("manager", s.Listen, s.Announce, s.OnionKey)
	}
	if s := c.Helper; s != nil {
		add("helper", s.Listen, s.Announce, s.OnionKey)
	}
	return all
}

func hintTexts(hints []grid.Hint) []string {
	out := make([]string, len(hints))
	for i, h := range hints {
		out[i] = string(h)
	}
	return out
}

// revealing allows to listen for Tor on the same machine, and to announce what
// Tor hides.
func (r listeningRole) revealing() []string {
	var all []string
	for _, address := range r.listen {
		if _, onion := OnionPort(address); !onion && !isLoopback(address) {
			all = append(all, fmt.Sprintf("%s.listen: %s can be reached by others than Tor on this machine", r.name, address))
		}
	}
	for _, address := range r.announce {
		if transport.KindOf(grid.Hint(address)) != transport.Onion && !isLoopback(address) {
			all = append(all, fmt.Sprintf("%s.announce: %s is no onion address", r.name, address))
		}
	}
	return all
}

// isLoopback reports whether an address is one of this machine alone.
func isLoopback(address string) bool {
	parts := strings.Split(address, "/")
	if len(parts) < 3 || parts[1] != "ip4" && parts[1] != "ip6" {
		return false
	}
	ip, err := netip.ParseAddr(parts[2])
	return err == nil && ip.IsLoopback()
}

// checkAnonymous refuses what Revealing names.
func (c Config) checkAnonymous() error {
	if reasons := c.Revealing(); c.Anonymous && len(reasons) > 0 {
		return &NotAnonymous{reasons}
	}
	return nil
}
