package client_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/wire"
)

// desert is a Dialer that finds nobody, and takes its time.
type desert struct {
	world          *sim.World
	underWay, most int
	mostHints      int
	servers        map[grid.ServerID]bool
	hints          map[grid.Hint]bool
}

func (d *desert) Dial(t transport.Target, _ transport.SessionEvents, done func(transport.Session, error)) func() {
	d.underWay++
	d.most, d.mostHints = max(d.most, d.underWay), max(d.mostHints, len(t.Hints))
	d.servers[t.Server] = true
	for _, h := range t.Hints {
		d.hints[h] = true
	}
	d.world.After(15*time.Second, func() {
		d.underWay--
		done(nil, transport.ErrUnreachable)
	})
	return func() {}
}

// TestFloodOfAnnouncements: of many servers that nobody runs few are dialled
// at a time, and few addresses of each, but in the end all.
func TestFloodOfAnnouncements(t *testing.T) {
	const servers, addresses = 200, 10
	var announced saved
	for n := range uint32(servers) {
		signed, err := nobody(n, addresses)
		if err != nil {
			t.Fatal(err)
		}
		announced = append(announced, signed)
	}
	w := sim.New(3, nil)
	d := &desert{world: w, servers: map[grid.ServerID]bool{}, hints: map[grid.Hint]bool{}}
	w.Sys.Root("client", client.New(w.Env(), client.Config{
		Rules:  clause.Rules{Connections: transport.DirectConnections},
		Dialer: d, References: noReferences{},
		Introducers: []client.Introducer{{Target: transport.Target{Server: grid.ServerID{1}}, Cache: announced}},
	}))
	err := w.Until(func() bool { return len(d.servers) > servers && len(d.hints) == servers*addresses }, time.Hour)
	if err != nil {
		t.Errorf("%d servers and %d addresses were tried: %v", len(d.servers), len(d.hints), err)
	}
	if d.most > 32+1 || d.mostHints > 4 { // and the introducer
		t.Errorf("%d dials at a time, %d addresses in one", d.most, d.mostHints)
	}
}

// nobody is the announcement of a server that nobody runs.
func nobody(n uint32, addresses int) ([]byte, error) {
	key := ed25519.NewKeyFromSeed(append(binary.BigEndian.AppendUint32(nil, n), make([]byte, 28)...))
	id := grid.ServerID(grid.PublicKeyOf(key))
	a := grid.Announcement{Server: id, Sequence: 1, NodeID: id.DefaultNodeID(), PermutationSeed: id[:]}
	for i := range addresses {
		a.Hints = append(a.Hints, grid.Hint(fmt.Sprintf("/ip4/192.0.2.%d/tcp/%d", i, n+1)))
	}
	return wire.SignAnnouncement(key, a)
}

// TestValuedServersComeFirst: among as many announcements as there can be, a server
// that the node was connected to before and one that its owner named are dialled
// at once, and pushed out by nobody; one that is announced anew is taken in the
// place of one that was not announced for longest.
func TestValuedServersComeFirst(t *testing.T) {
	const most = 10_000
	r := newRig(t, 3)
	in := r.introducer()
	used, named, fresh := r.peers[0], r.peers[1], r.peers[2]
	r.config.Named = []grid.ServerID{named.id()}
	r.cache.saved = [][]byte{used.announcement(1), named.announcement(1)}
	r.cache.used = map[string]time.Time{string(r.cache.saved[0]): sim.Start.Add(-time.Hour)}
	r.cache.heard = map[string]time.Time{}
	for _, signed := range r.cache.saved {
		r.cache.heard[string(signed)] = sim.Start.Add(-time.Hour) // the first to go, if they could
	}
	r.cache.saved = append(r.cache.saved, r.flood(0, most-2)...)
	r.start()
	r.pass(3 * time.Second) // 10,000 servers take half an hour
	if r.loggedIn(used, named) < 2 {
		t.Fatal("those that are valued wait for the others")
	}
	in.announce(fresh.announcement(1))
	for _, signed := range r.flood(most, 20) {
		in.announce(signed)
	}
	r.pass(2 * time.Second)
	if len(r.cache.saved) != most {
		t.Errorf("%d announcements are kept", len(r.cache.saved))
	}
	for _, p := range r.peers {
		if signed := p.announcement(1); !r.cached(p) {
			t.Errorf("%s was pushed out", p.name)
		} else if p != fresh && r.cache.used[string(signed)].IsZero() {
			t.Errorf("%s is not known to have been used", p.name)
		}
	}
	if r.loggedIn(used, named) < 2 {
		t.Error("not all are connected any more")
	}
}

// flood is announcements of servers that nobody runs.
func (r *rig) flood(from, many int) (all [][]byte) {
	r.Helper()
	for n := range many {
		signed, err := nobody(uint32(from+n), 1)
		r.must(err)
		all = append(all, signed)
	}
	return all
}

// loggedIn is at how many of these servers.
func (r *rig) loggedIn(peers ...*peer) (n int) {
	r.Helper()
	for _, s := range r.status(false).Servers {
		if s.State == client.LoggedIn && slices.ContainsFunc(peers, func(p *peer) bool { return p.id() == s.Announcement.Server }) {
			n++
		}
	}
	return n
}

// cached reports whether an announcement of a server is kept.
func (r *rig) cached(p *peer) bool {
	signed := p.announcement(1)
	return slices.ContainsFunc(r.cache.saved, func(b []byte) bool { return bytes.Equal(b, signed) })
}

// TestWhoIsValued: a server of an account manager's list, and one about which the
// owner wrote something, are dialled before thousands of others and pushed out by
// none; one that is only announced has to wait, and to go.
func TestWhoIsValued(t *testing.T) {
	const most = 10_000
	o := newOffice(t, 3, 1)
	listed, written, other := o.peers[0], o.peers[1], o.peers[2]
	written.instead, other.instead = nil, nil // they take anybody
	o.start()
	secret := o.join(nil)
	o.untilCards(1, time.Minute)
	o.world.Crash("client")
	o.net.Crash("client")
	o.config.Memberships = []client.Membership{o.membership(secret)}
	file := &overrideFile{}
	o.config.Overrides = file
	o.write(file, "@2: {local: {petname: cellar}}")
	o.cache.saved, o.cache.used, o.cache.heard = nil, map[string]time.Time{}, map[string]time.Time{}
	for _, p := range o.peers {
		o.cache.saved = append(o.cache.saved, p.announcement(1))
		o.cache.heard[string(p.announcement(1))] = o.world.Now().Add(-time.Hour) // the first to go, if they could
	}
	o.cache.saved = append(o.cache.saved, o.flood(0, most-3)...)
	before := len(o.in.sessions)
	o.start()
	o.until("the introducer", time.Minute, func() bool { return len(o.in.sessions) > before && o.in.conv != nil })
	o.pass(3 * time.Second)
	if o.loggedIn(listed) < 1 || o.loggedIn(written) < 1 {
		t.Errorf("at the manager's server: %d, at the owner's: %d", o.loggedIn(listed), o.loggedIn(written))
	}
	if o.loggedIn(other) > 0 {
		t.Error("one of thousands came first that nobody named")
	}
	for _, signed := range o.flood(most, 20) {
		o.in.announce(signed)
	}
	o.pass(2 * time.Second)
	if !o.cached(listed) || !o.cached(written) || o.cached(other) {
		t.Errorf("kept are the manager's server: %v, the owner's: %v, one that was only announced: %v", o.cached(listed), o.cached(written), o.cached(other))
	}
}
