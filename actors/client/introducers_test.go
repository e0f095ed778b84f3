package client_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// known is what the client says of a server.
func (r *rig) known(p *peer) (client.ServerStatus, bool) {
	for _, s := range r.status(false).Servers {
		if s.Announcement.Server == p.id() {
			return s, true
		}
	}
	return client.ServerStatus{}, false
}

// sources are the introducers of a server, and whether it is stale.
func (r *rig) sources(p *peer) (numbers []int, stale bool) {
	s, _ := r.known(p)
	for _, from := range s.Sources {
		numbers = append(numbers, from.Introducer)
	}
	return numbers, s.Stale
}

func (r *rig) wantSources(p *peer, stale bool, want ...int) {
	r.Helper()
	if got, is := r.sources(p); !slices.Equal(got, want) || is != stale {
		r.Errorf("%s is known from introducers %v, stale %v", p.name, got, is)
	}
}

// TestManyIntroducers: of three one is up, and lies; another comes, then all are
// down and the node starts.
func TestManyIntroducers(t *testing.T) {
	r := newRig(t, 4)
	caches := []*cache{{}, {}, {}}
	lists := [][]int{{0, 1}, {1}, {}} // who is in which
	r.config.Introducers = nil
	var ins []*introducer
	for i, c := range caches {
		for _, n := range lists[i] {
			c.saved = append(c.saved, r.peers[n].announcement(5))
		}
		name := "introducer" + string(rune('1'+i))
		r.config.Introducers = append(r.config.Introducers, client.Introducer{
			Target: transport.Target{Server: idOf(key(byte(200 + i))), Hints: []grid.Hint{grid.Hint("/dns/" + name + "/tcp/1")}, Connections: transport.DirectConnections}, Cache: c,
		})
		ins = append(ins, r.introducerAs(name, key(byte(200+i))))
	}
	r.net.Refuse("introducer1", true)
	r.net.Partition("client", "introducer2")
	r.start()
	r.until("the third introducer", time.Minute, func() bool { return r.status(true).Introducers[2].Connected })
	forged := r.peers[0].announcement(9)
	forged[len(forged)-1] ^= 1
	for _, signed := range [][]byte{forged, r.peers[0].announcement(4), []byte("garbage"), r.peers[1].announcement(6), r.peers[2].announcement(1)} {
		ins[2].announce(signed)
	}
	r.pass(time.Second)
	r.wantSources(r.peers[0], true, 1, 3) // what the third says of it is old
	r.wantSources(r.peers[1], false, 1, 2, 3)
	r.wantSources(r.peers[2], false, 3)
	for n, want := range []uint64{5, 6, 1} {
		if s, ok := r.known(r.peers[n]); !ok || s.Announcement.Sequence != want || s.State != client.LoggedIn {
			t.Errorf("%s: announcement %d, %s (%v)", r.peers[n].name, s.Announcement.Sequence, s.State, s.Err)
		}
	}

	r.net.Refuse("introducer1", false)
	r.until("the first introducer", 10*time.Minute, func() bool { return r.status(true).Introducers[0].Connected })
	ins[0].announce(r.peers[0].announcement(5))
	ins[0].announce(r.peers[3].announcement(1))
	r.pass(time.Second)
	r.wantSources(r.peers[0], false, 1, 3)
	r.wantSources(r.peers[3], false, 1)
	r.net.Refuse("introducer3", true)
	r.net.Drop("client", "introducer3")
	r.pass(time.Second)
	r.wantSources(r.peers[2], true, 3)

	r.world.Crash("client")
	r.net.Crash("client")
	for _, name := range []string{"introducer1", "introducer3"} {
		r.net.Refuse(name, true)
	}
	r.start()
	r.untilState(client.LoggedIn, time.Minute)
	r.wantSources(r.peers[0], true, 1, 3)
	r.wantSources(r.peers[1], true, 1, 2, 3)
	r.wantSources(r.peers[3], true, 1)
	j := r.put(content(1000), wide(4, 2))
	r.finish(j, time.Minute)
	if j.err != nil {
		t.Error(j.err)
	}
}

// TestOldAnnouncementsAreForgotten: those that no introducer repeats, of servers
// that are not there.
func TestOldAnnouncementsAreForgotten(t *testing.T) {
	const day = 24 * time.Hour
	r := newRig(t, 4)
	r.cache.heard = map[string]time.Time{}
	for i, age := range []time.Duration{61 * day, 59 * day, 58 * day, 0} {
		r.cache.heard[string(r.cache.saved[i])] = r.world.Now().Add(-age)
	}
	r.net.Partition("client", r.peers[2].name)
	r.start()
	r.pass(time.Minute)
	if _, ok := r.known(r.peers[0]); ok || len(r.peers[0].sessions) > 0 {
		t.Error("the oldest is still known")
	}
	for _, p := range r.peers[1:] {
		if s, ok := r.known(p); !ok || !s.Stale || (s.State == client.LoggedIn) == (p == r.peers[2]) {
			t.Errorf("%s: %+v", p.name, s)
		}
	}
	r.pass(4 * day)
	if _, ok := r.known(r.peers[2]); ok {
		t.Error("one that is not there is still known")
	}
	if s, ok := r.known(r.peers[1]); !ok || s.State != client.LoggedIn {
		t.Error("one that is there was forgotten")
	}
	if len(r.cache.saved) != 2 || slices.ContainsFunc(r.cache.saved, func(b []byte) bool { return bytes.Equal(b, r.peers[2].announcement(1)) }) {
		t.Errorf("%d are cached", len(r.cache.saved))
	}
	// The clock was set back: what was heard in the future was heard now.
	r.cache.heard[string(r.cache.saved[0])] = r.world.Now().Add(1000 * day)
	r.world.Crash("client")
	r.net.Crash("client")
	r.start()
	r.pass(time.Minute)
	for _, at := range r.cache.heard {
		if at.After(r.world.Now()) {
			t.Errorf("heard %v from now", at.Sub(r.world.Now()))
		}
	}
}
