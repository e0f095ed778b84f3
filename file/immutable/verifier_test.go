package immutable_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// verify streams a share in pieces of the given size.
func verify(num int, share []byte, size, piece int) (tagged.Hash, error) {
	v := immutable.NewShareVerifier(grid.ShareNum(num), int64(size))
	for len(share) > 0 {
		n := min(piece, len(share))
		if _, err := v.Write(share[:n]); err != nil {
			if _, _, again := v.Finish(); again == nil {
				return tagged.Hash{}, nil // shown as an accepted share
			}
			return tagged.Hash{}, err
		}
		share = share[n:]
	}
	hash, _, err := v.Finish()
	return hash, err
}

func TestVerifierTakesTahoesShares(t *testing.T) {
	files, err := filepath.Glob("testdata/tahoe/*.share")
	if err != nil || len(files) == 0 {
		t.Fatalf("no shares (%v)", err)
	}
	for _, name := range files {
		share, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		num, err := strconv.Atoi(strings.Split(filepath.Base(name), ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		proven, err := verify(num, share, len(share), 100)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if claimed, err := immutable.ClaimedUEBHash(bytes.NewReader(share), int64(len(share))); err != nil || claimed != proven {
			t.Errorf("%s claims to be of %v and is of %v (%v)", name, claimed, proven, err)
		}
		if strings.Contains(name, "one-of-two") {
			continue // both shares are the same bytes
		}
		if _, err := verify(num^1, share, len(share), 100); !errors.Is(err, immutable.ErrShare) {
			t.Errorf("%s as share %d: %v", name, num^1, err)
		}
	}
}

// Any share of any shape is taken in pieces of any size; and not with a byte
// changed, cut off or added anywhere. A change within the URI extension block
// may leave a share that agrees with itself, but not with the capability.
func TestVerifierNoticesAnyChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		k := rapid.IntRange(1, n).Draw(t, "k")
		size := rapid.IntRange(1, 800).Draw(t, "size")
		l := layoutOf(t, size, k, n, rapid.Int64Range(1, 900).Draw(t, "segment"))
		if rapid.Bool().Draw(t, "v2") {
			l = l.WithVersion2()
		}
		c, shares := encode(t, l, plaintext(size))
		num := rapid.IntRange(0, n-1).Draw(t, "share")
		share := shares[num]
		piece := rapid.IntRange(1, 300).Draw(t, "piece")
		if hash, err := verify(num, share, len(share), piece); err != nil || hash != c.UEBHash {
			t.Fatalf("a good share: %v", err)
		}
		at := rapid.IntRange(0, len(share)-1).Draw(t, "at")
		bad := bytes.Clone(share)
		bad[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		hash, err := verify(num, bad, len(bad), piece)
		if err == nil && (hash == c.UEBHash || int64(at) < l.UEB) {
			t.Fatalf("byte %d of %d was changed unnoticed", at, len(share))
		}
		for name, bad := range map[string][]byte{"cut": share[:at], "longer": append(bytes.Clone(share), 0)} {
			if _, err := verify(num, bad, len(share), piece); !errors.Is(err, immutable.ErrShare) {
				t.Fatalf("%s, not as announced: %v", name, err)
			}
			if _, err := verify(num, bad, len(bad), piece); !errors.Is(err, immutable.ErrShare) {
				t.Fatalf("%s, as announced: %v", name, err)
			}
		}
	})
}

// What is wrong is said, and what a header gives away is refused at once.
func TestVerifierNamesWhatIsWrong(t *testing.T) {
	l := layoutOf(t, 1000, 2, 3, 400)
	_, shares := encode(t, l, plaintext(1000))
	for name, c := range map[string]struct {
		at   int64
		want string
	}{
		"version":        {3, "unknown version"},
		"block size":     {7, "header"},
		"data size":      {11, "the data has"},
		"data":           {l.Data, "the blocks are not those"},
		"plaintext tree": {l.PlaintextTree, "plaintext hash tree is not zero"},
		"crypttext root": {l.CrypttextTree, "crypttext hash tree is inconsistent"},
		"crypttext leaf": {l.CrypttextTree + 3*32, "crypttext hash tree is inconsistent"},
		"block root":     {l.BlockTree, "block hash tree is inconsistent"},
		"block leaf":     {l.BlockTree + 3*32, "the blocks are not those"},
		"chain index":    {l.ShareHashes + 1, "share hash chain"},
		"chain hash":     {l.ShareHashes + 2, "share hash chain does not lead"},
		"UEB length":     {l.UEB + 3, "its length says"},
		"UEB key":        {l.UEB + 4, "no codec_name"},
	} {
		bad := bytes.Clone(shares[1])
		bad[c.at] ^= 4
		_, err := verify(1, bad, len(bad), len(bad))
		if !errors.Is(err, immutable.ErrShare) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := verify(3, shares[1], len(shares[1]), 50); err == nil || !strings.Contains(err.Error(), "share number 3 of 3") {
		t.Errorf("share 1 as share 3: %v", err)
	}
	for size := range immutable.MaxHeaderSize {
		if _, err := verify(1, shares[1][:size], size, 7); !errors.Is(err, immutable.ErrShare) {
			t.Errorf("a share of %d bytes: %v", size, err)
		}
	}
	v := immutable.NewShareVerifier(1, 1<<50)
	if _, err := v.Write(shares[1][:l.Data]); !errors.Is(err, immutable.ErrHeader) {
		t.Errorf("an absurd tail is taken: %v", err)
	}
}
