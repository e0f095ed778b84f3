package mutable

import (
	"fmt"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/hashtree"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// Share is the body of a share cut into its sections, or as many of them as
// were fetched; nil is a section that was not.
type Share struct {
	Header      Header
	PublicKey   []byte // SubjectPublicKeyInfo, DER
	Signature   []byte // RSA-PSS over the prefix
	ShareHashes []byte // the nodes that prove the share to belong to the version
	BlockTree   []byte // over the blocks of the share
	Data        []byte // the blocks
	PrivateKey  []byte // encrypted with the write key
}

// Cut takes a share apart of which b is the first bytes, or all of them.
// Sections that reach past the end of b are nil; they share b's memory.
func Cut(b []byte) (Share, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return Share{}, err
	}
	section := func(s Section) []byte {
		if s.End > int64(len(b)) {
			return nil
		}
		return b[s.Off:s.End:s.End]
	}
	return Share{
		h, section(h.PublicKey), section(h.Signature), section(h.ShareHashes),
		section(h.BlockTree), section(h.Data), section(h.PrivateKey),
	}, nil
}

// VerifyVersion proves that the share's prefix is that of a version of the
// file; an ErrShare if not. It takes some 50 microseconds.
func (s Share) VerifyVersion(c file.Mutable) error {
	if c.MDMF() != (s.Header.Format == MDMF) {
		return fmt.Errorf("%w: of the format %s, which is not the capability's", ErrShare, s.Header.Format)
	}
	return checkSignature(c.Fingerprint, s.Header.Prefix, s.PublicKey, s.Signature)
}

// Verify proves a whole share with the given number: signature, hash chain and
// every block. A capability that can write also proves the private key.
func (s Share) Verify(c file.Mutable, n grid.ShareNum) error {
	if err := s.VerifyVersion(c); err != nil {
		return err
	}
	blocks, err := s.Blocks(n)
	if err != nil {
		return err
	}
	if int64(len(s.Data)) != s.Header.Data.Len() {
		return fmt.Errorf("%w: cut off in its blocks", ErrShare)
	}
	for i := range s.Header.NumSegments() {
		if err := blocks.Check(i, s.Block(i)); err != nil {
			return err
		}
	}
	if !c.Writable() {
		return nil
	}
	if _, err := OpenKey(c, s.PrivateKey); err != nil {
		return fmt.Errorf("%w: %w", ErrShare, err)
	}
	return nil
}

// Block is the block of segment i, once Data is there.
func (s Share) Block(i int64) []byte {
	off := s.Header.blockOffset(i)
	return s.Data[off : off+s.Header.BlockSize(i)]
}

// Blocks proves the whole block hash tree of the share with the given number,
// whose version was verified.
func (s Share) Blocks(n grid.ShareNum) (*Blocks, error) {
	if len(s.BlockTree) < tagged.Size {
		return nil, fmt.Errorf("%w: cut off in its block hash tree", ErrShare)
	}
	blocks, err := NewBlocks(s.Header, n, s.ShareHashes, tagged.Hash(s.BlockTree[:tagged.Size]))
	if err != nil {
		return nil, err
	}
	return blocks, blocks.Add(s.Header.BlockTree, s.BlockTree)
}

// Blocks proves the blocks of one share, of which only the hashes need be
// fetched that lead to them. It belongs to one goroutine.
type Blocks struct {
	header Header
	tree   *hashtree.Partial
}

// NewBlocks starts with the header of the share with the given number, whose
// version was verified, its share hash chain, and the first hash in its block
// tree. They prove each other; an ErrShare if not.
func NewBlocks(h Header, n grid.ShareNum, chain []byte, root tagged.Hash) (*Blocks, error) {
	if int(n) >= h.Total {
		return nil, fmt.Errorf("%w: number %d of %d", ErrShare, n, h.Total)
	}
	nodes, err := hashtree.ParseChain(chain, maxChain/hashtree.ChainEntry)
	if err != nil {
		return nil, fmt.Errorf("%w: its hash chain: %w", ErrShare, err)
	}
	leaf := hashtree.Padded(int64(h.Total)) - 1 + int64(n)
	nodes[leaf] = root
	if err := hashtree.NewPartial(int64(h.Total), h.Root).Add(nodes); err != nil {
		return nil, fmt.Errorf("%w: its hash chain: %w", ErrShare, err)
	}
	return &Blocks{h, hashtree.NewPartial(max(h.NumSegments(), 1), root)}, nil
}

// Missing lists what to fetch of the share so that the block of segment i can
// be checked, beside the block itself.
func (b *Blocks) Missing(i int64) []Section {
	var all []Section
	for _, s := range b.tree.Missing(i) {
		off := b.header.BlockTree.Off + s.First*tagged.Size
		all = append(all, Section{off, off + s.Count*tagged.Size})
	}
	return all
}

// Add takes a part of the block hash tree, at the bounds of hashes.
func (b *Blocks) Add(at Section, data []byte) error {
	first := at.Off - b.header.BlockTree.Off
	if first < 0 || at.End > b.header.BlockTree.End || first%tagged.Size != 0 || at.Len()%tagged.Size != 0 || at.Len() != int64(len(data)) {
		return fmt.Errorf("%w: cut off in its block hash tree", ErrShare)
	}
	nodes := make(map[int64]tagged.Hash, len(data)/tagged.Size)
	for i := first / tagged.Size; len(data) > 0; i++ {
		nodes[i], data = tagged.Hash(data[:tagged.Size]), data[tagged.Size:]
	}
	if err := b.tree.Add(nodes); err != nil {
		return fmt.Errorf("%w: its block hash tree: %w", ErrShare, err)
	}
	return nil
}

// Check tells whether a block is that of segment i, which Missing must want
// nothing for any more.
func (b *Blocks) Check(i int64, block []byte) error {
	want, ok := b.tree.Leaf(i)
	if !ok || i >= b.header.NumSegments() {
		return fmt.Errorf("%w: no hash of block %d is known", ErrShare, i)
	}
	if int64(len(block)) != b.header.BlockSize(i) || tagged.Sum(tagged.Block, block) != want {
		return fmt.Errorf("%w: block %d is damaged", ErrShare, i)
	}
	return nil
}

// Hash is the hash of the block of segment i, if it is known.
func (b *Blocks) Hash(i int64) (tagged.Hash, bool) { return b.tree.Leaf(i) }
