package immutable

import (
	"fmt"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/tagged"
)

// KeyHasher derives the convergent key of a plaintext that is written to it:
// the same secret, parameters and plaintext give the same key. Whoever knows
// the secret can test whether somebody stores a file that he can guess.
type KeyHasher struct {
	hasher  *tagged.Hasher
	size    int64
	written int64
}

// NewKeyHasher starts with the layout of the file, which says its size, and
// the convergence secret.
func NewKeyHasher(l Layout, secret []byte) *KeyHasher {
	params := fmt.Sprintf("%d,%d,%d", l.Needed, l.Total, l.SegmentSize)
	return &KeyHasher{hasher: tagged.New(tagged.Convergence(secret, params)), size: l.Size}
}

// Write takes the next bytes of the plaintext; more than its size are
// refused.
func (h *KeyHasher) Write(p []byte) (int, error) {
	if int64(len(p)) > h.size-h.written {
		return 0, fmt.Errorf("%w: more than the %d bytes that were announced", ErrSize, h.size)
	}
	h.written += int64(len(p))
	return h.hasher.Write(p)
}

// Key is the key, once the whole plaintext was written.
func (h *KeyHasher) Key() (file.Key, error) {
	if h.written != h.size {
		return file.Key{}, fmt.Errorf("%w: %d bytes of the %d that were announced", ErrSize, h.written, h.size)
	}
	sum := h.hasher.Sum()
	return file.Key(sum[:len(file.Key{})]), nil
}
