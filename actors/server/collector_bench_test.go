package server_test

import (
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
)

var (
	benchShares = flag.Int("shares", 20_000, "how many shares BenchmarkCollector has")
	benchFiles  = flag.Int("files", 1000, "how many of them are files of 33 KiB")
	benchFolder = flag.String("folder", "", "where the shares of BenchmarkCollector are filled in, or found; they are used once")
	fillOnly    = flag.Bool("fill", false, "fill -folder, and measure nothing")
)

// BenchmarkCollector has a server's actors make a pass over shares of a hundred
// accounts, which have 512 bytes and lie in the table, but for some that are
// files: first when no lease has expired, then when all have, so that every
// share is deleted. The disk is real and the clock is not, so the rests that
// pace the collector take no time.
func BenchmarkCollector(b *testing.B) {
	shares, files := *benchShares, *benchFiles
	if testing.Short() {
		shares, files = 3000, 100
	}
	if *fillOnly {
		filledShares(b, shares, files)
		return
	}
	b.Run("nothing has expired", func(b *testing.B) { benchmarkCollector(b, shares, files, false) })
	b.Run("all goes", func(b *testing.B) { benchmarkCollector(b, shares, files, true) })
}

func benchmarkCollector(b *testing.B, shares, files int, expired bool) {
	for range b.N {
		b.StopTimer()
		dir := filledShares(b, shares, files)
		w := sim.New(91, nil)
		if expired {
			if err := w.For(lease.LeaseDuration); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		deleted := 0
		r := diskRigIn(b, w, dir, func(c *server.Config) { c.Store = deletions{c.Store.(table), func() { deleted++ }} })
		r.until("a pass over all leases", func() bool {
			if !expired {
				return r.table.Scanned() > int64(shares)
			}
			return deleted == shares && r.nothingGoes()
		})
		b.StopTimer()
		r.stop()
		if expired {
			if err := os.RemoveAll(dir); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(shares)*float64(b.N)/b.Elapsed().Seconds(), "shares/s")
}

// filledShares is the folder of a server with so many shares, each with a lease
// that was just made.
func filledShares(b *testing.B, shares, files int) string {
	b.Helper()
	at := *benchFolder
	if at == "" {
		at = b.TempDir()
	}
	dir := filepath.Join(at, fmt.Sprintf("collector-%d-%d", shares, files))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.RemoveAll(dir + ".new"); err != nil {
		b.Fatal(err)
	}
	fillShares(b, dir+".new", shares, files)
	if err := os.Rename(dir+".new", dir); err != nil {
		b.Fatal(err)
	}
	return dir
}

// filler stores shares as a server does, many at a time.
type filler struct {
	*testing.B
	table  *store.Store
	owner  sync.Mutex
	ledger *lease.Ledger
}

func fillShares(b *testing.B, dir string, shares, files int) {
	b.Helper()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	f := &filler{B: b, table: s, ledger: lease.NewLedger(s, lease.LedgerPolicy{Duration: lease.LeaseDuration})}
	for n := range byte(100) {
		f.applied(f.ledger.PutRoots(lease.Root{Key: grid.PublicKeyOf(key(n + 1)), Petname: fmt.Sprintf("account %d", n+1)}))
	}
	for n := range shares - files {
		f.put(n, lease.Body{Size: 512, Inline: benchBody(n, 512)})
	}
	var group sync.WaitGroup
	const atOnce = 32
	for first := range atOnce {
		group.Go(func() {
			for n := shares - files + first; n < shares; n += atOnce {
				f.must(f.put(n, f.file(n))())
			}
		})
	}
	group.Wait()
}

func (f *filler) must(err error) {
	if err != nil {
		f.Error(err)
		panic(err)
	}
}

func (f *filler) applied(c lease.Change, err error) (wait func() error) {
	f.must(err)
	commit, err := f.table.Apply(c)
	f.must(err)
	return commit.Wait
}

func (f *filler) put(n int, body lease.Body) (wait func() error) {
	pub := grid.PublicKeyOf(key(byte(n%100) + 1))
	hash := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
	id := lease.ShareID{StorageIndex: grid.StorageIndex(hash[:16])}
	grant := lease.Grant{Root: pub, Keys: []grid.PublicKey{pub}, Label: pub}
	f.owner.Lock()
	defer f.owner.Unlock()
	c, _, err := f.ledger.Put(sim.Start, grant, id, body, lease.NoLimit)
	return f.applied(c, err)
}

func (f *filler) file(n int) lease.Body {
	const size = store.SmallShare + 1<<10
	in, err := f.table.Incoming()
	f.must(err)
	_, err = in.WriteAt(benchBody(n, size), 0)
	f.must(err)
	number, err := in.Seal()
	f.must(err)
	return lease.Body{Size: size, File: number}
}

func benchBody(n, size int) []byte {
	body := make([]byte, size)
	binary.BigEndian.PutUint64(body, uint64(n))
	return body
}
