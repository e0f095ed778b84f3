package lease

import (
	"cmp"
	"errors"
	"fmt"
	"io"

	"github.com/tarn-grid/tarn/grid"
)

// ErrRepairCap is a text that is no repair cap, or a damaged one.
var ErrRepairCap = errors.New("not a repair cap")

// RepairCap is all that somebody needs who is to keep one file whole for years,
// and nothing more: the file's verify capability, by which its shares are
// checked and made once more but not read; certificates for one key, that of a
// repairer, by which shares of that file with that content are stored and
// leased, for the owner, and nothing else is done; where the account managers
// are that give newer cards in the place of those with which the certificates
// begin; and where servers are made known. It is worth nothing without the
// repairer's private key.
type RepairCap struct {
	RoleCap
	// VerifyCap is the text of the file's verify capability. What it says and what
	// the certificates say agree; that is for who can read it to see.
	VerifyCap string
	// Happy is on how many distinct servers the owner wants the file.
	Happy int
}

// Bounds of a repair cap.
const (
	// MaxRepairCapSize is the largest text, in bytes, of one cap or several: a
	// certificate takes some 300, and a cap has one for each server.
	MaxRepairCapSize = 16 << 20
	// MaxRepairCaps is how many may stand in one text.
	MaxRepairCaps = 1000
	// maxVerifyCap is the longest verify capability, in bytes.
	maxVerifyCap = 256
)

// repairs is what may be done with a repair cap.
const repairs = OpUpload | OpAddLease

// RepairCap is the cap by which the holder of a key may store and lease shares
// of this file with this content until then (Unix seconds), at those servers of
// which a has something. The caller adds the verify capability, on how many
// servers the file should be, and where account managers and introducers are.
// The error is ErrNoCommonServer where nothing remains.
func (a Authority) RepairCap(repairer grid.PublicKey, until int64, si grid.StorageIndex, ueb UEBHash, servers []grid.ServerID) (c RepairCap, err error) {
	var refused error
	for _, server := range servers {
		for _, credential := range a.For(server) {
			_, labelled := credential.Chain.Label()
			d := Delegation{SignerGetsLease: !labelled}
			d.Operation, d.Server, d.Until = new(repairs), &server, &until
			d.StorageIndex, d.UEBHash = &si, &ueb
			chain, err := credential.Delegate(repairer, d)
			if err == nil {
				err = repairsOnly(chain)
			}
			if err != nil {
				refused = cmp.Or(refused, err)
				continue
			}
			c.Chains = append(c.Chains, chain)
		}
	}
	if len(c.Chains) == 0 {
		return RepairCap{}, noPlace(refused)
	}
	return c, nil
}

// repairsOnly is nil for a chain by which one file with one content is stored.
func repairsOnly(chain Chain) error {
	limits, err := chain.Effective()
	if err != nil {
		return err
	}
	return repairOnly(limits)
}

// repairOnly refuses what lets more be done than is wanted of a repairer, or does
// not let shares be stored.
func repairOnly(limits Restrictions) error {
	switch {
	case *limits.Operation&^repairs != 0:
		return fmt.Errorf("it lets more be done than store and lease shares: %s", limits.Operation)
	case !limits.Operation.Has(OpUpload):
		return errors.New("it lets no share be stored")
	case limits.StorageIndex == nil || limits.UEBHash == nil:
		return errors.New("it is not limited to one file and its content")
	}
	return nil
}

// File is what the certificates are limited to: the file's storage index and the
// hash of its URI extension block.
func (c RepairCap) File() (si grid.StorageIndex, ueb UEBHash) {
	limits, err := c.Chains[0].Effective()
	if err != nil || limits.StorageIndex == nil || limits.UEBHash == nil {
		return si, ueb // validate lets no such cap pass
	}
	return *limits.StorageIndex, *limits.UEBHash
}

// OfSame reports whether both are of the same owner.
func (c RepairCap) OfSame(d RepairCap) bool { return c.ofSame(d.RoleCap) }

// Authority joins the certificates to the repairer's account, which has one key.
// The error is ErrNotSigner where they are for another.
func (c RepairCap) Authority(repairer Account) (Authority, error) {
	return c.authority("repair cap", "repairer", repairer)
}

// repairRecord is a cap in its text.
type repairRecord struct {
	_           struct{} `cbor:",toarray"`
	VerifyCap   string
	Happy       int
	Chains      [][]byte
	Managers    []Place
	Introducers []Place
}

// Text is the cap in a form to mail or pipe: a PEM block TARN REPAIR CAP whose
// body is a CBOR array of the verify capability, the happiness, encoded chains,
// account managers and introducers. The error is ErrRepairCap where
// ReadRepairCaps would not read it.
func (c RepairCap) Text() ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	r := repairRecord{VerifyCap: c.VerifyCap, Happy: c.Happy, Chains: writeChains(c.Chains), Managers: c.Managers, Introducers: c.Introducers}
	return repairKind.write(encode(r), len(r.Chains))
}

// ReadRepairCaps reads what Text wrote, once or several times, with text around
// it. Signatures are verified. The error is ErrRepairCap.
func ReadRepairCaps(r io.Reader) ([]RepairCap, error) {
	blocks, err := readBlocks(r, repairKind)
	if err != nil {
		return nil, err
	}
	if len(blocks) > MaxRepairCaps {
		return nil, fmt.Errorf("%w: %d of them, at most %d are read at a time", ErrRepairCap, len(blocks), MaxRepairCaps)
	}
	caps := make([]RepairCap, len(blocks))
	for i, b := range blocks {
		if caps[i], err = readRepairCap(b.body); err != nil {
			return nil, err
		}
	}
	return caps, nil
}

func readRepairCap(body []byte) (RepairCap, error) {
	var r repairRecord
	if err := repairKind.decode(manyMode, body, &r); err != nil {
		return RepairCap{}, err
	}
	chains, err := readChains(r.Chains)
	if err != nil {
		return RepairCap{}, fmt.Errorf("%w: %w", ErrRepairCap, err)
	}
	c := RepairCap{RoleCap{chains, r.Managers, r.Introducers}, r.VerifyCap, r.Happy}
	if err := c.validate(); err != nil {
		return RepairCap{}, err
	}
	if err := c.checkSignatures(); err != nil {
		return RepairCap{}, fmt.Errorf("%w: %w", ErrRepairCap, err)
	}
	return c, nil
}

func (c RepairCap) validate() error {
	switch {
	case len(c.Chains) == 0:
		return fmt.Errorf("%w: there is no certificate in it", ErrRepairCap)
	case c.VerifyCap == "" || len(c.VerifyCap) > maxVerifyCap:
		return fmt.Errorf("%w: a verify capability of %d bytes (want 1 to %d)", ErrRepairCap, len(c.VerifyCap), maxVerifyCap)
	case c.Happy < 1 || c.Happy > grid.MaxShares:
		return fmt.Errorf("%w: a happiness of %d (want 1 to %d)", ErrRepairCap, c.Happy, grid.MaxShares)
	}
	si, ueb := c.File()
	same := func(limits Restrictions) error {
		if err := repairOnly(limits); err != nil {
			return err
		}
		if *limits.StorageIndex != si || *limits.UEBHash != ueb {
			return errors.New("it is for another file than the first one")
		}
		return nil
	}
	if err := c.validateRole(same); err != nil {
		return fmt.Errorf("%w: %w", ErrRepairCap, err)
	}
	return nil
}
