package placement

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/grid"
)

func numbered(seeds ...[]byte) []Candidate {
	var out []Candidate
	for i, seed := range seeds {
		out = append(out, Candidate{ID: grid.ServerID{byte(i)}, Seed: seed})
	}
	return out
}

func numbers(servers []Candidate) []int {
	var out []int
	for _, s := range servers {
		out = append(out, int(s.ID[0]))
	}
	return out
}

// The orders are those that Tahoe's test_client.py pins for these seeds.
func TestPermutedOrderIsTahoes(t *testing.T) {
	servers := numbered([]byte("0"), []byte("1"), []byte("2"), []byte("3"), []byte("4"))
	for index, want := range map[string][]int{
		"one": {3, 1, 0, 4, 2},
		"two": {0, 4, 2, 1, 3},
	} {
		if got := numbers(permute([]byte(index), servers)); !slices.Equal(got, want) {
			t.Errorf("index %q: order %v, want %v", index, got, want)
		}
	}
}

// The rank is the one that Tahoe's test_hashutil.py pins.
func TestRankIsTahoes(t *testing.T) {
	seed, err := grid.DecodeBase32("u33m4y7klhz3bypswqkozwetvabelhxt", 20)
	if err != nil {
		t.Fatal(err)
	}
	got := rank([]byte("SI"), seed)
	if text := grid.EncodeBase32(got[:]); text != "kb4354zeeurpo3ze5e275wzbynm6hlap" {
		t.Errorf("rank %s", text)
	}
}

// The order was computed with Python's hashlib: SHA1 of bytes 0 to 15 followed
// by a 32-byte seed.
func TestPermuteUsesTheWholeStorageIndex(t *testing.T) {
	var si grid.StorageIndex
	for i := range si {
		si[i] = byte(i)
	}
	var seeds [][]byte
	for i := range 8 {
		seeds = append(seeds, bytes.Repeat([]byte{byte(i)}, 32))
	}
	want := []int{6, 0, 7, 2, 4, 1, 3, 5}
	if got := numbers(Permute(si, numbered(seeds...))); !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func TestSameSeedFollowsByID(t *testing.T) {
	servers := numbered([]byte("s"), []byte("s"), nil, []byte("s"))
	slices.Reverse(servers)
	before := numbers(servers)
	got := slices.DeleteFunc(numbers(Permute(grid.StorageIndex{}, servers)), func(n int) bool { return n == 2 })
	if !slices.Equal(got, []int{0, 1, 3}) {
		t.Errorf("servers with one seed come as %v", got)
	}
	if !slices.Equal(numbers(servers), before) {
		t.Error("the argument was reordered")
	}
}

func TestPermuteForgetsTheOrderGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		si := grid.StorageIndex(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "index"))
		servers := numbered(rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 0, 2)).Draw(t, "seeds")...)
		shuffled := rapid.Permutation(servers).Draw(t, "shuffled")
		if a, b := numbers(Permute(si, servers)), numbers(Permute(si, shuffled)); !slices.Equal(a, b) {
			t.Fatalf("%v, but shuffled %v", a, b)
		}
	})
}
