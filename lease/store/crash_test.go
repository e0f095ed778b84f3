package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tarn-grid/tarn/lease"
)

// history is what a test server acknowledged, and what it asked for.
type history struct {
	mu sync.Mutex
	facts
}

type facts struct {
	acked map[lease.ShareID]int  // uploads whose Wait returned nil, and their sizes
	gone  map[lease.ShareID]bool // shares whose expiry was asked for
}

func newHistory() *history {
	return &history{facts: facts{acked: map[lease.ShareID]int{}, gone: map[lease.ShareID]bool{}}}
}

func (h *history) snapshot() facts {
	h.mu.Lock()
	defer h.mu.Unlock()
	return facts{acked: maps.Clone(h.acked), gone: maps.Clone(h.gone)}
}

// work uploads shares of both kinds, lets some expire and deletes them, until
// something fails. It waits for nothing in order, as the executor does not.
func work(s *Store, h *history, rng *rand.Rand) error {
	l := lease.NewLedger(s, policy)
	if err := applied(s)(l.PutRoots(lease.Root{Key: testKey(1)})); err != nil {
		return err
	}
	for i := range uint32(12) {
		size := rng.IntN(2 * SmallShare)
		g := own(1)
		if i%3 == 0 {
			g = under(1, 2, byte(i%2))
		}
		if err := uploadOne(s, l, g, testShare(i), content(size)); err != nil {
			return err
		}
		h.mu.Lock()
		h.acked[testShare(i)] = size
		h.mu.Unlock()
		if i%4 == 3 {
			if err := dropOne(s, l, h, lease.LeaseID{Column: g.Column(), Share: testShare(i)}); err != nil {
				return err
			}
		}
	}
	return nil
}

func applied(s *Store) func(lease.Change, error) error {
	return func(c lease.Change, err error) error {
		if err != nil {
			return err
		}
		commit, err := s.Apply(c)
		if err != nil {
			return err
		}
		return commit.Wait()
	}
}

func uploadOne(s *Store, l *lease.Ledger, g lease.Grant, id lease.ShareID, b []byte) error {
	if _, err := l.Reserve(start, g, id, int64(len(b)), lease.NoLimit); err != nil {
		return err
	}
	body := lease.Body{Size: int64(len(b)), Inline: b}
	if len(b) > SmallShare {
		in, err := s.Incoming()
		if err != nil {
			return err
		}
		if _, err := in.WriteAt(b, 0); err != nil {
			return errors.Join(err, in.Discard())
		}
		if body.File, err = in.Seal(); err != nil {
			return err
		}
		body.Inline = nil
	}
	change, _, err := l.Commit(start, g.Column(), id, body)
	return applied(s)(change, err)
}

func dropOne(s *Store, l *lease.Ledger, h *history, id lease.LeaseID) error {
	h.mu.Lock()
	h.gone[id.Share] = true
	h.mu.Unlock()
	change, going, err := l.Drop([]lease.LeaseID{id})
	if err := applied(s)(change, err); err != nil {
		return err
	}
	gone, err := s.Delete(going...)
	if err != nil {
		return err
	}
	return applied(s)(l.Gone(gone...))
}

// recovered opens what a crash left and checks it against what was promised.
func recovered(t *testing.T, fs vfs.FS, h facts) {
	t.Helper()
	s, err := Open("/store", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	srv := serve(t, s)
	defer func() { must(t, s.Close()) }()
	going, err := s.Going()
	must(t, err)
	for _, g := range going {
		mustDelete(t, s, g)
		srv.apply(srv.ledger.Gone(g))
	}
	for id, size := range h.acked {
		if _, err := s.OpenShare(id); h.gone[id] && errors.Is(err, lease.ErrNoShare) {
			continue
		}
		srv.wantContent(id, content(size))
	}
	srv.wantConsistent()
	srv.wantNoStrays()
}

// wantNoStrays: every file belongs to a share that is STABLE, and each STABLE
// share can be read.
func (s *server) wantNoStrays() {
	s.t.Helper()
	files := map[string]bool{}
	err := s.scanAll([]byte{tagShare}, func(key, value []byte) error {
		if len(key) != shareKeySize {
			return nil
		}
		id := shareOf(key[1:])
		share, err := decodeShare(value)
		if err == nil && share.File != 0 {
			files[s.sharePath(id)] = true
		}
		if _, readErr := readShare(s.Store, id); err == nil {
			err = readErr
		}
		return err
	})
	must(s.t, err)
	s.walk(s.fs.PathJoin(s.dir, "shares"), func(path string) {
		if !files[path] {
			s.t.Errorf("stray file %s", path)
		}
	})
	s.walk(s.incomingDir(), func(path string) { s.t.Errorf("stray file %s", path) })
}

func (s *server) walk(dir string, file func(path string)) {
	names, err := s.fs.List(dir)
	must(s.t, err)
	for _, name := range names {
		path := s.fs.PathJoin(dir, name)
		info, err := s.fs.Stat(path)
		must(s.t, err)
		if info.IsDir() {
			s.walk(path, file)
		} else {
			file(path)
		}
	}
}

// crasher takes a picture of what a power cut would leave, at each operation
// of the kinds that make something durable. It begins when Pebble is open:
// while opening, Pebble makes a manifest and a marker that names it in one
// folder without a sync between them, which is safe where filesystems keep the
// order of such changes, as all journaling ones do, but not in this MemFS.
type crasher struct {
	mu      sync.Mutex
	armed   bool
	fs      *vfs.MemFS
	rng     *rand.Rand
	percent int
	history *history
	clones  []*vfs.MemFS
	known   []facts
}

// arm begins to take pictures.
func (c *crasher) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = true
}

// MaybeError implements errorfs.Injector; it never makes an error.
func (c *crasher) MaybeError(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpRename, errorfs.OpRemove:
	default:
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.armed {
		return nil
	}
	// What is acknowledged before the picture must be in it; what is asked for
	// after it was begun may be: so history first for one, last for the other.
	before := c.history.snapshot()
	c.clones = append(c.clones, c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.percent, RNG: c.rng}))
	before.gone = c.history.snapshot().gone
	c.known = append(c.known, before)
	return nil
}

// String implements errorfs.Injector.
func (c *crasher) String() string { return "crash clones" }

func TestPowerCutAtEverySync(t *testing.T) {
	for seed := range uint64(3) {
		for _, percent := range []int{0, 50, 90} {
			t.Run(fmt.Sprintf("seed %d, %d%% of the unsynced survives", seed, percent), func(t *testing.T) {
				cutAtEverySync(t, seed, percent)
			})
		}
	}
}

func cutAtEverySync(t *testing.T, seed uint64, percent int) {
	mem := vfs.NewCrashableMem()
	h := newHistory()
	rng := rand.New(rand.NewPCG(seed, 1))
	c := &crasher{fs: mem, rng: rand.New(rand.NewPCG(seed, 2)), percent: percent, history: h}
	s, err := Open("/store", Options{FS: errorfs.Wrap(mem, c)})
	must(t, err)
	c.arm()
	must(t, work(s, h, rng))
	must(t, s.Close())
	if len(c.clones) < 40 {
		t.Fatalf("only %d pictures: the test does not see the syncs", len(c.clones))
	}
	for i, clone := range c.clones {
		recovered(t, clone, c.known[i])
		if t.Failed() {
			t.Fatalf("picture %d of %d", i, len(c.clones))
		}
	}
}

var errDisk = errors.New("injected: disk failed")

// failing makes the k-th write, sync, rename, and so on fail, and all after it
// if lasting.
type failing struct {
	mu      sync.Mutex
	n, at   int
	lasting bool
	armed   bool
}

// MaybeError implements errorfs.Injector.
func (f *failing) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.armed {
		return nil
	}
	f.n++
	if f.n == f.at || (f.lasting && f.n > f.at) {
		return errDisk
	}
	return nil
}

// String implements errorfs.Injector.
func (f *failing) String() string { return "fail once" }

// When a write fails nothing is acknowledged that is not there after the next
// start, nothing panics, and nothing hangs.
func TestEveryWriteMayFail(t *testing.T) {
	for _, lasting := range []bool{false, true} {
		for at := 1; ; at += 1 + at/20 {
			if !failAt(t, at, lasting) {
				break
			}
		}
	}
}

// failAt reports whether the work got as far as the failure.
func failAt(t *testing.T, at int, lasting bool) bool {
	t.Helper()
	mem := vfs.NewCrashableMem()
	h := newHistory()
	f := &failing{at: at, lasting: lasting}
	s, err := Open("/store", Options{FS: errorfs.Wrap(mem, f)})
	must(t, err)
	f.mu.Lock()
	f.armed = true
	f.mu.Unlock()
	workErr := work(s, h, rand.New(rand.NewPCG(uint64(at), 3)))
	clone := mem.CrashClone(vfs.CrashCloneCfg{})
	known := h.snapshot()
	f.mu.Lock()
	f.armed = false
	reached := f.n >= at
	f.mu.Unlock()
	_ = s.Close() // may well tell that the disk failed
	recovered(t, clone, known)
	if t.Failed() {
		t.Fatalf("write %d failed (lasting: %v), work ended with %v", at, lasting, workErr)
	}
	return reached
}
