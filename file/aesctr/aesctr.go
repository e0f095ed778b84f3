// Package aesctr is the cipher of all Tahoe-LAFS formats: AES-128 in counter
// mode, the counter being 128 bits, big endian, from zero on. A key must
// therefore never encrypt two different texts; each format says how it sees to
// that.
//
// Main type: Cipher. It is safe for concurrent use. The format is that of
// allmydata/crypto/aes.py of Tahoe-LAFS 1.20.
package aesctr

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// Cipher encrypts and decrypts under one key, which is the same.
type Cipher struct{ block cipher.Block }

// New returns the cipher of a key.
func New(key [16]byte) *Cipher {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // cannot happen: the key has the length of an AES-128 key
	}
	return &Cipher{block}
}

// XOR writes src, which lies at offset off of the whole text, into dst. Both
// may be the same; dst is at least as long as src.
func (c *Cipher) XOR(dst, src []byte, off int64) {
	var counter [aes.BlockSize]byte
	binary.BigEndian.PutUint64(counter[8:], uint64(off/aes.BlockSize))
	stream := cipher.NewCTR(c.block, counter[:])
	var skip [aes.BlockSize]byte
	stream.XORKeyStream(skip[:off%aes.BlockSize], skip[:off%aes.BlockSize])
	stream.XORKeyStream(dst[:len(src)], src)
}
