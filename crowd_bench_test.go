package tarn_test

import (
	"bytes"
	"context"
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

var crowdLeases = flag.Int("crowd", 20_000, "how many leases the other account of BenchmarkBesideACrowd has")

// BenchmarkBesideACrowd is what one account waits for, over a real connection,
// while another one has -crowd tiny leases on the same server: alone, with them
// there, and while they are renewed, listed, or end. Both clients and the
// server are nodes of one process, so what they need of the processors counts,
// too.
func BenchmarkBesideACrowd(b *testing.B) {
	n := *crowdLeases
	if testing.Short() {
		n = 2000
	}
	b.Run("alone", func(b *testing.B) {
		newCrowd(b, 1, time.Now()).measure(b)
	})
	g := newCrowd(b, n, time.Now())
	b.Run("beside them", g.measure)
	b.Run("they are renewed", func(b *testing.B) {
		defer g.meanwhile(func(ctx context.Context) error {
			_, err := g.client.RenewLeases(ctx)
			return err
		})()
		g.measure(b)
	})
	b.Run("they are listed", func(b *testing.B) {
		defer g.meanwhile(func(ctx context.Context) error {
			_, err := g.client.Reconcile(ctx, tarn.ReconcileOptions{})
			return err
		})()
		g.measure(b)
	})
	b.Run("they end", func(b *testing.B) {
		newCrowd(b, n, time.Now().Add(-lease.LeaseDuration)).measure(b)
	})
}

// crowded is a server where the owner has many leases and somebody else one
// file.
type crowded struct {
	*leasedGrid
	other      *tarn.Node
	capability string
}

func newCrowd(b *testing.B, leases int, then time.Time) *crowded {
	b.Helper()
	g := &crowded{leasedGrid: introduced(b)}
	g.name(leases)
	key, owner, other := newKey(b), newAccount(b), newAccount(b)
	g.start(key, owner, other, then)
	dir := b.TempDir()
	g.fillJournal(b, dir, grid.ServerID(grid.PublicKeyOf(key)))
	g.startClient(dir, owner)
	g.other = g.openIn(b.TempDir(), tarn.Config{
		Introducers: []tarn.IntroducerRef{g.ref},
		Client:      &tarn.ClientConfig{Params: file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 128 << 10}, Account: other},
	})
	g.capability = g.put(b, 0)
	return g
}

func (g *crowded) put(b *testing.B, n int) string {
	b.Helper()
	content := bytes.Repeat([]byte{byte(n), byte(n >> 8)}, 500)
	r, err := g.other.Put(b.Context(), bytes.NewReader(content), tarn.PutOptions{Size: int64(len(content)), RandomKey: true})
	if err != nil {
		b.Fatal(err)
	}
	return r.Cap
}

// meanwhile does something over and over until it is told to stop.
func (g *crowded) meanwhile(do func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(g.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if err := do(ctx); err != nil && ctx.Err() == nil {
				g.t.Errorf("the owner of many leases: %v", err)
				return
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// measure asks for usage, renews a lease and stores a file, over and over.
func (g *crowded) measure(b *testing.B) {
	var usage, keep, put []time.Duration
	timed := func(all *[]time.Duration, do func()) {
		began := time.Now()
		do()
		*all = append(*all, time.Since(began))
	}
	for n := 0; b.Loop(); n++ {
		timed(&usage, func() {
			if u, failed, err := g.other.OwnUsage(b.Context()); err != nil || len(u) != 1 {
				b.Fatalf("%v, %v, %v", u, failed, err)
			}
		})
		timed(&keep, func() {
			if k, err := g.other.Keep(b.Context(), g.capability); err != nil || len(k) != 1 || k[0].Err != nil {
				b.Fatalf("%+v, %v", k, err)
			}
		})
		timed(&put, func() { g.put(b, n) })
	}
	for name, all := range map[string][]time.Duration{"usage": usage, "renew": keep, "put": put} {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), name+"-µs")
		b.ReportMetric(float64(all[len(all)*95/100].Microseconds()), name+"-µs-of-20")
	}
	b.ReportMetric(0, "ns/op")
}
