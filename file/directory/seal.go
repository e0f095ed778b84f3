package directory

import (
	"crypto/sha256"
	"fmt"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/aesctr"
	"github.com/tarn-grid/tarn/file/tagged"
)

const (
	saltSize = 16
	macSize  = sha256.Size
)

// sealer encrypts the write capabilities of children, for those who can write
// the directory. A missing one is encrypted, too.
type sealer struct{ key file.WriteKey }

// close returns salt, ciphertext and MAC. The salt is a hash of what is
// encrypted, so that the same child looks the same in each version and a key
// never encrypts two texts.
func (s *sealer) close(text []byte) []byte {
	h := tagged.Sum(tagged.ChildCapabilityToSalt, text)
	salt := h[:saltSize]
	key := s.childKey(salt)
	b := append(make([]byte, 0, saltSize+len(text)+macSize), salt...)
	b = append(b, text...)
	aesctr.New(key).XOR(b[saltSize:], text, 0)
	return append(b, mac(key, b)...)
}

// open decrypts. The MAC is not checked, as Tahoe does since its version 1.3:
// the signature of the directory covers the entry.
func (s *sealer) open(b []byte) ([]byte, error) {
	if len(b) < saltSize+macSize {
		return nil, fmt.Errorf("%w: %d bytes in the place of a write capability", ErrEntry, len(b))
	}
	salt, sealed := b[:saltSize], b[saltSize:len(b)-macSize]
	text := make([]byte, len(sealed))
	aesctr.New(s.childKey(salt)).XOR(text, sealed, 0)
	return text, nil
}

func (s *sealer) childKey(salt []byte) [16]byte {
	h := tagged.Pair(tagged.WriteKeyToChildKey, salt, s.key[:])
	return [16]byte(h[:16])
}

// mac is HMAC as Tahoe has it, with pads of 16 bytes instead of 64
// (allmydata/util/hashutil.py).
func mac(key [16]byte, message []byte) []byte {
	var inner, outer [16]byte
	for i, b := range key {
		inner[i], outer[i] = b^0x36, b^0x5c
	}
	first := sha256.Sum256(append(inner[:], message...))
	second := sha256.Sum256(append(outer[:], first[:]...))
	return second[:]
}
