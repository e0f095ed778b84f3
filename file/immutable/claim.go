package immutable

import (
	"errors"
	"fmt"
	"io"

	"github.com/tarn-grid/tarn/file/tagged"
)

// ClaimedUEBHash reads from a share's body, of size bytes, the hash of its URI
// extension block. It proves nothing: a share that is what it claims to be is
// seen by ShareVerifier. Errors: ErrHeader, ErrUEB, those of r.
func ClaimedUEBHash(r io.ReaderAt, size int64) (tagged.Hash, error) {
	head := make([]byte, min(MaxHeaderSize, max(size, 0)))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return tagged.Hash{}, err
	}
	h, err := ParseHeader(head)
	if err != nil {
		return tagged.Hash{}, err
	}
	at := h.UEB + uebLengthSize(h.Version)
	if h.UEB < 0 || at < h.UEB || at > size || size-at >= maxUEB {
		return tagged.Hash{}, fmt.Errorf("%w: at %d of %d bytes", ErrUEB, h.UEB, size)
	}
	block := make([]byte, size-at)
	if _, err := r.ReadAt(block, at); err != nil && !errors.Is(err, io.EOF) {
		return tagged.Hash{}, err
	}
	return HashUEB(block), nil
}
