package mutable

import (
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/hashtree"
)

// Bounds of what is read and written. All lengths are in bytes.
const (
	// MaxTotal is the most shares that a file can have: a share's header has
	// one byte for it.
	MaxTotal = 255
	// MaxSDMFSize is the longest SDMF file, which is one segment.
	MaxSDMFSize = file.MaxSegmentSize
	// DefaultSegmentSize is that of MDMF files; it is rounded up to a multiple
	// of the shares that are needed.
	DefaultSegmentSize = 128 << 10
	// KeyBits is the length of every key.
	KeyBits = 2048
	// SaltSize is the length of a salt.
	SaltSize = 16

	signatureSize = KeyBits / 8
	// What a share holds at most of the parts whose length varies.
	maxPublicKey  = 512
	maxPrivateKey = 2048
	maxChain      = 8 * hashtree.ChainEntry
)

// The places that MDMF shares have for them; the blocks follow.
const (
	mdmfPrivateKeySpace = 1220
	mdmfSignatureSpace  = 260
	mdmfPublicKeySpace  = 292
	mdmfChainSpace      = 8 * hashtree.ChainEntry
	mdmfData            = mdmfHeaderSize + mdmfPrivateKeySpace + mdmfSignatureSpace + mdmfPublicKeySpace + mdmfChainSpace
)
