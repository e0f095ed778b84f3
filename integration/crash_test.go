//go:build integration

package integration_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// mostRestart is how long a killed server may take until it can be used again.
const mostRestart = 2 * time.Second

// A server that is killed in mid-upload knows nothing of the upload when it is
// back, and the upload succeeds all the same or says why not. Grids are killed
// side by side, because an upload waits for the server's return.
func TestServerKilled(t *testing.T) {
	const grids, kills = 5, 10 // 50 in all
	t.Run("grids", func(t *testing.T) {
		for i := range grids {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				testServerKilled(t, uint64(i), kills)
			})
		}
	})
}

func testServerKilled(t *testing.T, seed uint64, kills int) {
	const size = 12 * mib
	proxy := nodes.NewProxy(t)
	g := nodes.Start(t, nodes.Options{Servers: 3, Needed: 2, Happy: 2, Total: 3, ServerArgs: func(i int) []string {
		if i == 0 {
			return proxy.ServerArgs()
		}
		return nil
	}})
	victim := g.Servers[0]
	random := rand.New(rand.NewPCG(seed, 0))
	stored, midway := 0, 0
	for i := range kills {
		contentSeed := 100*seed + uint64(i)
		put := nodes.Begin(t, nodes.Random(contentSeed, size), nil, "-d", g.Client.Dir, "put", "-")
		// From the first byte to some after the last: the commit, too.
		point := random.Int64N(size/2 + size/10)
		reached := proxy.WaitSent(proxy.Sent()+point, put.Done())
		victim.Kill()
		proxy.Shut(true)
		if reached {
			midway++
		}
		if took := victim.Start(); took > mostRestart {
			t.Errorf("restarted in %v (want at most %v)", took, mostRestart)
		}
		victim.CheckClean()
		proxy.Shut(false)
		if checkPut(t, g, put.Wait(), contentSeed, size) {
			stored++
		}
		victim.CheckClean()
		g.Client.WaitLogins(3)
	}
	if midway < kills/2 {
		t.Errorf("%d of %d kills were in mid-upload (want at least half)", midway, kills)
	}
	if stored < kills/2 {
		t.Errorf("%d of %d uploads succeeded, though two servers were always there", stored, kills)
	}
}

// checkPut reports whether the file was stored; if so it can be read, else the
// command said that too few servers were there.
func checkPut(t *testing.T, g *nodes.Grid, put nodes.Result, seed uint64, size int64) bool {
	t.Helper()
	if put.Code != 0 {
		put.WantFailure(t, 5, "needed to be happy")
		return false
	}
	wantFile(t, g, put.Out(), seed, size)
	return true
}

// wantFile reads a file and compares it.
func wantFile(t *testing.T, g *nodes.Grid, capability string, seed uint64, size int64) {
	t.Helper()
	out := nodes.NewCompare(nodes.Random(seed, size))
	get := nodes.Begin(t, nil, out, "-d", g.Client.Dir, "get", capability).Wait()
	if get.Code != 0 || out.Differs || out.N != size {
		t.Errorf("get: exit code %d, %d bytes (want %d), differs: %v, %s", get.Code, out.N, size, out.Differs, get.Stderr)
	}
}

// put stores a file, which must succeed.
func put(t *testing.T, g *nodes.Grid, seed uint64, size int64) string {
	t.Helper()
	r := nodes.Run(t, nodes.Random(seed, size), "-d", g.Client.Dir, "put", "-")
	if r.Code != 0 {
		t.Fatalf("put: %s", r.Stderr)
	}
	return r.Out()
}

// A client that is killed in mid-upload starts again, and uploads what it
// began: the servers go on where they were, and free what they reserved.
func TestClientKilled(t *testing.T) {
	const size = 24 * mib
	var proxies []*nodes.Proxy
	g := nodes.Start(t, nodes.Options{Servers: 3, Needed: 1, Happy: 3, Total: 3, ServerArgs: func(int) []string {
		proxies = append(proxies, nodes.NewProxy(t))
		return proxies[len(proxies)-1].ServerArgs()
	}})
	// Every server has some of its share, and none has all.
	for _, p := range proxies {
		p.HoldSent(size / 2)
	}
	command := nodes.Begin(t, nodes.Random(7, size), nil, "-d", g.Client.Dir, "put", "-")
	nodes.Until(t, "all uploads are held", nodes.Patience, func() bool {
		return proxies[0].Held() && proxies[1].Held() && proxies[2].Held()
	})
	for _, s := range g.Servers {
		if _, _, reserved := s.Usage(); reserved < size {
			t.Errorf("%s: %d bytes are reserved in mid-upload (want at least %d)", s.Name, reserved, size)
		}
	}
	g.Client.Kill()
	command.Wait().WantFailure(t, 3, "the node")
	for _, p := range proxies {
		p.Cut()
		p.Release()
	}
	sent := proxies[0].Sent()

	g.Client.Start()
	if left := g.Client.Leftovers(); len(left) > 0 {
		t.Errorf("left in the client's folder: %q", left)
	}
	g.Client.WaitLogins(3)
	wantFile(t, g, put(t, g, 7, size), 7, size)
	if again := proxies[0].Sent() - sent; again > size*3/4 {
		t.Errorf("%d of %d bytes were sent again, though half were there", again, size)
	}
	for _, s := range g.Servers {
		s.CheckClean()
	}
}

// What a client that never returns has begun is gone when its server was
// restarted.
func TestAbandonedUpload(t *testing.T) {
	const size = 24 * mib
	proxy := nodes.NewProxy(t)
	g := nodes.Start(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1, ServerArgs: func(int) []string { return proxy.ServerArgs() }})
	proxy.HoldSent(size / 2)
	nodes.Begin(t, nodes.Random(8, size), nil, "-d", g.Client.Dir, "put", "-")
	nodes.Until(t, "the upload is held", nodes.Patience, proxy.Held)
	g.Client.Kill()
	proxy.Shut(true)
	server := g.Servers[0]
	if _, _, reserved := server.Usage(); reserved < size {
		t.Errorf("%d bytes are reserved while the client may return (want at least %d)", reserved, size)
	}
	server.Stop()
	server.Start()
	server.CheckClean()
}

// A connection that is lost in mid-upload comes back, and what was sent is not
// sent again.
func TestConnectionLost(t *testing.T) {
	const size = 48 * mib
	proxy := nodes.NewProxy(t)
	g := nodes.Start(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1, ServerArgs: func(int) []string { return proxy.ServerArgs() }})
	before := proxy.Sent()
	command := nodes.Begin(t, nodes.Random(9, size), nil, "-d", g.Client.Dir, "put", "-")
	for _, part := range []int64{size / 4, size / 2, size * 3 / 4} {
		if !proxy.WaitSent(before+part, command.Done()) {
			t.Fatalf("the upload ended early: %+v", command.Wait())
		}
		proxy.Cut()
	}
	r := command.Wait()
	if r.Code != 0 {
		t.Fatalf("put: %s", r.Stderr)
	}
	if sent := proxy.Sent() - before; sent < size || sent > size*3/2 {
		t.Errorf("%d bytes were sent for a share of %d (want less than half more)", sent, size)
	}
	wantFile(t, g, r.Out(), 9, size)
	g.Servers[0].CheckClean()
}
