package immutable_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/file/immutable"
)

// tahoeUEB is the block at the end of a share that Tahoe made: 1000 bytes, 2
// of 3, segments of 400.
func tahoeUEB(t *testing.T) []byte {
	t.Helper()
	share, err := os.ReadFile("testdata/tahoe/three-segments.0.share")
	if err != nil {
		t.Fatal(err)
	}
	h, err := immutable.ParseHeader(share)
	if err != nil {
		t.Fatal(err)
	}
	return share[h.UEB+4:]
}

func TestUEBIsReadAndWrittenLikeTahoe(t *testing.T) {
	b := tahoeUEB(t)
	u, err := immutable.ParseUEB(b)
	if err != nil {
		t.Fatal(err)
	}
	if u.CodecParams != "400-2-3" || u.TailCodecParams != "200-2-3" || u.Size != 1000 ||
		u.SegmentSize != 400 || u.NumSegments != 3 || u.Needed != 2 || u.Total != 3 {
		t.Errorf("read as %+v", u)
	}
	if !bytes.Equal(u.Encode(), b) {
		t.Errorf("written as %q, want %q", u.Encode(), b)
	}
	if _, err := u.Layout(); err != nil {
		t.Error(err)
	}
	// Old versions wrote more, and order means nothing.
	if again, err := immutable.ParseUEB(append([]byte("plaintext_hash:3:abc,"), b...)); err != nil || again != u {
		t.Errorf("with an unknown key: %+v, %v", again, err)
	}
}

func TestUEBRefusesDamage(t *testing.T) {
	good := string(tahoeUEB(t))
	for name, b := range map[string]string{
		"empty":                "",
		"cut off":              good[:len(good)-1],
		"a key twice":          good + "size:4:1000,",
		"an unknown key twice": good + "x:0,x:0,",
		"no key":               good + ":0:,",
		"a key missing":        strings.Replace(good, "size:4:1000,", "", 1),
		"a number with zero":   strings.Replace(good, "size:4:1000,", "size:5:01000,", 1),
		"a negative number":    strings.Replace(good, "size:4:1000,", "size:5:-1000,", 1),
		"a short hash":         strings.Replace(good, "share_root_hash:32:", "share_root_hash:1:", 1),
		"too long":             good + "x:2000:" + strings.Repeat("x", 2000) + ",",
	} {
		if u, err := immutable.ParseUEB([]byte(b)); !errors.Is(err, immutable.ErrUEB) {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
	}
}

func TestUEBRefusesContradictions(t *testing.T) {
	good, err := immutable.ParseUEB(tahoeUEB(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*immutable.UEB){
		"codec":        func(u *immutable.UEB) { u.CodecName = "xor" },
		"codec params": func(u *immutable.UEB) { u.CodecParams = "400-2-4" },
		"tail params":  func(u *immutable.UEB) { u.TailCodecParams = "201-2-3" },
		"segments":     func(u *immutable.UEB) { u.NumSegments++ },
		"segment size": func(u *immutable.UEB) { u.SegmentSize++ },
		"no segments":  func(u *immutable.UEB) { u.SegmentSize = 0 },
		"size":         func(u *immutable.UEB) { u.Size = 1201 },
		"size 0":       func(u *immutable.UEB) { u.Size = 0 },
		"k":            func(u *immutable.UEB) { u.Needed = 4 },
		"N":            func(u *immutable.UEB) { u.Total = 1 << 32 },
	} {
		u := good
		change(&u)
		if l, err := u.Layout(); !errors.Is(err, immutable.ErrUEB) {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
}
