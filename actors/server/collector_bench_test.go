package server_test

import (
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
)

var collected = flag.Int("shares", 20_000, "how many shares BenchmarkCollector has")

// BenchmarkCollector has a server's actors make one pass over shares of 512
// bytes: none of whose leases has expired, or all, so that every share is
// deleted. The disk is real and the clock is not, so the rests that pace the
// collector take no time.
func BenchmarkCollector(b *testing.B) {
	n := *collected
	if testing.Short() {
		n = 3000
	}
	for _, c := range []struct {
		name string
		ago  time.Duration
	}{{"nothing has expired", time.Hour}, {"all goes", lease.LeaseDuration}} {
		b.Run(c.name, func(b *testing.B) { benchmarkCollector(b, n, c.ago) })
	}
}

func benchmarkCollector(b *testing.B, n int, ago time.Duration) {
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		fillShares(b, dir, n, sim.Start.Add(-ago))
		b.StartTimer()
		deleted := 0
		r := diskRig(b, dir, func(c *server.Config) { c.Store = deletions{c.Store.(table), func() { deleted++ }} })
		r.until("a pass over all leases", func() bool {
			if ago < lease.LeaseDuration {
				return r.table.Scanned() > int64(n)
			}
			return deleted == n && r.nothingGoes()
		})
		b.StopTimer()
		r.stop()
		b.StartTimer()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "shares/s")
}

// fillShares makes the folder of a server with so many shares, each with a
// lease of account 1 made then.
func fillShares(b *testing.B, dir string, n int, then time.Time) {
	b.Helper()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	ledger := lease.NewLedger(s, lease.LedgerPolicy{Duration: lease.LeaseDuration})
	apply := func(c lease.Change, err error) {
		if err == nil {
			_, err = s.Apply(c)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	pub := grid.PublicKeyOf(key(1))
	apply(ledger.PutRoots(lease.Root{Key: pub, Petname: "account 1"}))
	grant := lease.Grant{Root: pub, Keys: []grid.PublicKey{pub}, Label: pub}
	for i := range n {
		body := make([]byte, 512)
		binary.BigEndian.PutUint64(body, uint64(i))
		hash := sha256.Sum256(body)
		id := lease.ShareID{StorageIndex: grid.StorageIndex(hash[:16])}
		c, _, err := ledger.Put(then, grant, id, lease.Body{Size: 512, Inline: body}, lease.NoLimit)
		apply(c, err)
	}
}
