package lease

import (
	"bytes"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/tarn-grid/tarn/grid"
)

// textVersion is the only version of texts so far.
const textVersion = 1

const (
	textSumSize = 8
	// textHeader is version (1 byte) and checksum (8).
	textHeader = 1 + textSumSize
)

// manyMode reads arrays as long as a text may have them.
var manyMode = must(decOptions(MaxHoldings).DecMode())

// textKind is a kind of text that people paste and mail: a PEM block of version
// (1 byte), the first 8 bytes of a SHA-256 over a tag and the rest, and the
// rest, which is deterministic CBOR.
type textKind struct {
	block, tag string
	err        error // what a text that is none of this kind is
	size       int   // the largest, bytes
}

var (
	authorityKind = &textKind{"TARN AUTHORITY", "tarn authority text v1", ErrAuthority, MaxAuthoritySize}
	chainsKind    = &textKind{"TARN CERTIFICATES", "tarn certificates text v1", ErrCertificates, MaxAuthoritySize}
	keysKind      = &textKind{"TARN KEYS", "tarn keys text v1", ErrKeys, MaxAuthoritySize}
	renewalKind   = &textKind{"TARN RENEWAL CAP", "tarn renewal cap text v1", ErrRenewalCap, MaxRenewalCapSize}
	repairKind    = &textKind{"TARN REPAIR CAP", "tarn repair cap text v1", ErrRepairCap, MaxRepairCapSize}
)

// block is what is in a PEM block.
type block struct {
	kind *textKind
	body []byte
}

func (k *textKind) sum(body []byte) []byte {
	sum := sha256.Sum256(append([]byte(k.tag), body...))
	return sum[:textSumSize]
}

// write is the text of n things that body encodes.
func (k *textKind) write(body []byte, n int) ([]byte, error) {
	payload := append([]byte{textVersion}, k.sum(body)...)
	text := pem.EncodeToMemory(&pem.Block{Type: k.block, Bytes: append(payload, body...)})
	if len(text) > k.size || n > MaxHoldings {
		return nil, fmt.Errorf("%w: %d entries of %d bytes are too much for one file", k.err, n, len(text))
	}
	return text, nil
}

// open is the body of a payload whose version and checksum are right.
func (k *textKind) open(payload []byte) ([]byte, error) {
	if len(payload) <= textHeader {
		return nil, fmt.Errorf("%w: too short", k.err)
	}
	if payload[0] != textVersion {
		return nil, fmt.Errorf("%w that this program knows: version %d, and it knows version %d", k.err, payload[0], textVersion)
	}
	body := payload[textHeader:]
	if !bytes.Equal(payload[1:textHeader], k.sum(body)) {
		return nil, fmt.Errorf("%w: checksum does not match, so it was damaged on its way", k.err)
	}
	return body, nil
}

// decode reads the body into v, which encode writes.
func (k *textKind) decode(mode cbor.DecMode, body []byte, v any) error {
	if err := decodeCanonical(mode, body, v); err != nil {
		return fmt.Errorf("%w: %w", k.err, err)
	}
	return nil
}

// readBlocks finds the blocks of these kinds, in order, at least one. Text
// around them and other blocks are passed over. Errors are of the first kind
// unless another one is damaged, and show nothing of the content; so is the
// largest size.
func readBlocks(r io.Reader, kinds ...*textKind) ([]block, error) {
	most := kinds[0].size
	text, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("read the text: %w", err)
	}
	if len(text) > most {
		return nil, fmt.Errorf("%w: larger than %d bytes", kinds[0].err, most)
	}
	var blocks []block
	for p, rest := pem.Decode(text); p != nil; p, rest = pem.Decode(rest) {
		i := slices.IndexFunc(kinds, func(k *textKind) bool { return k.block == p.Type })
		if i < 0 {
			continue
		}
		body, err := kinds[i].open(p.Bytes)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, block{kinds[i], body})
	}
	return blocks, checkWhole(text, blocks, kinds)
}

// checkWhole holds that as many blocks were read as begin.
func checkWhole(text []byte, blocks []block, kinds []*textKind) error {
	for _, k := range kinds {
		begins := bytes.Count(text, []byte("-----BEGIN "+k.block))
		for _, b := range blocks {
			if b.kind == k {
				begins--
			}
		}
		if begins != 0 {
			return fmt.Errorf("%w: a block is damaged or its end is missing; copy it whole, from -----BEGIN to END-----", k.err)
		}
	}
	for kind, what := range map[*textKind]string{
		renewalKind: "a renewal cap, which a renewer's operator adds with tarn renewer add",
		repairKind:  "a repair cap, which a repairer's operator adds with tarn repairer add",
	} {
		if len(blocks) == 0 && !slices.Contains(kinds, kind) && bytes.Contains(text, []byte("-----BEGIN "+kind.block)) {
			return fmt.Errorf("%w: it is %s", kinds[0].err, what)
		}
	}
	if len(blocks) == 0 {
		return fmt.Errorf("%w: no line -----BEGIN %s-----", kinds[0].err, kinds[0].block)
	}
	return nil
}

// Pasted is all that is in a text that somebody handed over.
type Pasted struct {
	Authority Authority // with secrets
	Chains    []Chain   // without the keys that they end at
	Keys      []AccountKeys
}

// ReadPasted reads blocks of any kind that Authority.Text, ChainsText and
// AccountKeys.Text write, with text around and between them. The error is
// ErrAuthority, ErrCertificates or ErrKeys and shows nothing of the content.
func ReadPasted(r io.Reader) (Pasted, error) {
	blocks, err := readBlocks(r, authorityKind, chainsKind, keysKind)
	if err != nil {
		return Pasted{}, err
	}
	var p Pasted
	for _, b := range blocks {
		if err := p.add(b); err != nil {
			return Pasted{}, err
		}
	}
	if n := len(p.Authority.Holdings) + len(p.Chains) + len(p.Keys); n > MaxHoldings {
		return Pasted{}, fmt.Errorf("%w: %d entries, at most %d", ErrAuthority, n, MaxHoldings)
	}
	p.Authority = Authority{}.Join(p.Authority)
	return p, nil
}

// Usable is what can be used of p by who also has these accounts: its
// authority, and its chains joined to the accounts at whose keys they end. A key
// that came along for a chain is not an account of its own. The error is
// ErrNotSigner where a chain is for a key that is none of theirs; the rest is
// returned all the same.
func (p Pasted) Usable(accounts Authority, servers []grid.ServerID) (Authority, error) {
	var all Authority
	var foreign error
	for _, c := range p.Chains {
		adopted, err := p.Authority.Join(accounts).Adopt([]Chain{c}, servers)
		if err != nil && foreign == nil {
			foreign = err
		}
		all = all.Join(adopted)
	}
	serves := map[Account]bool{}
	for _, h := range all.Holdings {
		serves[h.Account] = true
	}
	for _, h := range p.Authority.Holdings {
		if h.Chain.Len() > 0 || !serves[h.Account] {
			all.Holdings = append(all.Holdings, h)
		}
	}
	return all, foreign
}

func (p *Pasted) add(b block) error {
	switch b.kind {
	case authorityKind:
		holdings, err := decodeHoldings(b.body)
		p.Authority.Holdings = append(p.Authority.Holdings, holdings...)
		return err
	case chainsKind:
		chains, err := decodeChains(b.body)
		p.Chains = append(p.Chains, chains...)
		return err
	default:
		list, err := decodeAccountKeys(b.body)
		p.Keys = append(p.Keys, list)
		return err
	}
}

// ErrCertificates is a text that has no certificates, or damaged ones.
var ErrCertificates = errors.New("not certificates")

// ChainsText is chains in a form to paste or mail: a PEM block TARN
// CERTIFICATES whose body is a CBOR array of encoded chains. There is no secret
// in it: only who has the key that a chain ends at can use it.
func ChainsText(chains []Chain) ([]byte, error) {
	raw := make([][]byte, len(chains))
	for i, c := range chains {
		raw[i] = c.Encode()
	}
	return chainsKind.write(encode(raw), len(raw))
}

func decodeChains(body []byte) ([]Chain, error) {
	var raw [][]byte
	if err := chainsKind.decode(manyMode, body, &raw); err != nil {
		return nil, err
	}
	chains := make([]Chain, len(raw))
	for i, b := range raw {
		var err error
		if chains[i], err = DecodeChain(b); err != nil {
			return nil, fmt.Errorf("%w: chain %d: %w", ErrCertificates, i+1, err)
		}
		if chains[i].Len() == 0 {
			return nil, fmt.Errorf("%w: chain %d is empty", ErrCertificates, i+1)
		}
	}
	return chains, nil
}
