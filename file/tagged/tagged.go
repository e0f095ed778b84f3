// Package tagged holds the hash functions that every Tahoe-LAFS format is
// built from: SHA-256 applied twice, over a netstring that names the purpose
// and then the value, so that a hash made for one purpose can never pass for
// another.
//
// Main types: Hash is a result, Hasher computes one from a stream, Sum and
// Pair from values at hand. Netstrings are here because the tag is one.
//
// The functions follow allmydata/util/hashutil.py and netstring.py of
// Tahoe-LAFS 1.20. They are pure; a Hasher belongs to one goroutine.
package tagged

import (
	"crypto/sha256"
	"hash"

	"github.com/tarn-grid/tarn/grid"
)

// Size is the length of a Hash in bytes.
const Size = sha256.Size

// Hash is a tagged SHA-256d hash, 32 bytes.
type Hash [Size]byte

// String is the base32 form, 52 characters.
func (h Hash) String() string { return grid.EncodeBase32(h[:]) }

// Tag names what a hash is for.
type Tag string

// Tags of immutable files and of hash trees.
const (
	KeyToStorageIndex Tag = "allmydata_immutable_key_to_storage_index_v1"
	Block             Tag = "allmydata_encoded_subshare_v1"
	UEB               Tag = "allmydata_uri_extension_v1"
	Crypttext         Tag = "allmydata_crypttext_v1"
	CrypttextSegment  Tag = "allmydata_crypttext_segment_v1"
	MerkleEmptyLeaf   Tag = "Merkle tree empty leaf"
	MerkleInner       Tag = "Merkle tree internal node"
)

// Tags of mutable files and of directories. A key, hashed, gives the next one
// that can do less.
const (
	PrivateKeyToWriteKey    Tag = "allmydata_mutable_privkey_to_writekey_v1"
	PublicKeyToFingerprint  Tag = "allmydata_mutable_pubkey_to_fingerprint_v1"
	WriteKeyToReadKey       Tag = "allmydata_mutable_writekey_to_readkey_v1"
	ReadKeyToStorageIndex   Tag = "allmydata_mutable_readkey_to_storage_index_v1"
	ReadKeyToDataKey        Tag = "allmydata_mutable_readkey_to_datakey_v1"
	WriteKeyToEnablerMaster Tag = "allmydata_mutable_writekey_to_write_enabler_master_v1"
	EnablerMasterToEnabler  Tag = "allmydata_mutable_write_enabler_master_and_nodeid_to_write_enabler_v1"
	ChildCapabilityToSalt   Tag = "allmydata_dirnode_child_rwcap_to_salt_v1"
	WriteKeyToChildKey      Tag = "allmydata_mutable_writekey_and_salt_to_dirnode_child_capkey_v1"
)

// Convergence returns the tag under which a plaintext is hashed to its
// convergent key: the secret and the parameters (the text "k,N,segsize") are
// part of it, so that a different encoding gets a different key.
func Convergence(secret []byte, params string) Tag {
	tag := []byte("allmydata_immutable_content_to_key_with_added_secret_v1+")
	tag = AppendNetstring(tag, secret)
	return Tag(AppendNetstring(tag, []byte(params)))
}

// Hasher computes one tagged hash of a stream. Write never fails.
type Hasher struct{ inner hash.Hash }

// New starts a hash under tag.
func New(tag Tag) *Hasher {
	h := &Hasher{inner: sha256.New()}
	h.inner.Write(AppendNetstring(make([]byte, 0, 128), []byte(tag)))
	return h
}

// Write adds p to the value.
func (h *Hasher) Write(p []byte) (int, error) { return h.inner.Write(p) }

// Sum returns the hash of what was written so far; more may follow.
func (h *Hasher) Sum() Hash {
	var once Hash
	h.inner.Sum(once[:0])
	return sha256.Sum256(once[:])
}

// Sum hashes one value under tag.
func Sum(tag Tag, value []byte) Hash {
	h := New(tag)
	h.inner.Write(value)
	return h.Sum()
}

// Pair hashes two values, each as a netstring, under tag.
func Pair(tag Tag, a, b []byte) Hash {
	buf := make([]byte, 0, 128)
	buf = AppendNetstring(buf, []byte(tag))
	buf = AppendNetstring(buf, a)
	buf = AppendNetstring(buf, b)
	once := sha256.Sum256(buf)
	return sha256.Sum256(once[:])
}
