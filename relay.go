package tarn

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/relay"
	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
)

// ErrRelayRef is a text that is no reference of a relay.
var ErrRelayRef = errors.New("not a reference of a relay")

// RelayConfig is the relay role: servers that nobody can dial are reached
// through it.
type RelayConfig struct {
	// Key is the relay's long-lived Ed25519 key.
	Key      ed25519.PrivateKey
	Listen   []string
	Announce []grid.Hint
	Limits   RelayLimits
}

// RelayLimits bound what a relay does for others.
type RelayLimits = transport.RelayLimits

// StorageRelays says through which relays a storage server is reached that
// nobody can dial.
type StorageRelays struct {
	// Named are those that the operator chose, the first ones first.
	Named []RelayRef
	// Offered lets those be used, too, that introducers know.
	Offered bool
}

// RelayRef says where a relay is and who it is. Its text form is what
// create-relay prints:
// tarn:relay/v0-…@/ip4/192.0.2.7/tcp/3461
type RelayRef struct {
	Server grid.ServerID
	Hints  []grid.Hint
}

const relayPrefix = "tarn:relay/"

// String is the text form.
func (r RelayRef) String() string { return placeText(relayPrefix, r.Server, r.Hints) }

// ParseRelayRef reads the text form as ParseIntroducerRef does its own. The
// error is ErrRelayRef.
func ParseRelayRef(text string) (RelayRef, error) {
	server, hints, err := parsePlace(relayPrefix, text)
	if err != nil {
		return RelayRef{}, fmt.Errorf("%w: %w", ErrRelayRef, err)
	}
	return RelayRef{server, hints}, nil
}

// RelayStatus is what an operator sees of the own relay.
type RelayStatus struct {
	Ref RelayRef // what servers' operators may be given
	transport.RelayStatus
}

func (n *Node) relayParts(dialer transport.Dialer) (*relay.Config, error) {
	c := n.config.Relay
	sequence, err := n.folder.sequence(uint64(n.started.UnixMilli()))
	if err != nil {
		return nil, err
	}
	return &relay.Config{
		Key: c.Key, Nickname: n.config.Nickname, Announce: c.Announce, Sequence: sequence, Dialer: dialer, Anonymous: n.config.Anonymous, Fatal: n.end,
		Introducers: n.config.targets(),
		Serve: func() (transport.RelayService, error) {
			service, err := p2p.ServeRelay(c.Key, c.Listen, c.Limits, p2p.Options{})
			if err != nil && isInUse(err) {
				return nil, fmt.Errorf("%w: %w", ErrPortInUse, err)
			}
			return service, err
		},
	}, nil
}

// relays is for the storage role; nil is where everybody can dial the server.
func (c Config) relays() *server.Relays {
	r := c.Storage.Relays
	if r == nil {
		return nil
	}
	parts := &server.Relays{Offered: r.Offered, Connections: c.rules().Connections}
	for _, ref := range r.Named {
		parts.Named = append(parts.Named, c.target(IntroducerRef(ref)))
	}
	return parts
}

func (n *Node) relayStatus(ctx context.Context, s *Status) error {
	c := n.config.Relay
	if c == nil {
		return nil
	}
	st, err := ask[relay.Status](ctx, n, actors.ToRelay{Message: relay.AskStatus{}})
	if err != nil {
		return err
	}
	ref := RelayRef{grid.ServerID(grid.PublicKeyOf(c.Key)), st.Hints}
	if len(c.Announce) > 0 {
		ref.Hints = c.Announce
	}
	s.Relay = &RelayStatus{Ref: ref, RelayStatus: st.RelayStatus}
	return nil
}
