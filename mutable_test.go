package tarn_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
)

func (g *testGrid) createMutable(content []byte, o tarn.MutableOptions) tarn.MutableResult {
	g.t.Helper()
	r, err := g.client.CreateMutable(g.t.Context(), bytes.NewReader(content), o)
	if err != nil {
		g.t.Fatal(err)
	}
	return r
}

func (g *testGrid) wantMutable(by *tarn.Node, capability string, want []byte) {
	g.t.Helper()
	f, err := by.Open(g.t.Context(), capability)
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	var got bytes.Buffer
	if err := f.WriteRange(&got, 0, f.Size()); err != nil {
		g.t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		g.t.Errorf("read %d bytes, want %d, or they differ", got.Len(), len(want))
	}
}

func someBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b) // never fails
	return b
}

// secondClient is another client with the same account.
func (g *testGrid) secondClient(p file.Params) *tarn.Node {
	g.t.Helper()
	first := g.client
	defer func() { g.client = first }()
	g.client = g.open(tarn.Config{
		Introducers: []tarn.IntroducerRef{g.ref},
		Client:      &tarn.ClientConfig{Params: p, Account: g.account, Convergence: bytes.Repeat([]byte("c"), 16)},
	})
	g.await(len(g.servers))
	return g.client
}

// Files of both formats are made, read by others, and written whole, in part and
// at their end.
func TestMutableFiles(t *testing.T) {
	p := file.Params{Needed: 2, Happy: 3, Total: 4, SegmentSize: 128 << 10}
	g := newGrid(t, 4, p)
	other := g.secondClient(p)
	for _, format := range []tarn.Format{tarn.SDMF, tarn.MDMF} {
		for _, size := range []int{0, 1, 1000, 700_000} {
			content := someBytes(1, size)
			made := g.createMutable(content, tarn.MutableOptions{Format: format})
			if made.Version.Number() != 1 || made.Happiness != 4 || made.Size != int64(size) {
				t.Errorf("made %+v", made)
			}
			g.wantMutable(other, made.Cap, content)
			g.wantMutable(other, made.ReadCap, content)

			content = someBytes(2, size/2+1)
			result, err := other.Overwrite(t.Context(), made.Cap, bytes.NewReader(content))
			if err != nil || result.Version.Number() != 2 {
				t.Fatalf("%s of %d bytes: %+v, %v", format, size, result, err)
			}
			g.wantMutable(g.client, made.ReadCap, content)

			part := someBytes(3, size/3+1)
			off := size * 2 / 3
			result, err = g.client.WriteAt(t.Context(), made.Cap, bytes.NewReader(part), int64(off))
			if err != nil || result.Version.Number() != 3 {
				t.Fatalf("%s of %d bytes: %+v, %v", format, size, result, err)
			}
			content = append(content, make([]byte, max(0, off+len(part)-len(content)))...)
			copy(content[off:], part)
			g.wantMutable(other, made.Cap, content)

			if _, err = g.client.Append(t.Context(), made.Cap, bytes.NewReader([]byte("the end"))); err != nil {
				t.Fatal(err)
			}
			g.wantMutable(other, made.ReadCap, append(content, "the end"...))
			if _, err := other.Overwrite(t.Context(), made.ReadCap, bytes.NewReader(nil)); !errors.Is(err, tarn.ErrReadOnly) {
				t.Errorf("write with a capability that can't: %v", err)
			}
		}
	}
}

// Who writes onto a version that is not the newest any more is told, and what was
// open is not read as something else.
func TestMutableConflict(t *testing.T) {
	p := file.Params{Needed: 2, Happy: 3, Total: 4, SegmentSize: 128 << 10}
	g := newGrid(t, 4, p)
	other := g.secondClient(p)
	made := g.createMutable(someBytes(1, 300_000), tarn.MutableOptions{Format: tarn.MDMF})
	f, err := other.Open(t.Context(), made.Cap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	if _, err := g.client.Overwrite(t.Context(), made.Cap, bytes.NewReader(someBytes(2, 300_000))); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*tarn.Node{g.client, other} {
		if _, err := n.Overwrite(t.Context(), made.Cap, bytes.NewReader(nil), tarn.Onto(made.Version)); !errors.Is(err, tarn.ErrConflict) {
			t.Errorf("write onto an old version: %v", err)
		}
	}
	var got bytes.Buffer
	if err := f.WriteRange(&got, 0, f.Size()); !errors.Is(err, tarn.ErrChanged) {
		t.Errorf("read of %d bytes of an old version: %v", got.Len(), err)
	}
}

// Two writers add to one counter: what it shows is how often they were told that
// they did.
func TestTwoWritersOfACounter(t *testing.T) {
	p := file.Params{Needed: 2, Happy: 3, Total: 4, SegmentSize: 128 << 10}
	g := newGrid(t, 4, p)
	other := g.secondClient(p)
	made := g.createMutable([]byte("0"), tarn.MutableOptions{})
	each := 1000
	if testing.Short() {
		each = 200
	}
	var writers sync.WaitGroup
	acked := make([]int, 2)
	for i, n := range []*tarn.Node{g.client, other} {
		writers.Go(func() {
			for range each {
				_, err := n.Modify(t.Context(), made.Cap, func(old []byte) ([]byte, error) {
					value, err := strconv.Atoi(string(old))
					return []byte(strconv.Itoa(value + 1)), err
				})
				if err == nil {
					acked[i]++
				} else {
					t.Errorf("writer %d: %v", i, err)
				}
			}
		})
	}
	writers.Wait()
	got, _, err := g.client.ReadMutable(t.Context(), made.Cap)
	if want := acked[0] + acked[1]; err != nil || string(got) != strconv.Itoa(want) {
		t.Errorf("the counter shows %s, %v after %d writes", got, err, want)
	}
}

// A large file goes in and out a few segments at a time.
func TestLargeMutableFile(t *testing.T) {
	p := file.Params{Needed: 2, Happy: 3, Total: 4, SegmentSize: 128 << 10}
	g := newGrid(t, 4, p)
	content := someBytes(1, 20<<20)
	made := g.createMutable(content, tarn.MutableOptions{Format: tarn.MDMF})
	g.wantMutable(g.client, made.ReadCap, content)
	other := g.secondClient(p)
	if _, err := other.WriteAt(t.Context(), made.Cap, bytes.NewReader([]byte("in the middle")), 10<<20); err != nil {
		t.Fatal(err)
	}
	copy(content[10<<20:], "in the middle")
	g.wantMutable(g.client, made.Cap, content)
	content = append(someBytes(2, 18<<20), "the end"...)
	for _, n := range []*tarn.Node{other, g.client} {
		result, err := n.Overwrite(t.Context(), made.Cap, bytes.NewReader(content))
		if err != nil || result.Happiness != 4 {
			t.Fatal(result.Happiness, err)
		}
		g.wantMutable(g.client, made.Cap, content)
	}
	usage, _, err := g.client.OwnUsage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range usage {
		if u.Reserved != 0 {
			t.Errorf("%d bytes are still reserved at %s", u.Reserved, u.Server.Short())
		}
	}
}

// A long part is written in several versions, each of which is made of the one
// before: whoever writes in between is not overwritten.
func TestLongParts(t *testing.T) {
	g := newGrid(t, 3, file.Params{Needed: 2, Happy: 2, Total: 3, SegmentSize: 128 << 10})
	n := g.client
	made, err := n.CreateMutable(t.Context(), bytes.NewReader(someBytes(1, 1000)), tarn.MutableOptions{Format: tarn.MDMF})
	if err != nil {
		t.Fatal(err)
	}
	part := someBytes(2, 2*tarn.MaxPart+5)
	want := append(someBytes(1, 1000)[:100:100], part...)
	result, err := n.WriteAt(t.Context(), made.Cap, bytes.NewReader(part), 100)
	if err != nil || result.Version.Number() != 4 || result.Size != int64(len(want)) {
		t.Fatalf("version %d of %d bytes, %v", result.Version.Number(), result.Size, err)
	}
	g.wantMutable(n, made.Cap, want)
	exactly := someBytes(3, tarn.MaxPart)
	if result, err = n.Append(t.Context(), made.Cap, bytes.NewReader(exactly)); err != nil || result.Version.Number() != 5 {
		t.Fatalf("version %d, %v", result.Version.Number(), err)
	}
	want = append(want, exactly...)
	g.wantMutable(n, made.Cap, want)

	between := io.MultiReader(bytes.NewReader(exactly), onRead(func() {
		if _, err := n.Append(t.Context(), made.Cap, strings.NewReader("somebody else's")); err != nil {
			t.Error(err)
		}
	}), strings.NewReader("the rest"))
	if _, err := n.Append(t.Context(), made.Cap, between); !errors.Is(err, tarn.ErrConflict) {
		t.Errorf("somebody wrote in between: %v", err)
	}
	g.wantMutable(n, made.Cap, append(append(want, exactly...), "somebody else's"...))
	if _, err := n.Append(t.Context(), made.Cap, io.MultiReader(bytes.NewReader(exactly), iotest.ErrReader(io.ErrClosedPipe))); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a reader that fails: %v", err)
	}
}

// A file of the format SDMF is overwritten as a whole, however long it may be, and no
// longer.
func TestLongSDMF(t *testing.T) {
	g := newGrid(t, 1, file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 128 << 10})
	n := g.client
	made, err := n.CreateMutable(t.Context(), strings.NewReader("short"), tarn.MutableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	long := someBytes(1, tarn.MaxPart+1<<20)
	if _, err := n.Overwrite(t.Context(), made.Cap, bytes.NewReader(long)); err != nil {
		t.Fatal(err)
	}
	g.wantMutable(n, made.Cap, long)
	changed := append([]byte("changed"), long...)
	if _, err := n.Modify(t.Context(), made.Cap, func([]byte) ([]byte, error) { return changed, nil }); err != nil {
		t.Fatal(err)
	}
	g.wantMutable(n, made.Cap, changed)
	if _, err := n.Overwrite(t.Context(), made.Cap, bytes.NewReader(make([]byte, tarn.MaxModify+1))); err == nil || !strings.Contains(err.Error(), "more than 67108864 bytes") {
		t.Errorf("too long: %v", err)
	}
	g.wantMutable(n, made.Cap, changed)
}

// onRead is called when everything before it was read; it yields nothing.
type onRead func()

func (f onRead) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

// A change that is meant for one version changes no other, and is not begun anew.
func TestChangesOfOneVersion(t *testing.T) {
	p := file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 128 << 10}
	g := newGrid(t, 1, p)
	ctx := t.Context()
	first := g.createMutable([]byte("one"), tarn.MutableOptions{})
	calls := 0
	add := func(old []byte) ([]byte, error) { calls++; return append(old, "+"...), nil }
	second, err := g.client.Modify(ctx, first.Cap, add, tarn.Onto(first.Version))
	if err != nil || calls != 1 {
		t.Fatalf("%v after %d calls", err, calls)
	}
	if _, err := g.client.Modify(ctx, first.Cap, add, tarn.Onto(first.Version)); !errors.Is(err, tarn.ErrConflict) || calls != 1 {
		t.Errorf("onto the version before: %v after %d calls", err, calls)
	}
	slow := func(old []byte) ([]byte, error) { // somebody else is faster
		if _, err := g.client.Overwrite(ctx, first.Cap, bytes.NewReader([]byte("theirs"))); err != nil {
			t.Error(err)
		}
		return add(old)
	}
	if _, err := g.client.Modify(ctx, first.Cap, slow, tarn.Onto(second.Version)); !errors.Is(err, tarn.ErrConflict) || calls != 2 {
		t.Errorf("while another one wrote: %v after %d calls", err, calls)
	}
	g.wantMutable(g.client, first.Cap, []byte("theirs"))

	dir, err := g.client.MakeDirectory(ctx, tarn.MutableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	link := func(name string, onto tarn.Version) error {
		_, err := g.client.Link(ctx, dir.Cap, []tarn.Link{{Name: name, Cap: "URI:LIT:"}}, tarn.Onto(onto))
		return err
	}
	if err := link("a", dir.Version); err != nil {
		t.Error(err)
	}
	if err := link("b", dir.Version); !errors.Is(err, tarn.ErrConflict) {
		t.Errorf("a directory that changed: %v", err)
	}
}

// A part far behind the end of a file is refused, and not made of zero bytes.
func TestFarParts(t *testing.T) {
	p := file.Params{Needed: 2, Happy: 2, Total: 3, SegmentSize: 128 << 10}
	g := newGrid(t, 3, p)
	for _, format := range []tarn.Format{tarn.SDMF, tarn.MDMF} {
		content := []byte("short")
		made := g.createMutable(content, tarn.MutableOptions{Format: format})
		for _, off := range []int64{65 << 20, 1 << 40, file.MaxSize, math.MaxInt64} {
			if _, err := g.client.WriteAt(t.Context(), made.Cap, strings.NewReader("x"), off); !errors.Is(err, mutable.ErrSize) {
				t.Errorf("%s at %d: %v", format, off, err)
			}
		}
		g.wantMutable(g.client, made.Cap, content)
	}
}

// A long SDMF file that is open is fetched once, and stays what it was.
func TestLongSDMFIsFetchedOnce(t *testing.T) {
	g := newGrid(t, 3, file.Params{Needed: 2, Happy: 2, Total: 3, SegmentSize: 128 << 10})
	n := g.client
	content := someBytes(1, 3<<20)
	made, err := n.CreateMutable(t.Context(), bytes.NewReader(content), tarn.MutableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := n.Open(t.Context(), made.ReadCap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // a test
	piece := func(off, length int64) {
		t.Helper()
		var got bytes.Buffer
		if err := f.WriteRange(&got, off, length); err != nil || !bytes.Equal(got.Bytes(), content[off:off+length]) {
			t.Errorf("%d bytes from %d on: %d bytes, %v", length, off, got.Len(), err)
		}
	}
	piece(1<<20, 100)
	if _, err := n.Overwrite(t.Context(), made.Cap, strings.NewReader("new")); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for i := range int64(8) {
		wait.Go(func() { piece(i<<17, 3<<19) })
	}
	wait.Wait()
	piece(0, int64(len(content)))
	piece(int64(len(content)), 0)

	changed, err := n.Open(t.Context(), made.ReadCap)
	if err != nil || changed.Size() != 3 {
		t.Errorf("%v", err)
	}
	_ = changed.Close()
}

// One that was overwritten before anything of it was read can't be read any more.
func TestLongSDMFOverwrittenMeanwhile(t *testing.T) {
	g := newGrid(t, 3, file.Params{Needed: 2, Happy: 2, Total: 3, SegmentSize: 128 << 10})
	n := g.client
	made, err := n.CreateMutable(t.Context(), bytes.NewReader(someBytes(1, 3<<20)), tarn.MutableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := n.Open(t.Context(), made.ReadCap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // a test
	if _, err := n.Overwrite(t.Context(), made.Cap, strings.NewReader("new")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.WriteRange(io.Discard, 5, 100); !errors.Is(err, tarn.ErrChanged) {
			t.Errorf("read of what was overwritten: %v", err)
		}
	}
}

// A part of a large file is written where shares are missing, too: then all of the
// file is made anew.
func TestPartWithSharesMissing(t *testing.T) {
	p := file.Params{Needed: 2, Happy: 3, Total: 4, SegmentSize: 128 << 10}
	g := newGrid(t, 4, p)
	content := someBytes(1, 17<<20+5)
	made := g.createMutable(content, tarn.MutableOptions{Format: tarn.MDMF})
	if err := g.servers[0].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	part := someBytes(2, 300_000)
	for _, off := range []int64{0, 5<<20 + 17, 17 << 20, 18 << 20} {
		result, err := g.client.WriteAt(t.Context(), made.Cap, bytes.NewReader(part), off)
		if err != nil || result.Happiness != 3 {
			t.Fatalf("at %d: happiness %d, %v", off, result.Happiness, err)
		}
		if end := off + int64(len(part)); end > int64(len(content)) {
			content = append(content, make([]byte, end-int64(len(content)))...)
		}
		copy(content[off:], part)
		g.wantMutable(g.client, made.Cap, content)
	}
	if _, err := g.client.Append(t.Context(), made.Cap, strings.NewReader("the end")); err != nil {
		t.Fatal(err)
	}
	g.wantMutable(g.client, made.Cap, append(content, "the end"...))
}

// The repair of a large mutable file tells how far it is, whether its shares are put
// back or written anew.
func TestProgressOfMutableRepair(t *testing.T) {
	g := newGrid(t, 6, file.Params{Needed: 2, Happy: 4, Total: 4, SegmentSize: 128 << 10})
	const size = 17 << 20
	made := g.createMutable(someBytes(1, size), tarn.MutableOptions{Format: tarn.MDMF})
	for range 2 {
		before, err := g.client.Check(t.Context(), made.Cap, tarn.CheckOptions{})
		if err != nil {
			t.Fatal(err)
		}
		g.leave(g.holder(before))
		var told []int64
		r, err := g.client.Repair(t.Context(), made.Cap, tarn.CheckOptions{Progress: func(done, total int64) {
			if total != size {
				t.Errorf("%d of %d", done, total)
			}
			told = append(told, done)
		}})
		if err != nil || r.Pushed == 0 || !r.After.Healthy() || len(told) < 5 || !slices.IsSorted(told) || told[len(told)-1] != size {
			t.Errorf("%d new shares, told %v, %v", r.Pushed, told, err)
		}
	}
}
