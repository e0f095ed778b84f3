package file

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// Key is the AES-128 key of an immutable file, 16 bytes: whoever has it and
// the shares can read the file.
type Key [16]byte

// StorageIndex derives the name of the file's shares from its key. Servers
// know it; it does not give the key away.
func (k Key) StorageIndex() grid.StorageIndex {
	h := tagged.Sum(tagged.KeyToStorageIndex, k[:])
	return grid.StorageIndex(h[:16])
}

// CHK is the read capability of an immutable file:
// URI:CHK:<key, 26>:<UEB hash, 52>:<k>:<N>:<size>.
type CHK struct {
	Key           Key
	UEBHash       tagged.Hash
	Needed, Total int   // k and N
	Size          int64 // bytes, at least 1
}

// String is the capability's text, a secret.
func (c CHK) String() string {
	return joinCHK(KindCHK, c.Key[:], c.UEBHash, c.Needed, c.Total, c.Size)
}

// Kind is KindCHK.
func (CHK) Kind() Kind { return KindCHK }

// Writable is false.
func (CHK) Writable() bool { return false }

// Immutable is true.
func (CHK) Immutable() bool { return true }

// StorageIndex names the file's shares.
func (c CHK) StorageIndex() grid.StorageIndex { return c.Key.StorageIndex() }

// Verifier returns the capability that can check the file's shares but not
// read them.
func (c CHK) Verifier() CHKVerifier {
	return CHKVerifier{c.StorageIndex(), c.UEBHash, c.Needed, c.Total, c.Size}
}

// WithKey returns the capability that can read the file, too.
func (c CHKVerifier) WithKey(k Key) CHK {
	return CHK{k, c.UEBHash, c.Needed, c.Total, c.Size}
}

// CHKVerifier is the verify capability of an immutable file:
// URI:CHK-Verifier:<storage index, 26>:<UEB hash, 52>:<k>:<N>:<size>.
type CHKVerifier struct {
	StorageIndex  grid.StorageIndex
	UEBHash       tagged.Hash
	Needed, Total int   // k and N
	Size          int64 // bytes, at least 1
}

// String is the capability's text.
func (c CHKVerifier) String() string {
	return joinCHK(KindCHKVerifier, c.StorageIndex[:], c.UEBHash, c.Needed, c.Total, c.Size)
}

// Kind is KindCHKVerifier.
func (CHKVerifier) Kind() Kind { return KindCHKVerifier }

// Writable is false.
func (CHKVerifier) Writable() bool { return false }

// Immutable is true.
func (CHKVerifier) Immutable() bool { return true }

func joinCHK(kind Kind, id []byte, ueb tagged.Hash, needed, total int, size int64) string {
	return fmt.Sprintf("%s%s:%s:%s:%d:%d:%d", uriPrefix, kind, grid.EncodeBase32(id), ueb, needed, total, size)
}

func parseCHK(fields string) (Capability, error) {
	id, v, err := cutCHK(KindCHK, fields)
	if err != nil {
		return nil, err
	}
	return CHK{Key(id), v.UEBHash, v.Needed, v.Total, v.Size}, nil
}

func parseCHKVerifier(fields string) (Capability, error) {
	id, v, err := cutCHK(KindCHKVerifier, fields)
	if err != nil {
		return nil, err
	}
	v.StorageIndex = id
	return v, nil
}

// cutCHK reads the five fields that both kinds have; what the first is, the
// caller knows.
func cutCHK(kind Kind, fields string) (id [16]byte, v CHKVerifier, err error) {
	parts := strings.Split(fields, ":")
	if len(parts) != 5 {
		return id, v, fmt.Errorf("%w: %s has %d fields (want 5)", ErrMalformed, kind, len(parts))
	}
	if id, v.UEBHash, err = cutSecretAndHash(kind, parts[0], parts[1]); err != nil {
		return id, v, err
	}
	needed, errNeeded := parseNumber(parts[2], grid.MaxShares)
	total, errTotal := parseNumber(parts[3], grid.MaxShares)
	if errNeeded != nil || errTotal != nil || needed > total {
		return id, v, fmt.Errorf("%w: %s with k of N that are not 1 <= k <= N <= %d", ErrMalformed, kind, grid.MaxShares)
	}
	if v.Size, err = parseNumber(parts[4], MaxSize); err != nil {
		return id, v, fmt.Errorf("%w: %s with a size that is not 1 to %d bytes", ErrMalformed, kind, MaxSize)
	}
	v.Needed, v.Total = int(needed), int(total)
	return id, v, nil
}

func parseNumber(s string, most int64) (int64, error) {
	n, err := tagged.ParseDecimal([]byte(s))
	if err != nil {
		return 0, err
	}
	if n < 1 || n > most {
		return 0, strconv.ErrRange
	}
	return n, nil
}

// cutSecretAndHash reads the two binary fields that all stored kinds begin
// with. What is wrong is told without repeating the text, which is secret.
func cutSecretAndHash(kind Kind, id, hash string) (secret [16]byte, h tagged.Hash, err error) {
	b, err := grid.DecodeBase32(id, len(secret))
	if err != nil {
		return secret, h, fmt.Errorf("%w: first field of %s: %w", ErrMalformed, kind, err)
	}
	sum, err := grid.DecodeBase32(hash, tagged.Size)
	if err != nil {
		return secret, h, fmt.Errorf("%w: second field of %s: %w", ErrMalformed, kind, err)
	}
	return [16]byte(b), tagged.Hash(sum), nil
}
