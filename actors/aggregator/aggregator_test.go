package aggregator_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/aggregator"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/tally"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/fake"
	"github.com/tarn-grid/tarn/transport/wire"
)

// rig is an aggregator in a simulated world, among servers that report what a
// test tells them.
type rig struct {
	*testing.T
	world   *sim.World
	net     *fake.Network
	pid     *actor.PID
	cache   cache
	store   *store
	names   *names
	servers []*server
	fatal   []error
	inboxes int
}

// cache is a client.AnnouncementCache.
type cache struct{ saved [][]byte }

func (c cache) Load() ([][]byte, error) { return c.saved, nil }
func (c cache) Save([][]byte) error     { return nil }

// references is a client.ReferenceCache that keeps nothing.
type references struct{}

func (references) Load(grid.ServerID, lease.CredentialID) ([]byte, error) { return nil, nil }
func (references) Save(grid.ServerID, lease.CredentialID, []byte) error   { return nil }

// store is an aggregator.Store that survives the actors.
type store struct {
	reports map[grid.ServerID]tally.Report
	days    map[lease.Day]tally.Day
	err     error
}

func (s *store) Load() ([]tally.Report, error) {
	var all []tally.Report
	for _, r := range s.reports {
		all = append(all, r)
	}
	return all, s.err
}
func (s *store) SaveReport(r tally.Report) error { s.reports[r.Server] = r; return s.err }
func (s *store) SaveDay(d tally.Day) error       { s.days[d.Day] = d; return s.err }

// names is an aggregator.Names.
type names struct {
	owners tally.Names
	err    error
}

func (n *names) Load() (tally.Names, []grid.ServerID, error) { return n.owners, nil, n.err }

// server is a storage server of a few lines.
type server struct {
	*rig
	name  string
	key   ed25519.PrivateKey
	asked int
	below func(of *wire.UsageBelow) wire.Message
}

func key(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(append(make([]byte, 31), n)) }

func (s *server) id() grid.ServerID { return grid.ServerID(grid.PublicKeyOf(s.key)) }

func newRig(t *testing.T, seed uint64, servers int) *rig {
	t.Helper()
	w := sim.New(seed, nil)
	r := &rig{T: t, world: w, names: &names{owners: tally.Names{}}}
	r.store = &store{reports: map[grid.ServerID]tally.Report{}, days: map[lease.Day]tally.Day{}}
	r.net = fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
	for n := range servers {
		s := &server{rig: r, name: fmt.Sprint("server", n), key: key(byte(n + 1))}
		s.below = func(*wire.UsageBelow) wire.Message { return &wire.UsageBelowReport{} }
		s.listen()
		r.servers = append(r.servers, s)
		r.cache.saved = append(r.cache.saved, s.announcement())
	}
	return r
}

func (r *rig) start() {
	account := lease.OneKeyAccount([lease.SeedSize]byte{9})
	r.pid, _ = r.world.Sys.Root("aggregator", aggregator.New(r.world.Env(), aggregator.Config{
		Connections: client.Config{
			Dialer: r.net.Dialer("aggregator"), References: references{}, Authority: lease.Authority{Holdings: []lease.Holding{{Account: account}}},
			Introducers: []client.Introducer{{Target: transport.Target{Server: grid.ServerID{200}, Hints: []grid.Hint{"/dns/introducer/tcp/1"}, Connections: transport.DirectConnections}, Cache: r.cache}},
		},
		Store: r.store, Names: r.names, Interval: time.Hour, Fatal: func(err error) { r.fatal = append(r.fatal, err) },
	}))
}

func (s *server) announcement() []byte {
	id := s.id()
	b, err := wire.SignAnnouncement(s.key, grid.Announcement{
		Server: id, Sequence: 1, Nickname: s.name, NodeID: id.DefaultNodeID(), PermutationSeed: id[:],
		Hints: []grid.Hint{grid.Hint("/dns/" + s.name + "/tcp/1")}, CertificateVersions: []uint{1},
	})
	if err != nil {
		s.Fatal(err)
	}
	return b
}

func (s *server) listen() {
	_, err := s.net.Listen(s.name, s.key, func(conn transport.Session) transport.SessionEvents {
		conn.Admit()
		return transport.SessionEvents{Incoming: func(c transport.Conversation, _ transport.Protocol) (transport.Handler, int) {
			return func(ev transport.Event) {
				if m, ok := ev.(transport.Received); ok {
					m.Frame.Release()
					c.Send(wire.Frame{ID: m.Frame.ID, Answer: true, Message: s.answer(m.Frame.Message)})
				}
			}, 1000
		}}
	})
	if err != nil {
		s.Fatal(err)
	}
}

func (s *server) answer(m wire.Message) wire.Message {
	switch m := m.(type) {
	case *wire.Hello:
		return &wire.Hello{Version: wire.Version, MaxRequests: 64}
	case *wire.Login:
		return &wire.LoggedIn{Reference: []byte("r"), Expires: s.world.Now().Add(24 * time.Hour).Unix(), Label: grid.PublicKey{1}}
	case *wire.Find:
		return &wire.Found{}
	case *wire.UsageBelow:
		s.asked++
		return s.below(m)
	}
	return &wire.Error{Code: wire.BadRequest}
}

// holds has the server report these rows, in pages of size.
func (s *server) holds(size int, rows ...wire.DelegatedUsage) {
	s.below = func(of *wire.UsageBelow) wire.Message {
		r := &wire.UsageBelowReport{}
		for _, d := range rows {
			if strings.Compare(string(d.Delegate[:]), string(of.After[:])) <= 0 {
				continue
			}
			if len(r.Delegates) == size {
				r.More = true
				break
			}
			r.Delegates = append(r.Delegates, d)
		}
		return r
	}
}

func held(n byte, bytes uint64) wire.DelegatedUsage {
	return wire.DelegatedUsage{Delegate: grid.PublicKey{n}, Bytes: bytes, Shares: 1}
}

// own makes a key at a server somebody's.
func (r *rig) own(s *server, n byte, name string) {
	r.names.owners[lease.ServerKey{Server: s.id(), Key: grid.PublicKey{n}}] = tally.Owner{Name: name, Quota: new(int64(1000))}
}

func (r *rig) ask(message any) (answer any) {
	r.Helper()
	r.inboxes++
	inbox := r.world.Inbox(fmt.Sprintf("inbox%d", r.inboxes), func(m any) { answer = m })
	r.world.Env().Spawn.Send(r.pid, &actor.MessageEnvelope{Message: message, Sender: inbox})
	if err := r.world.Until(func() bool { return answer != nil }, time.Hour); err != nil {
		r.Fatalf("%T: %v", message, err)
	}
	return answer
}

func (r *rig) collect() tally.Summary {
	r.Helper()
	if a := r.ask(aggregator.Collect{}); a != (aggregator.Collected{}) {
		r.Fatalf("collect: %v", a)
	}
	s, ok := r.ask(aggregator.AskSummary{}).(tally.Summary)
	if !ok {
		r.Fatal("no summary")
	}
	return s
}

func (r *rig) pass(d time.Duration) {
	r.Helper()
	if err := r.world.For(d); err != nil {
		r.Fatal(err)
	}
}

// bytesOf is what a member holds.
func bytesOf(s tally.Summary, name string) int64 {
	for _, a := range s.Accounts {
		if a.Name == name {
			return a.Bytes
		}
	}
	return 0
}

// stateOf is what is said of a server.
func stateOf(r *rig, s tally.Summary, of *server) tally.Server {
	r.Helper()
	for _, v := range s.Servers {
		if v.ID == of.id() {
			return v
		}
	}
	r.Fatalf("%s is not in the summary", of.name)
	return tally.Server{}
}

func TestCollects(t *testing.T) {
	r := newRig(t, 1, 3)
	for n, s := range r.servers {
		s.holds(2, held(1, 10), held(2, 20), held(3, 30), held(4, 40), held(5, uint64(100*n)))
		for k := range byte(5) {
			r.own(s, k+1, fmt.Sprint("member", k+1))
		}
	}
	r.start()
	s := r.collect()
	if bytesOf(s, "member1") != 30 || bytesOf(s, "member5") != 300 || s.Bytes != 600 || s.Shares != 15 {
		t.Errorf("summary %+v", s)
	}
	r.pass(time.Minute)
	day := r.store.days[lease.DayOf(r.world.Now())]
	if len(day.Accounts) != 5 || len(day.Servers) != 3 || len(r.store.reports) != 3 {
		t.Errorf("kept %+v", day)
	}
	asked := r.servers[0].asked
	r.pass(3*time.Hour + 30*time.Minute)
	if more := r.servers[0].asked - asked; more < 3*3 || more > 5*3 {
		t.Errorf("%d questions in three hours and a half", more)
	}
}

// One server counts for itself alone; what it says of another's keys, and what
// makes no sense, burdens nobody, and its last good report stays.
func TestLyingServers(t *testing.T) {
	r := newRig(t, 2, 4)
	good, thief, mad, endless := r.servers[0], r.servers[1], r.servers[2], r.servers[3]
	for _, s := range r.servers {
		r.own(s, 1, "alice")
		s.holds(10, held(1, 10))
	}
	r.own(good, 2, "bob")
	good.holds(10, held(1, 10), held(2, 20))
	r.start()
	r.collect()
	thief.holds(10, held(1, 2000), held(2, 999)) // bob's key at the good server
	mad.below = func(of *wire.UsageBelow) wire.Message {
		if of.After.IsZero() {
			return &wire.UsageBelowReport{Delegates: []wire.DelegatedUsage{held(5, 1)}, More: true}
		}
		return &wire.UsageBelowReport{Delegates: []wire.DelegatedUsage{held(1, 1<<63+7)}} // goes back, and is too large
	}
	n := uint64(0)
	endless.below = func(*wire.UsageBelow) wire.Message {
		page := &wire.UsageBelowReport{More: true}
		for range wire.MaxBelow {
			n++
			k := grid.PublicKey{byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
			page.Delegates = append(page.Delegates, wire.DelegatedUsage{Delegate: k, Bytes: 1})
		}
		return page
	}
	s := r.collect()
	if bytesOf(s, "bob") != 20 || bytesOf(s, "alice") != 10+2000+10+10 || bytesOf(s, "") != 999 {
		t.Errorf("alice %d, bob %d, nobody %d", bytesOf(s, "alice"), bytesOf(s, "bob"), bytesOf(s, ""))
	}
	if v := stateOf(r, s, thief); v.DoubtfulOf != 1 || v.UnknownKeys != 1 {
		t.Errorf("the thief: %+v", v)
	}
	for _, v := range []tally.Server{stateOf(r, s, mad), stateOf(r, s, endless)} {
		if !strings.Contains(v.Err, "makes no sense") || v.Bytes != 10 {
			t.Errorf("%s: %+v", v.Nickname, v)
		}
	}
	if endless.asked > 1000 {
		t.Errorf("%d questions to a server without end", endless.asked)
	}
}

func TestServersThatDoNotAnswer(t *testing.T) {
	r := newRig(t, 3, 3)
	for _, s := range r.servers {
		r.own(s, 1, "alice")
		s.holds(10, held(1, 10))
	}
	r.net.Partition("aggregator", "server2")
	r.start()
	s := r.collect()
	if v := stateOf(r, s, r.servers[2]); v.State != tally.Missing || v.Err == "" || s.Bytes != 20 {
		t.Errorf("%+v", v)
	}
	// What was kept is there after a restart, and old after a while.
	r.world.Crash("aggregator")
	r.net.Crash("aggregator")
	r.net.Partition("aggregator", "server1")
	r.pass(4 * time.Hour)
	r.start()
	s = r.collect()
	if v := stateOf(r, s, r.servers[1]); v.State != tally.Stale || v.Bytes != 10 || s.Bytes != 20 {
		t.Errorf("%+v", v)
	}
	if v := stateOf(r, s, r.servers[0]); v.State != tally.Fresh {
		t.Errorf("%+v", v)
	}
}

func TestNamesAndStoreFail(t *testing.T) {
	r := newRig(t, 4, 1)
	r.start()
	r.names.err = errors.New("no names")
	if a := r.ask(aggregator.Collect{}); a != (aggregator.Collected{}) {
		t.Fatal(a)
	}
	if err, ok := r.ask(aggregator.AskSummary{}).(error); !ok || !errors.Is(err, r.names.err) {
		t.Errorf("summary without names: %v", err)
	}
	broken := newRig(t, 5, 1)
	broken.store.err = errors.New("torn")
	broken.start()
	broken.pass(time.Second)
	if len(broken.fatal) != 1 {
		t.Errorf("an unreadable store: %v", broken.fatal)
	}
}
