package tarn

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/repairer"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// aRepair is the n-th file of an owner, with its repair cap.
func aRepair(t *testing.T, owner, n byte) repairer.File {
	t.Helper()
	mine := lease.Authority{Holdings: []lease.Holding{{Account: lease.AccountOf([lease.SeedSize]byte{owner})}}}
	v := file.CHKVerifier{StorageIndex: grid.StorageIndex{n}, Needed: 1, Total: 2, Size: 1000}
	c, err := mine.RepairCap(renewerAccount.PublicKey(grid.ServerID{}), time.Now().AddDate(3, 0, 0).Unix(), v.StorageIndex, lease.UEBHash(v.UEBHash), []grid.ServerID{anyServer(1)})
	if err != nil {
		t.Fatal(err)
	}
	c.VerifyCap, c.Happy = v.String(), 2
	c.Managers = []lease.Place{{Server: anyServer(8), Hints: []grid.Hint{"/dns/manager/tcp/1"}}}
	c.Introducers = []lease.Place{{Server: anyServer(9), Hints: []grid.Hint{"/dns/introducer/tcp/1"}}}
	f, err := watchedFile(c, renewerAccount)
	if err != nil {
		t.Fatal(err)
	}
	f.Added = time.Unix(5000, 0)
	return f
}

// bench is repairFiles in a test.
type bench struct {
	*testing.T
	*repairFiles
}

func newBench(t *testing.T, dir string) bench {
	own := IntroducerRef{anyServer(7), []grid.Hint{"/dns/own/tcp/1"}}
	return bench{t, nodeFolder{dir}.repairFiles(Config{Introducers: []IntroducerRef{own}}, renewerAccount, nil)}
}

func (b bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b bench) load() []repairer.Owner {
	b.Helper()
	all, err := b.Load()
	b.must(err)
	return all
}

// What was kept is there again, with what was found since.
func TestRepairFiles(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, dir)
	if all := b.load(); len(all) > 0 {
		t.Fatalf("a new repairer has %d owners", len(all))
	}
	one, two := aRepair(t, 1, 1), aRepair(t, 1, 2)
	o, err := b.Save("älice/..", []repairer.File{two, one})
	b.must(err)
	if len(o.Files) != 2 || o.Files[0].Verifier != one.Verifier || len(o.Connections.Introducers) != 2 || len(o.Connections.Memberships) != 1 || !o.Connections.OnlyLent {
		t.Errorf("kept %+v", o)
	}
	one.State = repairer.State{Checked: time.Unix(6000, 0), Next: time.Unix(9000, 0), Shares: 2, Happiness: 1, Summary: "Not Healthy", Recoverable: true, Lost: 3, Pushed: 2, Trouble: "full"}
	b.must(b.Note("älice/..", one))
	_, err = b.Save("bob", []repairer.File{aRepair(t, 2, 3)})
	b.must(err)

	all := newBench(t, dir).load()
	if len(all) != 2 {
		t.Fatalf("%d owners", len(all))
	}
	if all[0].Name == "bob" {
		all[0], all[1] = all[1], all[0]
	}
	if got := all[0].Files; all[0].Name != "älice/.." || len(got) != 2 || got[0].State != one.State || !got[0].Added.Equal(one.Added) || got[1].State != (repairer.State{}) || len(got[0].Authority.Holdings) != 1 {
		t.Errorf("read %+v", got)
	}
	o, err = b.Remove("älice/..", &one.Verifier.StorageIndex)
	b.must(err)
	if len(o.Files) != 1 || o.Files[0].Verifier != two.Verifier {
		t.Errorf("left %+v", o.Files)
	}
	o, err = b.Remove("älice/..", nil)
	b.must(err)
	if all := newBench(t, dir).load(); len(o.Files) != 0 || len(all) != 1 || all[0].Name != "bob" {
		t.Errorf("left %+v, %+v", o, all)
	}
}

// What a crash leaves does no harm, and what is damaged is told by its file.
func TestRepairFilesAfterDamage(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, dir)
	f := aRepair(t, 1, 1)
	_, err := b.Save("alice", []repairer.File{f})
	b.must(err)
	f.State.Shares = 2
	b.must(b.Note("alice", f))
	found := b.path(b.folder("alice"), f.Verifier.StorageIndex, foundSuffix)
	b.must(os.WriteFile(found, []byte("{"), 0o600))
	if all := b.load(); len(all) != 1 || all[0].Files[0].State != (repairer.State{}) {
		t.Errorf("what was found can't be read: %+v", all)
	}
	b.must(os.Mkdir(filepath.Join(b.dir, "half-removed"), 0o700))
	b.must(os.WriteFile(filepath.Join(b.dir, "half-removed", "aa.found"), nil, 0o600))
	if all := b.load(); len(all) != 1 {
		t.Errorf("%d owners", len(all))
	}
	if _, err := os.Stat(filepath.Join(b.dir, "half-removed")); !errors.Is(err, os.ErrNotExist) {
		t.Error("what was left of one that was removed is still there")
	}
	path := b.path(b.folder("alice"), f.Verifier.StorageIndex, capSuffix)
	good, err := os.ReadFile(path)
	b.must(err)
	for name, text := range map[string]string{
		"cut off":        string(good[:len(good)/2]),
		"another format": strings.Replace(string(good), `"format":1`, `"format":2`, 1),
		"no cap":         `{"format":1,"name":"alice","added":1,"cap":"AAAA"}`,
	} {
		b.must(os.WriteFile(path, []byte(text), 0o600))
		if _, err := b.Load(); err == nil || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The certificates of a cap and its verify capability are of one file.
func TestWatchedFileIsOne(t *testing.T) {
	f, other := aRepair(t, 1, 1), aRepair(t, 1, 2)
	for name, verify := range map[string]string{"another file's": other.Cap.VerifyCap, "no capability": "nonsense", "one that reads": "URI:LIT:krugkidfnzsc4"} {
		c := f.Cap
		c.VerifyCap = verify
		if _, err := watchedFile(c, renewerAccount); !errors.Is(err, lease.ErrRepairCap) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := watchedFile(f.Cap, lease.OneKeyAccount([lease.SeedSize]byte{8})); !errors.Is(err, lease.ErrNotSigner) {
		t.Errorf("another repairer's: %v", err)
	}
}
