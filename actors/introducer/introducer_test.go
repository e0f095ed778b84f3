package introducer_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/introducer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/fake"
	"github.com/tarn-grid/tarn/transport/wire"
)

// disk is a Store that survives the actors.
type disk struct {
	saved [][]byte
	saves int
	err   error
}

func (d *disk) Load() ([][]byte, error) { return d.saved, d.err }

func (d *disk) Save(all [][]byte) error {
	if d.err != nil {
		return d.err
	}
	d.saved, d.saves = all, d.saves+1
	return nil
}

// rig is an introducer in a simulated world.
type rig struct {
	*testing.T
	world *sim.World
	net   *fake.Network
	disk  *disk
	pid   *actor.PID
	fatal []error
}

func key(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(append(make([]byte, 31), n)) }

func newRig(t *testing.T, seed uint64) *rig {
	t.Helper()
	w := sim.New(seed, nil)
	r := &rig{T: t, world: w, disk: &disk{}}
	r.net = fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
	r.start()
	r.status() // answered once it listens
	return r
}

func (r *rig) start() {
	r.pid, _ = r.world.Sys.Root("introducer", introducer.New(r.world.Env(), introducer.Config{
		Listen: func(accept func(transport.Session) transport.SessionEvents) (transport.Listener, error) {
			return r.net.Listen("introducer", key(0), accept)
		},
		Store: r.disk,
		Fatal: func(err error) { r.fatal = append(r.fatal, err) },
	}))
}

func (r *rig) until(what string, cond func() bool) {
	r.Helper()
	if err := r.world.Until(cond, time.Hour); err != nil {
		r.Fatalf("waiting for %s: %v", what, err)
	}
}

func (r *rig) status() introducer.Status {
	r.Helper()
	answer := r.world.Ask(r.pid, introducer.AskStatus{})
	r.until("status", func() bool { return *answer != nil })
	return (*answer).(introducer.Status)
}

// peer is the other side of one connection.
type peer struct {
	*rig
	session transport.Session
	conv    transport.Conversation
	next    uint64
	answers map[uint64]wire.Message
	heard   []grid.Announcement
	closed  error
}

// dial connects; credit is how many frames it takes before it is asked again.
func (r *rig) dial(name string, credit int) *peer {
	r.Helper()
	p := &peer{rig: r, answers: map[uint64]wire.Message{}}
	r.net.Dialer(name).Dial(transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(0))), Hints: []grid.Hint{"/dns/introducer/tcp/1"}, Connections: transport.DirectConnections},
		transport.SessionEvents{Closed: func(err error) { p.closed = err }},
		func(s transport.Session, err error) { p.session = s })
	r.until("a session", func() bool { return p.session != nil })
	p.conv = p.session.Open(transport.Introduction, p.event, credit)
	if m, ok := p.do(&wire.Hello{Version: 1}).(*wire.Hello); !ok {
		r.Fatalf("hello answered by %v", m)
	}
	return p
}

func (p *peer) event(ev transport.Event) {
	m, ok := ev.(transport.Received)
	if !ok {
		return
	}
	m.Frame.Release()
	if a, ok := m.Frame.Message.(*wire.Announce); ok {
		opened, err := wire.OpenAnnouncement(a.Announcement)
		if err != nil {
			p.Errorf("relayed: %v", err)
		}
		p.heard = append(p.heard, opened)
		return
	}
	p.answers[m.Frame.ID] = m.Frame.Message
}

func (p *peer) do(m wire.Message) wire.Message {
	p.Helper()
	p.next++
	id := p.next
	p.conv.Send(wire.Frame{ID: id, Message: m})
	p.until("an answer", func() bool { return p.answers[id] != nil || p.closed != nil })
	return p.answers[id]
}

func signed(t testing.TB, n byte, sequence uint64, more ...grid.Hint) []byte {
	t.Helper()
	id := grid.ServerID(grid.PublicKeyOf(key(n)))
	b, err := wire.SignAnnouncement(key(n), grid.Announcement{
		Server: id, Sequence: sequence, Nickname: fmt.Sprint("server ", n), Hints: append(more, "/ip4/192.0.2.1/tcp/1"),
		NodeID: id.DefaultNodeID(), PermutationSeed: id[:], CertificateVersions: []uint{1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (p *peer) publish(b []byte) wire.Code {
	p.Helper()
	switch m := p.do(&wire.Publish{Announcement: b}).(type) {
	case *wire.Done:
		return 0
	case *wire.Error:
		return m.Code
	default:
		p.Fatalf("publish answered by %v", m)
		return 0
	}
}

func TestPublishAndSubscribe(t *testing.T) {
	r := newRig(t, 1)
	server, early := r.dial("server", 100), r.dial("early", 100)
	early.do(&wire.Subscribe{})
	if code := server.publish(signed(t, 1, 5)); code != 0 {
		t.Fatal(code)
	}
	late := r.dial("late", 100)
	late.do(&wire.Subscribe{})
	for _, p := range []*peer{early, late} {
		r.until("the announcement", func() bool { return len(p.heard) > 0 })
		if p.heard[0].Nickname != "server 1" || p.heard[0].Sequence != 5 {
			t.Errorf("heard %+v", p.heard[0])
		}
	}
	if s := r.status(); s.Servers != 1 || s.Sessions != 3 || len(s.Hints) != 1 {
		t.Errorf("status %+v", s)
	}
}

func TestReplaceStaleForged(t *testing.T) {
	r := newRig(t, 2)
	p, sub := r.dial("server", 100), r.dial("client", 100)
	sub.do(&wire.Subscribe{})
	forged := signed(t, 1, 9)
	forged[len(forged)-1] ^= 1
	for _, c := range []struct {
		what string
		b    []byte
		code wire.Code
	}{
		{"first", signed(t, 1, 5), 0},
		{"the same again", signed(t, 1, 5), 0},
		{"older", signed(t, 1, 4), wire.BadRequest},
		{"forged", forged, wire.BadRequest},
		{"garbage", []byte("garbage"), wire.BadRequest},
		{"newer", signed(t, 1, 6), 0},
		{"of another server", signed(t, 2, 1), 0},
	} {
		if code := p.publish(c.b); code != c.code {
			t.Errorf("%s: %v, want %v", c.what, code, c.code)
		}
	}
	r.until("the last", func() bool { return len(sub.heard) >= 4 })
	last := map[grid.ServerID]uint64{}
	for _, a := range sub.heard {
		last[a.Server] = a.Sequence
	}
	if len(last) != 2 || last[grid.ServerID(grid.PublicKeyOf(key(1)))] != 6 {
		t.Errorf("heard %+v", sub.heard)
	}
}

func TestRestartForgetsNothing(t *testing.T) {
	r := newRig(t, 3)
	r.dial("server", 100).publish(signed(t, 1, 5))
	r.net.Crash("introducer")
	r.world.Crash("introducer")
	r.start()
	r.status()
	p := r.dial("server", 100)
	if code := p.publish(signed(t, 1, 4)); code != wire.BadRequest {
		t.Errorf("an older announcement after a restart: %v", code)
	}
	p.do(&wire.Subscribe{})
	r.until("the announcement", func() bool { return len(p.heard) == 1 })
}

func TestFullDisk(t *testing.T) {
	r := newRig(t, 4)
	p := r.dial("server", 100)
	r.disk.err = errors.New("no space")
	if code := p.publish(signed(t, 1, 5)); code != wire.Internal {
		t.Errorf("acknowledged though it is not on the disk: %v", code)
	}
	r.disk.err = nil
	if code := p.publish(signed(t, 1, 5)); code != 0 || r.disk.saves != 1 {
		t.Errorf("published again: %v, %d saves", code, r.disk.saves)
	}
}

func TestSlowSubscriberGetsTheNewest(t *testing.T) {
	r := newRig(t, 5)
	slow := r.dial("slow", 2) // takes hello and Done, and no notice
	slow.do(&wire.Subscribe{})
	p := r.dial("server", 1000)
	const servers, rounds = 30, 8
	var long []grid.Hint // so that the network's buffers are soon full
	for n := range 15 {
		long = append(long, grid.Hint(fmt.Sprintf("/dns/%0240d/tcp/1", n)))
	}
	for round := range rounds {
		for n := range servers {
			if code := p.publish(signed(t, byte(n+1), uint64(round+1), long...)); code != 0 {
				t.Fatal(code)
			}
		}
		if round == 0 { // a session publishes no more than so often
			continue
		}
		p = r.dial("server", 1000)
	}
	slow.conv.Grant(1000)
	newest := map[grid.ServerID]uint64{}
	r.until("the newest of all", func() bool {
		for _, a := range slow.heard {
			newest[a.Server] = a.Sequence
		}
		for _, sequence := range newest {
			if sequence != rounds {
				return false
			}
		}
		return len(newest) == servers
	})
	if len(slow.heard) > servers*rounds/2 {
		t.Errorf("%d notices were kept for a subscriber that did not read", len(slow.heard))
	}
}

func TestSilentAndUnruly(t *testing.T) {
	r := newRig(t, 6)
	p := r.dial("client", 100)
	if e, ok := p.do(&wire.Usage{}).(*wire.Error); !ok || e.Code != wire.BadRequest {
		t.Errorf("a storage request is answered by %v", e)
	}
	if m := p.do(&wire.Hello{Version: 1}); m != nil || p.closed == nil {
		t.Errorf("a second hello is answered by %v", m)
	}
	silent := &peer{rig: r}
	r.net.Dialer("silent").Dial(transport.Target{Server: grid.ServerID(grid.PublicKeyOf(key(0))), Hints: []grid.Hint{"/dns/introducer/tcp/1"}, Connections: transport.DirectConnections},
		transport.SessionEvents{Closed: func(err error) { silent.closed = err }}, func(transport.Session, error) {})
	if err := r.world.For(time.Minute); err != nil {
		t.Fatal(err)
	}
	if silent.closed == nil {
		t.Error("a connection may stay silent for ever")
	}
	if s := r.status(); s.Sessions != 0 {
		t.Errorf("status %+v", s)
	}
}

func TestUnreadableFileIsFatal(t *testing.T) {
	w := &rig{T: t, world: sim.New(7, nil), disk: &disk{err: errors.New("torn")}}
	w.net = fake.New(func(d time.Duration, fn func()) { w.world.After(d, fn) }, w.world.Rand())
	w.start()
	w.until("the end", func() bool { return len(w.fatal) > 0 })
}

// stranger is a signed announcement of some server that nobody runs.
func stranger(t testing.TB, n uint32) []byte {
	t.Helper()
	key := ed25519.NewKeyFromSeed(append(binary.BigEndian.AppendUint32(nil, n+1), make([]byte, 28)...))
	id := grid.ServerID(grid.PublicKeyOf(key))
	b, err := wire.SignAnnouncement(key, grid.Announcement{
		Server: id, Sequence: 1, Hints: []grid.Hint{"/ip4/192.0.2.9/tcp/1"},
		NodeID: id.DefaultNodeID(), PermutationSeed: id[:], CertificateVersions: []uint{1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// flood publishes count servers, over as many connections as that takes.
func (r *rig) flood(name string, from, count int) {
	r.Helper()
	var p *peer
	for n := range count {
		if n%200 == 0 {
			if p != nil {
				p.session.Close()
			}
			p = r.dial(name, 1000)
		}
		if code := p.publish(stranger(r, uint32(from+n))); code != 0 {
			r.Fatalf("server %d: %v", from+n, code)
		}
	}
	p.session.Close()
}

// TestFloodOfServers: one source fills its own share of the places only, all
// together push out nobody who is connected, and those who publish again stay.
func TestFloodOfServers(t *testing.T) {
	r := newRig(t, 8)
	gone := r.dial("gone", 100)
	gone.publish(signed(t, 2, 5))
	gone.session.Close()
	connected := r.dial("server", 100)
	connected.publish(signed(t, 1, 5))
	r.flood("one", 0, 400)
	if s := r.status(); s.Servers != 2+256 {
		t.Fatalf("%d servers are known after one source's flood, of 400", s.Servers)
	}
	for source := range 16 {
		r.flood(fmt.Sprint("many", source), 1000*(source+1), 256)
	}
	if s := r.status(); s.Servers != 4096 {
		t.Fatalf("%d servers are known", s.Servers)
	}
	if code := r.dial("late", 100).publish(signed(t, 3, 5)); code != 0 {
		t.Errorf("a server that comes late: %v", code)
	}
	known := map[grid.ServerID]bool{}
	for _, b := range r.disk.saved {
		a, err := wire.OpenAnnouncement(b)
		if err != nil {
			t.Fatal(err)
		}
		known[a.Server] = true
	}
	for n, want := range map[byte]bool{1: true, 2: false, 3: true} {
		if id := grid.ServerID(grid.PublicKeyOf(key(n))); known[id] != want {
			t.Errorf("server %d is known: %v", n, known[id])
		}
	}
}
