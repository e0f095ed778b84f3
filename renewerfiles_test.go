package tarn

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/renewer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
)

var renewerAccount = lease.OneKeyAccount([lease.SeedSize]byte{9})

// aCap is a renewal cap of an account for n leases at a server.
func aCap(t *testing.T, owner byte, n int) lease.RenewalCap {
	t.Helper()
	account, server := lease.AccountOf([lease.SeedSize]byte{owner}), anyServer(1)
	held := lease.HeldLeases{Server: server, Label: account.PublicKey(server)}
	for i := range n {
		held.Shares = append(held.Shares, lease.ShareID{StorageIndex: grid.StorageIndex{byte(i >> 8), byte(i)}, Num: 1})
	}
	mine := lease.Authority{Holdings: []lease.Holding{{Account: account}}}
	c, _, err := mine.RenewalCap(renewerAccount.PublicKey(server), time.Now().AddDate(3, 0, 0).Unix(), []lease.HeldLeases{held})
	if err != nil {
		t.Fatal(err)
	}
	c.Managers = []lease.Place{{Server: anyServer(8), Hints: []grid.Hint{"/dns/manager/tcp/1"}}}
	c.Introducers = []lease.Place{{Server: anyServer(9), Hints: []grid.Hint{"/dns/introducer/tcp/1"}}}
	return c
}

// shelf is renewalFiles in a test.
type shelf struct {
	*testing.T
	*renewalFiles
}

func newShelf(t *testing.T, dir string) shelf {
	own := IntroducerRef{anyServer(7), []grid.Hint{"/dns/own/tcp/1"}}
	s := shelf{t, nodeFolder{dir}.renewalFiles(Config{Introducers: []IntroducerRef{own}}, renewerAccount, nil)}
	t.Cleanup(func() { s.must(s.close()) })
	return s
}

func (s shelf) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s shelf) load() []renewer.Kept {
	s.Helper()
	all, err := s.Load()
	s.must(err)
	return all
}

// due counts the leases under a name, and those of which nobody knows yet when
// they end.
func (s shelf) due(k renewer.Kept) (all, due int) {
	s.Helper()
	leases, _, err := k.Connections.Journal.LeasesAfter(anyServer(1), nil, 1<<20)
	s.must(err)
	for _, l := range leases {
		if l.Expires == 0 {
			due++
		}
	}
	return len(leases), due
}

// What was kept is there again, with what was learnt since.
func TestRenewalFiles(t *testing.T) {
	dir := t.TempDir()
	s := newShelf(t, dir)
	if all := s.load(); len(all) > 0 {
		t.Fatalf("a new renewer has %d caps", len(all))
	}
	c := aCap(t, 1, 25_000) // more than are written at a time
	kept, err := s.Save("älice/..", c)
	s.must(err)
	if n, due := s.due(kept); n != 25_000 || due != n {
		t.Errorf("%d leases, %d due", n, due)
	}
	if len(kept.Connections.Authority.Holdings) != 1 || len(kept.Connections.Introducers) != 2 || len(kept.Connections.Memberships) != 1 || !kept.Connections.Memberships[0].Guest {
		t.Errorf("connections %+v", kept.Connections)
	}
	learnt := lease.JournalLease{Share: c.Held[0].Shares[3], Label: c.Held[0].Label, Renewed: 5, Expires: 500}
	s.must(kept.Connections.Journal.SetLeases(anyServer(1), []lease.JournalLease{learnt}))
	_, err = s.Save("bob", aCap(t, 2, 1))
	s.must(err)
	s.must(s.close())

	again := newShelf(t, dir)
	all := again.load()
	if len(all) != 2 {
		t.Fatalf("%d caps", len(all))
	}
	for _, k := range all {
		want := map[string]int{"älice/..": 25_000, "bob": 1}[k.Name]
		n, due := again.due(k)
		if learnt := k.Name != "bob"; n != want || learnt != (due == n-1) || k.Cap.Until() == 0 || len(k.Cap.Held) > 0 {
			t.Errorf("%s: %d leases, %d due, %+v", k.Name, n, due, k.Cap)
		}
	}
	again.must(again.Remove("bob"))
	if left := again.load(); len(left) != 1 || left[0].Name != "älice/.." {
		t.Errorf("left: %+v", left)
	}
	if folders, err := os.ReadDir(filepath.Join(dir, "private", "renewer")); err != nil || len(folders) != 1 {
		t.Errorf("%d folders, %v", len(folders), err)
	}
}

// A newer cap takes the place of the older one; who still works with that hears
// that it is gone.
func TestRenewalFilesReplace(t *testing.T) {
	s := newShelf(t, t.TempDir())
	old, err := s.Save("alice", aCap(t, 1, 10))
	s.must(err)
	kept, err := s.Save("alice", aCap(t, 1, 4))
	s.must(err)
	if n, due := s.due(kept); n != 4 || due != 4 {
		t.Errorf("%d leases, %d due", n, due)
	}
	if _, _, err := old.Connections.Journal.LeasesAfter(anyServer(1), nil, 1); !errors.Is(err, errCapGone) {
		t.Errorf("the older one: %v", err)
	}
	s.must(s.Remove("alice"))
	if err := kept.Connections.Journal.Add(lease.JournalFile{}, nil); !errors.Is(err, errCapGone) {
		t.Errorf("a removed one: %v", err)
	}
	if _, _, err := s.counts("alice"); !errors.Is(err, errCapGone) {
		t.Errorf("a removed one: %v", err)
	}
}

// Whatever a crash leaves behind, or damages but the cap itself, the cap is there
// with all its leases; a folder without one is tidied up.
func TestRenewalFilesAfterCrashes(t *testing.T) {
	spoil := map[string]func(folder string) error{
		"before the journal": func(f string) error { return os.RemoveAll(journalOf(f)) },
		"in the journal":     halfJournal,
		"a damaged journal":  func(f string) error { return os.WriteFile(filepath.Join(journalOf(f), "CURRENT"), []byte("x"), 0o600) },
		"a lost manifest":    func(f string) error { return removeAll(filepath.Join(journalOf(f), "MANIFEST-*")) },
	}
	for what, do := range spoil {
		t.Run(what, func(t *testing.T) {
			s := newShelf(t, t.TempDir())
			_, err := s.Save("alice", aCap(t, 1, 300))
			s.must(errors.Join(err, s.close()))
			s.must(do(s.folder("alice")))
			s.must(os.MkdirAll(filepath.Join(s.dir, "half", "journal"), 0o700))
			all := s.load()
			if len(all) != 1 {
				t.Fatalf("%d caps", len(all))
			}
			if n, due := s.due(all[0]); n != 300 || due != 300 {
				t.Errorf("%d leases, %d due", n, due)
			}
			if _, err := os.Stat(filepath.Join(s.dir, "half")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("what a crash left: %v", err)
			}
		})
	}
}

// halfJournal is what a crash leaves that comes while a journal is filled.
func halfJournal(folder string) error {
	if err := os.RemoveAll(journalOf(folder)); err != nil {
		return err
	}
	j, err := store.OpenJournal(journalOf(folder), store.Options{})
	if err != nil {
		return err
	}
	half := []lease.JournalLease{{Share: lease.ShareID{Num: 1}, Renewed: 1, Expires: 2}}
	return errors.Join(j.Adopt(anyServer(1), half), j.Close())
}

func removeAll(pattern string) error {
	files, err := filepath.Glob(pattern)
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// What can't be used stops the renewer with a sentence that says which it is: a
// cap that is left out unseen would lapse.
func TestRenewalFilesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	s := newShelf(t, dir)
	_, err := s.Save("alice", aCap(t, 1, 3))
	s.must(errors.Join(err, s.close()))
	path := filepath.Join(s.folder("alice"), capFile)
	good, err := os.ReadFile(path)
	s.must(err)
	for says, text := range map[string][]byte{
		"damaged":                            good[:len(good)/2],
		"format 2":                           bytes.Replace(good, []byte(`"format":1`), []byte(`"format":2`), 1),
		"the renewal cap of alice":           fmt.Appendf(nil, `{"format":1,"name":"alice","cap":"aGVsbG8="}`),
		"move the folder away to go on with": fmt.Appendf(nil, `{"format":1,"name":"alice","cap":"aGVsbG8="}`),
	} {
		s.must(os.WriteFile(path, text, 0o600))
		if _, err := s.Load(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q: %v", says, err)
		}
	}
	s.must(os.WriteFile(path, good, 0o600))
	other := nodeFolder{dir}.renewalFiles(Config{}, lease.OneKeyAccount([lease.SeedSize]byte{1}), nil)
	if _, err := other.Load(); !errors.Is(err, lease.ErrNotSigner) {
		t.Errorf("with another key: %v", err)
	}
}
