package tarn_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
	"github.com/tarn-grid/tarn/file/health"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// ward is a shelf on which things are ill: of what is there, 1 of 3 shares is
// good, and a repair makes them whole.
type ward struct {
	shelf
	mu      sync.Mutex
	ill     map[file.Capability]bool
	refused map[file.Capability]bool // can't be checked
	mended  map[file.Capability]bool // by a repair
	read    map[file.Capability]bool
	checked []string
}

// ReadDirectory fails for one that is ill, and the first time in any case: it may
// be that the repair comes too late for that.
func (w *ward) ReadDirectory(ctx context.Context, c file.Directory, how ...tarn.Option) (*directory.Directory, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := !w.read[c]
	w.read[c] = true
	if w.ill[c] && (first || !w.mended[c]) {
		return nil, fmt.Errorf("%w: only 1", tarn.ErrNotEnoughShares)
	}
	return w.shelf.ReadDirectory(ctx, c, how...)
}

func (w *ward) report(capability string) (tarn.CheckResult, file.Capability, error) {
	c, err := file.Parse(capability)
	if err != nil {
		return tarn.CheckResult{}, nil, err
	}
	w.checked = append(w.checked, capability)
	if w.refused[c] {
		return tarn.CheckResult{}, nil, fmt.Errorf("%w: nobody can", tarn.ErrCap)
	}
	good := 3
	if w.ill[c] && !w.mended[c] {
		good = 1
	}
	r := health.Report{Needed: 2, Happy: 3, Total: 3}
	for i := range good {
		r.Good = append(r.Good, health.Copy{Server: grid.ServerID{byte(i)}, Num: grid.ShareNum(i)})
	}
	return tarn.CheckResult{Report: r}, c, nil
}

func (w *ward) Check(_ context.Context, capability string, o tarn.CheckOptions, _ ...tarn.Option) (tarn.CheckResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o.Progress(40, 100)
	o.Progress(100, 100)
	r, _, err := w.report(capability)
	return r, err
}

func (w *ward) Repair(_ context.Context, capability string, _ tarn.CheckOptions, _ ...tarn.Option) (tarn.RepairResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, c, err := w.report(capability)
	if err != nil {
		return tarn.RepairResult{}, err
	}
	w.mended[c] = true
	after, _, err := w.report(capability)
	return tarn.RepairResult{Before: before, After: after, Attempted: !before.Healthy(), Pushed: 2}, err
}

// newWard has a root with a thousand files, some of which are ill, and two
// directories, the first of which is ill, too.
func newWard(t *testing.T) (w *ward, root, lost file.Directory) {
	t.Helper()
	w = &ward{shelf: shelf{}, ill: map[file.Capability]bool{}, refused: map[file.Capability]bool{}, mended: map[file.Capability]bool{}, read: map[file.Capability]bool{}}
	lost = w.add(t, 2, map[string]file.Capability{"below": stored(200, 7)})
	then := w.add(t, 3, map[string]file.Capability{"then": stored(201, 7), "lit": file.LIT{Data: "x"}})
	children := map[string]file.Capability{"lost": lost, "then": then, "new": file.Unknown{Text: "ro.URI:NEW:x"}}
	for i := range 1000 {
		c := numbered(i)
		children[fmt.Sprintf("f%03d", i)] = c
		w.ill[c] = i%100 == 7
	}
	w.refused[numbered(500)] = true
	root = w.add(t, 1, children)
	w.ill[lost] = true
	return w, root, lost
}

func numbered(i int) file.CHK {
	c := stored(9, 1000)
	binary.BigEndian.PutUint64(c.Key[:], uint64(i))
	return c
}

func paths(list []tarn.Examined) (all []string) {
	for _, e := range list {
		all = append(all, strings.Join(e.Path, "/"))
	}
	return all
}

func unhealthy(list []tarn.Examined) []tarn.Examined {
	return slices.DeleteFunc(slices.Clone(list), tarn.Examined.Healthy)
}

// TestDeepCheck: everything is checked once and told in order; what is lost or
// can't be checked ends nothing.
func TestDeepCheck(t *testing.T) {
	w, root, _ := newWard(t)
	var all []tarn.Examined
	var stats tarn.DeepStats
	var mu sync.Mutex
	objects, bytes := int64(0), int64(0)
	err := tarn.DeepCheck(t.Context(), w, tarn.FoundOf(root), tarn.DeepCheckOptions{
		Walker:   tarn.Walker{Visit: stats.Visit, Enter: stats.Enter},
		Progress: func(o, b int64) { mu.Lock(); defer mu.Unlock(); objects, bytes = max(objects, o), max(bytes, b) },
	}, func(e tarn.Examined) error { all = append(all, e); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1006 || objects != 1006 || bytes != 1004*100 || stats.Files != 1002 || stats.Directories != 3 || len(w.checked) != 1004 {
		t.Errorf("%d objects, %d checked, %d told, %d bytes; %+v", len(all), len(w.checked), objects, bytes, stats)
	}
	if got := paths(all); got[1] != "f000" || got[1000] != "f999" || !slices.Equal(got[1001:], []string{"new", "lost", "then", "then/lit", "then/then"}) {
		t.Errorf("not in order: %q", got[1000:])
	}
	ill := unhealthy(all)
	want := []string{"f007", "f107", "f207", "f307", "f407", "f500", "f507", "f607", "f707", "f807", "f907", "lost"}
	if !slices.Equal(paths(ill), want) {
		t.Errorf("not healthy are %q", paths(ill))
	}
	if e := ill[5]; !errors.Is(e.Failed, tarn.ErrCap) {
		t.Errorf("what can't be checked: %+v", e)
	}
	if e := ill[11]; !errors.Is(e.Unread, tarn.ErrNotEnoughShares) || e.After.Recoverable() || e.Failed != nil {
		t.Errorf("a directory that is lost: %+v", e)
	}
}

// A directory that could not be read is repaired first, and then gone into.
func TestDeepRepair(t *testing.T) {
	w, root, _ := newWard(t)
	var all []tarn.Examined
	err := tarn.DeepCheck(t.Context(), w, tarn.FoundOf(root), tarn.DeepCheckOptions{Repair: true}, func(e tarn.Examined) error { all = append(all, e); return nil })
	if err != nil {
		t.Fatal(err)
	}
	attempted := 0
	for _, e := range all {
		if e.Attempted {
			attempted++
		}
	}
	if got := paths(all); attempted != 11 || len(got) != 1007 || got[1003] != "lost/below" {
		t.Errorf("%d repairs, %q", attempted, got[1000:])
	}
	if ill := unhealthy(all); len(ill) != 1 || ill[0].Failed == nil {
		t.Errorf("not healthy are %q", paths(ill))
	}
}

// What is known to be well is not checked, but gone into; unless it can't be read.
func TestDeepCheckGoesOn(t *testing.T) {
	w, root, lost := newWard(t)
	known := 0
	err := tarn.DeepCheck(t.Context(), w, tarn.FoundOf(root), tarn.DeepCheckOptions{
		Known: func(si grid.StorageIndex) bool { return si != numbered(7).StorageIndex() },
	}, func(e tarn.Examined) error {
		if e.Known {
			known++
		}
		return nil
	})
	if err != nil || known != 1002 || !slices.Equal(w.checked, []string{numbered(7).String(), lost.String()}) {
		t.Errorf("%d known, checked %q, %v", known, w.checked, err)
	}
}

// TestDeepCheckEnds: an error of who is told ends it, and so does the context.
func TestDeepCheckEnds(t *testing.T) {
	w, root, _ := newWard(t)
	enough := errors.New("enough")
	told := 0
	err := tarn.DeepCheck(t.Context(), w, tarn.FoundOf(root), tarn.DeepCheckOptions{}, func(tarn.Examined) error {
		if told++; told == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || told != 3 {
		t.Errorf("told %d, %v", told, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told = 0
	err = tarn.DeepCheck(ctx, w, tarn.FoundOf(root), tarn.DeepCheckOptions{}, func(tarn.Examined) error {
		told++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || told != 1 {
		t.Errorf("told %d, %v", told, err)
	}
	if err := tarn.DeepCheck(ctx, w, tarn.FoundOf(root), tarn.DeepCheckOptions{}, func(tarn.Examined) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("begun after the end: %v", err)
	}
}

// forest is many directories with many files each, made when they are read.
type forest struct{ directories, files int }

func (f forest) ReadDirectory(_ context.Context, c file.Directory, _ ...tarn.Option) (*directory.Directory, error) {
	n := int(c.File.(file.CHK).Size)
	d, err := directory.New(file.Directory{})
	if err != nil {
		return nil, err
	}
	for i := range f.files {
		if err := d.Set(directory.Entry{Name: fmt.Sprint(i), Read: numbered(n*f.files + i)}); err != nil {
			return nil, err
		}
	}
	if n > 0 {
		return d, nil
	}
	for i := range f.directories {
		below := file.Directory{File: file.CHK{Key: file.Key{byte(i), byte(i >> 8), 1}, UEBHash: tagged.Hash{1}, Needed: 3, Total: 10, Size: int64(i + 1)}}
		if err := d.Set(directory.Entry{Name: "d" + fmt.Sprint(i), Read: below}); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// TestWalkIsFrugal: what a walk remembers of each object is a few ten bytes.
func TestWalkIsFrugal(t *testing.T) {
	f := forest{directories: 100, files: 2000}
	root := file.Directory{File: file.CHK{Key: file.Key{9}, UEBHash: tagged.Hash{1}, Needed: 3, Total: 10}}
	before := inUse()
	objects, after := 0, int64(0)
	err := tarn.Walk(t.Context(), f, tarn.FoundOf(root), tarn.Walker{Visit: func(tarn.Visited) error {
		if objects++; objects == 1+100+101*2000 {
			after = inUse()
		}
		return nil
	}})
	if err != nil || after == 0 {
		t.Fatalf("%d objects, %v", objects, err)
	}
	each := float64(after-before) / float64(objects)
	t.Logf("%d objects, %.0f bytes for each", objects, each)
	if each > 100 {
		t.Errorf("%.0f bytes for each object", each)
	}
}

// inUse is what is still needed of the heap, in bytes.
func inUse() int64 {
	runtime.GC()
	return int64(heap())
}
