package tarn

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

func TestReferenceKeysLast(t *testing.T) {
	f := nodeFolder{t.TempDir()}
	if err := f.prepare(); err != nil {
		t.Fatal(err)
	}
	random := func(b []byte) { _, _ = rand.Read(b) }
	first, err := f.referenceKeys(random)
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.referenceKeys(func([]byte) { t.Error("made anew") })
	if err != nil || again[0] != first[0] {
		t.Errorf("read back %v, %v", again, err)
	}
	if err := os.WriteFile(f.private("reference.keys"), []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.referenceKeys(random); err == nil || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("damaged keys: %v", err)
	}
}

func TestSequenceNeverFalls(t *testing.T) {
	f := nodeFolder{t.TempDir()}
	if err := f.prepare(); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for _, now := range []uint64{5_000_000, 5_000_000, 4_000_000, 9_000_000, 1} {
		next, err := f.sequence(now)
		if err != nil || next < now || next < last {
			t.Fatalf("at %d: %d after %d, %v", now, next, last, err)
		}
		last = next + announcementsPerProcess
	}
	if err := os.WriteFile(f.private("announcement.sequence"), []byte("-3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.sequence(1); err == nil || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("damaged: %v", err)
	}
}

// A table that can't be read is an error that says what to do, and after that
// the larger shares are found.
func TestDamagedTable(t *testing.T) {
	f := nodeFolder{t.TempDir()}
	if err := f.prepare(); err != nil {
		t.Fatal(err)
	}
	s, err := f.openStorage()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	manifests, err := filepath.Glob(f.path("storage", "table", "MANIFEST-*"))
	if err != nil || len(manifests) != 1 {
		t.Fatal(manifests, err)
	}
	if err := os.Truncate(manifests[0], 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.openStorage(); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "move "+f.path("storage", "table")+" away") {
		t.Errorf("a damaged table: %v", err)
	}
	loose := f.path("storage", "shares", "aa", grid.StorageIndex{}.String())
	if err := os.MkdirAll(loose, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.path("storage", "table"), f.path("storage", "old")); err != nil {
		t.Fatal(err)
	}
	if s, err = f.openStorage(); err != nil {
		t.Fatal(err)
	}
	if adopting, err := s.Adopting(); !adopting || err != nil {
		t.Errorf("it looks for shares: %v, %v", adopting, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFolderHasOneUser(t *testing.T) {
	f := nodeFolder{t.TempDir()}
	l, err := f.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.lock(); !errors.Is(err, ErrFolderInUse) {
		t.Errorf("second lock: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = f.lock(); err != nil {
		t.Errorf("lock after the first was let go: %v", err)
	}
	_ = l.Close()
}

func signed(t testing.TB, nickname string, sequence uint64) []byte {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := grid.ServerID(grid.PublicKeyOf(key))
	b, err := wire.SignAnnouncement(key, grid.Announcement{
		Server: id, Sequence: sequence, Nickname: nickname, Hints: []grid.Hint{"/ip4/192.0.2.1/tcp/3457"},
		NodeID: id.DefaultNodeID(), PermutationSeed: id[:], CertificateVersions: []uint{1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func cacheIn(t testing.TB, own Connections) *announcementCache {
	return &announcementCache{path: filepath.Join(t.TempDir(), "introducer.yaml"), own: own}
}

func cachedAt(signed []byte, hour int) client.Cached {
	return client.Cached{Signed: signed, Heard: time.Date(2026, time.January, 2, hour, 0, 0, 0, time.UTC)}
}

func TestAnnouncementCacheHasTwoParts(t *testing.T) {
	c := cacheIn(t, transport.DirectConnections)
	if list, err := c.Load(); err != nil || list != nil {
		t.Fatalf("no file: %v, %v", list, err)
	}
	want := []client.Cached{cachedAt(signed(t, "one", 1), 3), cachedAt(signed(t, "t: \"wo\" #", 2), 4)}
	if err := c.Save(want); err != nil {
		t.Fatal(err)
	}
	list, err := c.Load()
	if err != nil || len(list) != 2 {
		t.Fatalf("%d announcements, %v", len(list), err)
	}
	if !reflect.DeepEqual(list, want) && !reflect.DeepEqual(list, []client.Cached{want[1], want[0]}) {
		t.Error("what was loaded is not what was saved")
	}
	text, _ := os.ReadFile(c.path)
	for _, want := range []string{"local:", "connections:", "tcp: direct", "announcement:", "nickname: one", "/ip4/192.0.2.1/tcp/3457"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the file lacks %q:\n%s", want, text)
		}
	}
}

// What changes of one announcement is saved, whatever was saved before.
func TestAnnouncementCacheFollowsChanges(t *testing.T) {
	c := cacheIn(t, transport.DirectConnections)
	one, two := signed(t, "one", 1), signed(t, "two", 2)
	used := cachedAt(two, 4)
	used.Used = used.Heard.Add(time.Hour)
	for n, want := range [][]client.Cached{
		{cachedAt(one, 3), cachedAt(two, 3)},
		{cachedAt(one, 3), cachedAt(two, 4)},
		{cachedAt(one, 3), used},
		{used},
		{},
		{cachedAt(one, 5)},
	} {
		if err := c.Save(want); err != nil {
			t.Fatal(err)
		}
		for _, loaded := range []*announcementCache{c, {path: c.path, own: c.own}} {
			list, err := loaded.Load()
			if err != nil || !slices.EqualFunc(list, want, func(a, b client.Cached) bool { return reflect.DeepEqual(a, b) }) {
				t.Errorf("after change %d: %v, %v", n, list, err)
			}
		}
	}
}

// BenchmarkAnnouncementCache saves a thousand announcements of which one is new.
func BenchmarkAnnouncementCache(b *testing.B) {
	c := cacheIn(b, transport.DirectConnections)
	var list []client.Cached
	for range 1000 {
		list = append(list, cachedAt(signed(b, "one", 1), 3))
	}
	n := 0
	for b.Loop() {
		n++
		list[n%1000].Heard = list[n%1000].Heard.Add(time.Second)
		if err := c.Save(list); err != nil {
			b.Fatal(err)
		}
	}
}

// TestCacheIsNeverLooserThanTheNode: what a node in the clear wrote, an
// anonymous one writes anew.
func TestCacheIsNeverLooserThanTheNode(t *testing.T) {
	c := cacheIn(t, transport.DirectConnections)
	if err := c.Save([]client.Cached{cachedAt(signed(t, "one", 1), 3)}); err != nil {
		t.Fatal(err)
	}
	list, err := c.Load()
	if err != nil {
		t.Fatal(err)
	}
	own, err := ConnectionsOf(nil, false, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&announcementCache{path: c.path, own: own}).Save(list); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(c.path); strings.Contains(string(text), "direct") || !strings.Contains(string(text), "tcp: tor") {
		t.Errorf("%s", text)
	}
}

// A clause that is damaged costs only itself.
func TestAnnouncementCacheSkipsBadClauses(t *testing.T) {
	c := cacheIn(t, transport.DirectConnections)
	if err := c.Save([]client.Cached{cachedAt(signed(t, "good", 1), 3)}); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(c.path)
	text = append(text, "v0-bad:\n  announcement:\n    signed: '!!'\n"...)
	if err := os.WriteFile(c.path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := c.Load()
	if len(list) != 1 || err == nil || !strings.Contains(err.Error(), "v0-bad") {
		t.Errorf("%d announcements, %v", len(list), err)
	}
}

func FuzzAnnouncementCache(f *testing.F) {
	c := cacheIn(f, transport.DirectConnections)
	if err := c.Save([]client.Cached{cachedAt(signed(f, "one", 1), 3)}); err != nil {
		f.Fatal(err)
	}
	text, _ := os.ReadFile(c.path)
	f.Add(text)
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := cacheIn(t, transport.DirectConnections)
		if err := os.WriteFile(c.path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		list, _ := c.Load()
		for _, one := range list {
			if _, err := wire.OpenAnnouncement(one.Signed); err != nil {
				t.Errorf("loaded unverified: %v", err)
			}
		}
	})
}

func TestPublishedComesBack(t *testing.T) {
	p := published{filepath.Join(t.TempDir(), "announcements")}
	want := [][]byte{signed(t, "a", 1), signed(t, "b", 2)}
	if err := p.Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := p.Load()
	if err != nil || len(got) != 2 || !bytes.Equal(got[0], want[0]) || !bytes.Equal(got[1], want[1]) {
		t.Errorf("%d announcements, %v", len(got), err)
	}
	if err := os.WriteFile(p.path, []byte("***\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Load(); err == nil || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("damaged file: %v", err)
	}
}

// A spool is not readable without the key that is only in memory, and leaves
// no name behind.
func TestSpoolIsEncrypted(t *testing.T) {
	n := &Node{folder: nodeFolder{t.TempDir()}}
	if err := n.folder.prepare(); err != nil {
		t.Fatal(err)
	}
	plain := bytes.Repeat([]byte("plaintext "), inMemory/5)
	in, err := n.spool(t.Context(), bytes.NewReader(plain), -1, &keyMaker{})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	raw := make([]byte, in.size)
	if _, err := in.spool.ReadAt(raw, 0); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("plaintext plaintext")) {
		t.Error("the plaintext lies on the disk")
	}
	for _, off := range []int64{0, 1, 15, 16, 17, inMemory + 3} {
		got := make([]byte, 1000)
		if _, err := in.ReadAt(got, off); err != nil || !bytes.Equal(got, plain[off:off+1000]) {
			t.Errorf("ReadAt(%d): %v", off, err)
		}
	}
	names, err := os.ReadDir(n.folder.path("tmp"))
	if err != nil || len(names) != 0 {
		t.Errorf("left in tmp: %v, %v", names, err)
	}
}

// A file of the node's own that is not as it was written is told by its name and
// left as it is; what is in it is not told, which may be another one's secret.
func TestDamagedFilesAreToldAndLeft(t *testing.T) {
	f := nodeFolder{t.TempDir()}
	if err := f.prepare(); err != nil {
		t.Fatal(err)
	}
	const secret = "account-v1-aa3vwjxw56bnrfv2noo75oxt7w3s4cuqjl6sh423nv3tba3pemm3kaaa"
	for name, read := range map[string]func() error{
		"reference.keys": func() error {
			_, err := f.referenceKeys(func([]byte) { t.Error("made anew") })
			return err
		},
		"announcement.sequence": func() error {
			_, err := f.sequence(7)
			return err
		},
		"self": func() error {
			_, err := f.selfAdded(grid.PublicKey{1})
			return err
		},
	} {
		for _, content := range []string{secret, secret[:9], "\xff\x00\n\n"} {
			if err := os.WriteFile(f.private(name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			err := read()
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), f.private(name)) || strings.Contains(err.Error(), content) {
				t.Errorf("%s with %q: %v", name, content, err)
			}
			if got, err := os.ReadFile(f.private(name)); err != nil || string(got) != content {
				t.Errorf("%s was written over: %q, %v", name, got, err)
			}
		}
	}
}
