package mutable

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/hashtree"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// Lengths of what a share begins with, in bytes.
const (
	sdmfPrefixSize = 75
	mdmfPrefixSize = 59
	sdmfHeaderSize = sdmfPrefixSize + 4*4 + 2*8
	mdmfHeaderSize = mdmfPrefixSize + 8*8

	// MaxHeaderSize is the longest header of a share.
	MaxHeaderSize = mdmfHeaderSize
)

// Prefix is what the signature of a version covers. All shares of a version
// have the same, and two versions are the same if their prefixes are equal.
type Prefix struct {
	Layout
	Seqnum uint64         // 1 in the first version
	Root   tagged.Hash    // of the tree over the shares
	Salt   [SaltSize]byte // of the one segment, SDMF only
}

// Compare orders versions: the later one is greater, and of two with the same
// sequence number, which writers made that did not know of each other, the one
// with the greater root, so that all readers choose alike.
func (p Prefix) Compare(q Prefix) int {
	return cmp.Or(cmp.Compare(p.Seqnum, q.Seqnum), bytes.Compare(p.Root[:], q.Root[:]))
}

// Name is what people call the version: seq5-k7qs, its sequence number and the
// beginning of its root, as in Tahoe-LAFS.
func (p Prefix) Name() string {
	return fmt.Sprintf("seq%d-%s", p.Seqnum, grid.EncodeBase32(p.Root[:])[:4])
}

// Encode writes the signed bytes: version, sequence number, root, in SDMF the
// salt, k, N, segment size, size of the file, big endian.
func (p Prefix) Encode() []byte {
	b := p.Checkstring()
	b = append(b, byte(p.Needed), byte(p.Total))
	b = binary.BigEndian.AppendUint64(b, uint64(p.SegmentSize))
	return binary.BigEndian.AppendUint64(b, uint64(p.Size))
}

// Checkstring is the start of the prefix up to the root or salt. Whoever
// changes a share has the server compare it, so that no version is overwritten
// that he did not see.
func (p Prefix) Checkstring() []byte {
	b := append(make([]byte, 0, MaxHeaderSize), byte(p.Format))
	b = binary.BigEndian.AppendUint64(b, p.Seqnum)
	b = append(b, p.Root[:]...)
	if p.Format == SDMF {
		b = append(b, p.Salt[:]...)
	}
	return b
}

// Section is a run of bytes [Off, End) of a share.
type Section struct{ Off, End int64 }

// Len is the length of the section.
func (s Section) Len() int64 { return s.End - s.Off }

// Header is the start of a share: the prefix and where the sections lie.
type Header struct {
	Prefix
	PublicKey, Signature, ShareHashes, BlockTree, Data, PrivateKey Section
}

// newHeader places the sections of a share.
func newHeader(p Prefix, public, signature, chain, private int) Header {
	h := Header{Prefix: p}
	at := h.headerSize()
	place := func(s *Section, size int64) {
		*s = Section{at, at + size}
		at += size
	}
	tree := hashtree.Size(p.NumSegments())
	if p.Format == SDMF {
		place(&h.PublicKey, int64(public))
		place(&h.Signature, int64(signature))
		place(&h.ShareHashes, int64(chain))
		place(&h.BlockTree, tree)
		place(&h.Data, p.dataSize())
		place(&h.PrivateKey, int64(private))
		return h
	}
	place(&h.PrivateKey, int64(private))
	place(&h.ShareHashes, int64(chain))
	place(&h.Signature, int64(signature))
	place(&h.PublicKey, int64(public))
	at = mdmfData
	place(&h.Data, p.dataSize())
	place(&h.BlockTree, tree)
	return h
}

func (p Prefix) headerSize() int64 {
	if p.Format == SDMF {
		return sdmfHeaderSize
	}
	return mdmfHeaderSize
}

// Size is the length of the share.
func (h Header) Size() int64 { return max(h.PrivateKey.End, h.BlockTree.End) }

// Block is where the block of segment i lies.
func (h Header) Block(i int64) Section {
	off := h.Data.Off + h.blockOffset(i)
	return Section{off, off + h.BlockSize(i)}
}

// offsets are the numbers after the prefix, in the order of the format. Where
// one section ends the next begins, but for the gap in MDMF.
func (h *Header) offsets() []*int64 {
	if h.Format == SDMF {
		return []*int64{&h.Signature.Off, &h.ShareHashes.Off, &h.BlockTree.Off, &h.Data.Off, &h.PrivateKey.Off, &h.PrivateKey.End}
	}
	return []*int64{
		&h.PrivateKey.Off, &h.ShareHashes.Off, &h.Signature.Off, &h.PublicKey.Off, &h.PublicKey.End,
		&h.Data.Off, &h.BlockTree.Off, &h.BlockTree.End,
	}
}

// wide tells whether offset number i has 64 bits.
func (h *Header) wide(i int) bool { return h.Format == MDMF || i >= 4 }

// Encode writes the header.
func (h Header) Encode() []byte {
	b := h.Prefix.Encode()
	for i, off := range h.offsets() {
		if h.wide(i) {
			b = binary.BigEndian.AppendUint64(b, uint64(*off))
		} else {
			b = binary.BigEndian.AppendUint32(b, uint32(*off))
		}
	}
	return b
}

// ParseHeader reads a header from the start of b, which should have
// MaxHeaderSize bytes if the share has as many. The sections that it names are
// in order and as long as the prefix wants them; that the prefix is genuine
// only the signature tells.
func ParseHeader(b []byte) (Header, error) {
	p, rest, err := parsePrefix(b)
	if err != nil {
		return Header{}, err
	}
	h := Header{Prefix: p}
	if int64(len(b)) < h.headerSize() {
		return Header{}, fmt.Errorf("%w: a header of %d bytes (want %d)", ErrShare, len(b), h.headerSize())
	}
	for i, off := range h.offsets() {
		width := 4
		if h.wide(i) {
			width = 8
		}
		n := number(rest[:width])
		if n > maxOffset {
			return Header{}, fmt.Errorf("%w: offset %d in its header", ErrShare, n)
		}
		*off, rest = int64(n), rest[width:]
	}
	h.closeSections()
	return h, h.checkSections()
}

// maxOffset keeps sums of two offsets within an int64.
const maxOffset = 1 << 61

func number(b []byte) uint64 {
	if len(b) == 4 {
		return uint64(binary.BigEndian.Uint32(b))
	}
	return binary.BigEndian.Uint64(b)
}

func parsePrefix(b []byte) (p Prefix, rest []byte, err error) {
	if len(b) == 0 || b[0] > byte(MDMF) {
		return p, nil, fmt.Errorf("%w: of neither of the formats", ErrShare)
	}
	p.Format = Format(b[0])
	size := mdmfPrefixSize
	if p.Format == SDMF {
		size = sdmfPrefixSize
	}
	if len(b) < size {
		return p, nil, fmt.Errorf("%w: a header of %d bytes", ErrShare, len(b))
	}
	p.Seqnum = binary.BigEndian.Uint64(b[1:])
	at := b[9:]
	at = at[copy(p.Root[:], at):]
	if p.Format == SDMF {
		at = at[copy(p.Salt[:], at):]
	}
	p.Needed, p.Total = int(at[0]), int(at[1])
	segment, length := binary.BigEndian.Uint64(at[2:]), binary.BigEndian.Uint64(at[10:])
	if segment > 2*uint64(file.MaxSegmentSize) || length > uint64(file.MaxSize) {
		return p, nil, fmt.Errorf("%w: %d bytes in segments of %d", ErrShare, length, segment)
	}
	p.SegmentSize, p.Size = int64(segment), int64(length)
	if err := p.validate(); err != nil {
		return p, nil, fmt.Errorf("%w: %w", ErrShare, err)
	}
	return p, b[size:], nil
}

// closeSections sets the ends that the format does not write.
func (h *Header) closeSections() {
	if h.Format == SDMF {
		h.PublicKey = Section{sdmfHeaderSize, h.Signature.Off}
		h.Signature.End, h.ShareHashes.End = h.ShareHashes.Off, h.BlockTree.Off
		h.BlockTree.End, h.Data.End = h.Data.Off, h.PrivateKey.Off
		return
	}
	h.PrivateKey.End, h.ShareHashes.End = h.ShareHashes.Off, h.Signature.Off
	h.Signature.End, h.Data.End = h.PublicKey.Off, h.BlockTree.Off
}

func (h *Header) checkSections() error {
	tree := hashtree.Size(h.NumSegments())
	for _, s := range []struct {
		name        string
		at          Section
		least, most int64
	}{
		{"public key", h.PublicKey, 0, maxPublicKey},
		{"signature", h.Signature, 0, 2 * signatureSize},
		{"share hash chain", h.ShareHashes, 0, maxChain},
		{"block hash tree", h.BlockTree, tree, tree},
		{"blocks", h.Data, h.dataSize(), h.dataSize()},
		{"private key", h.PrivateKey, 0, maxPrivateKey},
	} {
		if s.at.Off < h.headerSize() || s.at.Len() < s.least || s.at.Len() > s.most {
			return fmt.Errorf("%w: its %s lies at %d to %d", ErrShare, s.name, s.at.Off, s.at.End)
		}
	}
	if h.Format == MDMF && h.Data.Off < h.PublicKey.End {
		return fmt.Errorf("%w: its sections overlap", ErrShare)
	}
	return nil
}
