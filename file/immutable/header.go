package immutable

import (
	"encoding/binary"
	"fmt"
)

// maxOffset keeps sums of two offsets within an int64.
const maxOffset = 1 << 61

// Header is the start of a share body as it is written: the version, two
// sizes that readers don't trust, and the offsets of the sections.
type Header struct {
	Version             int
	BlockSize, DataSize int64
	Offsets
}

// Header is the start of every share of this layout.
func (l Layout) Header() Header {
	return Header{l.Version, l.BlockSize, l.DataSize(), l.Offsets}
}

// Size is the length of the header in bytes.
func (h Header) Size() int64 { return headerSize(h.Version) }

// fields are the numbers after the version, in the order of the format.
func (h *Header) fields() []*int64 {
	return []*int64{
		&h.BlockSize, &h.DataSize, &h.Data, &h.PlaintextTree, &h.CrypttextTree,
		&h.BlockTree, &h.ShareHashes, &h.UEB,
	}
}

// Encode writes the header: the version as 32 bits, then eight numbers of 32
// bits (version 1) or 64 (version 2), all big endian.
func (h Header) Encode() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, h.Size()), uint32(h.Version))
	for _, f := range h.fields() {
		if h.Version == version1 {
			b = binary.BigEndian.AppendUint32(b, uint32(*f))
		} else {
			b = binary.BigEndian.AppendUint64(b, uint64(*f))
		}
	}
	return b
}

// ParseHeader reads a header from the start of b. The sections it names are
// in order and don't overlap it; whether they are long enough only the URI
// extension block tells.
func ParseHeader(b []byte) (Header, error) {
	version, err := parseVersion(b)
	if err != nil {
		return Header{}, err
	}
	h := Header{Version: version}
	if int64(len(b)) < h.Size() {
		return Header{}, fmt.Errorf("%w: %d bytes (want %d)", ErrHeader, len(b), h.Size())
	}
	width := (int(h.Size()) - 4) / 8
	for i, f := range h.fields() {
		n := number(b[4+i*width : 4+(i+1)*width])
		if n > maxOffset {
			return Header{}, fmt.Errorf("%w: a number of it is %d", ErrHeader, n)
		}
		*f = int64(n)
	}
	return h, h.checkOrder()
}

func parseVersion(b []byte) (int, error) {
	if len(b) < 4 {
		return 0, fmt.Errorf("%w: %d bytes", ErrHeader, len(b))
	}
	version := binary.BigEndian.Uint32(b)
	if version != version1 && version != version2 {
		return 0, fmt.Errorf("%w: unknown version %d", ErrHeader, version)
	}
	return int(version), nil
}

// number reads 4 or 8 bytes.
func number(b []byte) uint64 {
	if len(b) == 4 {
		return uint64(binary.BigEndian.Uint32(b))
	}
	return binary.BigEndian.Uint64(b)
}

func (h Header) checkOrder() error {
	last := h.Size()
	for _, off := range []int64{h.Data, h.PlaintextTree, h.CrypttextTree, h.BlockTree, h.ShareHashes, h.UEB} {
		if off < last {
			return fmt.Errorf("%w: sections overlap at offset %d", ErrHeader, off)
		}
		last = off
	}
	return nil
}
