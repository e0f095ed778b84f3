package client_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// introducer is one of a few lines.
type introducer struct {
	sessions []transport.Session
	conv     transport.Conversation
	silent   bool // for the first session
}

func (r *rig) introducer() *introducer { return r.introducerAs("introducer", key(200)) }

func (r *rig) introducerAs(name string, key ed25519.PrivateKey) *introducer {
	in := &introducer{}
	_, err := r.net.Listen(name, key, func(s transport.Session) transport.SessionEvents {
		in.sessions = append(in.sessions, s)
		s.Admit()
		return transport.SessionEvents{Incoming: func(c transport.Conversation, _ transport.Protocol) (transport.Handler, int) {
			in.conv = c
			return in.heard, 1000
		}}
	})
	r.must(err)
	return in
}

func (in *introducer) heard(ev transport.Event) {
	m, ok := ev.(transport.Received)
	if !ok || in.silent && len(in.sessions) == 1 {
		return
	}
	var answer wire.Message = &wire.Done{}
	if _, hello := m.Frame.Message.(*wire.Hello); hello {
		answer = &wire.Hello{Version: wire.Version}
	}
	in.conv.Send(wire.Frame{ID: m.Frame.ID, Answer: true, Message: answer})
}

func (in *introducer) announce(signed []byte) {
	in.conv.Send(wire.Frame{Message: &wire.Announce{Announcement: signed}})
}

func TestAnnouncementsAreHeardAndCached(t *testing.T) {
	r := newRig(t, 2)
	r.cache.saved = r.cache.saved[:1]
	in := r.introducer()
	r.start()
	r.until("the introducer", time.Minute, func() bool { return r.status(true).Introducers[0].Connected })
	newest := r.peers[0].announcement(3)
	forged := r.peers[1].announcement(9)
	forged[len(forged)-1] ^= 1
	for _, signed := range [][]byte{newest, r.peers[0].announcement(2), r.peers[1].announcement(1), forged} {
		in.announce(signed)
	}
	r.untilState(client.LoggedIn, 10*time.Second)
	r.pass(time.Second)
	for _, s := range r.status(false).Servers {
		if want := map[bool]uint64{true: 3, false: 1}[s.Announcement.Server == r.peers[0].id()]; s.Announcement.Sequence != want {
			t.Errorf("knows announcement %d of %s", s.Announcement.Sequence, s.Announcement.Nickname)
		}
	}
	found := false
	for _, signed := range r.cache.saved {
		found = found || bytes.Equal(signed, newest)
	}
	if len(r.cache.saved) != 2 || !found {
		t.Errorf("%d announcements are cached, the newest among them: %v", len(r.cache.saved), found)
	}
}

func TestIntroducerThatDoesNotAnswer(t *testing.T) {
	r := newRig(t, 1)
	in := r.introducer()
	in.silent = true
	r.start()
	r.until("another try", time.Minute, func() bool { return len(in.sessions) == 2 })
	r.until("the introducer", time.Minute, func() bool { return r.status(true).Introducers[0].Connected })
	if in.sessions[0].Remote() == in.sessions[1].Remote() {
		t.Error("an identity was used twice")
	}
}

func TestServerThatVanishesHoldsNobodyUpForLong(t *testing.T) {
	r := newRig(t, 3)
	r.introducer()
	r.net.Partition("client", r.peers[2].name)
	r.start()
	began := r.world.Now()
	j := r.put(content(1000), wide(2, 2))
	r.finish(j, time.Minute)
	if j.err != nil || r.world.Now().Sub(began) > 4*time.Second {
		t.Errorf("error %v after %v", j.err, r.world.Now().Sub(began))
	}
	began = r.world.Now()
	j = r.put(content(1000), wide(3, 3))
	r.finish(j, time.Minute)
	if d := r.world.Now().Sub(began); j.err == nil || d > 7*time.Second || d < 4*time.Second {
		t.Errorf("error %v after %v", j.err, d)
	}
}

// A file that is stored right after the start goes to all servers, not to
// those that happened to be reached first.
func TestFirstUploadWaitsForAllServers(t *testing.T) {
	r := newRig(t, 5)
	r.introducer()
	for i, p := range r.peers {
		r.net.SetLatency("client", p.name, time.Duration(i+1)*50*time.Millisecond, 0)
	}
	r.start()
	j := r.put(content(1000), wide(5, 2))
	r.finish(j, time.Minute)
	if j.err != nil || j.stored.Happiness != 5 {
		t.Errorf("happiness %d, %v", j.stored.Happiness, j.err)
	}
}

// An introducer that lets go of its clients soon has more of them than places: they
// come again seldom. One that was there for long is back at once.
func TestIntroducerWithoutRoom(t *testing.T) {
	r := newRig(t, 1)
	in := r.introducer()
	r.start()
	for end := r.world.Now().Add(6 * time.Hour); r.world.Now().Before(end); {
		r.pass(time.Minute)
		in.sessions[len(in.sessions)-1].Close()
	}
	if n := len(in.sessions); n > 6*15 || n < 6*8 {
		t.Errorf("%d connections in six hours to an introducer without room", n)
	}
	r.until("the introducer", time.Hour, func() bool { return r.status(true).Introducers[0].Connected })
	r.pass(2 * time.Hour)
	before := len(in.sessions)
	in.sessions[before-1].Close()
	r.until("the introducer again", 2*time.Second, func() bool { return len(in.sessions) > before })
}
