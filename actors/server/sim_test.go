package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/server"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/fake"
	"github.com/tarn-grid/tarn/transport/wire"
)

// TestSameSeedSameTrace holds the actors to their env: a clock, a goroutine or
// the order of a map would show.
func TestSameSeedSameTrace(t *testing.T) {
	share := shareOf("traced", 600_000)
	scenario := func(w *sim.World) error {
		r := &rig{TB: t, world: w, free: 1 << 40}
		r.net = fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
		r.table = table{store.NewMemory(), func() int64 { return r.free }, new(int)}
		r.config = server.Config{
			Key: serverKey, Store: r.table, Dialer: r.net.Dialer("server"),
			References: lease.ReferenceKeys{{ID: 7}}, Policy: lease.LedgerPolicy{Duration: lease.LeaseDuration},
			Listen: func(accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
				return r.net.Listen("server", serverKey, accept)
			},
			Fatal: func(err error) { r.fatal = append(r.fatal, err) },
		}
		r.pid, _ = w.Sys.Root("storage", server.New(w.Env(), r.config))
		r.status()
		var clients []*client
		for n := range byte(3) {
			r.addAccount(n+1, nil)
			c := r.dial(fmt.Sprint("client", n))
			c.logIn(n + 1)
			clients = append(clients, c)
		}
		for n := range byte(6) {
			for _, c := range clients {
				a := allocate(n, 0, share)
				c.offers[a.Secret] = share
				c.send(a)
			}
		}
		clients[1].session.Close()
		return errors.Join(w.For(30*time.Minute), r.settled())
	}
	for seed := range uint64(3) {
		if err := sim.Check(seed, scenario); err != nil {
			t.Fatal(err)
		}
	}
}

// settled is what must hold when nothing is going on.
func (r *rig) settled() error {
	if s := r.status(); s.Reserved != 0 || s.Uploads != 0 {
		return fmt.Errorf("reserved in the end: %+v", s)
	}
	return errors.Join(r.fatal...)
}

func TestSilentConnectionsEnd(t *testing.T) {
	r := newRig(t, 50)
	quiet := &client{rig: r}
	r.net.Dialer("quiet").Dial(transport.Target{Server: serverID(), Hints: r.status().Hints, Connections: transport.DirectConnections},
		transport.SessionEvents{Closed: func(err error) { quiet.closed = err }},
		func(s transport.Session, _ error) { quiet.session = s })
	r.until("a session", func() bool { return quiet.session != nil })
	reader := r.dial("reader")
	if err := r.world.For(time.Minute); err != nil {
		t.Fatal(err)
	}
	if quiet.closed == nil || reader.closed != nil {
		t.Fatalf("after a minute: without hello %v, with hello %v", quiet.closed, reader.closed)
	}
	if err := r.world.For(15 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if reader.closed == nil {
		t.Error("an idle connection without a login stays for ever")
	}
	if s := r.status(); s.Sessions != 0 {
		t.Errorf("status %+v", s)
	}
}

// TestPlacesAreForReaders: without a login a connection stays for who reads,
// not for who says something now and then.
func TestPlacesAreForReaders(t *testing.T) {
	r := newRig(t, 54)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("read on and on", 400<<10)
	c.offer(allocate(1, 0, share), share)
	r.until("Stored", func() bool { return len(c.stored) > 0 })
	reader, sitter := r.dial("reader"), r.dial("sitter")
	for range 20 {
		if err := r.world.For(time.Minute); err != nil {
			t.Fatal(err)
		}
		reader.send(&wire.Read{StorageIndex: allocate(1, 0, share).StorageIndex, Ranges: []wire.Range{{Length: 300 << 10}}})
		sitter.send(&wire.Find{})
	}
	if reader.closed != nil || sitter.closed == nil {
		t.Errorf("after 20 minutes: who reads %v, who sits there %v", reader.closed, sitter.closed)
	}
}

func TestUnrulyClient(t *testing.T) {
	for name, m := range map[string]wire.Frame{
		"answer to nothing": {ID: 1, Answer: true, Message: &wire.Done{}},
		"notice":            {Message: &wire.Usage{}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 51)
			c := r.dial("client")
			c.conv.Send(m)
			r.until("the end", func() bool { return c.closed != nil })
		})
	}
	r := newRig(t, 52)
	c := r.dial("client")
	second := false
	c.session.Open(transport.Storage, func(ev transport.Event) { _, second = ev.(transport.Ended) }, 1)
	r.until("the refusal of a second conversation", func() bool { return second })
	if got, ok := c.do(&wire.Find{}).(*wire.Found); !ok {
		t.Errorf("the first one is harmed: %v", got)
	}
}

// TestReadsAreBounded: a client that asks and does not read holds up itself.
func TestReadsAreBounded(t *testing.T) {
	r := newRig(t, 53)
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("much", 2<<20)
	c.offer(allocate(1, 0, share), share)
	r.until("Stored", func() bool { return len(c.stored) > 0 })
	reader := r.dialCredit("reader", 2) // hello, and the login's answer
	reader.logIn(1)
	served := 0
	r.world.Inject = func(_ string, m any) bool {
		if fmt.Sprintf("%T", m) == "server.readDone" {
			served++
		}
		return false
	}
	const reads = 64
	for range reads {
		reader.send(&wire.Read{StorageIndex: allocate(1, 0, share).StorageIndex, Ranges: []wire.Range{{Length: 1 << 20}}})
	}
	if err := r.world.For(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if served < 2 || served > 10 {
		t.Errorf("%d answers of 1 MiB wait for a client that does not read", served)
	}
	reader.conv.Grant(reads)
	r.until("all answers", func() bool { return len(reader.answers) == reads+2 })
}

// TestNobodyFillsTheLog has a client cause refusals of each kind: the log
// tells of them only where it is asked to tell everything.
func TestNobodyFillsTheLog(t *testing.T) {
	var lines bytes.Buffer
	r := newRigIn(t, sim.New(55, slog.New(slog.NewTextHandler(&lines, nil))))
	r.addAccount(1, nil)
	c := r.dial("client")
	c.logIn(1)
	share := shareOf("good", 400_000)
	c.offer(allocate(1, 0, share), share)
	r.until("Stored", func() bool { return len(c.stored) == 1 })
	lines.Reset()
	for n := range byte(5) {
		c.logIn(1)
		wantCode(t, c.do(&wire.Login{Chain: []byte("no chain"), Request: []byte("no request")}), wire.BadRequest)
		wantCode(t, c.do(&wire.Read{StorageIndex: grid.StorageIndex{99}, Ranges: []wire.Range{{Length: 1}}}), wire.NoSuchShare)
		bad := bytes.Clone(share)
		bad[len(bad)/2] ^= 1
		c.offer(allocate(10+n, 0, bad), bad)
		r.until("Stored", func() bool { return len(c.stored) == 2+int(n) })
	}
	if lines.Len() > 0 {
		t.Errorf("the log says\n%s", lines.String())
	}
}
