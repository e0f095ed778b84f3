package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

var policy = lease.LedgerPolicy{Duration: lease.LeaseDuration}

// implementation opens an empty store, and opens it again after a clean end.
type implementation struct {
	name   string
	open   func(t *testing.T) *Store
	reopen func(t *testing.T, s *Store) *Store
}

func implementations() []implementation {
	onFS := func(fs func(t *testing.T) (vfs.FS, string)) func(t *testing.T) *Store {
		return func(t *testing.T) *Store {
			f, dir := fs(t)
			return mustOpen(t, f, dir)
		}
	}
	again := func(t *testing.T, s *Store) *Store {
		must(t, s.Close())
		return mustOpen(t, s.fs, s.dir)
	}
	return []implementation{
		{"disk", onFS(func(t *testing.T) (vfs.FS, string) { return vfs.Default, t.TempDir() }), again},
		{"pebble in memory", onFS(func(*testing.T) (vfs.FS, string) { return vfs.NewMem(), "/store" }), again},
		{"memory", func(*testing.T) *Store { return NewMemory() }, func(t *testing.T, s *Store) *Store {
			again, err := s.AfterCrash()
			must(t, err)
			return again
		}},
	}
}

func forAll(t *testing.T, test func(t *testing.T, im implementation)) {
	for _, im := range implementations() {
		t.Run(im.name, func(t *testing.T) { test(t, im) })
	}
}

func mustOpen(t testing.TB, fs vfs.FS, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{FS: fs})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testKey(n byte) grid.PublicKey { return grid.PublicKey{0: 'k', 31: n} }

func testShare(n uint32) lease.ShareID {
	var id lease.ShareID
	binary.BigEndian.PutUint32(id.StorageIndex[:], n)
	id.Num = grid.ShareNum(n % 10)
	return id
}

// own is a grant of a root to itself.
func own(n byte) lease.Grant { return ownOf(testKey(n)) }

func ownOf(k grid.PublicKey) lease.Grant {
	return lease.Grant{Root: k, Keys: []grid.PublicKey{k}, Label: k}
}

// under is a grant that root signed for member.
func under(root, member byte, digest byte) lease.Grant {
	r, m := testKey(root), testKey(member)
	return lease.Grant{
		Root: r, Keys: []grid.PublicKey{r, m}, Label: m, Chain: lease.Digest{digest},
		Pairs: []lease.Pair{{Signer: r, Delegate: m}},
	}
}

// server joins a ledger and a store as the ledger actor does.
type server struct {
	t testing.TB
	*Store
	ledger *lease.Ledger
}

func serve(t testing.TB, s *Store) *server {
	return &server{t, s, lease.NewLedger(s, policy)}
}

func (s *server) apply(c lease.Change, err error) {
	s.t.Helper()
	must(s.t, err)
	commit, err := s.Apply(c)
	must(s.t, err)
	must(s.t, commit.Wait())
}

func (s *server) addRoot(n byte, quota int64) {
	s.t.Helper()
	s.apply(s.ledger.PutRoots(lease.Root{Key: testKey(n), Petname: "root", Quota: &quota}))
}

// put uploads a share whose bytes are content, inline or as a file.
func (s *server) put(g lease.Grant, id lease.ShareID, content []byte) {
	s.t.Helper()
	_, err := s.ledger.Reserve(start, g, id, int64(len(content)), lease.NoLimit)
	must(s.t, err)
	change, done, err := s.ledger.Commit(start, g.Column(), id, s.body(content))
	if done.Dropped {
		s.t.Fatalf("share %v was there already", id)
	}
	s.apply(change, err)
}

func (s *server) body(content []byte) lease.Body {
	s.t.Helper()
	b := lease.Body{Size: int64(len(content)), UEBHash: lease.UEBHash{1}}
	if len(content) <= SmallShare {
		b.Inline = content
		return b
	}
	in, err := s.Incoming()
	must(s.t, err)
	half := len(content) / 2
	_, err = in.WriteAt(content[half:], int64(half))
	must(s.t, err)
	_, err = in.WriteAt(content[:half], 0)
	must(s.t, err)
	b.File, err = in.Seal()
	must(s.t, err)
	return b
}

func (s *server) wantContent(id lease.ShareID, want []byte) {
	s.t.Helper()
	got, err := readShare(s.Store, id)
	must(s.t, err)
	if !bytes.Equal(got, want) {
		s.t.Errorf("share %v reads %d bytes, want %d, or they differ", id, len(got), len(want))
	}
}

func readShare(s *Store, id lease.ShareID) ([]byte, error) {
	b, err := s.OpenShare(id)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size+1))
	return got, errors.Join(err, b.Close())
}

func (s *server) wantConsistent() {
	s.t.Helper()
	differences, err := s.Recount()
	must(s.t, err)
	for _, d := range differences {
		s.t.Error(d)
	}
}

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

func TestSharesComeBack(t *testing.T) {
	forAll(t, func(t *testing.T, im implementation) {
		s := serve(t, im.open(t))
		s.addRoot(1, 1<<30)
		sizes := []int{0, 1, 500, SmallShare, SmallShare + 1, 200_000}
		for i, size := range sizes {
			s.put(own(1), testShare(uint32(i)), content(size))
			s.wantContent(testShare(uint32(i)), content(size))
		}
		s.wantConsistent()
		s = serve(t, im.reopen(t, s.Store))
		for i, size := range sizes {
			s.wantContent(testShare(uint32(i)), content(size))
		}
		s.wantConsistent()
		u, err := s.ledger.Usage(lease.ColumnCounterKey(own(1).Column()))
		must(t, err)
		want := int64(0 + 1 + 500 + SmallShare + SmallShare + 1 + 200_000 + len(sizes)*lease.LeaseOverhead)
		if u.Bytes() != want || u.Stored.Leases != int64(len(sizes)) {
			t.Errorf("usage %+v, want %d bytes", u, want)
		}
	})
}

func TestExpiredSharesGo(t *testing.T) {
	forAll(t, func(t *testing.T, im implementation) {
		s := serve(t, im.open(t))
		s.addRoot(1, 1<<30)
		big, small := testShare(1), testShare(2)
		s.put(own(1), big, content(100_000))
		s.put(under(1, 2, 9), small, content(10))
		late := start.Add(lease.LeaseDuration)
		ids, next, err := s.ScanExpired(late, nil, 100)
		must(t, err)
		if len(ids) != 2 || next != nil {
			t.Fatalf("scan found %v, goes on at %x", ids, next)
		}
		change, going, err := s.ledger.Expire(late, ids)
		s.apply(change, err)
		if len(going) != 2 {
			t.Fatalf("%d shares go, want 2", len(going))
		}
		if _, err := s.OpenShare(big); !errors.Is(err, lease.ErrNoShare) {
			t.Errorf("open a share that goes: %v", err)
		}
		s = serve(t, im.reopen(t, s.Store))
		left, err := s.Going()
		must(t, err)
		if len(left) != 2 {
			t.Fatalf("%d shares are left to delete after a restart, want 2", len(left))
		}
		for _, g := range left {
			mustDelete(t, s.Store, g)
			mustDelete(t, s.Store, g)
			s.apply(s.ledger.Gone(g))
		}
		s.wantNothingLeft(testKey(1))
		s.wantConsistent()
	})
}

// wantNothingLeft: neither file nor record of any share, lease, chain or key,
// except for one root.
func (s *server) wantNothingLeft(root grid.PublicKey) {
	s.t.Helper()
	err := s.eng.scan(nil, nil, func(key, value []byte) error {
		switch {
		case key[0] == tagMeta, bytes.Equal(key, withPublicKey(tagRoot, root)),
			bytes.Equal(key, withPublicKey(tagKey, root)), key[0] == tagKeyID && bytes.Equal(value, root[:]):
		default:
			s.t.Errorf("left over: %q", key)
		}
		return nil
	})
	must(s.t, err)
	for _, dir := range []string{"shares", "incoming"} {
		s.wantNoFiles(s.fs.PathJoin(s.dir, dir))
	}
}

func (s *server) wantNoFiles(dir string) {
	s.t.Helper()
	names, err := s.fs.List(dir)
	must(s.t, err)
	for _, name := range names {
		path := s.fs.PathJoin(dir, name)
		info, err := s.fs.Stat(path)
		must(s.t, err)
		if info.IsDir() {
			s.wantNoFiles(path)
		} else {
			s.t.Errorf("file left over: %s", path)
		}
	}
}

func TestWhatWasNotCommittedLeavesNoTrace(t *testing.T) {
	forAll(t, func(t *testing.T, im implementation) {
		s := serve(t, im.open(t))
		s.addRoot(1, 1<<30)
		open, err := s.Incoming()
		must(t, err)
		_, err = open.WriteAt(content(70_000), 0)
		must(t, err)
		s.body(content(50_000)) // sealed, and never committed
		discarded, err := s.Incoming()
		must(t, err)
		_, err = discarded.Seal()
		must(t, err)
		must(t, discarded.Discard())
		must(t, discarded.Discard())
		s = serve(t, im.reopen(t, s.Store))
		s.wantNothingLeft(testKey(1))
	})
}

func TestSecondOpenerIsTold(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, vfs.Default, dir)
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v, want %v", err, ErrLocked)
	}
}

func TestUnwritableFolder(t *testing.T) {
	file := t.TempDir() + "/file"
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := Open(file, Options{}); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("open where a file is in the way: %v", err)
	}
}
