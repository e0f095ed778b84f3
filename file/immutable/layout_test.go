package immutable_test

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
)

// The numbers were computed by allmydata.immutable.layout of Tahoe-LAFS
// 1.20.0: make_write_bucket_proxy(...)._offset_data and get_allocated_size.
func TestLayoutOfHugeFilesIsTahoes(t *testing.T) {
	for _, c := range []struct {
		size          int64
		k, n          int
		segment       int64
		version       int
		shareSize     int64
		plaintextTree int64
		ueb           int64
	}{
		{1000, 3, 10, 1048576, 1, 956, 370, 636},
		{4294967296, 3, 10, 1048576, 1, 1432442649, 1431655802, 1432442308},
		{4294967296, 1, 1, 1048576, 2, 4295754076, 4294967364, 4295753734},
		{4294967295, 1, 2, 1048576, 2, 4295754109, 4294967363, 4295753767},
		{4293667296, 1, 2, 1048576, 1, 4294454073, 4293667332, 4294453736},
		{12884901888, 3, 10, 131072, 2, 4320133605, 4294967364, 4320133262},
		{13958643712, 3, 10, 131072, 2, 4678047548, 4652881306, 4678047204},
		{35184372088832, 71, 255, 1048576, 2, 501996988042, 495554536531, 501996987685},
		{1125899906842624, 256, 256, 268435456, 2, 4398851818119, 4398046511172, 4398851817750},
	} {
		l, err := immutable.NewLayout(c.size, file.Params{Needed: c.k, Total: c.n, SegmentSize: c.segment})
		if err != nil {
			t.Fatal(err)
		}
		if l.Version != c.version || l.ShareSize != c.shareSize || l.PlaintextTree != c.plaintextTree || l.UEB != c.ueb {
			t.Errorf("%d bytes, %d of %d: %+v, want %+v", c.size, c.k, c.n, l, c)
		}
		h, err := immutable.ParseHeader(l.Header().Encode())
		if err != nil || h != l.Header() {
			t.Errorf("%d bytes: header reads as %+v (%v)", c.size, h, err)
		}
	}
}

// Segments and blocks cover the file, whatever the numbers.
func TestLayoutCoversTheFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 256).Draw(t, "n")
		k := rapid.IntRange(1, n).Draw(t, "k")
		size := rapid.Int64Range(1, file.MaxSize).Draw(t, "size")
		segment := rapid.Int64Range(1, file.MaxSegmentSize).Draw(t, "segment")
		l, err := immutable.NewLayout(size, file.Params{Needed: k, Total: n, SegmentSize: segment})
		if err != nil {
			t.Fatal(err)
		}
		last := l.NumSegments - 1
		if last*l.SegmentSize+l.SegmentLen(last) != size || l.SegmentLen(last) < 1 || l.SegmentSize%int64(k) != 0 {
			t.Fatalf("segments of %d, %d of them, the last of %d", l.SegmentSize, l.NumSegments, l.SegmentLen(last))
		}
		if end := l.BlockRange(last).End(); end != l.PlaintextTree || l.DataSize() != (size+int64(k)-1)/int64(k) {
			t.Fatalf("blocks end at %d, the data at %d, %d bytes long", end, l.PlaintextTree, l.DataSize())
		}
		if l.SegmentOf(size-1) != last || l.SegmentOf(0) != 0 {
			t.Fatal("the last byte isn't in the last segment")
		}
		if (l.Version == 1) != (l.UEB <= math.MaxUint32) {
			t.Fatalf("version %d for offsets up to %d", l.Version, l.UEB)
		}
	})
}

func TestLayoutRefuses(t *testing.T) {
	ok := file.DefaultParams()
	for _, size := range []int64{0, -1, file.MaxSize + 1, math.MaxInt64} {
		if _, err := immutable.NewLayout(size, ok); !errors.Is(err, immutable.ErrSize) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if _, err := immutable.NewLayout(1, file.Params{Needed: 4, Total: 3, SegmentSize: 1}); !errors.Is(err, file.ErrParams) {
		t.Errorf("4 of 3: %v", err)
	}
}
