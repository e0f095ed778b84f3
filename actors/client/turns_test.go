package client_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// paced is a Dialer that notes when it is asked.
type paced struct {
	transport.Dialer
	now      func() time.Time
	at       []time.Time
	underWay int
	most     int
}

func (p *paced) Dial(t transport.Target, ev transport.SessionEvents, done func(transport.Session, error)) func() {
	if t.Server == idOf(key(200)) { // the introducer
		return p.Dialer.Dial(t, ev, done)
	}
	p.at = append(p.at, p.now())
	p.underWay++
	p.most = max(p.most, p.underWay)
	return p.Dialer.Dial(t, ev, func(s transport.Session, err error) {
		p.underWay--
		done(s, err)
	})
}

// mostWithin is the largest number of dials in any stretch of this length.
func (p *paced) mostWithin(d time.Duration) int {
	most, from := 0, 0
	for i, at := range p.at {
		for at.Sub(p.at[from]) >= d {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// TestFlappingServers: of a hundred and fifty servers nine in ten come and go. The others
// are connected soon, come back soon when their connection drops, and take
// uploads; no minute has more than its dials.
func TestFlappingServers(t *testing.T) {
	const servers, well = 150, 15
	r := newRig(t, 0)
	p := &paced{Dialer: r.config.Dialer, now: r.world.Now}
	r.config.Dialer = p
	for n := range servers {
		r.peers = append(r.peers, newPeerOf(r, n))
		r.cache.saved = append(r.cache.saved, r.peers[n].announcement(1))
		if n >= well {
			r.peers[n].instead = func(s *peerSession, f wire.Frame) bool {
				if f.Message.Kind() == wire.KindFind { // it is logged in
					r.world.After(time.Duration(r.world.Rand().Int64N(int64(20*time.Second))), s.session.Close)
				}
				return false
			}
		}
	}
	r.start()
	allWell := func() bool {
		n := 0
		for _, s := range r.status(false).Servers {
			if s.State == client.LoggedIn && slices.ContainsFunc(r.peers[:well], func(p *peer) bool { return p.id() == s.Announcement.Server }) {
				n++
			}
		}
		return n == well
	}
	r.until("all that are well", 5*time.Minute, allWell)
	for round := range 3 {
		began := r.world.Now()
		for _, p := range r.peers[:well] {
			r.net.Drop("client", p.name)
		}
		r.until("all that are well", 20*time.Second, allWell)
		j := r.put(content(100_000), wide(10, 3))
		r.finish(j, time.Minute)
		if j.err != nil {
			t.Fatalf("round %d, %v after the drop: %v", round, r.world.Now().Sub(began), j.err)
		}
		r.pass(time.Minute)
	}
	if most := p.mostWithin(time.Minute); most > 300+120 || p.most > 32 {
		t.Errorf("%d dials in a minute, %d at a time", most, p.most)
	}
}

// A server actor that fails while it dials, or waits for its turn, costs nobody a
// turn.
func TestTurnsOfThoseWhoFail(t *testing.T) {
	r := newRig(t, 40)
	failures := 0
	r.world.Inject = func(id string, m any) bool {
		fails := len(id) > 20 && id[:14] == "client/server/" && r.world.Rand().Int64N(8) == 0
		if fails {
			failures++
		}
		return fails
	}
	r.start()
	r.pass(time.Minute)
	r.world.Inject = nil
	r.pass(10 * time.Minute)
	servers := r.status(false).Servers // those that failed again and again are given up
	for _, s := range servers {
		if s.State != client.LoggedIn {
			t.Errorf("%s is %s", s.Name(), s.State)
		}
	}
	if failures < 50 || len(servers) < 20 {
		t.Errorf("after %d failures there are %d servers", failures, len(servers))
	}
}
