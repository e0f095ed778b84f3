package lease

import (
	"crypto/ed25519"
	"fmt"

	"github.com/tarn-grid/tarn/grid"
)

const (
	// MaxGridServers is how many servers the grid of an account manager has.
	MaxGridServers = 512
	// MaxGridList is the largest encoded list of servers or of keys, in bytes.
	MaxGridList = 48 << 10
)

const (
	keyListTag    = "tarn key list v1:"
	serverListTag = "tarn server list v1:"
)

var gridListMode = must(decOptions(MaxGridServers).DecMode())

// KeyList says which keys an account has at which servers, for the account
// manager who signs for them. It is in the order of the servers, each at most
// once. Signed bytes: the tag "tarn key list v1:" and the list in deterministic
// CBOR; the signer is the account's key for the manager, who knows the account
// by it.
type KeyList struct {
	Manager grid.PublicKey `cbor:"manager"`
	Keys    []ServerKey    `cbor:"keys"`
}

// SignKeyList is the encoded and signed list of the account's keys at servers.
// The error is ErrMalformed where there are too many of them, or one twice.
func (a Account) SignKeyList(manager grid.PublicKey, servers []grid.ServerID) ([]byte, error) {
	list := KeyList{Manager: manager}
	for _, s := range servers {
		list.Keys = append(list.Keys, ServerKey{Server: s, Key: a.PublicKey(s)})
	}
	if err := list.validate(); err != nil {
		return nil, fmt.Errorf("sign a key list: %w", err)
	}
	return seal(a.Key(grid.ServerID(manager)), keyListTag, encode(list), true).encode(), nil
}

func (l KeyList) validate() error {
	return ascending(len(l.Keys), func(i int) grid.ServerID { return l.Keys[i].Server })
}

// SignedKeyList is a list that is well-formed, but nothing says that its
// signature holds: Holds does.
type SignedKeyList struct {
	KeyList
	// Account is the key that signed.
	Account grid.PublicKey
	envelope
}

// Holds reports whether the account signed it.
func (l SignedKeyList) Holds() bool { return l.holds(l.Account, keyListTag) }

// DecodeKeyList reads what SignKeyList made. The error is ErrMalformed.
func DecodeKeyList(b []byte) (SignedKeyList, error) {
	var list KeyList
	e, err := decodeGridList(b, &list)
	if err == nil {
		err = list.validate()
	}
	if err != nil {
		return SignedKeyList{}, fmt.Errorf("read a key list: %w", err)
	}
	return SignedKeyList{list, *e.signer, e}, nil
}

// ServerList is the servers of an account manager's grid: those on which its
// members place their shares. It is in ascending order. A later list has a
// higher sequence number. Signed bytes: the tag "tarn server list v1:" and the
// list in deterministic CBOR.
type ServerList struct {
	Sequence uint64          `cbor:"sequence"`
	Servers  []grid.ServerID `cbor:"servers"`
}

// Sign is the encoded list, signed by the manager. The error is ErrMalformed
// where there are too many servers, or not in order.
func (l ServerList) Sign(manager ed25519.PrivateKey) ([]byte, error) {
	if err := l.validate(); err != nil {
		return nil, fmt.Errorf("sign a server list: %w", err)
	}
	return seal(manager, serverListTag, encode(l), true).encode(), nil
}

func (l ServerList) validate() error {
	return ascending(len(l.Servers), func(i int) grid.ServerID { return l.Servers[i] })
}

// OpenServerList reads what the manager signed. The error is ErrMalformed or
// ErrForged.
func OpenServerList(b []byte, manager grid.PublicKey) (ServerList, error) {
	var list ServerList
	e, err := decodeGridList(b, &list)
	if err == nil {
		err = list.validate()
	}
	if err == nil && (*e.signer != manager || !e.holds(manager, serverListTag)) {
		err = ErrForged
	}
	if err != nil {
		return ServerList{}, fmt.Errorf("read a server list: %w", err)
	}
	return list, nil
}

// decodeGridList reads the envelope, which names its signer, and the body.
func decodeGridList(b []byte, into any) (envelope, error) {
	if len(b) > MaxGridList {
		return envelope{}, malformed("list of %d bytes, at most %d", len(b), MaxGridList)
	}
	e, err := decodeEnvelope(b)
	if err != nil {
		return envelope{}, err
	}
	if e.signer == nil {
		return envelope{}, malformed("does not name its signer")
	}
	return e, decodeCanonical(gridListMode, e.body, into)
}

// ascending holds the bounds of a list with a server in each place.
func ascending(n int, at func(int) grid.ServerID) error {
	if n > MaxGridServers {
		return malformed("%d servers, at most %d", n, MaxGridServers)
	}
	for i := 1; i < n; i++ {
		if compareServers(at(i-1), at(i)) >= 0 {
			return malformed("servers out of order, or one twice")
		}
	}
	return nil
}
