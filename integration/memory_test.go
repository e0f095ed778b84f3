//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/integration/nodes"
	"github.com/tarn-grid/tarn/web/control"
)

// mostMemory is what no process of a grid may exceed, whatever a file's size.
const mostMemory = 150e6

// A file that comes through a pipe goes in and comes out of a grid of ten
// servers, none of whose processes ever takes much memory, nor do the commands.
// TARN_LARGE_GIB says how large it is; a grid for it has four servers, so that it
// takes four thirds of that on the disk and as much as that while it is put.
func TestLargeFile(t *testing.T) {
	size, options := 512*mib, nodes.Options{Servers: 10, Needed: 3, Happy: 7, Total: 10}
	if nodes.Big() {
		size = 4 * gib
	}
	if n, err := strconv.ParseInt(os.Getenv("TARN_LARGE_GIB"), 10, 16); err == nil {
		size, options = n*gib, nodes.Options{Servers: 4, Needed: 3, Happy: 4, Total: 4}
	}
	g := nodes.Start(t, options)
	begin := time.Now()
	put := nodes.Run(t, nodes.Random(1, size), "-d", g.Client.Dir, "put", "-")
	if put.Code != 0 {
		t.Fatalf("put: %s", put.Stderr)
	}
	putTook := time.Since(begin)
	begin = time.Now()
	out := nodes.NewCompare(nodes.Random(1, size))
	get := nodes.Begin(t, nil, out, "-d", g.Client.Dir, "get", put.Out(), "-").Wait()
	getTook := time.Since(begin)
	if get.Code != 0 || out.Differs || out.N != size {
		t.Errorf("get: exit code %d, %d bytes (want %d), differs: %v, %s", get.Code, out.N, size, out.Differs, get.Stderr)
	}
	rate := func(took time.Duration) float64 { return float64(size) / 1e6 / took.Seconds() }
	t.Logf("%d MiB: put %.1f s, %.0f MB/s; get %.1f s, %.0f MB/s", size/mib, putTook.Seconds(), rate(putTook), getTook.Seconds(), rate(getTook))
	checkMemory(t, g)
	wantMemory(t, "tarn put", put.PeakMemory)
	wantMemory(t, "tarn get", get.PeakMemory)
}

// Neither do many files after each other, of all sizes, nor pieces of them.
func TestManyFiles(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 10, Needed: 3, Happy: 7, Total: 10})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	large := put(t, g, 2, 100*mib)
	for seed := range uint64(300) {
		if _, err := g.Client.Control.Put(ctx, nodes.Random(1000+seed, 4*kib), control.PutOptions{Size: 4 * kib}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(100) {
		piece, err := g.Client.Control.Get(ctx, large, i*mib/2, 4*kib)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := piece.WriteTo(io.Discard); err != nil {
			t.Error(err)
		}
		piece.Close()
	}
	checkMemory(t, g)
}

func checkMemory(t *testing.T, g *nodes.Grid) {
	t.Helper()
	for _, n := range g.All() {
		wantMemory(t, n.Name, n.PeakMemory())
	}
}

func wantMemory(t *testing.T, name string, peak int64) {
	t.Helper()
	t.Logf("%-12s at most %6.1f MB", name, float64(peak)/1e6)
	if float64(peak) > mostMemory {
		t.Errorf("%s took %.1f MB of memory (want at most %.0f)", name, float64(peak)/1e6, mostMemory/1e6)
	}
}

// Files of the format SDMF, each of which is one segment, are read and written one
// after the other where they are long.
func TestManyLongSDMF(t *testing.T) {
	const size = 48 * mib
	g := nodes.Start(t, nodes.Options{Servers: 3, Needed: 2, Happy: 3, Total: 3, Gateway: true})
	web := gatewayOf(t, g.Client)
	caps := make([]string, 4)
	var wait sync.WaitGroup
	for i := range caps {
		wait.Go(func() { caps[i] = web.do("PUT", "/uri?format=sdmf", nodes.Random(uint64(i), size)) })
	}
	wait.Wait()
	written := g.Client.PeakMemory()
	for i, c := range caps {
		wait.Go(func() {
			got := web.begin("GET", "/uri/"+c, nil)
			defer got.Close()
			compare := nodes.NewCompare(nodes.Random(uint64(i), size))
			if n, err := io.Copy(compare, got); err != nil || n != size || compare.Differs {
				t.Errorf("%d bytes, differ: %v, %v", n, compare.Differs, err)
			}
		})
	}
	wait.Wait()
	t.Logf("the client took at most %.1f MB while four of %d MiB were written, %.1f MB in all", float64(written)/1e6, size/mib, float64(g.Client.PeakMemory())/1e6)
	if peak := g.Client.PeakMemory(); peak > 9*size {
		t.Errorf("the client took %d bytes of memory", peak)
	}
}

// A part of a large mutable file takes little memory, whether all shares are there or
// not.
func TestPartOfALargeMutableFile(t *testing.T) {
	const size, part = 150 * mib, 3 * mib
	g := nodes.Start(t, nodes.Options{Servers: 4, Needed: 2, Happy: 3, Total: 4, Gateway: true})
	web := gatewayOf(t, g.Client)
	c := web.do("PUT", "/uri?format=mdmf", nodes.Random(1, size))
	web.do("PUT", fmt.Sprintf("/uri/%s?offset=%d", c, 50*mib), nodes.Random(2, part))
	t.Logf("the client took at most %.1f MB with all shares there", float64(g.Client.PeakMemory())/1e6)
	g.Servers[0].Stop()
	web.do("PUT", fmt.Sprintf("/uri/%s?offset=%d", c, 100*mib+1), nodes.Random(3, part))
	got := web.begin("GET", "/uri/"+c, nil)
	defer got.Close()

	rest := func(from, n int64) io.Reader {
		all := nodes.Random(1, size)
		if _, err := io.CopyN(io.Discard, all, from); err != nil {
			t.Fatal(err)
		}
		return io.LimitReader(all, n)
	}
	want := io.MultiReader(rest(0, 50*mib), nodes.Random(2, part), rest(53*mib, 47*mib+1), nodes.Random(3, part), rest(103*mib+1, size))
	compare := nodes.NewCompare(want)
	if n, err := io.Copy(compare, got); err != nil || n != size || compare.Differs {
		t.Errorf("%d bytes, differ: %v, %v", n, compare.Differs, err)
	}
	wantMemory(t, "the client", g.Client.PeakMemory())
}
