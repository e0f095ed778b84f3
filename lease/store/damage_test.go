package store

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// diskOf is a copy of a folder in memory, all of it durable.
func diskOf(t *testing.T, folder, to string) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	must(t, fs.MkdirAll(to, 0o700))
	must(t, filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := to + strings.TrimPrefix(path, folder)
		if d.IsDir() {
			return fs.MkdirAll(at, 0o700)
		}
		b, err := os.ReadFile(path)
		must(t, err)
		writeFile(t, fs, at, b)
		return nil
	}))
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
}

func writeFile(t *testing.T, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, shareFile)
	must(t, err)
	_, err = f.Write(b)
	must(t, errors.Join(err, f.Sync(), f.Close()))
}

func readFile(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	must(t, err)
	b, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	return b
}

// A power cut at any moment of an upgrade leaves a table that the next start
// brings up to date, with all that was in it, each step taken once.
func TestPowerCutWhileUpgrading(t *testing.T) {
	mark := func(name string) func(*Store) (batch, error) {
		return func(s *Store) (batch, error) {
			b, _, err := s.eng.get(metaKey("test"))
			return batch{{key: metaKey("test"), value: append(b, name...)}}, err
		}
	}
	more := append(append([]func(*Store) (batch, error){}, steps...), mark("a"), mark("b"), mark("c"))
	pictures := 0
	for seed := range uint64(3) {
		for _, percent := range []int{0, 50, 90} {
			fs := diskOf(t, "testdata/format-1", "/store")
			c := &crasher{fs: fs, rng: rand.New(rand.NewPCG(seed, 4)), percent: percent, history: newHistory()}
			s := &Store{fs: errorfs.Wrap(fs, c), dir: "/store", ids: newIDCache(), hot: newHotCache(), lists: newShareLists()}
			must(t, s.open())
			c.arm()
			must(t, s.upgrade(more))
			must(t, s.startFiles())
			must(t, s.Close())
			pictures += len(c.clones)
			for i, clone := range c.clones {
				s := &Store{fs: clone, dir: "/store", ids: newIDCache(), hot: newHotCache(), lists: newShareLists()}
				must(t, s.open())
				found, err := formatOf(s.eng)
				must(t, err)
				must(t, s.upgrade(more))
				must(t, s.startFiles())
				got, _, err := s.eng.get(metaKey("test"))
				must(t, err)
				if now, err := formatOf(s.eng); string(got) != "abc" || now != uint64(len(more))+1 || err != nil {
					t.Errorf("picture %d, of format %d: steps %q were taken, format %d, %v", i, found, got, now, err)
				}
				srv := serve(t, s)
				for _, g := range goldenShares {
					srv.wantContent(g.id, content(g.size))
				}
				if problems := srv.check(false); len(problems) > 0 {
					t.Errorf("picture %d: %q", i, problems)
				}
				must(t, s.Close())
			}
		}
	}
	if pictures < 3*3*4 {
		t.Errorf("%d pictures: the test does not see the syncs", pictures)
	}
}

// Whatever byte of the table's files is wrong, or missing with all after it:
// the table opens with what can be proven, or there is a sentence; nothing
// panics, hangs, or comes back as something else.
func TestDamagedTables(t *testing.T) {
	outcomes := map[string]int{}
	for _, flushed := range []bool{false, true} {
		whole := damageableDisk(t, flushed)
		names, err := whole.List("/store/table")
		must(t, err)
		for _, name := range names {
			size := len(readFile(t, whole, "/store/table/"+name))
			for at := 0; at < size; at += 1 + size/40 {
				for _, cut := range []bool{false, true} {
					fs := whole.CrashClone(vfs.CrashCloneCfg{})
					b := readFile(t, fs, "/store/table/"+name)
					if cut {
						b = b[:at]
					} else {
						b[at] ^= 0x55
					}
					writeFile(t, fs, "/store/table/"+name, b)
					what := fmt.Sprintf("%s, byte %d of %d, cut: %v, flushed: %v", name, at, size, cut, flushed)
					outcomes[openDamaged(t, fs, what)]++
				}
			}
		}
	}
	t.Log(outcomes)
	for _, want := range []string{"opens", "damaged"} {
		if outcomes[want] == 0 {
			t.Errorf("no table %s: %v", want, outcomes)
		}
	}
}

// damageableDisk has a closed store with all kinds of records, in the table's
// log or in its tables.
func damageableDisk(t *testing.T, flushed bool) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	s := filled(t, mustOpen(t, fs, "/store"))
	if flushed {
		must(t, s.eng.(*disk).db.Flush())
		must(t, s.eng.(*disk).db.Compact(t.Context(), []byte{0}, []byte{0xff}, false))
	}
	must(t, s.Close())
	return fs.CrashClone(vfs.CrashCloneCfg{})
}

// openDamaged says what came of it.
func openDamaged(t *testing.T, fs vfs.FS, what string) string {
	t.Helper()
	s, err := Open("/store", Options{FS: fs})
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
			t.Errorf("%s: open says %v", what, err)
		}
		return "damaged"
	}
	defer s.Close()
	for i := range uint32(6) {
		size := 10 + int(i)
		if i%2 == 1 {
			size += SmallShare
		}
		got, err := readShare(s, testShare(i))
		if err == nil && string(got) != string(content(size)) {
			t.Errorf("%s: share %d comes back as something else", what, i)
		}
	}
	if _, _, err := s.Check(false); err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
			t.Errorf("%s: check says %v", what, err)
		}
		return "damaged inside"
	}
	return "opens"
}

// full is a disk that has no room left after so many writes.
type full struct {
	mu      sync.Mutex
	n, room int
}

// MaybeError implements errorfs.Injector.
func (f *full) MaybeError(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpMkdirAll, errorfs.OpReuseForWrite, errorfs.OpFilePreallocate:
	default:
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; f.n > f.room {
		return syscall.ENOSPC
	}
	return nil
}

// String implements errorfs.Injector.
func (f *full) String() string { return "full disk" }

func (f *full) refused() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n > f.room
}

// A store whose disk has no room from some write on opens or says so; it opens
// when there is room again, with everything.
func TestOpenOnAFullDisk(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		whole := damageableDisk(t, flushed)
		for room := 0; ; room++ {
			fs := whole.CrashClone(vfs.CrashCloneCfg{})
			f := &full{room: room}
			s, err := Open("/store", Options{FS: errorfs.Wrap(fs, f)})
			refused := f.refused()
			if refused && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("room for %d writes: %v", room, err)
			}
			srv := serve(t, mustOpen(t, fs.CrashClone(vfs.CrashCloneCfg{}), "/store"))
			if problems := srv.check(false); len(problems) > 0 {
				t.Errorf("room for %d writes: %q", room, problems)
			}
			srv.wantShares(nil)
			if err == nil {
				_ = s.Close() // may find no room in turn
			}
			if !refused {
				break
			}
		}
	}
}
