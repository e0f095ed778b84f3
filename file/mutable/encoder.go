package mutable

import (
	"fmt"
	"io"
	"slices"

	"github.com/tarn-grid/tarn/file/aesctr"
	"github.com/tarn-grid/tarn/file/erasure"
	"github.com/tarn-grid/tarn/file/hashtree"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// Encoder makes the shares of one version. EncodeSegment does the heavy work
// and may run for several segments at once; all else must not run at the same
// time as anything but EncodeSegment. Each segment is added, or kept from the
// version before, in any order; then Finish signs, and Head and Tail give what
// surrounds the blocks. Of the file only hashes are kept: 32 bytes per block.
type Encoder struct {
	layout Layout
	key    *Key
	coder  *erasure.Coder
	blocks []tagged.Hash // N per segment
	known  []bool        // per segment: its blocks' hashes
	salt   [SaltSize]byte

	header    Header // once finished
	signature []byte
	sharetree hashtree.Tree
}

// NewEncoder starts a version of the file that has the key.
func NewEncoder(l Layout, key *Key) (*Encoder, error) {
	if err := l.validate(); err != nil {
		return nil, err
	}
	coder, err := erasure.New(l.Needed, l.Total)
	if err != nil {
		return nil, fmt.Errorf("encode a version: %w", err)
	}
	n := l.NumSegments()
	return &Encoder{layout: l, key: key, coder: coder, blocks: make([]tagged.Hash, n*int64(l.Total)), known: make([]bool, n)}, nil
}

// Segment is an encoded segment.
type Segment struct {
	Index  int64
	Blocks [][]byte // one for each share, by share number, as they lie in it

	salt   [SaltSize]byte
	hashes []tagged.Hash // of the blocks
}

// EncodeSegment encrypts segment i under a salt that was never used before
// with this file, codes it and hashes its blocks. content is only read. It is
// safe to call for several segments at once.
func (e *Encoder) EncodeSegment(i int64, content []byte, salt [SaltSize]byte) (*Segment, error) {
	if i < 0 || i >= e.layout.NumSegments() {
		return nil, fmt.Errorf("%w: segment %d of %d", ErrSize, i, e.layout.NumSegments())
	}
	if want := e.layout.SegmentLen(i); int64(len(content)) != want {
		return nil, fmt.Errorf("%w: segment %d has %d bytes (want %d)", ErrSize, i, len(content), want)
	}
	s := &Segment{Index: i, salt: salt}
	bare := e.newBlocks(s)
	e.encrypt(bare, content, salt)
	return s, e.code(s, bare)
}

// Recode makes all blocks of segment i of a version that is there from those of k
// or more shares, which were checked. They are as they were: it needs no key. It is
// safe to call for several segments at once.
func (e *Encoder) Recode(p Prefix, i int64, blocks map[grid.ShareNum][]byte) (*Segment, error) {
	if p.Layout != e.layout || i < 0 || i >= p.NumSegments() {
		return nil, fmt.Errorf("%w: segment %d of %d", ErrSize, i, e.layout.NumSegments())
	}
	salt, known, err := p.cutSalts(i, blocks)
	if err != nil {
		return nil, err
	}
	s := &Segment{Index: i, salt: salt}
	bare := e.newBlocks(s)
	if err := e.coder.Decode(bare[:p.Needed], known); err != nil {
		return nil, fmt.Errorf("segment %d: %w", i, err)
	}
	return s, e.code(s, bare)
}

// code makes the other blocks from the first k, and hashes all.
func (e *Encoder) code(s *Segment, bare [][]byte) error {
	if err := e.coder.Encode(bare); err != nil {
		return fmt.Errorf("segment %d: %w", s.Index, err)
	}
	for _, b := range s.Blocks {
		s.hashes = append(s.hashes, tagged.Sum(tagged.Block, b))
	}
	return nil
}

// newBlocks makes the blocks of a segment, with their salts, and returns what
// follows the salts.
func (e *Encoder) newBlocks(s *Segment) (bare [][]byte) {
	size, salt := e.layout.BlockSize(s.Index), e.layout.saltLen()
	buf := make([]byte, size*int64(e.layout.Total))
	for ; len(buf) > 0; buf = buf[size:] {
		block := buf[:size:size]
		copy(block[:salt], s.salt[:])
		s.Blocks, bare = append(s.Blocks, block), append(bare, block[salt:])
	}
	return bare
}

// encrypt fills the first k blocks; what is left of the last ones stays zero.
func (e *Encoder) encrypt(blocks [][]byte, content []byte, salt [SaltSize]byte) {
	c := aesctr.New(e.key.write.ReadKey().DataKey(salt))
	for off, j := 0, 0; off < len(content); j++ {
		part := content[off:min(off+len(blocks[j]), len(content))]
		c.XOR(blocks[j], part, int64(off))
		off += len(part)
	}
}

// Add takes an encoded segment into the hashes.
func (e *Encoder) Add(s *Segment) error {
	if e.layout.Format == SDMF {
		e.salt = s.salt
	}
	return e.Keep(s.Index, s.hashes)
}

// Keep says that the blocks of segment i stay as they are in the version
// before: their hashes, by share number, were proven there.
func (e *Encoder) Keep(i int64, hashes []tagged.Hash) error {
	if e.signature != nil || i < 0 || i >= int64(len(e.known)) || e.known[i] || len(hashes) != e.layout.Total {
		return fmt.Errorf("%w: %d hashes of segment %d", ErrOrder, len(hashes), i)
	}
	copy(e.blocks[i*int64(e.layout.Total):], hashes)
	e.known[i] = true
	return nil
}

// Finish signs the version under its sequence number, once all segments are
// there. It takes at most 48 bytes from random.
func (e *Encoder) Finish(seqnum uint64, random io.Reader) (Prefix, error) {
	if err := e.checkComplete(); err != nil {
		return Prefix{}, err
	}
	if e.layout.Format == SDMF && len(e.known) == 0 {
		if _, err := io.ReadFull(random, e.salt[:]); err != nil {
			return Prefix{}, fmt.Errorf("draw a salt: %w", err)
		}
	}
	e.sharetree = hashtree.Build(e.roots())
	p := Prefix{Layout: e.layout, Seqnum: seqnum, Root: e.sharetree.Root(), Salt: e.salt}
	signature, err := e.key.Sign(p, random)
	if err != nil {
		return Prefix{}, err
	}
	e.sign(p, signature)
	return p, nil
}

// FinishAs makes the shares those of the version p, from which all segments were
// recoded, with its signature. An ErrShare says that they are not: whoever wrote
// the version gave it shares that don't belong together.
func (e *Encoder) FinishAs(p Prefix, signature []byte) error {
	if err := e.checkComplete(); err != nil {
		return err
	}
	e.sharetree = hashtree.Build(e.roots())
	if p.Layout != e.layout || e.sharetree.Root() != p.Root {
		return fmt.Errorf("%w: the shares of version %d don't belong together", ErrShare, p.Seqnum)
	}
	if err := checkSignature(e.key.Fingerprint(), p, e.key.public, signature); err != nil {
		return err
	}
	e.sign(p, signature)
	return nil
}

func (e *Encoder) checkComplete() error {
	for i, known := range e.known {
		if !known {
			return fmt.Errorf("%w: finished without segment %d of %d", ErrOrder, i, len(e.known))
		}
	}
	return nil
}

func (e *Encoder) sign(p Prefix, signature []byte) {
	e.signature = signature
	e.header = newHeader(p, len(e.key.public), len(signature), len(e.chain(0)), len(e.key.der))
}

// roots are the roots of the shares' block trees.
func (e *Encoder) roots() []tagged.Hash {
	roots := make([]tagged.Hash, e.layout.Total)
	for n := range roots {
		fold := hashtree.NewFold()
		for i := n; i < len(e.blocks); i += e.layout.Total {
			fold.Add(e.blocks[i])
		}
		roots[n] = fold.Finish().Root
	}
	return roots
}

// chain writes the nodes that prove share n to belong to the version,
// ascending, without the share's own.
func (e *Encoder) chain(n grid.ShareNum) []byte {
	own := int64(e.sharetree.LeafIndex(int(n)))
	nodes := hashtree.Path(int64(e.layout.Total), int64(n))
	return e.sharetree.AppendChain(nil, slices.DeleteFunc(nodes, func(i int64) bool { return i == own }))
}

// blockTree is that of share n.
func (e *Encoder) blockTree(n grid.ShareNum) []byte {
	leaves := make([]tagged.Hash, 0, len(e.known))
	for i := int(n); i < len(e.blocks); i += e.layout.Total {
		leaves = append(leaves, e.blocks[i])
	}
	return hashtree.Build(leaves).Append(nil)
}

// Header is that of all shares, once finished.
func (e *Encoder) Header() Header { return e.header }

// Block is where the block of segment i lies in every MDMF share, and Size how long
// each is. Both are known from the start.
func (e *Encoder) Block(i int64) Section {
	off := mdmfData + e.layout.blockOffset(i)
	return Section{off, off + e.layout.BlockSize(i)}
}

// Size is the length of every MDMF share.
func (e *Encoder) Size() int64 {
	p := Prefix{Layout: e.layout}
	return mdmfData + p.dataSize() + hashtree.Size(p.NumSegments())
}

// Head is the start of share n, up to the first block.
func (e *Encoder) Head(n grid.ShareNum) ([]byte, error) {
	if err := e.checkFinished(n); err != nil {
		return nil, err
	}
	b := e.header.Encode()
	if e.layout.Format == SDMF {
		b = append(append(b, e.key.public...), e.signature...)
		b = append(b, e.chain(n)...)
		return append(b, e.blockTree(n)...), nil
	}
	b = append(append(b, e.key.Encrypted()...), e.chain(n)...)
	b = append(append(b, e.signature...), e.key.public...)
	return append(b, make([]byte, e.header.Data.Off-int64(len(b)))...), nil
}

// Tail is what follows the blocks in share n.
func (e *Encoder) Tail(n grid.ShareNum) ([]byte, error) {
	if err := e.checkFinished(n); err != nil {
		return nil, err
	}
	if e.layout.Format == SDMF {
		return e.key.Encrypted(), nil
	}
	return e.blockTree(n), nil
}

func (e *Encoder) checkFinished(n grid.ShareNum) error {
	if e.signature == nil || int(n) >= e.layout.Total {
		return fmt.Errorf("%w: share %d of %d", ErrOrder, n, e.layout.Total)
	}
	return nil
}

// Encode makes all shares of a version of a file that is in memory, with salts
// from random.
func Encode(l Layout, key *Key, seqnum uint64, content []byte, random io.Reader) (Prefix, [][]byte, error) {
	if int64(len(content)) != l.Size {
		return Prefix{}, nil, fmt.Errorf("%w: %d bytes (want %d)", ErrSize, len(content), l.Size)
	}
	e, err := NewEncoder(l, key)
	if err != nil {
		return Prefix{}, nil, err
	}
	segments := make([]*Segment, l.NumSegments())
	for i := range segments {
		off := int64(i) * l.SegmentSize
		if segments[i], err = e.encodeNext(int64(i), content[off:off+l.SegmentLen(int64(i))], random); err != nil {
			return Prefix{}, nil, err
		}
	}
	p, err := e.Finish(seqnum, random)
	if err != nil {
		return Prefix{}, nil, err
	}
	shares, err := e.Shares(segments)
	return p, shares, err
}

func (e *Encoder) encodeNext(i int64, content []byte, random io.Reader) (*Segment, error) {
	var salt [SaltSize]byte
	if _, err := io.ReadFull(random, salt[:]); err != nil {
		return nil, fmt.Errorf("draw a salt: %w", err)
	}
	s, err := e.EncodeSegment(i, content, salt)
	if err != nil {
		return nil, err
	}
	return s, e.Add(s)
}

// Shares puts all shares together, once finished, from all segments in their order.
func (e *Encoder) Shares(segments []*Segment) ([][]byte, error) {
	shares := make([][]byte, e.layout.Total)
	for n := range shares {
		head, err := e.Head(grid.ShareNum(n))
		if err != nil {
			return nil, err
		}
		tail, err := e.Tail(grid.ShareNum(n))
		if err != nil {
			return nil, err
		}
		share := append(make([]byte, 0, e.header.Size()), head...)
		for _, s := range segments {
			share = append(share, s.Blocks[n]...)
		}
		shares[n] = append(share, tail...)
	}
	return shares, nil
}
