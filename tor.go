package tarn

import (
	"context"
	"crypto/ed25519"
	"slices"
	"sync"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/tor"
)

// TorConfig says where a Tor is that runs beside the node. Addresses are an IP
// address and a port, or unix: and a path.
type TorConfig struct {
	// SOCKS is the port for connections that go through Tor; without it there
	// are none.
	SOCKS string
	// Control is the control port, by which the node makes onion services.
	Control string
	// Password is what the control port wants; without one, Tor's cookie file is
	// read.
	Password string
}

// Validate reports addresses that can't be.
func (c TorConfig) Validate() error {
	for _, a := range []string{c.SOCKS, c.Control} {
		if a == "" {
			continue
		}
		if err := tor.Address(a).Validate(); err != nil {
			return err
		}
	}
	return nil
}

func (c TorConfig) control() tor.Control {
	return tor.Control{Address: tor.Address(c.Control), Password: c.Password}
}

// OnionPort reads onion:3457, which stands for an onion service of the node's
// own in a list of addresses to listen at. ok is false for any other text.
func OnionPort(listen string) (port uint16, ok bool) { return tor.OnionPort(listen) }

// onion is the onion address that listening makes, none without onion: in it.
func onion(listen []string, key ed25519.PrivateKey) []grid.Hint {
	for _, a := range listen {
		if port, ok := tor.OnionPort(a); ok && key != nil {
			return []grid.Hint{tor.Hint(key, port)}
		}
	}
	return nil
}

// withOnions announces each role's onion address beside what replaces the
// addresses that it listens at.
func (c Config) withOnions() Config {
	add := func(announce *[]grid.Hint, listen []string, key ed25519.PrivateKey, replaced bool) {
		for _, h := range onion(listen, key) {
			if (replaced || len(*announce) > 0) && !slices.Contains(*announce, h) {
				*announce = append(slices.Clone(*announce), h)
			}
		}
	}
	if s := c.Storage; s != nil {
		role := *s
		add(&role.Announce, s.Listen, s.OnionKey, s.Relays != nil)
		c.Storage = &role
	}
	if s := c.Introducer; s != nil {
		role := *s
		add(&role.Announce, s.Listen, s.OnionKey, false)
		c.Introducer = &role
	}
	if s := c.Manager; s != nil {
		role := *s
		add(&role.Announce, s.Listen, s.OnionKey, false)
		c.Manager = &role
	}
	if s := c.Helper; s != nil {
		role := *s
		add(&role.Announce, s.Listen, s.OnionKey, false)
		c.Helper = &role
	}
	return c
}

func (n *Node) onionOf(key ed25519.PrivateKey) p2p.Onion {
	return p2p.Onion{Control: n.config.Tor.control(), Key: key, Log: n.log, Changed: func(err error) { n.onions.changed(key, err) }}
}

// OnionStatus is an onion service of the node's own.
type OnionStatus struct {
	// Role is who is reached there: storage, introducer, manager or helper.
	Role    string
	Address grid.Hint
	// Up says that Tor has it, Since from when on it has, or has not.
	Up    bool
	Since time.Time
	// LastError is why it is not up, empty when it is.
	LastError string
}

// onions is what became of the node's onion services, by their keys.
type onions struct {
	mu sync.Mutex
	of map[grid.PublicKey]onionState
}

// onionState is since when a service is there, or why it is not.
type onionState struct {
	since time.Time
	err   error
}

// changed notes why a service is not there; nil is that it is.
func (o *onions) changed(key ed25519.PrivateKey, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of == nil {
		o.of = map[grid.PublicKey]onionState{}
	}
	public := grid.PublicKeyOf(key)
	was, known := o.of[public]
	now := onionState{time.Now(), err}
	if known && (was.err == nil) == (err == nil) {
		now.since = was.since
	}
	o.of[public] = now
}

func (n *Node) onionStatus(_ context.Context, s *Status) error {
	n.onions.mu.Lock()
	defer n.onions.mu.Unlock()
	for _, role := range n.config.listening() {
		for _, address := range onion(role.listen, role.onion) {
			state, known := n.onions.of[grid.PublicKeyOf(role.onion)]
			s.Onions = append(s.Onions, OnionStatus{role.name, address, known && state.err == nil, state.since, errorText(state.err)})
		}
	}
	return nil
}
