package client_test

import (
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// newHiddenRig has one server, which is reached through a relay alone, and a
// client that may punch.
func newHiddenRig(t *testing.T) (*rig, *peer) {
	t.Helper()
	r := newRig(t, 1)
	p := r.peers[0]
	relay := r.net.Relay("relay", grid.PublicKey{9}, time.Hour)
	var slot transport.Slot
	p.listener.Reserve(relay, func(error) {}, func(s transport.Slot, err error) { r.must(err); slot = s })
	r.until("a slot", time.Minute, func() bool { return slot != nil })
	id := p.id()
	signed, err := wire.SignAnnouncement(p.key, grid.Announcement{
		Server: id, Sequence: 2, Nickname: p.name, NodeID: id.DefaultNodeID(), PermutationSeed: id[:], Hints: slot.Hints(), CertificateVersions: []uint{1},
	})
	r.must(err)
	r.cache.saved = [][]byte{signed}
	return r, p
}

func (r *rig) path() transport.Path {
	r.Helper()
	for _, s := range r.status(false).Servers {
		return s.Path
	}
	return ""
}

// oneAtATime fails the test when the client says something on a connection after
// it began to use a newer one.
func (p *peer) oneAtATime() {
	newest := 0
	p.instead = func(s *peerSession, _ wire.Frame) bool {
		for i, other := range p.sessions {
			if other == s {
				if i < newest {
					p.rig.Errorf("connection %d is used after %d", i, newest)
				}
				newest = i
			}
		}
		return false
	}
}

// one is a file of one share.
var one = file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 128 << 10}

// moved waits until the second connection has taken the place of the first.
func (r *rig) moved(p *peer) {
	r.Helper()
	r.until("the direct connection", time.Minute, func() bool { return len(p.sessions) == 2 && p.sessions[0].over })
}

// TestReadingMoves to a direct connection, and does not notice.
func TestReadingMoves(t *testing.T) {
	r, p := newHiddenRig(t)
	r.net.Holes(true)
	p.oneAtATime()
	r.net.SetLatency("client", p.name, 300*time.Millisecond, 0)
	data := content(4 << 20)
	c, shares := r.encode(data, one)
	p.shares[c.StorageIndex()] = map[grid.ShareNum][]byte{0: shares[0]}
	r.start()
	r.untilState(client.LoggedIn, time.Minute)
	if got := r.path(); got != transport.PathRelay {
		t.Fatalf("reached by %s", got)
	}
	reading := r.open(c)
	r.read(reading, 0, int64(len(data)), 4)
	r.moved(p)
	if reading.ended {
		t.Fatal("nothing was read any more")
	}
	r.until("the end of the read", 5*time.Minute, func() bool { return reading.ended || reading.err != nil })
	if reading.err != nil || len(reading.data) != len(data) {
		t.Errorf("read %d bytes of %d, %v", len(reading.data), len(data), reading.err)
	}
	if got := r.path(); got != transport.PathPunched {
		t.Errorf("reached by %s", got)
	}
	r.pass(2 * time.Hour)
	if len(p.sessions) != 2 {
		t.Errorf("%d connections", len(p.sessions))
	}
}

// TestStoringMoves to a direct connection, and goes on where it was.
func TestStoringMoves(t *testing.T) {
	r, p := newHiddenRig(t)
	r.net.Holes(true)
	p.oneAtATime()
	r.net.SetLatency("client", p.name, 300*time.Millisecond, 0)
	r.start()
	r.untilState(client.LoggedIn, time.Minute)
	job := r.put(content(3<<20), one)
	r.moved(p)
	if job.over() {
		t.Fatal("nothing was stored any more")
	}
	r.finish(job, 5*time.Minute)
	if job.err != nil {
		t.Errorf("the upload: %v", job.err)
	}
}

// TestStaysOnTheRelay where no hole can be punched, and tries seldom.
func TestStaysOnTheRelay(t *testing.T) {
	r, p := newHiddenRig(t)
	p.oneAtATime()
	r.start()
	r.untilState(client.LoggedIn, time.Minute)
	r.pass(24 * time.Hour)
	if got := r.path(); got != transport.PathRelay || len(p.sessions) != 1 {
		t.Errorf("reached by %s, over %d connections", got, len(p.sessions))
	}
	r.net.Holes(true) // the routers were replaced
	r.until("the direct connection", 2*time.Hour, func() bool { return len(p.sessions) == 2 && p.sessions[0].over })
	r.untilState(client.LoggedIn, time.Minute)
	r.net.Drop("client", p.name)
	r.until("another one through the relay, and a direct one after it", time.Minute, func() bool { return len(p.sessions) == 4 && p.sessions[2].over })
}

// TestSlowAnswersAreNotGivenUp for a direct connection.
func TestSlowAnswersAreNotGivenUp(t *testing.T) {
	r, p := newHiddenRig(t)
	data := content(1000)
	c, shares := r.encode(data, file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 128 << 10})
	p.shares[c.StorageIndex()] = map[grid.ShareNum][]byte{0: shares[0]}
	r.start()
	r.untilState(client.LoggedIn, time.Minute)
	r.net.Holes(true)
	held := 0
	p.instead = func(s *peerSession, f wire.Frame) bool {
		if f.Message.Kind() != wire.KindFind || len(p.sessions) > 1 {
			return false
		}
		held++
		r.world.After(25*time.Second, func() { s.serve(wire.Frame{ID: f.ID, Message: f.Message}) })
		return true
	}
	reading := r.open(c)
	r.read(reading, 0, int64(len(data)), 4)
	r.until("the end of the read", 5*time.Minute, func() bool { return reading.ended || reading.err != nil })
	if reading.err != nil || held == 0 {
		t.Errorf("%d questions were answered late, and the read ended with %v", held, reading.err)
	}
	r.until("the direct connection", time.Hour, func() bool { return r.path() == transport.PathPunched })
}
