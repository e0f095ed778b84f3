package store

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

func mustOpenJournal(t testing.TB, dir string, fs vfs.FS) *Journal {
	t.Helper()
	j, err := OpenJournal(dir, Options{FS: fs})
	must(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// journalModel is what a journal should hold.
type journalModel struct {
	j     *Journal
	files map[grid.StorageIndex]lease.JournalFile // without Shares
	held  map[modelPlace]lease.JournalLease
}

// modelPlace is a share at a server.
type modelPlace struct {
	server grid.ServerID
	id     lease.ShareID
}

func (p modelPlace) compare(q modelPlace) int {
	return cmp.Or(slices.Compare(p.id.StorageIndex[:], q.id.StorageIndex[:]), p.share().Compare(q.share()))
}

func (p modelPlace) share() lease.JournalShare {
	return lease.JournalShare{Server: p.server, Num: p.id.Num}
}

func drawPlace(t *rapid.T, si grid.StorageIndex) modelPlace {
	return modelPlace{
		server: grid.ServerID{byte(rapid.IntRange(1, 3).Draw(t, "server"))},
		id:     lease.ShareID{StorageIndex: si, Num: grid.ShareNum(rapid.IntRange(0, 2).Draw(t, "number"))},
	}
}

func drawFile(t *rapid.T) grid.StorageIndex {
	return grid.StorageIndex{byte(rapid.SampledFrom([]int{0, 1, 2, 255}).Draw(t, "file"))}
}

func drawLease(t *rapid.T, id lease.ShareID) lease.JournalLease {
	l := lease.JournalLease{Share: id, Renewed: rapid.Int64Range(0, 1<<40).Draw(t, "renewed"), Expires: rapid.Int64Range(0, 1<<40).Draw(t, "expires")}
	if rapid.Bool().Draw(t, "has a label") {
		l.Label = testKey(byte(rapid.IntRange(1, 3).Draw(t, "label")))
	}
	if rapid.IntRange(0, 3).Draw(t, "lapsed") == 0 {
		l.Lapsed = 1 + l.Renewed
	}
	return l
}

func (m *journalModel) Add(t *rapid.T) {
	f := lease.JournalFile{StorageIndex: drawFile(t), Stored: rapid.Int64Range(0, 99).Draw(t, "stored")}
	if rapid.Bool().Draw(t, "with a cap") {
		f.VerifyCap, f.Size = rapid.StringMatching(`URI:[a-z]{0,9}`).Draw(t, "cap"), 1000
	}
	var leases []lease.PlacedLease
	for range rapid.IntRange(0, 4).Draw(t, "leases") {
		p := drawPlace(t, f.StorageIndex)
		leases = append(leases, lease.PlacedLease{Server: p.server, JournalLease: drawLease(t, p.id)})
	}
	must2(t, m.j.Add(f, leases))
	maps.DeleteFunc(m.held, func(p modelPlace, l lease.JournalLease) bool {
		return p.id.StorageIndex == f.StorageIndex && l.Lapsed != 0
	})
	for _, l := range leases {
		m.held[modelPlace{l.Server, l.Share}] = l.JournalLease
	}
	if old, known := m.files[f.StorageIndex]; known && f.VerifyCap == "" {
		f = old
	}
	m.files[f.StorageIndex] = f
}

func (m *journalModel) Set(t *rapid.T) {
	p := drawPlace(t, drawFile(t))
	l := drawLease(t, p.id)
	must2(t, m.j.SetLeases(p.server, []lease.JournalLease{l}))
	if _, ok := m.held[p]; ok {
		m.held[p] = l
	}
}

func (m *journalModel) Adopt(t *rapid.T) {
	p := drawPlace(t, drawFile(t))
	l := drawLease(t, p.id)
	must2(t, m.j.Adopt(p.server, []lease.JournalLease{l}))
	m.held[p] = l
	if _, known := m.files[p.id.StorageIndex]; !known {
		m.files[p.id.StorageIndex] = lease.JournalFile{StorageIndex: p.id.StorageIndex, Stored: l.Renewed}
	}
}

func (m *journalModel) Drop(t *rapid.T) {
	gone := []grid.StorageIndex{drawFile(t), drawFile(t)}
	must2(t, m.j.Drop(gone...))
	for _, si := range gone {
		delete(m.files, si)
		maps.DeleteFunc(m.held, func(p modelPlace, _ lease.JournalLease) bool { return p.id.StorageIndex == si })
	}
}

// Crash loses nothing but what SetLeases wrote last: that is made durable
// first.
func (m *journalModel) Crash(t *rapid.T) {
	must2(t, m.j.Drop())
	after, err := m.j.AfterCrash()
	must2(t, err)
	m.j = after
}

func must2(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func (m *journalModel) check(t *rapid.T) {
	places := slices.SortedFunc(maps.Keys(m.held), modelPlace.compare)
	var lapsed []grid.StorageIndex
	servers := map[grid.ServerID]lease.JournalServer{}
	perServer := map[grid.ServerID][]lease.JournalLease{}
	shares := map[grid.StorageIndex][]lease.JournalShare{}
	for _, p := range places {
		s := servers[p.server]
		s.Server = p.server
		s.Leases++
		if m.held[p].Lapsed != 0 {
			s.Lapsed++
			lapsed = append(lapsed, p.id.StorageIndex)
		}
		servers[p.server] = s
		perServer[p.server] = append(perServer[p.server], m.held[p])
		shares[p.id.StorageIndex] = append(shares[p.id.StorageIndex], p.share())
	}
	got, err := m.j.Servers()
	must2(t, err)
	if len(got) != len(servers) {
		t.Fatalf("%d servers, want %d", len(got), len(servers))
	}
	for _, s := range got {
		if s != servers[s.Server] {
			t.Fatalf("server %v, want %v", s, servers[s.Server])
		}
		if all := m.leases(t, s.Server); !slices.Equal(all, perServer[s.Server]) {
			t.Fatalf("leases %v, want %v", all, perServer[s.Server])
		}
	}
	m.checkFiles(t, shares)
	if all := m.lapsed(t); !slices.Equal(all, slices.Compact(lapsed)) {
		t.Fatalf("lapsed %v, want %v", all, lapsed)
	}
}

func (m *journalModel) leases(t *rapid.T, server grid.ServerID) (all []lease.JournalLease) {
	var after *lease.ShareID
	for more := true; more; {
		part, goesOn, err := m.j.LeasesAfter(server, after, 2)
		must2(t, err)
		if all, more = append(all, part...), goesOn; more {
			after = &part[len(part)-1].Share
		}
	}
	return all
}

func (m *journalModel) lapsed(t *rapid.T) (all []grid.StorageIndex) {
	var after *grid.StorageIndex
	for more := true; more; {
		part, goesOn, err := m.j.LapsedAfter(after, 1)
		must2(t, err)
		if all, more = append(all, part...), goesOn; more {
			after = &part[len(part)-1]
		}
	}
	return all
}

func (m *journalModel) checkFiles(t *rapid.T, shares map[grid.StorageIndex][]lease.JournalShare) {
	if n, err := m.j.Files(); err != nil || n != int64(len(m.files)) {
		t.Fatalf("%d files are counted, %v; want %d", n, err, len(m.files))
	}
	var after *grid.StorageIndex
	seen := 0
	for more := true; more; {
		part, goesOn, err := m.j.FilesAfter(after, 2)
		must2(t, err)
		for _, f := range part {
			want := m.files[f.StorageIndex]
			want.Shares = shares[f.StorageIndex]
			if fmt.Sprint(f) != fmt.Sprint(want) {
				t.Fatalf("file %+v, want %+v", f, want)
			}
			seen++
		}
		if more = goesOn; more {
			after = &part[len(part)-1].StorageIndex
		}
	}
	if seen != len(m.files) {
		t.Fatalf("%d files are listed, want %d", seen, len(m.files))
	}
}

func TestJournalAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &journalModel{NewMemoryJournal(), map[grid.StorageIndex]lease.JournalFile{}, map[modelPlace]lease.JournalLease{}}
		t.Repeat(map[string]func(*rapid.T){
			"add": m.Add, "add more": m.Add, "set": m.Set, "adopt": m.Adopt, "drop": m.Drop, "crash": m.Crash, "": m.check,
		})
	})
}

func sampleFile(n byte) (lease.JournalFile, []lease.PlacedLease) {
	f := lease.JournalFile{StorageIndex: grid.StorageIndex{n}, VerifyCap: "URI:CHK-Verifier:" + fmt.Sprint(n), Size: 1000, Stored: start.Unix()}
	var leases []lease.PlacedLease
	for i := range byte(3) {
		id := lease.ShareID{StorageIndex: f.StorageIndex, Num: grid.ShareNum(i)}
		leases = append(leases, lease.PlacedLease{Server: grid.ServerID{i + 1}, JournalLease: lease.JournalLease{Share: id, Label: testKey(i), Renewed: start.Unix(), Expires: start.Unix() + 9}})
	}
	return f, leases
}

// What was acknowledged is there after a power cut and after a clean end.
func TestJournalLasts(t *testing.T) {
	fs := vfs.NewCrashableMem()
	j := mustOpenJournal(t, "/journal", fs)
	must(t, j.Add(sampleFile(1)))
	must(t, j.Add(sampleFile(2)))
	must(t, j.Drop(grid.StorageIndex{1}))
	j = mustOpenJournal(t, "/journal", fs.CrashClone(vfs.CrashCloneCfg{}))
	wantSample(t, j)

	dir := filepath.Join(t.TempDir(), "journal")
	j = mustOpenJournal(t, dir, nil)
	must(t, j.Add(sampleFile(2)))
	if _, err := OpenJournal(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	must(t, j.Close())
	wantSample(t, mustOpenJournal(t, dir, nil))
}

// wantSample wants sample file 2 and nothing else.
func wantSample(t *testing.T, j *Journal) {
	t.Helper()
	want, leases := sampleFile(2)
	files, more, err := j.FilesAfter(nil, 10)
	must(t, err)
	if len(files) != 1 || more || files[0].VerifyCap != want.VerifyCap || len(files[0].Shares) != 3 {
		t.Errorf("files %+v", files)
	}
	got, err := j.Leases(want.StorageIndex)
	must(t, err)
	if !slices.Equal(got, leases) {
		t.Errorf("leases %+v, want %+v", got, leases)
	}
}

const goldenJournal = "testdata/journal-1"

// A folder that the first version wrote opens, with everything in it.
func TestGoldenJournal1(t *testing.T) {
	if *rewrite {
		must(t, os.RemoveAll(goldenJournal))
		j := mustOpenJournal(t, goldenJournal, nil)
		must(t, j.Add(sampleFile(2)))
		must(t, j.Close())
	}
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(goldenJournal)))
	wantSample(t, mustOpenJournal(t, dir, nil))
}

func TestNewerJournalIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	j := mustOpenJournal(t, "/journal", fs)
	must(t, write(j.eng, batch{{key: formatKey, value: encodeNumber(journalFormat + 1)}}))
	must(t, j.Close())
	if _, err := OpenJournal("/journal", Options{FS: fs}); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer journal: %v", err)
	}
}

// FuzzJournalRecords: a damaged record is an error, never a panic.
func FuzzJournalRecords(f *testing.F) {
	j := NewMemoryJournal()
	if err := j.Add(sampleFile(2)); err != nil {
		f.Fatal(err)
	}
	c := newJournalChange(j)
	seeds := 0
	err := j.eng.scan(nil, nil, func(_, value []byte) error {
		f.Add(value)
		seeds++
		return nil
	})
	if err != nil || seeds < 8 {
		f.Fatal(seeds, err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := c.decodeFile(grid.StorageIndex{1}, b)
		if err == nil && len(file.VerifyCap)+2*len(file.Shares) > len(b) {
			t.Errorf("%x was read as %+v", b, file)
		}
		_, _ = c.decodeLease(lease.ShareID{}, b)
		_, _ = decodeJournalCounter(b)
	})
}

// BenchmarkJournal adds files of ten shares, renews all leases at one server
// in batches, and reports what a lease takes on disk.
func BenchmarkJournal(b *testing.B) {
	const files = 20_000
	for b.Loop() {
		j := mustOpenJournal(b, filepath.Join(b.TempDir(), "journal"), nil)
		var last func() error
		for i := range files {
			f := lease.JournalFile{StorageIndex: randomShare(i).StorageIndex, VerifyCap: string(make([]byte, 110)), Size: 1 << 20, Stored: start.Unix()}
			wait, err := j.apply(func(c *journalChange) error {
				for n := range byte(10) {
					l := lease.JournalLease{Share: lease.ShareID{StorageIndex: f.StorageIndex, Num: grid.ShareNum(n)}, Label: testKey(n), Renewed: start.Unix()}
					must(b, c.putLease(grid.ServerID{n}, l))
					f.Shares = append(f.Shares, lease.JournalShare{Server: grid.ServerID{n}, Num: grid.ShareNum(n)})
				}
				return c.putFile(f, false)
			})
			must(b, err)
			last = wait
		}
		must(b, last())
		db := j.eng.(*disk).db
		must(b, db.Flush())
		size, err := db.EstimateDiskUsage([]byte{0}, []byte{0xff})
		must(b, err)
		b.ReportMetric(float64(size)/files, "B/file")
		must(b, j.Close())
	}
}
