//go:build integration

package integration_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/nodes"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/wire"
	"github.com/tarn-grid/tarn/web/control"
)

// What strangers may cost a server and its clients; the rest is in the docs.
const (
	mostSlower = 2.0
	// unnoticed is by how much a request may become slower whatever the ratio:
	// the strangers run on the same machine.
	unnoticed = 10 * time.Millisecond
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

// strangers are connections to one server that are up to no good, all from one
// address. Whoever is closed comes again, so many a second in all.
type strangers struct {
	*testing.T
	ctx    context.Context
	target transport.Target
	read   *wire.Read
	pace   *time.Ticker
	came   sync.WaitGroup // that were told to come, for the first time
	times  atomic.Int64   // that any of them came
	all    sync.WaitGroup
}

// returnEvery is the least time between two strangers who come again.
const returnEvery = 20 * time.Millisecond

func newStrangers(t *testing.T, ctx context.Context, server *nodes.Node, capability string) *strangers {
	t.Helper()
	status := server.Status().Storage
	id, err := grid.ParseServerID(status.Server)
	if err != nil {
		t.Fatal(err)
	}
	c, err := file.Parse(capability)
	if err != nil {
		t.Fatal(err)
	}
	s := &strangers{T: t, ctx: ctx, pace: time.NewTicker(returnEvery)}
	s.read = &wire.Read{StorageIndex: c.(file.CHK).StorageIndex(), Ranges: []wire.Range{{Length: 1 << 20}}}
	s.target = transport.Target{Server: id, Connections: transport.DirectConnections}
	for _, h := range status.Hints {
		s.target.Hints = append(s.target.Hints, grid.Hint(h))
	}
	return s
}

// come has many strangers do the same, each again once it is closed. be returns
// when that is; came tells that the server has heard of it.
func (s *strangers) come(many int, be func(came func())) {
	for range many {
		s.came.Add(1)
		s.all.Go(func() {
			came := sync.OnceFunc(s.came.Done)
			defer came()
			visit := func() { s.times.Add(1); be(came) }
			for visit(); s.ctx.Err() == nil; visit() {
				select {
				case <-s.pace.C:
				case <-s.ctx.Done():
				}
			}
		})
	}
}

// silent opens a connection, and says so much of the handshake.
func (s *strangers) silent(said string) func(came func()) {
	_, address, err := manet.DialArgs(ma.StringCast(string(s.target.Hints[0])))
	if err != nil {
		s.Fatal(err)
	}
	return func(came func()) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer context.AfterFunc(s.ctx, func() { _ = c.Close() })()
		defer c.Close()
		_, _ = io.WriteString(c, said) // it may be closed already
		came()
		_, _ = io.Copy(io.Discard, c)
	}
}

// caller has a session with a hello, and sends messages; it takes so many answers.
func (s *strangers) caller(messages []wire.Message, credit int) func(came func()) {
	dialer := p2p.NewDialer(p2p.Options{})
	return func(came func()) {
		type dialled struct {
			transport.Session
			err error
		}
		ready, closed, answers := make(chan dialled, 1), make(chan struct{}), make(chan struct{}, 100)
		dialer.Dial(s.target, transport.SessionEvents{Closed: func(error) { close(closed) }}, func(c transport.Session, err error) { ready <- dialled{c, err} })
		c := <-ready
		if c.err != nil {
			return
		}
		defer context.AfterFunc(s.ctx, c.Close)()
		conv := c.Open(transport.Storage, func(e transport.Event) {
			if r, ok := e.(transport.Received); ok {
				r.Frame.Release()
				answers <- struct{}{}
			}
		}, credit)
		hello := &wire.Hello{Version: wire.Version, MaxBody: wire.MaxRead, MaxRequests: 4}
		for n, m := range append([]wire.Message{hello}, messages...) {
			conv.Send(wire.Frame{ID: uint64(n + 1), Message: m})
			if n >= credit {
				continue
			}
			select {
			case <-answers:
				came()
			case <-closed:
				return
			}
		}
		<-closed
	}
}

// honest stores and reads a small file, and says how long each took.
func honest(t *testing.T, c *nodes.Node, seed uint64) (took []time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begin := time.Now()
	r, err := c.Control.Put(ctx, nodes.Random(seed, 4*kib), control.PutOptions{Size: 4 * kib})
	if err != nil {
		t.Fatalf("an honest client can't store: %v", err)
	}
	took = append(took, time.Since(begin))
	begin = time.Now()
	g, err := c.Control.Get(ctx, r.Cap, 0, 4*kib)
	if err == nil {
		_, err = g.WriteTo(io.Discard)
		g.Close()
	}
	if err != nil {
		t.Fatalf("an honest client can't read: %v", err)
	}
	return append(took, time.Since(begin))
}

// slowest has both clients do the same in turn, so that what else the machine does
// concerns both, and says how long the slowest of a hundred requests took each: the
// median of some rounds.
func slowest(t *testing.T, there, alone *nodes.Node) (among, quiet time.Duration) {
	t.Helper()
	const rounds, files = 5, 50
	var a, q []time.Duration
	for round := range uint64(rounds) {
		var ofA, ofQ []time.Duration
		for n := range uint64(files) {
			seed := 10_000 + round*files + n
			ofA = append(ofA, honest(t, there, seed)...)
			ofQ = append(ofQ, honest(t, alone, seed)...)
		}
		slices.Sort(ofA)
		slices.Sort(ofQ)
		a, q = append(a, ofA[len(ofA)*99/100]), append(q, ofQ[len(ofQ)*99/100])
	}
	t.Logf("the slowest of a hundred, in %d rounds: %v among strangers, %v alone", rounds, a, q)
	slices.Sort(a)
	slices.Sort(q)
	return a[rounds/2], q[rounds/2]
}

// tail is how long the slowest of a hundred requests takes of a client that has a
// server to itself.
func tail(t *testing.T, c *nodes.Node, seed uint64) time.Duration {
	t.Helper()
	var all []time.Duration
	for n := range uint64(50) {
		all = append(all, honest(t, c, seed+n)...)
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}

// A thousand idle connections and 500 stalled ones, from one address and that of the
// honest clients, who notice little and always get in: they are hardly slower than at
// the same server before and after, or than a client of another server meanwhile. On a
// machine that does other things, too, one of these may be by chance.
func TestStrangers(t *testing.T) {
	p2p.LogTo(slog.DiscardHandler)
	g := nodes.Start(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1})
	server, late := g.Servers[0], g.NewClient("late")
	other := nodes.Start(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1})
	capability := put(t, g, 1, 4*mib)
	honest(t, g.Client, 1)
	since, before := g.Client.Status().Servers[0].Since, server.PeakMemory()

	earlier := tail(t, g.Client, 20_000)
	ctx, cancel := context.WithCancel(t.Context())
	s := newStrangers(t, ctx, server, capability)
	defer s.all.Wait()
	defer cancel()
	cpu, memory := strangerCosts(t)
	spent := server.CPUTime()
	no := &wire.Login{Chain: []byte("no chain"), Request: []byte("no request")}
	s.come(1000, s.caller(nil, 1))
	s.come(200, s.silent(""))
	s.come(100, s.silent("\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n\x16\x03\x01"))
	s.come(100, s.caller([]wire.Message{no, no, no, no, no}, 6))
	s.come(100, s.caller([]wire.Message{s.read, s.read, s.read}, 1))
	s.came.Wait()
	each := (server.CPUTime() - spent) / time.Duration(s.times.Load())
	t.Logf("strangers came %d times, and took %v of CPU each", s.times.Load(), each)
	if each > cpu {
		t.Errorf("a stranger took %v of CPU, want at most %v", each, cpu)
	}
	sessions := server.Status().Storage.Sessions
	crowded, quiet := slowest(t, g.Client, other.Client)
	for n := range uint64(3) {
		late.Start()
		begin := time.Now()
		late.WaitLogins(1)
		t.Logf("%d strangers have sessions, and a client gets in within %v", sessions, time.Since(begin))
		honest(t, late, n)
		late.Stop()
	}
	more := server.PeakMemory() - before
	t.Logf("the slowest of a hundred: %v alone, %v among strangers; %.1f MiB more memory", quiet, crowded, float64(more)/float64(mib))
	if sessions < 500 {
		t.Errorf("%d sessions are open, too few to show anything", sessions)
	}
	if more > memory {
		t.Errorf("strangers took %d MiB of the server's memory, want at most %d", more>>20, memory>>20)
	}
	if now := g.Client.Status().Servers[0].Since; !now.Equal(since) {
		t.Errorf("the honest client lost its connection: it is there since %v, was since %v", now, since)
	}
	cancel()
	nodes.Until(t, "the strangers' places are free", time.Minute, func() bool { return server.Status().Storage.Sessions <= 1 })
	later := tail(t, g.Client, 30_000)
	t.Logf("the slowest of a hundred at this server: %v before, %v after", earlier, later)
	if float64(crowded) > mostSlower*float64(max(earlier, later, quiet))+float64(unnoticed) {
		t.Errorf("the slowest of a hundred takes %v among strangers, %v before, %v after, %v elsewhere", crowded, earlier, later, quiet)
	}
}
