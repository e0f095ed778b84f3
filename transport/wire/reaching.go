package wire

import (
	"net/netip"

	"github.com/tarn-grid/tarn/grid"
)

// Observed is what a relay says, unasked and once, on a stream for it: the
// network address that the other side has for it.
type Observed struct {
	Address string `cbor:"1,keyasint"` // 203.0.113.7:3457 or [2001:db8::7]:3457
}

// Punch offers, through a relay, to connect directly: both sides are to dial
// each other at the same time, so that their routers let each other's packets
// in. Answered by Punching or Error; then a Done says that it begins.
type Punch struct {
	// Key is the identity under which the direct connection will be made.
	Key grid.PublicKey `cbor:"1,keyasint"`
	// Address is how the relay saw the port from which that will come.
	Address string `cbor:"2,keyasint"`
}

// Punching answers Punch.
type Punching struct {
	Address string `cbor:"1,keyasint"`
}

// Kind of an Observed.
func (m *Observed) Kind() Kind { return KindObserved }

// Kind of a Punch.
func (m *Punch) Kind() Kind { return KindPunch }

// Kind of a Punching.
func (m *Punching) Kind() Kind { return KindPunching }

// Validate checks that it is an address.
func (m *Observed) Validate() error { return checkAddress(m.Address) }

// Validate checks that it has a key and an address.
func (m *Punch) Validate() error {
	if m.Key.IsZero() {
		return malformed("punch without a key")
	}
	return checkAddress(m.Address)
}

// Validate checks that it is an address.
func (m *Punching) Validate() error { return checkAddress(m.Address) }

// checkAddress accepts one spelling of an IP address and a port that can be
// dialled. Which of them may be dialled is for who dials.
func checkAddress(s string) error {
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.String() != s || a.Port() == 0 || a.Addr().Zone() != "" || a.Addr().Is4In6() {
		return malformed("address %.64q (want one such as 203.0.113.7:3457)", s)
	}
	return nil
}
