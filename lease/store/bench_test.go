package store

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// BenchmarkLeases makes leases on small shares, synced, by so many clients at
// once, each waiting for its own.
func BenchmarkLeases(b *testing.B) {
	for _, clients := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("%d clients", clients), func(b *testing.B) { benchmarkLeases(b, clients) })
	}
}

func benchmarkLeases(b *testing.B, clients int) {
	s := serve(b, mustOpen(b, vfs.Default, b.TempDir()))
	s.addRoot(1, 1<<40)
	var owner sync.Mutex
	var next atomic.Uint32
	var group sync.WaitGroup
	b.ResetTimer()
	for range clients {
		group.Go(func() {
			for n := next.Add(1); int(n) <= b.N; n = next.Add(1) {
				owner.Lock()
				commit, err := s.putUnsynced(own(1), testShare(n))
				owner.Unlock()
				if err == nil {
					err = commit.Wait()
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "leases/s")
}

func (s *server) putUnsynced(g lease.Grant, id lease.ShareID) (*Commit, error) {
	change, _, err := s.ledger.Put(start, g, id, lease.Body{}, lease.NoLimit)
	if err != nil {
		return nil, err
	}
	return s.Apply(change)
}

// BenchmarkRenewals makes leases again in groups of a thousand, each group
// synced before the next, in the order of their shares, as a client's journal
// has them.
func BenchmarkRenewals(b *testing.B) {
	const all, group = 100_000, 1000
	s := serve(b, mustOpen(b, vfs.Default, b.TempDir()))
	s.addRoot(1, 1<<40)
	var last *Commit
	shares, renewed := make([]lease.ShareID, all), 0
	for n := range shares {
		shares[n] = randomShare(n)
		commit, err := s.putUnsynced(own(1), shares[n])
		must(b, err)
		last = commit
	}
	must(b, last.Wait())
	slices.SortFunc(shares, lease.ShareID.Compare)
	for b.Loop() {
		ids := shares[renewed%all : renewed%all+group]
		now := start.Add(time.Duration(1+renewed/all) * time.Hour)
		change, _, err := s.ledger.RenewLeases(now, own(1), ids)
		must(b, err)
		commit, err := s.Apply(change)
		must(b, err)
		must(b, commit.Wait())
		renewed += group
	}
	b.ReportMetric(float64(renewed)/b.Elapsed().Seconds(), "leases/s")
}

// BenchmarkLargeShare takes in a share of 1 MiB as a file.
func BenchmarkLargeShare(b *testing.B) { benchmarkShare(b, 1<<20, true) }

// BenchmarkBorder shows where a body is better kept in the table.
func BenchmarkBorder(b *testing.B) {
	for _, size := range []int{4 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10} {
		b.Run(fmt.Sprintf("%d KiB in the table", size>>10), func(b *testing.B) { benchmarkShare(b, size, false) })
		b.Run(fmt.Sprintf("%d KiB as a file", size>>10), func(b *testing.B) { benchmarkShare(b, size, true) })
	}
}

func benchmarkShare(b *testing.B, size int, file bool) {
	s := serve(b, mustOpen(b, vfs.Default, b.TempDir()))
	s.addRoot(1, 1<<50)
	bytes := content(size)
	b.SetBytes(int64(size))
	for n := range b.N {
		body := lease.Body{Size: int64(size), Inline: bytes}
		if file {
			in, err := s.Incoming()
			must(b, err)
			_, err = in.WriteAt(bytes, 0)
			must(b, err)
			body.File, err = in.Seal()
			must(b, err)
			body.Inline = nil
		}
		id := testShare(uint32(n))
		_, err := s.ledger.Reserve(start, own(1), id, body.Size, lease.NoLimit)
		must(b, err)
		change, _, err := s.ledger.Commit(start, own(1).Column(), id, body)
		s.apply(change, err)
	}
}

// BenchmarkTableSize reports bytes on disk of a lease whose share it did not
// bring, and of one with its share's record, at 300,000 leases of 1000
// accounts; and how long an Open takes and a scan.
func BenchmarkTableSize(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		s := serve(b, mustOpen(b, vfs.Default, dir))
		s.fill(300_000, 1)
		one := s.tableSize(b)
		s.fill(300_000, 2)
		two := s.tableSize(b)
		b.ReportMetric(float64(one)/300_000, "B/lease+share")
		b.ReportMetric(float64(two-one)/300_000, "B/lease")
		must(b, s.Close())
	}
}

// fill gives so many shares a lease of one account each, of a thousand; in
// round 1 the shares come with it.
func (s *server) fill(n int, round byte) {
	s.t.Helper()
	for a := range 1000 {
		s.apply(s.ledger.PutRoots(lease.Root{Key: benchAccount(a)}))
	}
	var last *Commit
	for i := range n {
		k := benchAccount((i + int(round)*7) % 1000)
		var err error
		if round == 1 {
			last, err = s.putUnsynced(ownOf(k), randomShare(i))
		} else {
			change, _, addErr := s.ledger.AddLease(start, ownOf(k), randomShare(i), nil, lease.NoLimit)
			must(s.t, addErr)
			last, err = s.Apply(change)
		}
		must(s.t, err)
	}
	must(s.t, last.Wait())
}

// tableSize is the size of the table on disk in bytes, put in order.
func (s *server) tableSize(b *testing.B) uint64 {
	db := s.eng.(*disk).db
	must(b, db.Flush())
	must(b, db.Compact(b.Context(), []byte{0}, []byte{0xff}, true))
	size, err := db.EstimateDiskUsage([]byte{0}, []byte{0xff})
	must(b, err)
	return size
}

var benchFolder = flag.String("folder", "", "where tables of benchmarks are kept, each filled once")

// kept opens a table of that name in -folder, which is filled and checked when
// it is not there; without -folder, one that goes with the benchmark.
func kept(b *testing.B, name string, fill func(*server)) *server {
	dir := filepath.Join(*benchFolder, name)
	if *benchFolder == "" {
		dir = filepath.Join(b.TempDir(), name)
	}
	if _, err := os.Stat(dir); err == nil {
		return serve(b, mustOpen(b, vfs.Default, dir))
	}
	must(b, os.RemoveAll(dir+".new"))
	s := serve(b, mustOpen(b, vfs.Default, dir+".new"))
	fill(s)
	if found := s.check(false); len(found) > 0 {
		b.Fatalf("the table is filled wrongly: %q", found)
	}
	must(b, s.Close())
	must(b, os.Rename(dir+".new", dir))
	return serve(b, mustOpen(b, vfs.Default, dir))
}

var usageLeases = flag.Int("leases", 100_000, "how many leases the table of BenchmarkUsage has")

// BenchmarkUsage asks how much one account of a thousand holds, and how much
// is below it: with -args -leases 10000000 -folder DIR the table has ten million
// leases and is filled once, in some minutes. No scan may be needed for it.
func BenchmarkUsage(b *testing.B) {
	leases := *usageLeases
	if testing.Short() {
		leases = 10_000
	}
	s := kept(b, fmt.Sprintf("usage-%d", leases), func(s *server) { s.fill(leases, 1) })
	before := s.Scanned()
	asked := 0
	var took []time.Duration
	for b.Loop() {
		s.hot, s.ids = newHotCache(), newIDCache() // as if nobody had asked for long
		began := time.Now()
		s.wantUsageOf(asked % 1000)
		took = append(took, time.Since(began))
		asked++
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "µs-of-100")
	b.ReportMetric(float64(took[len(took)-1].Nanoseconds())/1e3, "µs-of-all")
	b.ReportMetric(float64(s.Scanned()-before), "scanned")
}

func (s *server) wantUsageOf(n int) {
	k := benchAccount(n)
	own, err := s.ledger.Usage(lease.ColumnCounterKey(lease.ColumnOf(k)))
	must(s.t, err)
	below, err := s.ledger.Usage(lease.RootCounterKey(k))
	must(s.t, err)
	if own != below || own.Stored.Leases == 0 {
		s.t.Fatalf("account %d holds %+v, and %+v below it", n, own, below)
	}
}

// BenchmarkStanding looks up what a reference that was made under 4
// certificates is checked against: its root, and whether any of its keys is
// revoked.
func BenchmarkStanding(b *testing.B) {
	s := serve(b, mustOpen(b, vfs.Default, b.TempDir()))
	s.addRoot(1, 1<<40)
	for b.Loop() {
		standing := s.ledger.Standing()
		if _, ok := standing.Roots(testKey(1)); !ok {
			b.Fatal("the root is not there")
		}
		for n := range byte(5) {
			if standing.Revoked(testKey(n + 1)) {
				b.Fatal("a key is revoked")
			}
		}
	}
}

func benchAccount(n int) (k grid.PublicKey) {
	binary.BigEndian.PutUint64(k[:], uint64(n+1)*0x9e3779b97f4a7c15)
	return k
}

// randomShare spreads storage indexes as hashes do.
func randomShare(n int) (id lease.ShareID) {
	binary.BigEndian.PutUint64(id.StorageIndex[:], uint64(n+1)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id.StorageIndex[8:], uint64(n+1)*0xbf58476d1ce4e5b9)
	return id
}
