package immutable

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/aesctr"
	"github.com/tarn-grid/tarn/file/erasure"
	"github.com/tarn-grid/tarn/file/hashtree"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// ErrOrder means that an encoder's methods were called out of order: a bug.
var ErrOrder = errors.New("encoder used out of order")

// Encoder makes the shares of one file. EncodeSegment does the heavy work and
// may run for several segments at once; Add takes the results in order and
// must not run at the same time as any other method but EncodeSegment; after
// the last one Finish gives the capability, and then Tail what follows the
// blocks. Of the file only hashes are kept: 32 bytes per block.
type Encoder struct {
	layout Layout
	si     grid.StorageIndex
	cipher *aesctr.Cipher // nil where segments come encrypted
	coder  *erasure.Coder

	crypttext *tagged.Hasher // whole
	segments  []tagged.Hash  // of the ciphertext
	blocks    []tagged.Hash  // N per segment
	known     []byte         // the URI extension block that must come of it, if not nil
	ueb       []byte         // once finished
	crypttree hashtree.Tree
	sharetree hashtree.Tree
}

// NewEncoder starts encoding a file under key.
func NewEncoder(l Layout, key file.Key) (*Encoder, error) {
	e, err := NewCiphertextEncoder(l, key.StorageIndex())
	if err == nil {
		e.cipher = aesctr.New(key)
	}
	return e, err
}

// NewCiphertextEncoder starts encoding a file that somebody else encrypted, of
// which only the name of its shares is known: what EncodeSegment is given is
// ciphertext.
func NewCiphertextEncoder(l Layout, si grid.StorageIndex) (*Encoder, error) {
	coder, err := erasure.New(l.Needed, l.Total)
	if err != nil {
		return nil, err
	}
	return &Encoder{layout: l, si: si, coder: coder, crypttext: tagged.New(tagged.Crypttext)}, nil
}

// NewRepairEncoder starts to make the shares of a file once more, from its
// ciphertext: l and ueb are what a Reader has proven of it. The shares get that
// very block, whatever else an old version wrote into it.
func NewRepairEncoder(l Layout, si grid.StorageIndex, ueb []byte) (*Encoder, error) {
	e, err := NewCiphertextEncoder(l, si)
	if err == nil {
		e.known = ueb
	}
	return e, err
}

// Layout is that of the file.
func (e *Encoder) Layout() Layout { return e.layout }

// StorageIndex names the shares.
func (e *Encoder) StorageIndex() grid.StorageIndex { return e.si }

// Head is the start of every share, up to the first block. It is known
// before anything is encoded.
func (e *Encoder) Head() []byte { return e.layout.Header().Encode() }

// Segment is an encoded segment: N blocks and their hashes. It belongs to
// whoever asked for it, until it is released.
type Segment struct {
	Index  int64
	Blocks [][]byte // one for each share, by share number

	ciphertext []byte // not padded; the same memory as the first blocks
	hash       tagged.Hash
	hashes     []tagged.Hash // of the blocks
	free       func()        // gives the memory back; nil once it has
}

// Release gives the blocks' memory back; they must not be used any more. A
// second call does nothing.
func (s *Segment) Release() {
	if s.free != nil {
		s.free()
	}
	s.free, s.Blocks, s.ciphertext = nil, nil, nil
}

// Ciphertext is the segment as it is encrypted, until it is released.
func (s *Segment) Ciphertext() []byte { return s.ciphertext }

// EncodeSegment encrypts segment i, unless it comes encrypted, codes it and
// hashes its blocks. content is only read. It is safe to call for several
// segments at once.
func (e *Encoder) EncodeSegment(i int64, content []byte) (*Segment, error) {
	if i < 0 || i >= e.layout.NumSegments {
		return nil, fmt.Errorf("%w: segment %d of %d", ErrSize, i, e.layout.NumSegments)
	}
	if want := e.layout.SegmentLen(i); int64(len(content)) != want {
		return nil, fmt.Errorf("%w: segment %d has %d bytes (want %d)", ErrSize, i, len(content), want)
	}
	s := e.newSegment(i)
	if e.cipher != nil {
		e.cipher.XOR(s.ciphertext, content, i*e.layout.SegmentSize)
	} else {
		copy(s.ciphertext, content)
	}
	s.hash = tagged.Sum(tagged.CrypttextSegment, s.ciphertext)
	if err := e.coder.Encode(s.Blocks); err != nil {
		s.Release()
		return nil, fmt.Errorf("segment %d: %w", i, err)
	}
	for _, b := range s.Blocks {
		s.hashes = append(s.hashes, tagged.Sum(tagged.Block, b))
	}
	return s, nil
}

// newSegment cuts a buffer into N blocks; the ciphertext and its padding fill
// the first k, so they need no copying.
func (e *Encoder) newSegment(i int64) *Segment {
	size, n := int(e.layout.BlockLen(i)), e.layout.Total
	buffer, free := SegmentBuffer(size * n)
	s := &Segment{Index: i, free: free}
	length := e.layout.SegmentLen(i)
	s.ciphertext = buffer[:length]
	clear(buffer[length : size*e.layout.Needed])
	for b := range slices.Chunk(buffer, size) {
		s.Blocks = append(s.Blocks, b)
	}
	s.hashes = make([]tagged.Hash, 0, n)
	return s
}

// Add takes the next segment, in order and not yet released, into the hashes.
func (e *Encoder) Add(s *Segment) error {
	if next := int64(len(e.segments)); s.Index != next || s.Blocks == nil {
		return fmt.Errorf("%w: segment %d added (want %d, unreleased)", ErrOrder, s.Index, next)
	}
	e.crypttext.Write(s.ciphertext)
	e.segments = append(e.segments, s.hash)
	e.blocks = append(e.blocks, s.hashes...)
	return nil
}

// Finish returns the verify capability, once all segments were added; with the
// key it is the read capability. An ErrCiphertext says that the file which was
// to be made once more would become another one: its shares disagree.
func (e *Encoder) Finish() (file.CHKVerifier, error) {
	if added := int64(len(e.segments)); added != e.layout.NumSegments {
		return file.CHKVerifier{}, fmt.Errorf("%w: finished after %d of %d segments", ErrOrder, added, e.layout.NumSegments)
	}
	if e.ueb == nil {
		if err := e.close(); err != nil {
			return file.CHKVerifier{}, err
		}
	}
	return file.CHKVerifier{
		StorageIndex: e.si, UEBHash: HashUEB(e.ueb),
		Needed: e.layout.Needed, Total: e.layout.Total, Size: e.layout.Size,
	}, nil
}

func (e *Encoder) close() error {
	roots := make([]tagged.Hash, e.layout.Total)
	for n := range roots {
		fold := hashtree.NewFold()
		for i := n; i < len(e.blocks); i += e.layout.Total {
			fold.Add(e.blocks[i])
		}
		roots[n] = fold.Finish().Root
	}
	e.crypttree, e.sharetree = hashtree.Build(e.segments), hashtree.Build(roots)
	ueb := e.layout.newUEB()
	ueb.CrypttextHash = e.crypttext.Sum()
	ueb.CrypttextRoot = e.crypttree.Root()
	ueb.ShareRoot = e.sharetree.Root()
	if e.known == nil {
		e.ueb = ueb.Encode()
		return nil
	}
	if known, err := ParseUEB(e.known); err != nil || known != ueb {
		return fmt.Errorf("%w: encoded once more it is another one", ErrCiphertext)
	}
	e.ueb = e.known
	return nil
}

// Tail is what follows the blocks in share n: the hash trees, the share hash
// chain and the URI extension block. It is made anew by each call.
func (e *Encoder) Tail(n grid.ShareNum) ([]byte, error) {
	if e.ueb == nil || int(n) >= e.layout.Total {
		return nil, fmt.Errorf("%w: tail of share %d of %d", ErrOrder, n, e.layout.Total)
	}
	b := make([]byte, hashtree.Size(e.layout.NumSegments), e.layout.ShareSize-e.layout.PlaintextTree)
	b = e.crypttree.Append(b)
	leaves := make([]tagged.Hash, 0, e.layout.NumSegments)
	for i := int(n); i < len(e.blocks); i += e.layout.Total {
		leaves = append(leaves, e.blocks[i])
	}
	b = hashtree.Build(leaves).Append(b)
	b = e.sharetree.AppendChain(b, chainOrder(e.layout.Total, int64(n)))
	return append(appendLength(b, e.layout.Version, len(e.ueb)), e.ueb...), nil
}
