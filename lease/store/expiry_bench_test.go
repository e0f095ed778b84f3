package store

import (
	"encoding/binary"
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tarn-grid/tarn/lease"
)

var expiring = flag.Int("expiring", 100_000, "how many leases BenchmarkExpire ends")

// scanStep is how many leases the collector looks at in one step, turn how many
// the ledger ends before others may do something.
const (
	scanStep = 2000
	turn     = 512
)

// BenchmarkExpire ends leases as a server's collector has it done: a scan sees
// some, the ledger ends those that have expired, and the disk has it before
// the next scan. Each share has a body of 512 bytes in the table, and either
// goes with its lease or is kept by another one.
func BenchmarkExpire(b *testing.B) {
	n := *expiring
	if testing.Short() {
		n = 5000
	}
	for _, c := range []struct {
		name string
		kept bool
	}{{"the share goes", false}, {"another lease keeps the share", true}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				s := serve(b, mustOpen(b, vfs.Default, b.TempDir()))
				s.fillExpiring(b, n, c.kept)
				b.StartTimer()
				if ended := s.expireAll(b, start.Add(lease.LeaseDuration)); ended != n {
					b.Fatalf("%d of %d leases ended", ended, n)
				}
				b.StopTimer()
				must(b, s.Close())
				b.StartTimer()
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "leases/s")
		})
	}
}

// fillExpiring gives each of n shares a lease that begins at start, of one of a
// thousand accounts; with kept, another one a day younger, of one account for
// all of them.
func (s *server) fillExpiring(b *testing.B, n int, kept bool) {
	for a := range 1000 {
		s.apply(s.ledger.PutRoots(lease.Root{Key: benchAccount(a)}))
	}
	s.apply(s.ledger.PutRoots(lease.Root{Key: testKey(1)}))
	var last *Commit
	for i := range n {
		k := benchAccount(i % 1000)
		body := make([]byte, 512)
		binary.BigEndian.PutUint64(body, uint64(i))
		change, _, err := s.ledger.Put(start, ownOf(k), randomShare(i), lease.Body{Size: 512, Inline: body}, lease.NoLimit)
		must(b, err)
		last, err = s.Apply(change)
		must(b, err)
		if kept {
			change, _, err := s.ledger.AddLease(start.Add(24*time.Hour), own(1), randomShare(i), nil, lease.NoLimit)
			must(b, err)
			last, err = s.Apply(change)
			must(b, err)
		}
	}
	must(b, last.Wait())
	must(b, s.eng.(*disk).db.Flush())
}

// expireAll makes one pass over all leases and says how many it ended.
func (s *server) expireAll(b *testing.B, now time.Time) (ended int) {
	for cursor := Cursor(nil); ; {
		expired, next, err := s.ScanExpired(now, cursor, scanStep)
		must(b, err)
		must(b, s.SaveProgress(next))
		var last *Commit
		for some := range slices.Chunk(expired, turn) {
			change, _, err := s.ledger.Expire(now, some)
			must(b, err)
			last, err = s.Apply(change)
			must(b, err)
			ended += len(some)
		}
		if last != nil {
			must(b, last.Wait())
		}
		if next == nil {
			return ended
		}
		cursor = next
	}
}
