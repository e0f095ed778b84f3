package lease

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tarn-grid/tarn/grid"
)

// ErrRenewalCap is a text that is no renewal cap, or a damaged one.
var ErrRenewalCap = errors.New("not a renewal cap")

// RenewalCap is all that somebody needs who is to renew leases for years, and
// nothing more: certificates for one key, that of a renewer, by which leases are
// renewed and nothing else is done; which leases those are; where the account
// managers are that give newer cards in the place of those with which the
// certificates begin; and where servers are made known. It is worth nothing
// without the renewer's private key, but it tells who keeps what where.
type RenewalCap struct {
	// Chains end at the renewer's key. Each names its server.
	Chains []Chain
	// Managers are asked for newer cards, Introducers for the servers' addresses.
	Managers, Introducers []Place
	// Held are the leases, by server, then account.
	Held []HeldLeases
}

// Place is a node and where it is reached.
type Place struct {
	_      struct{} `cbor:",toarray"`
	Server grid.ServerID
	Hints  []grid.Hint
}

// HeldLeases are leases of one account at one server.
type HeldLeases struct {
	Server grid.ServerID
	// Label is the account; zero where that is not known.
	Label grid.PublicKey
	// Shares are in order, each once.
	Shares []ShareID
}

// Bounds of a renewal cap.
const (
	// MaxRenewalCapSize is the largest text, in bytes: two million leases take
	// some 46 MB.
	MaxRenewalCapSize = 64 << 20
	// maxPlaces, maxHints and maxHint (bytes) bound what it says of other nodes.
	maxPlaces = 64
	maxHints  = 32
	maxHint   = 512
)

// Delegation of a renewal cap: nothing else may be done with it.
const renewOnly = OpRenewLease

// RenewalCap is the cap by which the holder of a key may renew these leases
// until then (Unix seconds), as far as a has the accounts whose they are; left
// counts the others, which are not in it. The caller adds where account managers
// and introducers are. The error is ErrNoCommonServer where nothing remains.
func (a Authority) RenewalCap(renewer grid.PublicKey, until int64, held []HeldLeases) (c RenewalCap, left int, err error) {
	var refused error
	for _, h := range held {
		chains, err := a.renewalChains(renewer, until, h)
		if len(chains) == 0 {
			left += len(h.Shares)
			refused = cmp.Or(refused, err)
			continue
		}
		c.Chains = append(c.Chains, chains...)
		c.Held = append(c.Held, h)
	}
	if len(c.Held) == 0 {
		return RenewalCap{}, left, noPlace(refused)
	}
	return c, left, nil
}

// renewalChains are for one account at one server, under each chain that a has
// for it.
func (a Authority) renewalChains(renewer grid.PublicKey, until int64, h HeldLeases) (chains []Chain, refused error) {
	for _, credential := range a.For(h.Server) {
		if !h.Label.IsZero() && credential.Label() != h.Label {
			continue
		}
		_, labelled := credential.Chain.Label()
		d := Delegation{SignerGetsLease: !labelled}
		d.Operation, d.Server, d.Until = new(renewOnly), &h.Server, &until
		chain, err := credential.Delegate(renewer, d)
		if err != nil {
			refused = cmp.Or(refused, err)
			continue
		}
		chains = append(chains, chain)
	}
	return chains, refused
}

// Key is the renewer's.
func (c RenewalCap) Key() grid.PublicKey {
	key, _ := c.Chains[0].End()
	return key
}

// Leases is how many leases there are.
func (c RenewalCap) Leases() int {
	n := 0
	for _, h := range c.Held {
		n += len(h.Shares)
	}
	return n
}

// Until is when the first of the certificates ends that nobody renews, in Unix
// seconds; 0 is never. Cards are renewed.
func (c RenewalCap) Until() int64 {
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
func (c RenewalCap) cards(chain Chain) int {
	root, _ := chain.Root()
	_, card := chain.Card()
	if card && slices.ContainsFunc(c.Managers, func(p Place) bool { return p.Server.Key() == root }) {
		return 1
	}
	return 0
}

// OfSame reports whether both are for leases of one account at one server, so of
// the same owner.
func (c RenewalCap) OfSame(d RenewalCap) bool {
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

// Authority joins the certificates to the renewer's account, which has one key.
// The error is ErrNotSigner where they are for another.
func (c RenewalCap) Authority(renewer Account) (Authority, error) {
	if key := renewer.PublicKey(grid.ServerID{}); c.Key() != key {
		return Authority{}, fmt.Errorf("%w: the renewal cap is for %s, and this renewer is %s", ErrNotSigner, c.Key(), key)
	}
	var all Authority
	for _, chain := range c.Chains {
		all.Holdings = append(all.Holdings, Holding{chain, renewer})
	}
	return all, nil
}

// renewalRecord is a cap in its text.
type renewalRecord struct {
	_           struct{} `cbor:",toarray"`
	Chains      [][]byte
	Managers    []Place
	Introducers []Place
	Held        []heldRecord
}

// heldRecord is HeldLeases; a share is its storage index (16 bytes) and number
// (1).
type heldRecord struct {
	_      struct{} `cbor:",toarray"`
	Server grid.ServerID
	Label  grid.PublicKey
	Shares []byte
}

const shareIDSize = len(grid.StorageIndex{}) + 1

// Text is the cap in a form to mail or pipe: a PEM block TARN RENEWAL CAP whose
// body is a CBOR array of encoded chains, account managers, introducers and
// leases. The error is ErrRenewalCap where ReadRenewalCap would not read it.
func (c RenewalCap) Text() ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	r := renewalRecord{Managers: c.Managers, Introducers: c.Introducers}
	for _, chain := range c.Chains {
		r.Chains = append(r.Chains, chain.Encode())
	}
	for _, h := range c.Held {
		shares := make([]byte, 0, len(h.Shares)*shareIDSize)
		for _, id := range h.Shares {
			shares = append(append(shares, id.StorageIndex[:]...), byte(id.Num))
		}
		r.Held = append(r.Held, heldRecord{Server: h.Server, Label: h.Label, Shares: shares})
	}
	return renewalKind.write(encode(r), len(r.Chains))
}

// ReadRenewalCap reads what Text wrote, with text around it. Signatures are
// verified. The error is ErrRenewalCap.
func ReadRenewalCap(r io.Reader) (RenewalCap, error) {
	blocks, err := readBlocks(r, renewalKind)
	if err != nil {
		return RenewalCap{}, err
	}
	if len(blocks) > 1 {
		return RenewalCap{}, fmt.Errorf("%w: there are %d in it, and one at a time is added", ErrRenewalCap, len(blocks))
	}
	var record renewalRecord
	if err := renewalKind.decode(manyMode, blocks[0].body, &record); err != nil {
		return RenewalCap{}, err
	}
	c, err := record.cap()
	if err == nil {
		err = c.validate()
	}
	if err != nil {
		return RenewalCap{}, err
	}
	for i, chain := range c.Chains {
		if err := chain.Check(); err != nil {
			return RenewalCap{}, fmt.Errorf("%w: chain %d: %w", ErrRenewalCap, i+1, err)
		}
	}
	return c, nil
}

func (r renewalRecord) cap() (RenewalCap, error) {
	c := RenewalCap{Managers: r.Managers, Introducers: r.Introducers}
	for i, b := range r.Chains {
		chain, err := DecodeChain(b)
		if err != nil {
			return RenewalCap{}, fmt.Errorf("%w: chain %d: %w", ErrRenewalCap, i+1, err)
		}
		c.Chains = append(c.Chains, chain)
	}
	for i, h := range r.Held {
		if len(h.Shares)%shareIDSize != 0 {
			return RenewalCap{}, fmt.Errorf("%w: leases %d are cut short", ErrRenewalCap, i+1)
		}
		held := HeldLeases{Server: h.Server, Label: h.Label}
		for id := range slices.Chunk(h.Shares, shareIDSize) {
			held.Shares = append(held.Shares, ShareID{grid.StorageIndex(id[:shareIDSize-1]), grid.ShareNum(id[shareIDSize-1])})
		}
		c.Held = append(c.Held, held)
	}
	return c, nil
}

func (c RenewalCap) validate() error {
	if len(c.Chains) == 0 || len(c.Held) == 0 {
		return fmt.Errorf("%w: there is no certificate or no lease in it", ErrRenewalCap)
	}
	for i, chain := range c.Chains {
		if err := c.validateChain(chain); err != nil {
			return fmt.Errorf("%w: chain %d: %w", ErrRenewalCap, i+1, err)
		}
	}
	for i, h := range c.Held {
		if err := c.validateHeld(h); err != nil {
			return fmt.Errorf("%w: leases %d: %w", ErrRenewalCap, i+1, err)
		}
		if i > 0 && c.Held[i-1].compare(h) >= 0 {
			return fmt.Errorf("%w: leases %d are out of order", ErrRenewalCap, i+1)
		}
	}
	for _, places := range [][]Place{c.Managers, c.Introducers} {
		if err := validatePlaces(places); err != nil {
			return fmt.Errorf("%w: %w", ErrRenewalCap, err)
		}
	}
	return nil
}

// validateChain refuses what lets more be done than is wanted of a renewer, or
// says too little.
func (c RenewalCap) validateChain(chain Chain) error {
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
	if *limits.Operation != renewOnly {
		return fmt.Errorf("it lets more be done than renew leases: %s", limits.Operation)
	}
	if limits.Server == nil {
		return errors.New("it names no server")
	}
	if _, ok := chain.Label(); !ok {
		return errors.New("it does not say whose the leases are")
	}
	return nil
}

func (c RenewalCap) validateHeld(h HeldLeases) error {
	if len(h.Shares) == 0 {
		return errors.New("there is none")
	}
	for i := 1; i < len(h.Shares); i++ {
		if h.Shares[i-1].Compare(h.Shares[i]) >= 0 {
			return errors.New("out of order, or one twice")
		}
	}
	if !slices.ContainsFunc(c.Chains, h.renewable) {
		return errors.New("no certificate is for them")
	}
	return nil
}

// renewable reports whether a chain is for these leases.
func (h HeldLeases) renewable(chain Chain) bool {
	server, _ := chain.server()
	label, _ := chain.Label()
	return server == h.Server && (h.Label.IsZero() || label == h.Label)
}

func (h HeldLeases) compare(other HeldLeases) int {
	return cmp.Or(compareServers(h.Server, other.Server), bytes.Compare(h.Label[:], other.Label[:]))
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
