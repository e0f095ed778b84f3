package wire

import (
	"crypto/ed25519"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Enrol tells an account manager which keys an account has at the servers of
// its grid. Answered by Enrolled or Error.
type Enrol struct {
	// Secret of the membership reference, which makes the account a member; not
	// looked at where it is one already.
	Secret Secret `cbor:"1,keyasint"`
	// KeyList is signed by the account (lease.DecodeKeyList).
	KeyList []byte `cbor:"2,keyasint"`
}

// Enrolled answers Enrol: the terms of the membership.
type Enrolled struct {
	// Name is what the manager calls the member.
	Name string `cbor:"1,keyasint"`
	// Quota is bytes at each server; 0 with HasQuota false.
	Quota    uint64 `cbor:"2,keyasint,omitempty"`
	HasQuota bool   `cbor:"3,keyasint,omitempty"`
	// Until is in Unix seconds; 0 is for ever.
	Until int64 `cbor:"4,keyasint,omitempty"`
}

// AskServers asks an account manager which servers its grid has. Answered by
// ServerList.
type AskServers struct{}

// ServerList answers AskServers.
type ServerList struct {
	Signed []byte `cbor:"1,keyasint"` // lease.OpenServerList
}

// FetchCard asks for the card of a key that shows that it is there
// (lease.SignCardProof, for this connection). Answered by Card or Error.
type FetchCard struct {
	Server grid.ServerID               `cbor:"1,keyasint"`
	Key    grid.PublicKey              `cbor:"2,keyasint"`
	Proof  [ed25519.SignatureSize]byte `cbor:"3,keyasint"`
}

// RefreshCard asks for the newest card of the key that an older card names:
// anybody may, for cards are no secret. Answered by Card or Error.
type RefreshCard struct {
	Card []byte `cbor:"1,keyasint"`
}

// Card answers FetchCard and RefreshCard.
type Card struct {
	Chain []byte `cbor:"1,keyasint"` // lease.ReadCard
}

// Kind of an Enrol.
func (m *Enrol) Kind() Kind { return KindEnrol }

// Kind of an Enrolled.
func (m *Enrolled) Kind() Kind { return KindEnrolled }

// Kind of an AskServers.
func (m *AskServers) Kind() Kind { return KindAskServers }

// Kind of a ServerList.
func (m *ServerList) Kind() Kind { return KindServerList }

// Kind of a FetchCard.
func (m *FetchCard) Kind() Kind { return KindFetchCard }

// Kind of a RefreshCard.
func (m *RefreshCard) Kind() Kind { return KindRefreshCard }

// Kind of a Card.
func (m *Card) Kind() Kind { return KindCard }

// Validate bounds the list; what it says is lease's business.
func (m *Enrol) Validate() error { return checkBytes("key list", m.KeyList, 1, MaxGridList) }

// Validate bounds the name and refuses terms that make no sense.
func (m *Enrolled) Validate() error {
	if !m.HasQuota && m.Quota != 0 {
		return malformed("quota of %d where there is none", m.Quota)
	}
	if m.Until < 0 {
		return malformed("membership until %d", m.Until)
	}
	return checkText("name", m.Name, MaxMemberName)
}

// Validate accepts every value.
func (m *AskServers) Validate() error { return nil }

// Validate bounds the list; what it says is lease's business.
func (m *ServerList) Validate() error { return checkBytes("server list", m.Signed, 1, MaxGridList) }

// Validate accepts every value.
func (m *FetchCard) Validate() error { return nil }

// Validate bounds the card; what it says is lease's business.
func (m *RefreshCard) Validate() error { return checkBytes("card", m.Card, 1, lease.MaxChainSize) }

// Validate bounds the card; what it says is lease's business.
func (m *Card) Validate() error { return checkBytes("card", m.Chain, 1, lease.MaxChainSize) }
