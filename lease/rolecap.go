package lease

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/grid"
)

// RoleCap is what caps for a renewer and for a repairer have in common.
type RoleCap struct {
	// Chains end at the key of whoever is to use the cap. Each names its server.
	Chains []Chain
	// Managers are asked for newer cards, Introducers for the servers' addresses.
	Managers, Introducers []Place
}

// Place is a node and where it is reached.
type Place struct {
	_      struct{} `cbor:",toarray"`
	Server grid.ServerID
	Hints  []grid.Hint
}

// maxPlaces, maxHints and maxHint (bytes) bound what a cap says of other nodes.
const (
	maxPlaces = 64
	maxHints  = 32
	maxHint   = 512
)

// Key is that of whoever is to use the cap.
func (c RoleCap) Key() grid.PublicKey {
	key, _ := c.Chains[0].End()
	return key
}

// Until is when the first of the certificates ends that nobody renews, in Unix
// seconds; 0 is never. Cards are renewed.
func (c RoleCap) Until() int64 {
	var end *int64
	for _, chain := range c.Chains {
		for _, l := range chain.links[c.cards(chain):] {
			end = least(end, l.certificate.Until)
		}
	}
	if end == nil {
		return 0
	}
	return *end
}

// cards is 1 where a chain begins with the card of one of the managers, else 0.
func (c RoleCap) cards(chain Chain) int {
	root, _ := chain.Root()
	_, card := chain.Card()
	if card && slices.ContainsFunc(c.Managers, func(p Place) bool { return p.Server.Key() == root }) {
		return 1
	}
	return 0
}

// ofSame reports whether both are for leases of one account at one server, so of
// the same owner.
func (c RoleCap) ofSame(d RoleCap) bool {
	type account struct {
		server grid.ServerID
		label  grid.PublicKey
	}
	ours := map[account]bool{}
	for _, chain := range c.Chains {
		server, _ := chain.server()
		label, _ := chain.Label()
		ours[account{server, label}] = true
	}
	return slices.ContainsFunc(d.Chains, func(chain Chain) bool {
		server, _ := chain.server()
		label, _ := chain.Label()
		return ours[account{server, label}]
	})
}

// authority joins the certificates to an account with one key, of a role that is
// called so.
func (c RoleCap) authority(what, role string, account Account) (Authority, error) {
	if key := account.PublicKey(grid.ServerID{}); c.Key() != key {
		return Authority{}, fmt.Errorf("%w: the %s is for %s, and this %s is %s", ErrNotSigner, what, c.Key(), role, key)
	}
	var all Authority
	for _, chain := range c.Chains {
		all.Holdings = append(all.Holdings, Holding{chain, account})
	}
	return all, nil
}

func writeChains(chains []Chain) (encoded [][]byte) {
	for _, chain := range chains {
		encoded = append(encoded, chain.Encode())
	}
	return encoded
}

func readChains(encoded [][]byte) (chains []Chain, err error) {
	for i, b := range encoded {
		chain, err := DecodeChain(b)
		if err != nil {
			return nil, fmt.Errorf("chain %d: %w", i+1, err)
		}
		chains = append(chains, chain)
	}
	return chains, nil
}

func (c RoleCap) checkSignatures() error {
	for i, chain := range c.Chains {
		if err := chain.Check(); err != nil {
			return fmt.Errorf("chain %d: %w", i+1, err)
		}
	}
	return nil
}

// validateRole refuses chains that say too little, or let more be done than may
// allows, and places out of bounds. There is a chain.
func (c RoleCap) validateRole(may func(Restrictions) error) error {
	for i, chain := range c.Chains {
		if err := c.validateChain(chain, may); err != nil {
			return fmt.Errorf("chain %d: %w", i+1, err)
		}
	}
	return errors.Join(validatePlaces(c.Managers), validatePlaces(c.Introducers))
}

func (c RoleCap) validateChain(chain Chain, may func(Restrictions) error) error {
	if chain.Len() == 0 {
		return errors.New("it is empty")
	}
	if end, _ := chain.End(); end != c.Key() {
		return errors.New("it is for another key than the first one")
	}
	limits, err := chain.Effective()
	if err != nil {
		return err
	}
	if err := may(limits); err != nil {
		return err
	}
	if limits.Server == nil {
		return errors.New("it names no server")
	}
	if _, ok := chain.Label(); !ok {
		return errors.New("it does not say whose the leases are")
	}
	return nil
}

func validatePlaces(places []Place) error {
	if len(places) > maxPlaces {
		return fmt.Errorf("%d nodes of one kind, at most %d", len(places), maxPlaces)
	}
	for _, p := range places {
		if len(p.Hints) == 0 || len(p.Hints) > maxHints {
			return fmt.Errorf("%s has %d addresses (want 1 to %d)", p.Server.Short(), len(p.Hints), maxHints)
		}
		for _, h := range p.Hints {
			if len(h) == 0 || len(h) > maxHint {
				return fmt.Errorf("an address of %s has %d bytes (want 1 to %d)", p.Server.Short(), len(h), maxHint)
			}
		}
	}
	return nil
}

// Servers are those at which the cap may be used, each once.
func (c RoleCap) Servers() []grid.ServerID {
	var list []grid.ServerID
	for _, chain := range c.Chains {
		if server, ok := chain.server(); ok && !slices.Contains(list, server) {
			list = append(list, server)
		}
	}
	return list
}
