package mutable

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/aesctr"
	"github.com/tarn-grid/tarn/file/tagged"
)

// Key is the key pair of a mutable file: who has it can write. It is safe for
// concurrent use. Forms and derivations: allmydata/crypto/rsa.py and
// mutable/filenode.py of Tahoe-LAFS.
type Key struct {
	private *rsa.PrivateKey
	der     []byte // PKCS #8
	public  []byte // SubjectPublicKeyInfo, DER
	write   file.WriteKey
}

// NewKey takes an RSA key of KeyBits.
func NewKey(private *rsa.PrivateKey) (*Key, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return newKey(private, der)
}

// newKey keeps the text of the key as it was found: the write key is its hash.
func newKey(private *rsa.PrivateKey, der []byte) (*Key, error) {
	if bits := private.N.BitLen(); bits != KeyBits {
		return nil, fmt.Errorf("%w: %d bits (want %d)", ErrKey, bits, KeyBits)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	h := tagged.Sum(tagged.PrivateKeyToWriteKey, der)
	return &Key{private, bytes.Clone(der), public, file.WriteKey(h[:len(file.WriteKey{})])}, nil
}

// ParseKey reads a private key in PKCS #8, DER.
func ParseKey(der []byte) (*Key, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: not an RSA key", ErrKey)
	}
	return newKey(private, der)
}

// ParsePEM reads a private key from a PEM file, as OpenSSL writes them: PKCS #1
// ("RSA PRIVATE KEY") or PKCS #8 ("PRIVATE KEY"), without a passphrase.
func ParsePEM(text []byte) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%w: not a PEM file", ErrKey)
	}
	if block.Type != "RSA PRIVATE KEY" {
		return ParseKey(block.Bytes)
	}
	private, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return NewKey(private)
}

// OpenKey decrypts the private key that shares hold, and wants it to be that of
// the write capability.
func OpenKey(c file.Mutable, encrypted []byte) (*Key, error) {
	write, ok := c.WriteKey()
	if !ok {
		return nil, fmt.Errorf("%w: a capability of the kind %s does not open it", ErrKey, c.Kind())
	}
	der := make([]byte, len(encrypted))
	aesctr.New(write).XOR(der, encrypted, 0)
	if h := tagged.Sum(tagged.PrivateKeyToWriteKey, der); file.WriteKey(h[:len(write)]) != write {
		return nil, fmt.Errorf("%w: it is not the one of the capability", ErrKey)
	}
	k, err := ParseKey(der)
	if err != nil {
		return nil, err
	}
	if k.Fingerprint() != c.Fingerprint {
		return nil, fmt.Errorf("%w: the capability names another public key", ErrKey)
	}
	return k, nil
}

// WriteKey is the secret of the write capability.
func (k *Key) WriteKey() file.WriteKey { return k.write }

// Fingerprint is the hash of the public key, which all capabilities hold.
func (k *Key) Fingerprint() tagged.Hash { return fingerprint(k.public) }

func fingerprint(public []byte) tagged.Hash {
	return tagged.Sum(tagged.PublicKeyToFingerprint, public)
}

// Capability is the write capability of the file that has this key.
func (k *Key) Capability(f Format) file.Mutable {
	return file.NewMutable(f == MDMF, k.write, k.Fingerprint())
}

// PrivateKey is the text of the key that ParseKey reads: PKCS #8, DER.
func (k *Key) PrivateKey() []byte { return bytes.Clone(k.der) }

// PublicKey is the public key as shares hold it: SubjectPublicKeyInfo, DER.
func (k *Key) PublicKey() []byte { return k.public }

// Encrypted is the private key as shares hold it: encrypted with the write key,
// which never encrypts anything else.
func (k *Key) Encrypted() []byte {
	b := make([]byte, len(k.der))
	aesctr.New(k.write).XOR(b, k.der, 0)
	return b
}

var pss = &rsa.PSSOptions{SaltLength: sha256.Size, Hash: crypto.SHA256}

// Sign signs the prefix of a version, with 32 bytes from random. It takes a
// millisecond or two.
func (k *Key) Sign(p Prefix, random io.Reader) ([]byte, error) {
	digest := sha256.Sum256(p.Encode())
	signature, err := rsa.SignPSS(random, k.private, crypto.SHA256, digest[:], pss)
	if err != nil {
		return nil, fmt.Errorf("sign a version: %w", err)
	}
	return signature, nil
}

// checkSignature tells whether the public key is the capability's and the
// prefix was signed with it.
func checkSignature(want tagged.Hash, p Prefix, public, signature []byte) error {
	if fingerprint(public) != want {
		return fmt.Errorf("%w: its public key is not the capability's", ErrShare)
	}
	parsed, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		return fmt.Errorf("%w: public key: %w", ErrShare, err)
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok || key.N.BitLen() != KeyBits {
		return fmt.Errorf("%w: its public key is not an RSA key of %d bits", ErrShare, KeyBits)
	}
	digest := sha256.Sum256(p.Encode())
	if err := rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, pss); err != nil {
		return fmt.Errorf("%w: its signature is not the file's: %w", ErrShare, err)
	}
	return nil
}
