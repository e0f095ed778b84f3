package immutable_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
)

// repaired reads the ciphertext from some shares, by the verify capability, and
// makes all shares of it.
func repaired(t *testing.T, c file.CHKVerifier, shares [][]byte, from []int) (file.CHKVerifier, [][]byte, error) {
	t.Helper()
	r, err := immutable.NewCiphertextReader(c)
	if err != nil {
		t.Fatal(err)
	}
	learnLayout(t, r, grid.ShareNum(from[0]), shares[from[0]])
	l, _ := r.Layout()
	e, err := immutable.NewRepairEncoder(l, c.StorageIndex, r.UEB())
	if err != nil {
		t.Fatal(err)
	}
	made := make([][]byte, l.Total)
	for n := range made {
		made[n] = e.Head()
	}
	for i := range l.NumSegments {
		text, _, err := readSegment(r, i, from, shares, l.Needed)
		if err != nil {
			return file.CHKVerifier{}, nil, err
		}
		s, err := e.EncodeSegment(i, text)
		if err != nil {
			t.Fatal(err)
		}
		for n, b := range s.Blocks {
			made[n] = append(made[n], b...)
		}
		if err := e.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Finish(); err != nil {
		return file.CHKVerifier{}, nil, err
	}
	again, made := finish(t, e, file.Key{}, made)
	return again.Verifier(), made, nil
}

// learnLayout fetches of one share what proves the layout.
func learnLayout(t *testing.T, r *immutable.Reader, n grid.ShareNum, share []byte) {
	t.Helper()
	for range maxRounds {
		want, err := r.WantLayout(n)
		if err != nil {
			t.Fatal(err)
		}
		if len(want) == 0 {
			if _, proven := r.Layout(); !proven {
				t.Fatal("nothing is wanted, and nothing is proven")
			}
			return
		}
		for _, w := range want {
			from, to := min(w.Off, int64(len(share))), min(w.End(), int64(len(share)))
			if err := r.Got(n, w, share[from:to]); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Fatal("the layout is never proven")
}

// Whoever has the verify capability alone makes the same shares from any k.
func TestRepairMakesTheSameShares(t *testing.T) {
	for _, g := range goldens(t) {
		if g.version == 2 {
			continue // Tahoe was made to write the longer header: nobody else does
		}
		l := g.layout(t)
		c, shares := encode(t, l, plaintext(g.size))
		var from []int
		for n := range l.Needed {
			from = append(from, l.Total-1-n)
		}
		v, made, err := repaired(t, c.Verifier(), shares, from)
		if err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
		if v.UEBHash != c.UEBHash || !slices.EqualFunc(made, shares, bytes.Equal) {
			t.Errorf("%s: the shares differ", g.name)
		}
	}
}

// withKey adds a key to the URI extension block of all shares, as old versions
// did.
func withKey(c file.CHK, l immutable.Layout, shares [][]byte) file.CHK {
	ueb := append(bytes.Clone(shares[0][l.UEB+4:]), "x_old:3:abc,"...)
	for n := range shares {
		shares[n] = binary.BigEndian.AppendUint32(shares[n][:l.UEB], uint32(len(ueb)))
		shares[n] = append(shares[n], ueb...)
	}
	c.UEBHash = immutable.HashUEB(ueb)
	return c
}

func TestRepairKeepsAnOldBlock(t *testing.T) {
	l := layoutOf(t, 5000, 3, 10, 1000)
	c, shares := encode(t, l, plaintext(5000))
	c = withKey(c, l, shares)
	v, made, err := repaired(t, c.Verifier(), shares, []int{9, 4, 1})
	if err != nil || v.UEBHash != c.UEBHash || !slices.EqualFunc(made, shares, bytes.Equal) {
		t.Errorf("the shares differ: %v", err)
	}
}

// A file whose maker made its shares disagree is not made whole with others.
func TestRepairRefusesWhatIsAnotherFile(t *testing.T) {
	l := layoutOf(t, 5000, 3, 5, 6000)
	e, err := immutable.NewEncoder(l, file.Key{1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.EncodeSegment(0, plaintext(5000))
	if err != nil {
		t.Fatal(err)
	}
	s.Forge(4)
	shares := make([][]byte, l.Total)
	for n, b := range s.Blocks {
		shares[n] = append(e.Head(), b...)
	}
	if err := e.Add(s); err != nil {
		t.Fatal(err)
	}
	c, shares := finish(t, e, file.Key{1}, shares)
	if _, _, err := repaired(t, c.Verifier(), shares, []int{0, 1, 2}); !errors.Is(err, immutable.ErrCiphertext) {
		t.Errorf("repaired from the genuine ones: %v", err)
	}
}
