package immutable_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tarn-grid/tarn/file/immutable"
)

func FuzzUEB(f *testing.F) {
	f.Add(immutable.UEB{CodecName: "crs"}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := immutable.ParseUEB(b)
		if err != nil {
			if !errors.Is(err, immutable.ErrUEB) {
				t.Errorf("%q: %v", b, err)
			}
			return
		}
		if again, err := immutable.ParseUEB(u.Encode()); err != nil || again != u {
			t.Errorf("%+v reads back as %+v (%v)", u, again, err)
		}
		l, err := u.Layout()
		if err == nil && (l.Size != u.Size || l.SegmentSize != u.SegmentSize || l.NumSegments != u.NumSegments) {
			t.Errorf("%+v gives the layout %+v", u, l)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(make([]byte, immutable.MaxHeaderSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := immutable.ParseHeader(b)
		if err != nil {
			if !errors.Is(err, immutable.ErrHeader) {
				t.Errorf("%x: %v", b, err)
			}
			return
		}
		if got := h.Encode(); !bytes.HasPrefix(b, got) {
			t.Errorf("%x reads as %+v, which prints as %x", b, h, got)
		}
	})
}

func FuzzShareHashChain(f *testing.F) {
	f.Add(make([]byte, 34))
	f.Fuzz(func(t *testing.T, b []byte) {
		chain, err := immutable.ParseChain(b)
		if err == nil && len(chain)*34 != len(b) || err != nil && !errors.Is(err, immutable.ErrShare) {
			t.Errorf("%x: %d nodes, %v", b, len(chain), err)
		}
	})
}

// FuzzShare gives whole share bodies to the verifier, in one piece and in
// pieces, which must not make a difference.
func FuzzShare(f *testing.F) {
	f.Add(make([]byte, 100), 7)
	f.Fuzz(func(t *testing.T, share []byte, piece int) {
		whole, errWhole := verify(0, share, len(share), len(share)+1)
		parts, errParts := verify(0, share, len(share), max(piece%100, 1))
		if whole != parts || (errWhole == nil) != (errParts == nil) {
			t.Errorf("whole: %v, in pieces: %v", errWhole, errParts)
		}
	})
}

// FuzzClaimedUEBHash: what a share claims is read in bounds, and is what is
// proven where anything is.
func FuzzClaimedUEBHash(f *testing.F) {
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, share []byte) {
		claimed, err := immutable.ClaimedUEBHash(bytes.NewReader(share), int64(len(share)))
		proven, wrong := verify(0, share, len(share), len(share)+1)
		if wrong == nil && (err != nil || claimed != proven) {
			t.Errorf("%x is of %v and claims to be of %v (%v)", share, proven, claimed, err)
		}
		if err != nil && !errors.Is(err, immutable.ErrHeader) && !errors.Is(err, immutable.ErrUEB) {
			t.Errorf("%x: %v", share, err)
		}
	})
}

func TestFuzzCorporaAreThere(t *testing.T) {
	for _, target := range []string{"FuzzUEB", "FuzzHeader", "FuzzShareHashChain", "FuzzShare", "FuzzClaimedUEBHash"} {
		files, err := filepath.Glob("testdata/fuzz/" + target + "/*")
		if err != nil || len(files) < 2 {
			t.Errorf("%s has %d seeds (%v)", target, len(files), err)
		}
		for _, name := range files {
			if b, err := os.ReadFile(name); err != nil || !bytes.HasPrefix(b, []byte("go test fuzz v1\n")) {
				t.Errorf("%s is not a corpus entry (%v)", name, err)
			}
		}
	}
}
