package container_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tarn-grid/tarn/file/container"
	"github.com/tarn-grid/tarn/grid"
)

var mutable = container.Share{Mutable: true, Enabler: [32]byte{0: 7, 31: 9}, NodeID: grid.NodeID{0: 1, 19: 2}}

// file is the share with this body in a file.
func file(t testing.TB, s container.Share, body string, ends int64) []byte {
	t.Helper()
	s.Size = int64(len(body))
	var b bytes.Buffer
	if err := container.Write(&b, s, strings.NewReader(body), ends); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read reads all of a file.
func read(b []byte) (s container.Share, body []byte, ends int64, err error) {
	r, err := container.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return s, nil, 0, err
	}
	body, err = io.ReadAll(r)
	if err == nil {
		ends, err = r.Ends()
	}
	return r.Share, body, ends, err
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, s := range []container.Share{{}, mutable} {
		for _, body := range []string{"", "x", strings.Repeat("share", 50_000)} {
			got, back, ends, err := read(file(t, s, body, 1_800_000_000))
			s.Size = int64(len(body))
			if err != nil || got != s || string(back) != body || ends != 1_800_000_000 {
				t.Errorf("%d bytes in %+v: %d bytes in %+v until %d, %v", len(body), s, len(back), got, ends, err)
			}
		}
	}
}

// What is written is what Tahoe-LAFS 1.20 has for such shares, but for the
// secrets of the lease.
func TestGolden(t *testing.T) {
	for body, want := range map[string]string{
		"immutable": "" +
			"00000002" + // version
			"00000009" + // the size, which nobody reads
			"00000001" + // leases
			"696d6d757461626c65" + // the body
			"00000000" + // of the lease: owner
			strings.Repeat("00", 64) + // hashes of secrets to renew and to cancel
			"6b49d200", // end
		"mutable": "" +
			"5461686f65206d757461626c6520636f6e7461696e65722076320a" + // Tahoe mutable container v2
			"c355219925" + // of the hash of that
			"0100000000000000000000000000000000000002" + // node id
			"07000000000000000000000000000000000000000000000000000000000000" + "09" + // write enabler
			"0000000000000007" + // bytes of data
			"00000000000001db" + // where there are more leases
			"00000001" + "6b49d200" + strings.Repeat("00", 64) + "0100000000000000000000000000000000000002" + // lease: owner, end, secrets, node id
			strings.Repeat("00", 3*92) + // free
			"6d757461626c65" + // the body
			"00000000", // more leases
	} {
		s := container.Share{}
		if body == "mutable" {
			s = mutable
		}
		if got := hex.EncodeToString(file(t, s, body, 1_800_000_000)); got != want {
			t.Errorf("%s is\n%s, want\n%s", body, got, want)
		}
	}
}

// Files that Tahoe writes have things that ours have not: several leases, room
// after the data, the first version.
func TestOthersFiles(t *testing.T) {
	one := file(t, container.Share{}, "share", 5)
	lease := one[len(one)-72:]
	several := append(bytes.Clone(one), lease...)
	several[3], several[11] = 1, 2
	binary.BigEndian.PutUint32(several[len(several)-4:], 9)
	if s, body, ends, err := read(several); err != nil || string(body) != "share" || s.Size != 5 || ends != 9 {
		t.Errorf("two leases: %q until %d, %v", body, ends, err)
	}
	none := one[:len(one)-72]
	none[11] = 0
	if _, body, ends, err := read(none); err != nil || string(body) != "share" || ends != 0 {
		t.Errorf("no lease: %q until %d, %v", body, ends, err)
	}

	slots := file(t, mutable, "share", 5)
	roomy := append(bytes.Clone(slots[:468+5]), "old bytes"...)
	binary.BigEndian.PutUint64(roomy[92:], uint64(len(roomy)))
	roomy = append(roomy, 0, 0, 0, 2)
	free := make([]byte, 92) // a free lease's end is none
	binary.BigEndian.PutUint32(free[4:], 1000)
	roomy = append(append(roomy, free...), slots[100:192]...)
	binary.BigEndian.PutUint32(roomy[len(roomy)-88:], 11)
	if s, body, ends, err := read(roomy); err != nil || string(body) != "share" || s.Enabler != mutable.Enabler || ends != 11 {
		t.Errorf("room and more leases: %q until %d, %v", body, ends, err)
	}
}

func TestWhatIsNone(t *testing.T) {
	good, slots := file(t, container.Share{}, "share", 5), file(t, mutable, "share", 5)
	changed := func(b []byte, at int, to ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], to)
		return b
	}
	for name, b := range map[string][]byte{
		"empty":                    {},
		"text":                     []byte(strings.Repeat("Dear reader, ", 100)),
		"another version":          changed(good, 3, 3),
		"too many leases":          changed(good, 8, 0xff, 0xff, 0xff, 0xff),
		"another version of slots": changed(slots, 25, '3'),
		"cut in the header":        slots[:471],
		"data beyond the leases":   changed(slots, 91, 8),
		"leases beyond the end":    changed(slots, 96, 1),
		"leases in the header":     changed(slots, 92, 0, 0, 0, 0, 0, 0, 0, 0),
		"huge":                     changed(slots, 84, bytes.Repeat([]byte{0xff}, 16)...),
		"leases that are not here": changed(slots, len(slots)-1, 1),
		"no write enabler":         changed(slots, 52, make([]byte, 32)...),
	} {
		if _, _, _, err := read(b); !errors.Is(err, container.ErrContainer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A file that is shorter than was said, and one that can't be read.
	for n := range len(slots) {
		r, err := container.NewReader(bytes.NewReader(slots[:n]), int64(len(slots)))
		if err == nil {
			_, err = r.Ends()
		}
		if !errors.Is(err, container.ErrContainer) {
			t.Errorf("%d bytes of %d: %v", n, len(slots), err)
		}
	}
	broken := errors.New("broken disk")
	if _, err := container.NewReader(iotest.ErrReader(broken), 1000); !errors.Is(err, broken) || errors.Is(err, container.ErrContainer) {
		t.Errorf("a disk that fails: %v", err)
	}
}

func TestWriteWantsTheWholeBody(t *testing.T) {
	if err := container.Write(io.Discard, container.Share{Size: 6}, strings.NewReader("share"), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a short body: %v", err)
	}
	if err := container.Write(io.Discard, container.Share{Size: -1}, strings.NewReader(""), 0); !errors.Is(err, container.ErrContainer) {
		t.Errorf("a negative size: %v", err)
	}
}

// FuzzReader: whatever a file holds, it is read in bounds, and what was read is
// written so that it is read again.
func FuzzReader(f *testing.F) {
	f.Add(file(f, container.Share{}, "share", 5))
	f.Add(file(f, mutable, "share", 5))
	f.Add(file(f, mutable, "", 0)[:470])
	f.Add([]byte("Tahoe mutable container v1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, body, ends, err := read(b)
		if err != nil {
			if !errors.Is(err, container.ErrContainer) {
				t.Errorf("%x: %v", b, err)
			}
			return
		}
		if int64(len(body)) != s.Size || len(body) > len(b) {
			t.Fatalf("%x: %d bytes of %d", b, len(body), s.Size)
		}
		again, back, until, err := read(file(t, s, string(body), ends))
		if err != nil || again != s || !bytes.Equal(back, body) || until != ends {
			t.Errorf("%x reads back as %+v, %x until %d, %v", b, again, back, until, err)
		}
	})
}
