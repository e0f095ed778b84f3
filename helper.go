package tarn

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/helper"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

var (
	// ErrNoHelper means that a file was to be stored through the node's helper,
	// and it has none.
	ErrNoHelper = errors.New("this client has no helper: name one with client.helper in tarn.yaml, or with the file")
	// ErrHelper means that a helper was asked and did not store the file.
	ErrHelper = client.ErrHelper
	// ErrHelperRef is a text that is no reference of a helper.
	ErrHelperRef = errors.New("not a reference of a helper")
)

// HelperConfig is the helper role: clients send it the ciphertext of a file once,
// and it encodes and places that under certificates of theirs.
type HelperConfig struct {
	// Key is the helper's long-lived Ed25519 key: identity, and what clients
	// sign for.
	Key      ed25519.PrivateKey
	Listen   []string
	OnionKey ed25519.PrivateKey // see StorageConfig
	Announce []grid.Hint
	// Space is how many bytes of ciphertext are kept at most until they are
	// placed.
	Space int64
}

// HelperRef says where a helper is and who it is. Its text form is what
// create-helper prints:
// tarn:helper/v0-…@/ip4/192.0.2.7/tcp/3460
type HelperRef struct {
	Server grid.ServerID
	Hints  []grid.Hint
}

const helperPrefix = "tarn:helper/"

// String is the text form.
func (r HelperRef) String() string { return placeText(helperPrefix, r.Server, r.Hints) }

// ParseHelperRef reads the text form as ParseIntroducerRef does its own. The
// error is ErrHelperRef.
func ParseHelperRef(text string) (HelperRef, error) {
	server, hints, err := parsePlace(helperPrefix, text)
	if err != nil {
		return HelperRef{}, fmt.Errorf("%w: %w", ErrHelperRef, err)
	}
	return HelperRef{server, hints}, nil
}

// HelperStatus is what an operator sees of the own helper.
type HelperStatus struct {
	Ref HelperRef // what clients are given
	// Jobs are files under way.
	Jobs, Sessions int
	// Spooled is bytes of ciphertext that are kept or promised room, Space how
	// many may be.
	Spooled, Space int64
}

// helperParts has no authority of its own: clients hand over what it may do.
func (n *Node) helperParts(dialer transport.Dialer) *helper.Config {
	c := n.config.Helper
	parts := &helper.Config{
		Key: c.Key, Listen: n.listen(c.Key, c.Listen, c.OnionKey), Spool: n.folder.helperFiles(), Space: c.Space, Fatal: n.end,
		Connections: n.roleConnections("helper", dialer),
	}
	parts.Connections.References = newHelperReferences()
	return parts
}

func (n *Node) helperStatus(ctx context.Context, s *Status) error {
	c := n.config.Helper
	if c == nil {
		return nil
	}
	st, err := ask[helper.Status](ctx, n, actors.ToHelper{Message: helper.AskStatus{}})
	if err != nil {
		return err
	}
	ref := HelperRef{grid.ServerID(grid.PublicKeyOf(c.Key)), st.Hints}
	if len(c.Announce) > 0 {
		ref.Hints = c.Announce
	}
	s.Helper = &HelperStatus{Ref: ref, Jobs: st.Jobs, Sessions: st.Sessions, Spooled: st.Spooled, Space: c.Space}
	return nil
}

// helperFor is where a file is to be sent, nil being to the servers themselves.
func (c Config) helperFor(o PutOptions) (*transport.Target, error) {
	ref := o.Helper
	switch {
	case ref == nil && !o.Helped:
		return nil, nil
	case ref == nil:
		ref = c.Client.Helper
	}
	if ref == nil {
		return nil, ErrNoHelper
	}
	return new(c.target(IntroducerRef(*ref))), nil
}
