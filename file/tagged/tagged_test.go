package tagged_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tarn-grid/tarn/file/tagged"
)

func TestHashIsDoubledSHA256OfTaggedValue(t *testing.T) {
	once := sha256.Sum256([]byte("3:tag,value"))
	want := tagged.Hash(sha256.Sum256(once[:]))
	if got := tagged.Sum("tag", []byte("value")); got != want {
		t.Errorf("Sum = %s, want %s", got, want)
	}
	h := tagged.New("tag")
	for _, b := range []byte("value") {
		h.Write([]byte{b})
	}
	if got := h.Sum(); got != want {
		t.Errorf("streamed = %s, want %s", got, want)
	}
	h.Write([]byte("more"))
	if h.Sum() == want {
		t.Error("what is written after Sum is ignored")
	}
	once = sha256.Sum256([]byte("3:tag,1:a,2:bc,"))
	if got := tagged.Pair("tag", []byte("a"), []byte("bc")); got != sha256.Sum256(once[:]) {
		t.Errorf("Pair = %s", got)
	}
}

// The expected values were printed by allmydata.util.hashutil and
// allmydata.hashtree of Tahoe-LAFS 1.20.0.
func TestSameAsTahoe(t *testing.T) {
	for name, c := range map[string]struct {
		got  tagged.Hash
		want string
	}{
		"block hash of 'data'":      {tagged.Sum(tagged.Block, []byte("data")), "gykkopztd4esolccsmm2c4jmvsstaklk5ilfgwi66fwcyv3m4hga"},
		"crypttext segment hash":    {tagged.Sum(tagged.CrypttextSegment, []byte("data")), "5advqnqxytkkklvuc275kqoi2cq6vkzmpi7idxu4cmsqdessssoq"},
		"crypttext hash":            {tagged.Sum(tagged.Crypttext, []byte("data")), "hkloxizfotfxhnycdxmzrvsgaub3wzhreww5n7gs5npfmhy7cfea"},
		"UEB hash":                  {tagged.Sum(tagged.UEB, []byte("data")), "rb6vukwwztnqe6agryytmz5mewydn5mukpmmlnj5mnz7cv6jsdpq"},
		"empty leaf 7":              {tagged.Sum(tagged.MerkleEmptyLeaf, []byte("7")), "dhdhaueartza2amnltbdi7ohyfnp2iqai7zqxub5nxv2qiz3tv6a"},
		"inner node":                {tagged.Pair(tagged.MerkleInner, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)), "fhbndrsrzojqvrcayt563qw42se2ryfosxbk2i3qvapfzfmptdsa"},
		"convergence, secret 'sec'": {tagged.Sum(tagged.Convergence([]byte("sec"), "3,10,131073"), []byte("data")), "kgx4hcjd6xxlkl7t4b4b57fqh7e2mkjxbieyedt232imk37c7qaq"},
	} {
		if c.got.String() != c.want {
			t.Errorf("%s: %s, want %s", name, c.got, c.want)
		}
	}
}

func TestNetstringRefuses(t *testing.T) {
	for _, bad := range []string{
		"", ":", ",", "1", "1:", "1:a", "1:ab", "01:a,", "-1:a,", "+1:a,", " 1:a,", "1 :a,", "2:a,",
		"9999999999:a,", "18446744073709551617:a,", "0x1:a,", "1_0:aaaaaaaaaa,",
	} {
		if v, _, err := tagged.CutNetstring([]byte(bad)); !errors.Is(err, tagged.ErrNetstring) {
			t.Errorf("%q was read as %q (%v)", bad, v, err)
		}
	}
}

var seeds = []string{"0:,", "3:abc,rest", "10:0123456789,", "01:a,", "5:abc", "999999999:,", "1:,,"}

func FuzzNetstring(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		value, rest, err := tagged.CutNetstring(b)
		if err != nil {
			return
		}
		again := append(tagged.AppendNetstring(nil, value), rest...)
		if !bytes.Equal(again, b) {
			t.Errorf("%q reads as %q + %q, which prints as %q", b, value, rest, again)
		}
		if tagged.NetstringLen(len(value)) != len(b)-len(rest) {
			t.Errorf("NetstringLen(%d) = %d", len(value), tagged.NetstringLen(len(value)))
		}
	})
}

func TestFuzzCorpusIsThere(t *testing.T) {
	files, err := filepath.Glob("testdata/fuzz/FuzzNetstring/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no seed corpus (%v)", err)
	}
	for _, name := range files {
		if b, err := os.ReadFile(name); err != nil || !bytes.HasPrefix(b, []byte("go test fuzz v1\n")) {
			t.Errorf("%s is not a corpus entry (%v)", name, err)
		}
	}
}
