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
	RoleCap
	// Held are the leases, by server, then account.
	Held []HeldLeases
}

// HeldLeases are leases of one account at one server.
type HeldLeases struct {
	Server grid.ServerID
	// Label is the account; zero where that is not known.
	Label grid.PublicKey
	// Shares are in order, each once.
	Shares []ShareID
}

// MaxRenewalCapSize is the largest text of a renewal cap, in bytes: two million
// leases take some 46 MB.
const MaxRenewalCapSize = 64 << 20

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

// Leases is how many leases there are.
func (c RenewalCap) Leases() int {
	n := 0
	for _, h := range c.Held {
		n += len(h.Shares)
	}
	return n
}

// OfSame reports whether both are for leases of one account at one server, so of
// the same owner.
func (c RenewalCap) OfSame(d RenewalCap) bool { return c.RoleCap.ofSame(d.RoleCap) }

// Authority joins the certificates to the renewer's account, which has one key.
// The error is ErrNotSigner where they are for another.
func (c RenewalCap) Authority(renewer Account) (Authority, error) {
	return c.authority("renewal cap", "renewer", renewer)
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
	r := renewalRecord{Chains: writeChains(c.Chains), Managers: c.Managers, Introducers: c.Introducers}
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
	if err := c.checkSignatures(); err != nil {
		return RenewalCap{}, fmt.Errorf("%w: %w", ErrRenewalCap, err)
	}
	return c, nil
}

func (r renewalRecord) cap() (RenewalCap, error) {
	chains, err := readChains(r.Chains)
	if err != nil {
		return RenewalCap{}, fmt.Errorf("%w: %w", ErrRenewalCap, err)
	}
	c := RenewalCap{RoleCap: RoleCap{chains, r.Managers, r.Introducers}}
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
	if err := c.validateRole(renewsOnly); err != nil {
		return fmt.Errorf("%w: %w", ErrRenewalCap, err)
	}
	for i, h := range c.Held {
		if err := c.validateHeld(h); err != nil {
			return fmt.Errorf("%w: leases %d: %w", ErrRenewalCap, i+1, err)
		}
		if i > 0 && c.Held[i-1].compare(h) >= 0 {
			return fmt.Errorf("%w: leases %d are out of order", ErrRenewalCap, i+1)
		}
	}
	return nil
}

// renewsOnly refuses what lets more be done than is wanted of a renewer.
func renewsOnly(limits Restrictions) error {
	if *limits.Operation != renewOnly {
		return fmt.Errorf("it lets more be done than renew leases: %s", limits.Operation)
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
