package immutable_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
)

// Segments encoded at the same time, sharing a pool, are those that are
// encoded one by one.
func TestSegmentsCanBeEncodedAtOnce(t *testing.T) {
	l := layoutOf(t, 8000, 3, 10, 500)
	data := plaintext(8000)
	e, err := immutable.NewEncoder(l, file.Key{1})
	if err != nil {
		t.Fatal(err)
	}
	segment := func(i int64) *immutable.Segment {
		off := i * l.SegmentSize
		s, err := e.EncodeSegment(i, data[off:off+l.SegmentLen(i)])
		if err != nil {
			t.Error(err)
			return &immutable.Segment{}
		}
		return s
	}
	want := make([][]byte, l.NumSegments)
	for i := range want {
		want[i] = bytes.Join(segment(int64(i)).Blocks, nil)
	}
	var wg sync.WaitGroup
	for i := range want {
		wg.Go(func() {
			for range 3 {
				s := segment(int64(i))
				if !bytes.Equal(bytes.Join(s.Blocks, nil), want[i]) {
					t.Errorf("segment %d differs", i)
				}
				s.Release()
			}
		})
	}
	wg.Wait()
}

func TestEncoderRefusesMisuse(t *testing.T) {
	l := layoutOf(t, 1000, 2, 3, 400)
	e, err := immutable.NewEncoder(l, file.Key{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		i    int64
		size int
	}{{0, 399}, {0, 401}, {2, 400}, {3, 200}, {-1, 400}} {
		if _, err := e.EncodeSegment(c.i, make([]byte, c.size)); !errors.Is(err, immutable.ErrSize) {
			t.Errorf("segment %d of %d bytes: %v", c.i, c.size, err)
		}
	}
	s, err := e.EncodeSegment(1, make([]byte, 400))
	if err != nil {
		t.Fatal(err)
	}
	_, early := e.Finish()
	_, tail := e.Tail(0)
	outOfOrder := e.Add(s)
	s.Release()
	s.Release()
	for name, err := range map[string]error{"Finish": early, "Tail": tail, "Add": outOfOrder} {
		if !errors.Is(err, immutable.ErrOrder) {
			t.Errorf("%s too early: %v", name, err)
		}
	}
}

// A buffer that served one segment serves another, with nothing of the first
// left in the padding, and never two at once.
func TestBuffersAreReused(t *testing.T) {
	l := layoutOf(t, 401, 3, 5, 300)
	e, err := immutable.NewEncoder(l, file.Key{})
	if err != nil {
		t.Fatal(err)
	}
	encode := func(i int64, text []byte) *immutable.Segment {
		s, err := e.EncodeSegment(i, text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	want := encode(1, make([]byte, 101))
	seen := map[*byte]bool{}
	for range 100 {
		dirt := encode(0, bytes.Repeat([]byte{0xff}, 300))
		if &dirt.Blocks[0][0] == &want.Blocks[0][0] {
			t.Fatal("two segments have one buffer")
		}
		seen[&dirt.Blocks[0][0]] = true
		dirt.Release()
		dirt.Release()
		s := encode(1, make([]byte, 101))
		for n := range want.Blocks {
			if !bytes.Equal(s.Blocks[n], want.Blocks[n]) {
				t.Fatalf("block %d depends on what the buffer held before", n)
			}
		}
		s.Release()
	}
	if len(seen) == 100 {
		t.Error("no buffer is used twice")
	}
}

func TestSegmentBufferFits(t *testing.T) {
	for n := 1; n < 5<<20; n += 1 + n/97 {
		b, release := immutable.SegmentBuffer(n)
		if len(b) != n || cap(b) != n {
			t.Fatalf("%d bytes, capacity %d, where %d were asked for", len(b), cap(b), n)
		}
		release()
	}
	for _, n := range []int{1, 4096, 4097, 1 << 20, 1<<20 + 2, 3495260, 1<<30 - 1, 1 << 30} {
		class, size := immutable.ClassOf(n)
		if size < n || size > max(4608, n+n/8+1) || class < 0 {
			t.Errorf("%d bytes lie in class %d of %d bytes", n, class, size)
		}
		if next, _ := immutable.ClassOf(size + 1); next != class+1 {
			t.Errorf("class %d of %d bytes is followed by %d", class, size, next)
		}
	}
}

func TestKeyHasherRefusesAnotherSize(t *testing.T) {
	l := layoutOf(t, 100, 2, 3, 400)
	h := immutable.NewKeyHasher(l, secret)
	if _, err := h.Write(make([]byte, 99)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Key(); !errors.Is(err, immutable.ErrSize) {
		t.Errorf("99 bytes of 100: %v", err)
	}
	if _, err := h.Write(make([]byte, 2)); !errors.Is(err, immutable.ErrSize) {
		t.Errorf("101 bytes of 100: %v", err)
	}
}

// Whoever has only the ciphertext makes the same shares of it.
func TestCiphertextGivesTheSameShares(t *testing.T) {
	l, key := layoutOf(t, 1300, 3, 5, 600), file.Key{1}
	data := plaintext(1300)
	mine, err := immutable.NewEncoder(l, key)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := immutable.NewCiphertextEncoder(l, key.StorageIndex())
	if err != nil {
		t.Fatal(err)
	}
	for i := range l.NumSegments {
		s, err := mine.EncodeSegment(i, data[i*l.SegmentSize:][:l.SegmentLen(i)])
		if err != nil {
			t.Fatal(err)
		}
		o, err := theirs.EncodeSegment(i, s.Ciphertext())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.Join(s.Blocks, nil), bytes.Join(o.Blocks, nil)) {
			t.Errorf("segment %d differs", i)
		}
		if err := errors.Join(mine.Add(s), theirs.Add(o)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := mine.Finish()
	if err != nil {
		t.Fatal(err)
	}
	got, err := theirs.Finish()
	if err != nil || got != want {
		t.Errorf("the capability is %v, want %v (%v)", got, want, err)
	}
	for n := range grid.ShareNum(5) {
		a, errA := mine.Tail(n)
		b, errB := theirs.Tail(n)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("the tail of share %d differs (%v, %v)", n, errA, errB)
		}
	}
}

func BenchmarkEncodeSegment(b *testing.B) {
	l, err := immutable.NewLayout(1<<30, file.DefaultParams())
	if err != nil {
		b.Fatal(err)
	}
	e, err := immutable.NewEncoder(l, file.Key{1})
	if err != nil {
		b.Fatal(err)
	}
	text := plaintext(int(l.SegmentSize))
	b.SetBytes(l.SegmentSize)
	for b.Loop() {
		s, err := e.EncodeSegment(1, text)
		if err != nil {
			b.Fatal(err)
		}
		s.Release()
	}
}
