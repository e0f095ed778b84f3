package wire

import "github.com/tarn-grid/tarn/grid"

// Subcontracting: a server that would rather not store a share passes it on to
// another one that the client named, and steps out.

// Other is a server to which a share may be passed on, and the secret of its
// share reader there. Nothing else that the client and that server have in
// common is told.
type Other struct {
	_      struct{} `cbor:",toarray"`
	Server grid.ServerID
	Secret Secret
}

// PassOn tells a server that the share of a standing offer is its to take; it
// needs no login. Answered by Done when that server stores the share or pulls
// it, over its own connection to the client; or Error.
type PassOn struct {
	Secret Secret `cbor:"1,keyasint"`
}

// PassedOn answers Allocate: another of the servers that it named has taken the
// share.
type PassedOn struct {
	Server grid.ServerID `cbor:"1,keyasint"`
}

// Kind of a PassOn.
func (m *PassOn) Kind() Kind { return KindPassOn }

// Kind of a PassedOn.
func (m *PassedOn) Kind() Kind { return KindPassedOn }

// Validate accepts every value.
func (m *PassOn) Validate() error { return nil }

// Validate accepts every value.
func (m *PassedOn) Validate() error { return nil }

// validateOthers bounds the servers that an offer names, each once.
func (m *Allocate) validateOthers() error {
	if len(m.Others) > MaxOthers {
		return malformed("%d other servers, at most %d", len(m.Others), MaxOthers)
	}
	if m.Standing && len(m.Others) > 0 {
		return malformed("a standing offer with other servers")
	}
	for i, o := range m.Others {
		for _, before := range m.Others[:i] {
			if before.Server == o.Server || before.Secret == o.Secret {
				return malformed("another server twice")
			}
		}
	}
	return nil
}
