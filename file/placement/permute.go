package placement

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // Tahoe's order of servers; nothing secret depends on it
	"slices"

	"github.com/tarn-grid/tarn/grid"
)

// Candidate is a server to be ordered.
type Candidate struct {
	ID grid.ServerID
	// Seed is the server's announced permutation seed, usually the 32 bytes
	// of its key.
	Seed []byte
}

// Permute returns the servers in the order in which shares of a file are
// placed and looked for: by SHA1(storage index || seed), as Tahoe-LAFS does in
// storage_client.py and hashutil.permute_server_hash. Servers with the same
// seed follow by id.
func Permute(si grid.StorageIndex, servers []Candidate) []Candidate {
	return permute(si[:], servers)
}

func permute(index []byte, servers []Candidate) []Candidate {
	ranks := make(map[string][sha1.Size]byte, len(servers))
	for _, s := range servers {
		ranks[string(s.Seed)] = rank(index, s.Seed)
	}
	out := slices.Clone(servers)
	slices.SortFunc(out, func(a, b Candidate) int {
		ra, rb := ranks[string(a.Seed)], ranks[string(b.Seed)]
		if c := bytes.Compare(ra[:], rb[:]); c != 0 {
			return c
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	return out
}

func rank(index, seed []byte) [sha1.Size]byte {
	return sha1.Sum(slices.Concat(index, seed)) //nolint:gosec // as above
}
