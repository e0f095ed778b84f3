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
	if err := e.coder.Encode(bare); err != nil {
		return nil, fmt.Errorf("segment %d: %w", i, err)
	}
	for _, b := range s.Blocks {
		s.hashes = append(s.hashes, tagged.Sum(tagged.Block, b))
	}
	return s, nil
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
	for i, known := range e.known {
		if !known {
			return Prefix{}, fmt.Errorf("%w: finished without segment %d of %d", ErrOrder, i, len(e.known))
		}
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
	e.signature = signature
	e.header = newHeader(p, len(e.key.public), len(signature), len(e.chain(0)), len(e.key.der))
	return p, nil
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
	data := make([][]byte, l.Total)
	for i := range l.NumSegments() {
		off := i * l.SegmentSize
		if err := e.encodeInto(data, i, content[off:off+l.SegmentLen(i)], random); err != nil {
			return Prefix{}, nil, err
		}
	}
	p, err := e.Finish(seqnum, random)
	if err != nil {
		return Prefix{}, nil, err
	}
	shares, err := e.assemble(data)
	return p, shares, err
}

func (e *Encoder) encodeInto(data [][]byte, i int64, content []byte, random io.Reader) error {
	var salt [SaltSize]byte
	if _, err := io.ReadFull(random, salt[:]); err != nil {
		return fmt.Errorf("draw a salt: %w", err)
	}
	s, err := e.EncodeSegment(i, content, salt)
	if err != nil {
		return err
	}
	for n, b := range s.Blocks {
		data[n] = append(data[n], b...)
	}
	return e.Add(s)
}

func (e *Encoder) assemble(data [][]byte) ([][]byte, error) {
	shares := make([][]byte, len(data))
	for n := range shares {
		head, err := e.Head(grid.ShareNum(n))
		if err != nil {
			return nil, err
		}
		tail, err := e.Tail(grid.ShareNum(n))
		if err != nil {
			return nil, err
		}
		shares[n] = append(append(head, data[n]...), tail...)
	}
	return shares, nil
}
