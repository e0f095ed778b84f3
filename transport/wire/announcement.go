package wire

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/tarn-grid/tarn/grid"
)

// ErrSignature says that an announcement was not signed by the server that it
// speaks of, or was changed on its way.
var ErrSignature = errors.New("signature of the announcement does not verify")

// announcementTag separates these signatures from all others of the same key.
const announcementTag = "tarn announcement v1:"

// SignedAnnouncement is how an announcement travels and is kept: version 1,
// the body (an announcement in CBOR, as bytes, since they are what was
// signed), and the server's Ed25519 signature of announcementTag + body.
type SignedAnnouncement struct {
	_         struct{} `cbor:",toarray"`
	Version   uint
	Body      []byte
	Signature [ed25519.SignatureSize]byte
}

// announcement is grid.Announcement on the wire. Unknown fields are ignored:
// the signature covers them, and whoever relays passes on the bytes.
type announcement struct {
	Server              grid.ServerID    `cbor:"1,keyasint"`
	Sequence            uint64           `cbor:"2,keyasint"`
	Nickname            string           `cbor:"3,keyasint,omitempty"`
	Hints               []string         `cbor:"4,keyasint,omitempty"`
	NodeID              grid.NodeID      `cbor:"5,keyasint"`
	PermutationSeed     []byte           `cbor:"6,keyasint"`
	Accepts             []grid.PublicKey `cbor:"7,keyasint,omitempty"`
	CertificateVersions []uint           `cbor:"8,keyasint,omitempty"`
	ReadsNeedAccount    bool             `cbor:"9,keyasint,omitempty"`
	Relay               bool             `cbor:"10,keyasint,omitempty"`
}

// SignAnnouncement signs what the server with this key says of itself. It
// refuses (ErrMalformed, ErrTooLarge) what OpenAnnouncement would.
func SignAnnouncement(key ed25519.PrivateKey, a grid.Announcement) ([]byte, error) {
	if grid.ServerID(grid.PublicKeyOf(key)) != a.Server {
		return nil, fmt.Errorf("sign announcement of %s: %w: the key is another's", a.Server.Short(), ErrSignature)
	}
	if err := validateAnnouncement(a); err != nil {
		return nil, fmt.Errorf("sign announcement: %w", err)
	}
	body, err := encoding.Marshal(toWire(a))
	if err != nil {
		return nil, fmt.Errorf("encode announcement: %w", err)
	}
	s := SignedAnnouncement{Version: 1, Body: body}
	copy(s.Signature[:], ed25519.Sign(key, signedBytes(body)))
	out, err := encoding.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode announcement: %w", err)
	}
	if len(out) > MaxAnnouncement {
		return nil, fmt.Errorf("sign announcement: %w: %d bytes, at most %d", ErrTooLarge, len(out), MaxAnnouncement)
	}
	return out, nil
}

// OpenAnnouncement returns what a signed announcement says once its signature
// and all of its bounds hold. Errors: ErrTooLarge, ErrMalformed, ErrSignature.
func OpenAnnouncement(b []byte) (grid.Announcement, error) {
	if len(b) > MaxAnnouncement {
		return grid.Announcement{}, fmt.Errorf("%w: announcement of %d bytes, at most %d", ErrTooLarge, len(b), MaxAnnouncement)
	}
	var s SignedAnnouncement
	if err := unmarshal(b, &s); err != nil {
		return grid.Announcement{}, fmt.Errorf("open announcement: %w", err)
	}
	if s.Version != 1 {
		return grid.Announcement{}, malformed("announcement of version %d", s.Version)
	}
	var w announcement
	if err := unmarshal(s.Body, &w); err != nil {
		return grid.Announcement{}, fmt.Errorf("open announcement: %w", err)
	}
	if !w.Server.Key().Verify(signedBytes(s.Body), s.Signature[:]) {
		return grid.Announcement{}, ErrSignature
	}
	a := fromWire(w)
	if err := validateAnnouncement(a); err != nil {
		return grid.Announcement{}, fmt.Errorf("announcement of %s: %w", a.Server.Short(), err)
	}
	return a, nil
}

func signedBytes(body []byte) []byte { return append([]byte(announcementTag), body...) }

func toWire(a grid.Announcement) announcement {
	w := announcement{
		Server: a.Server, Sequence: a.Sequence, Nickname: a.Nickname, NodeID: a.NodeID,
		PermutationSeed: a.PermutationSeed, Accepts: a.Accepts,
		CertificateVersions: a.CertificateVersions, ReadsNeedAccount: a.ReadsNeedAccount, Relay: a.Relay,
	}
	for _, h := range a.Hints {
		w.Hints = append(w.Hints, string(h))
	}
	return w
}

func fromWire(w announcement) grid.Announcement {
	a := grid.Announcement{
		Server: w.Server, Sequence: w.Sequence, Nickname: w.Nickname, NodeID: w.NodeID,
		PermutationSeed: w.PermutationSeed, Accepts: w.Accepts,
		CertificateVersions: w.CertificateVersions, ReadsNeedAccount: w.ReadsNeedAccount, Relay: w.Relay,
	}
	for _, h := range w.Hints {
		a.Hints = append(a.Hints, grid.Hint(h))
	}
	return a
}
