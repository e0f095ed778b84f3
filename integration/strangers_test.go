//go:build integration

package integration_test

import (
	"context"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/integration/nodes"
	"github.com/tarn-grid/tarn/web/control"
)

// What strangers may cost a server and its clients; the rest is in the docs.
const (
	mostSlower = 2.0
	// unnoticed is by how much a request may become slower whatever the ratio:
	// so much the slowest differ from one try to the next where nothing happens.
	unnoticed = 3 * time.Millisecond
	// compared is how many files are stored and read for that.
	compared = 1000
)

// strangerCosts is what docs/performance.md says that a connection without a login
// costs a server at most, and all of them.
func strangerCosts(t *testing.T) (cpu time.Duration, all int64) {
	t.Helper()
	page, err := os.ReadFile("../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`\n\| measured \| (\d+) ms of CPU \| (\d+) MiB of memory \|\n`).FindSubmatch(page)
	if row == nil {
		t.Fatal("docs/performance.md does not say what was measured of strangers")
	}
	ms, err := strconv.Atoi(string(row[1]))
	if err != nil {
		t.Fatal(err)
	}
	mib, err := strconv.ParseInt(string(row[2]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(ms) * time.Millisecond, mib << 20
}

// honest stores and reads a small file, and says how long each took.
func honest(t *testing.T, c *nodes.Node, seed uint64) (times []time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begin := time.Now()
	r, err := c.Control.Put(ctx, nodes.Random(seed, 4*kib), control.PutOptions{Size: 4 * kib})
	if err != nil {
		t.Fatalf("an honest client can't store: %v", err)
	}
	times = append(times, time.Since(begin))
	begin = time.Now()
	g, err := c.Control.Get(ctx, r.Cap, 0, 4*kib)
	if err == nil {
		_, err = g.WriteTo(io.Discard)
		g.Close()
	}
	if err != nil {
		t.Fatalf("an honest client can't read: %v", err)
	}
	return append(times, time.Since(begin))
}

// pair are two servers with a client each.
type pair struct{ here, elsewhere *nodes.Node }

// took is how long requests took: half of them, and all but one of a hundred, at most.
type took struct{ median, slowest time.Duration }

func tookOf(all []time.Duration) took {
	slices.Sort(all)
	return took{all[len(all)/2], all[len(all)*99/100]}
}

// measure has both clients do the same in turn, so that what else the machine does
// concerns both.
func (p pair) measure(t *testing.T, when string, files int) (here, elsewhere took) {
	t.Helper()
	var h, e []time.Duration
	for range files {
		lastSeed++
		h = append(h, honest(t, p.here, lastSeed)...)
		e = append(e, honest(t, p.elsewhere, lastSeed)...)
	}
	here, elsewhere = tookOf(h), tookOf(e)
	t.Logf("%s a request took %v, the slowest of a hundred %v; elsewhere %v and %v", when, here.median, here.slowest, elsewhere.median, elsewhere.slowest)
	return here, elsewhere
}

// lastSeed is of the last file stored; no two are the same.
var lastSeed uint64 = 10_000

// notSlower wants requests to take no longer than when it was quiet, or than they
// do elsewhere at the same time. The slowest are so by chance on a machine that does
// other things, too, but not in each of some tries.
func (p pair) notSlower(t *testing.T, when string, quiet took) {
	t.Helper()
	const tries = 3
	for range tries {
		here, elsewhere := p.measure(t, when, compared)
		if float64(here.median) > mostSlower*float64(max(quiet.median, elsewhere.median)) {
			t.Errorf("%s half of the requests took %v, %v before", when, here.median, quiet.median)
			return
		}
		if float64(here.slowest) <= mostSlower*float64(max(quiet.slowest, elsewhere.slowest))+float64(unnoticed) {
			return
		}
	}
	t.Errorf("%s the slowest of a hundred requests took too long %d times, it was %v before", when, tries, quiet.slowest)
}

// A thousand idle connections and 500 stalled ones, from one address and that of the
// honest clients, who notice little and always get in: they are hardly slower than
// before, neither among the strangers nor after them. What the machine does besides
// is seen at another server, at the same time.
func TestStrangers(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1})
	server, late := g.Servers[0], g.NewClient("late")
	other := nodes.Start(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1})
	capability := put(t, g, 1, 4*mib)
	clients := pair{g.Client, other.Client}
	clients.measure(t, "at first", compared/10)
	quiet, _ := clients.measure(t, "before", compared)
	since, memory := g.Client.Status().Servers[0].Since, server.PeakMemory()

	spent := server.CPUTime()
	c := startCrowd(t, server, capability)
	times := c.came()
	each := (server.CPUTime() - spent) / time.Duration(times)
	t.Logf("strangers came %d times, and took %v of CPU each", times, each)
	sessions := server.Status().Storage.Sessions
	clients.notSlower(t, "among strangers", quiet)
	t.Logf("they came %d times more", c.times()-times)
	for n := range uint64(3) {
		late.Start()
		begin := time.Now()
		late.WaitLogins(1)
		t.Logf("%d strangers have sessions, and a client gets in within %v", sessions, time.Since(begin))
		honest(t, late, n)
		late.Stop()
	}
	more := server.PeakMemory() - memory
	t.Logf("%.1f MiB more memory", float64(more)/float64(mib))
	mostCPU, mostMemory := strangerCosts(t)
	if each > mostCPU {
		t.Errorf("a stranger took %v of CPU, want at most %v", each, mostCPU)
	}
	if more > mostMemory {
		t.Errorf("strangers took %d MiB of the server's memory, want at most %d", more>>20, mostMemory>>20)
	}
	if sessions < 500 {
		t.Errorf("%d sessions are open, too few to show anything", sessions)
	}
	if now := g.Client.Status().Servers[0].Since; !now.Equal(since) {
		t.Errorf("the honest client lost its connection: it is there since %v, was since %v", now, since)
	}
	c.leave()
	nodes.Until(t, "the strangers' places are free", time.Minute, func() bool { return server.Status().Storage.Sessions <= 1 })
	clients.notSlower(t, "after strangers", quiet)
}
