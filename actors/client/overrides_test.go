package client_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/manager"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/wire"
)

// anonymous is what a node dials that wants to be.
var anonymous = clause.Rules{Connections: transport.Connections{TCP: transport.Tor, Onion: transport.Tor, Relay: transport.Tor}, Anonymous: true}

// dialled is one address that a dial may have tried.
type dialled struct {
	server grid.ServerID
	hint   grid.Hint
	way    transport.Way
	at     time.Time
}

// watched is a Dialer that notes what is dialled and how, and knows which
// address is behind an onion.
type watched struct {
	transport.Dialer
	world  *sim.World
	onions map[grid.Hint]grid.Hint
	dials  []dialled
}

func (w *watched) Dial(t transport.Target, ev transport.SessionEvents, done func(transport.Session, error)) func() {
	to := transport.Target{Server: t.Server, Connections: transport.Connections{TCP: transport.Tor}}
	for _, h := range t.Connections.Dialable(t.Hints) {
		w.dials = append(w.dials, dialled{t.Server, h, t.Connections.WayOf(h), w.world.Now()})
		if behind, ok := w.onions[h]; ok {
			h = behind
		}
		to.Hints = append(to.Hints, h)
	}
	return w.Dialer.Dial(to, ev, done)
}

// direct are the dials since the n-th that Tor did not carry, by address.
func (w *watched) direct(n int) []grid.Hint {
	var all []grid.Hint
	for _, d := range w.dials[n:] {
		if d.way != transport.Tor && !slices.Contains(all, d.hint) {
			all = append(all, d.hint)
		}
	}
	slices.Sort(all)
	return all
}

// file is the user's, as a test writes it.
type overrideFile struct {
	content []byte
	err     error
}

func (f *overrideFile) Load() ([]byte, error) { return f.content, f.err }

// write gives the file a content, in which @1 is the first server, and waits
// until it must be in force.
func (r *rig) write(f *overrideFile, text string) {
	r.Helper()
	for i, p := range r.peers {
		text = strings.ReplaceAll(text, fmt.Sprintf("@%d", i+1), p.id().String())
	}
	f.content = []byte(text)
	if r.pid != nil {
		r.pass(5 * time.Second)
	}
}

func (r *rig) anonymous() {
	r.config.Rules = anonymous
	for i := range r.config.Introducers {
		r.config.Introducers[i].Target.Connections = anonymous.Connections
	}
}

// watch has all dials noted, and every server announce an onion address alone.
func (r *rig) watch() *watched {
	w := &watched{Dialer: r.config.Dialer, world: r.world, onions: map[grid.Hint]grid.Hint{}}
	r.config.Dialer = w
	for i, p := range r.peers {
		onion := grid.Hint(fmt.Sprintf("/onion3/%s%c:3457", strings.Repeat("a", 55), 'a'+i))
		w.onions[onion] = grid.Hint("/dns/" + p.name + "/tcp/1")
		r.cache.saved[i] = p.announcementAt(1, onion)
	}
	return w
}

// announcementAt is one with other addresses.
func (p *peer) announcementAt(sequence uint64, hints ...grid.Hint) []byte {
	a, err := wire.OpenAnnouncement(p.announcement(sequence))
	p.rig.must(err)
	a.Hints = hints
	b, err := wire.SignAnnouncement(p.key, a)
	p.rig.must(err)
	return b
}

func (r *rig) unused() map[grid.ServerID]error {
	all := map[grid.ServerID]error{}
	for _, s := range r.status(false).Unused {
		all[s.Announcement.Server] = s.Err
	}
	return all
}

const leif = `
@1:
  local: {connections: {tcp: direct}, petname: cellar}
  announcement: {addresses: [/dns/server1/tcp/1]}
@2:
  local: {connections: {tcp: direct}}
  announcement: {addresses: [/dns/server2/tcp/1]}
`

// TestLeif: all servers announce onion addresses, and two of them are reached
// directly because their clauses say so, under anonymous. Nothing else is dialled
// in the clear, whatever happens.
func TestLeif(t *testing.T) {
	r := newRig(t, 5)
	r.introducer()
	w := r.watch()
	file := &overrideFile{}
	r.anonymous()
	r.config.Overrides = file
	r.write(file, leif)
	r.start()
	r.untilState(client.LoggedIn, 3*time.Minute)
	own := []grid.Hint{"/dns/server1/tcp/1", "/dns/server2/tcp/1"}
	for range 3 { // a bad day
		for _, p := range r.peers {
			r.net.Drop("client", p.name)
		}
		j := r.put(content(1000), wide(5, 2))
		r.finish(j, 10*time.Minute)
		r.untilState(client.LoggedIn, 10*time.Minute)
	}
	if got := w.direct(0); !slices.Equal(got, own) {
		t.Errorf("dialled in the clear: %v", got)
	}
	for _, s := range r.status(false).Servers {
		if s.Announcement.Server == r.peers[0].id() && (s.Name() != "cellar" || s.Announcement.Nickname != "server1" || len(s.Sources) != 1) {
			t.Errorf("%+v", s)
		}
	}
	// When the clauses are gone, so are the connections that they allowed.
	before := len(w.dials)
	file.content = nil
	r.pass(5 * time.Second)
	r.untilState(client.LoggedIn, 3*time.Minute)
	if again := w.dials[before:]; len(again) != 2 || len(w.direct(before)) > 0 {
		t.Errorf("without clauses: %v", again)
	}
}

// TestAnonymousAfterAWeekInTheClear: what is known from before, addresses and
// all, is dialled through Tor or not at all.
func TestAnonymousAfterAWeekInTheClear(t *testing.T) {
	r := newRig(t, 3)
	r.introducer()
	w := &watched{Dialer: r.config.Dialer, world: r.world}
	r.config.Dialer = w
	r.start()
	r.pass(7 * 24 * time.Hour)
	r.untilState(client.LoggedIn, time.Minute)
	if len(w.direct(0)) != 4 {
		t.Fatalf("in the clear %v were dialled", w.direct(0))
	}
	r.world.Crash("client")
	r.net.Crash("client")
	before := len(w.dials)
	r.anonymous()
	file := &overrideFile{}
	r.config.Overrides = file
	r.write(file, "@1: {local: {connections: {tcp: direct}}}")
	r.start()
	r.untilState(client.LoggedIn, 3*time.Minute)
	if got := w.direct(before); len(got) > 0 {
		t.Errorf("dialled in the clear: %v", got)
	}
	if m := r.status(false).Mistakes; len(m) != 1 || !strings.Contains(m[0].Error(), "line 1: tcp: direct is not used") {
		t.Errorf("mistakes %v", m)
	}
}

func TestOverridesAreWatched(t *testing.T) {
	r := newRig(t, 3)
	r.introducer()
	file := &overrideFile{}
	r.config.Overrides = file
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)

	r.write(file, "@2: {ignore: true}\n@3: {local: {petname: attic}}\n")
	if s := r.status(false); len(s.Servers) != 2 || s.Servers[0].Err != nil || r.unused()[r.peers[1].id()] == nil || !r.peers[1].sessions[0].over {
		t.Fatalf("%+v", s)
	}
	j := r.put(content(1000), wide(2, 2))
	r.finish(j, time.Minute)
	if j.err != nil || len(j.stored.LeftOut) > 0 || len(r.peers[1].shares) > 0 {
		t.Fatalf("%v, left out %v", j.err, j.stored)
	}

	// Whatever the file becomes, what was good of it stays.
	for _, bad := range []string{"", "@2: {ignore: tr", "@2: {ignore: yes}\n@3: {local: {petname: attic}}", "v0-4ua", "@2:\n"} {
		r.write(file, bad)
		s := r.status(false)
		if len(s.Mistakes) == 0 || len(s.Servers) != 2 || len(r.unused()) != 1 {
			t.Fatalf("%q: %v, %d servers", bad, s.Mistakes, len(s.Servers))
		}
	}
	file.err = fmt.Errorf("the disk is on fire")
	r.pass(5 * time.Second)
	if s := r.status(false); len(s.Mistakes) != 1 || !strings.Contains(s.Mistakes[0].Error(), "on fire") || len(s.Servers) != 2 {
		t.Fatalf("%+v", s)
	}
	file.err = nil
	r.write(file, "@3: {local: {petname: attic}}\n")
	r.untilState(client.LoggedIn, 10*time.Second)
	if s := r.status(false); len(s.Mistakes) != 0 || len(r.peers[2].sessions) != 1 {
		t.Errorf("%v; a petname cost %d connections", s.Mistakes, len(r.peers[2].sessions))
	}
}

// A file that is being written counts when it is whole.
func TestHalfWrittenFileCountsForNothing(t *testing.T) {
	r := newRig(t, 2)
	file := &overrideFile{}
	r.config.Overrides = file
	r.write(file, "@1: {ignore: true}\n@2: {ignore: true}\n")
	r.start()
	r.pass(5 * time.Second)
	whole := file.content
	for range 20 { // it is cut at a line's end when it is looked at, and whole right after
		file.content = whole[:len(whole)/2]
		r.pass(1900 * time.Millisecond)
		file.content = whole
		r.pass(5100 * time.Millisecond)
	}
	if n := len(r.peers[1].sessions); n > 0 || len(r.unused()) != 2 {
		t.Errorf("%d connections", n)
	}
}

// A server whose clause has a mistake from the start is not connected to as if
// it had none.
func TestMistakeIsNotAGuess(t *testing.T) {
	r := newRig(t, 2)
	w := &watched{Dialer: r.config.Dialer, world: r.world}
	r.config.Dialer = w
	file := &overrideFile{}
	r.config.Overrides = file
	r.write(file, "@1: {local: {connections: {tcp: thor}}}")
	r.start()
	r.pass(time.Minute)
	for _, d := range w.dials {
		if d.server == r.peers[0].id() {
			t.Fatal("it was dialled")
		}
	}
	for _, s := range r.status(false).Servers {
		if held := s.Announcement.Server == r.peers[0].id(); held != (s.State == client.Idle) || held && !strings.Contains(s.Err.Error(), "servers.yaml: line 1: tcp can't be") {
			t.Errorf("%s: %v", s.State, s.Err)
		}
	}
	j := r.put(content(1000), wide(2, 2))
	r.finish(j, time.Minute)
	if j.err == nil || !strings.Contains(j.err.Error(), "servers.yaml") {
		t.Errorf("the upload says %v", j.err)
	}
	r.write(file, "@1: {local: {connections: {tcp: tor}}}")
	r.untilState(client.LoggedIn, time.Minute)
}

// A server that no introducer knows is as good as another.
func TestOverrideAddsAServer(t *testing.T) {
	r := newRig(t, 3)
	r.introducer()
	r.cache.saved = r.cache.saved[:2]
	file := &overrideFile{}
	r.config.Overrides = file
	r.write(file, "@3: {announcement: {nickname: mine, addresses: [/dns/server3/tcp/1]}}")
	r.start()
	r.untilState(client.LoggedIn, 10*time.Second)
	j := r.put(content(1000), wide(3, 2))
	r.finish(j, time.Minute)
	if j.err != nil || j.stored.Happiness != 3 {
		t.Fatalf("%v, %v", j.stored, j.err)
	}
	for _, s := range r.status(false).Servers {
		if s.Announcement.Server == r.peers[2].id() && (s.Stale || len(s.Sources) > 0 || s.Name() != "mine") {
			t.Errorf("%+v", s)
		}
	}
	r.write(file, "@3: {local: {petname: mine}}")
	if err := r.unused()[r.peers[2].id()]; err == nil || !r.peers[2].sessions[0].over {
		t.Errorf("without addresses: %v", err)
	}
	file.content = nil
	r.pass(5 * time.Second)
	if s := r.status(false); len(s.Servers) != 2 || len(s.Unused) != 0 {
		t.Errorf("%+v", s)
	}
	// On and off faster than an actor ends.
	for range 10 {
		r.write(file, "@3: {announcement: {addresses: [/dns/server3/tcp/1]}}")
		file.content = nil
		r.pass(4 * time.Second)
	}
	r.write(file, "@3: {announcement: {addresses: [/dns/server3/tcp/1]}}")
	r.untilState(client.LoggedIn, 10*time.Second)
}

// The broker that failed learns the file anew, and connects to nobody before.
func TestBrokerThatFails(t *testing.T) {
	r := newRig(t, 3)
	r.introducer()
	w := r.watch()
	file := &overrideFile{}
	r.anonymous()
	r.config.Overrides = file
	r.write(file, leif+"@3: {ignore: true}")
	failures, last := 0, r.world.Now()
	r.world.Inject = func(id string, m any) bool { // not so often that its branch gives up
		fails := (id == "client/broker" || id == "client/overrides") && r.world.Now().Sub(last) > 20*time.Second && r.world.Rand().Int64N(20) == 0
		if fails {
			failures, last = failures+1, r.world.Now()
		}
		return fails
	}
	r.start()
	for range 20 {
		r.net.Drop("client", r.peers[0].name)
		r.pass(time.Minute)
	}
	r.world.Inject = nil
	r.pass(5 * time.Minute)
	if got := w.direct(0); failures < 10 || len(got) != 2 || len(r.peers[2].sessions) > 0 {
		t.Errorf("after %d failures %v were dialled directly, the ignored one %d times", failures, got, len(r.peers[2].sessions))
	}
	if s := r.status(false); len(s.Servers) != 2 || s.Servers[0].State != client.LoggedIn || s.Servers[1].State != client.LoggedIn {
		t.Errorf("%+v", s)
	}
}

// TestStrewn: connections to different servers, and one after another to the
// same, are not made at once by who wants to be anonymous.
func TestStrewn(t *testing.T) {
	r := newRig(t, 20)
	r.config.Authority.Holdings = append(r.config.Authority.Holdings, r.config.Authority.Holdings[0])
	r.anonymous()
	w := &watched{Dialer: r.config.Dialer, world: r.world}
	r.config.Dialer = w
	r.start()
	r.untilState(client.LoggedIn, 3*time.Minute)
	wantStrewn(t, w.dials)
	before := len(w.dials)
	for _, p := range r.peers {
		r.net.Drop("client", p.name)
	}
	r.pass(2 * time.Minute)
	wantStrewn(t, w.dials[before:])
}

// wantStrewn fails unless the dials of servers are as far apart as if each had
// been at a time of its own within half a minute.
func wantStrewn(t *testing.T, dials []dialled) {
	t.Helper()
	var at []time.Time
	for _, d := range dials {
		if d.hint != "/dns/introducer/tcp/1" {
			at = append(at, d.at)
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	if len(at) != 20 {
		t.Fatalf("%d dials", len(at))
	}
	quarters := map[int]int{}
	for _, a := range at {
		quarters[int(a.Sub(at[0])/(8*time.Second))]++
	}
	if len(quarters) < 4 || at[19].Sub(at[0]) < 20*time.Second || at[19].Sub(at[0]) > 40*time.Second {
		t.Errorf("all within %v: %v", at[19].Sub(at[0]), quarters)
	}
}

// The account manager is asked at a time of its own, too.
func TestManagerIsAskedAtADrawnTime(t *testing.T) {
	o := newOffice(t, 2, 1)
	added := o.ask(manager.Add{Name: "alice"}).(manager.Added)
	o.anonymous()
	m := o.membership(added.Secret)
	m.Manager.Connections = anonymous.Connections
	o.config.Memberships = []client.Membership{m}
	began := o.world.Now()
	o.start()
	o.until("a question to the manager", time.Minute, func() bool { return len(o.sessions) > 0 })
	if after := o.world.Now().Sub(began); after < time.Second || after > 31*time.Second {
		t.Errorf("asked after %v", after)
	}
}

// A connection that renews in another account's name obeys the clause, too: one
// that is not to be any more ends, and the next is made as it says now.
func TestErrandsObeyTheClause(t *testing.T) {
	r := newRig(t, 1)
	w := &watched{Dialer: r.config.Dialer, world: r.world}
	r.config.Dialer = w
	file := &overrideFile{}
	r.config.Overrides = file
	r.config.Authority.Holdings = append(r.config.Authority.Holdings, lease.Holding{Account: account(2)})
	p := r.peers[0]
	p.journal(5, account(2).PublicKey(p.id()))
	changed := 0
	p.instead = func(s *peerSession, f wire.Frame) bool { // the first renewal is never answered
		_, renew := f.Message.(*wire.RenewShares)
		if renew && changed == 0 {
			changed = len(w.dials)
		}
		return renew && len(w.dials) == changed
	}
	r.start()
	r.until("a renewal", 30*day, func() bool { return changed > 0 })
	if p.open() != 2 || len(w.direct(0)) != 2 {
		t.Fatalf("%d connections, %v", p.open(), w.direct(0))
	}
	r.write(file, "@1: {local: {connections: {tcp: tor}}}")
	if p.open() != 1 {
		t.Errorf("%d connections are open", p.open())
	}
	r.pass(day)
	own := slices.DeleteFunc(w.direct(changed), func(h grid.Hint) bool { return strings.HasPrefix(string(h), "/dns/introducer") })
	if n := r.renewalAt(p); n.Held != 5 || n.Err != nil || len(own) > 0 {
		t.Errorf("dialled directly: %v; the last round: %+v", own, n)
	}
}
