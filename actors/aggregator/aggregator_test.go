package aggregator_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
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
	"github.com/tarn-grid/tarn/transport/clause"
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
}

// cache is a client.AnnouncementCache.
type cache struct{ saved [][]byte }

func (c cache) Load() (list []client.Cached, err error) {
	for _, signed := range c.saved {
		list = append(list, client.Cached{Signed: signed, Heard: sim.Start})
	}
	return list, nil
}
func (c cache) Save([]client.Cached) error { return nil }

// references is a client.ReferenceCache that keeps nothing.
type references struct{}

func (references) Load(grid.ServerID, lease.CredentialID) ([]byte, error) { return nil, nil }
func (references) Save(grid.ServerID, lease.CredentialID, []byte) error   { return nil }

// store is an aggregator.Store that survives the actors.
type store struct {
	reports map[grid.ServerID]tally.Report
	pages   map[grid.ServerID][][]byte
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
func (s *store) SaveReport(r tally.Report, pages [][]byte) error {
	s.reports[r.Server], s.pages[r.Server] = r, pages
	return s.err
}

func (s *store) SaveDay(d tally.Day) error { s.days[d.Day] = d; return s.err }

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
	r.store = &store{reports: map[grid.ServerID]tally.Report{}, pages: map[grid.ServerID][][]byte{}, days: map[lease.Day]tally.Day{}}
	r.net = fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
	for n := range servers {
		s := &server{rig: r, name: fmt.Sprint("server", n), key: key(byte(n + 1))}
		s.holds(10)
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
			Rules:  clause.Rules{Connections: transport.DirectConnections},
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

// page signs what the server says at the moment.
func (s *server) page(p wire.UsagePage) wire.Message {
	if p.Server == (grid.ServerID{}) {
		p.Server = s.id()
	}
	if p.At == 0 {
		p.At = s.world.Now().Unix()
	}
	b, err := wire.SignUsagePage(s.key, p)
	if err != nil {
		s.Fatal(err)
	}
	return &wire.UsageBelowReport{Page: b}
}

// holds has the server report these rows, in pages of size.
func (s *server) holds(size int, rows ...wire.DelegatedUsage) {
	s.holdsBelow(size, map[grid.PublicKey][]wire.DelegatedUsage{{}: rows})
}

// asker is the key of who asks.
var asker = grid.PublicKey{1: 1}

// holdsBelow has it report these below keys, and below who asks those of zero.
func (s *server) holdsBelow(size int, rows map[grid.PublicKey][]wire.DelegatedUsage) {
	s.below = func(of *wire.UsageBelow) wire.Message {
		p := wire.UsagePage{Of: of.Signer, After: of.After}
		if p.Of.IsZero() {
			p.Of = asker
		}
		for _, d := range rows[of.Signer] {
			if strings.Compare(string(d.Delegate[:]), string(of.After[:])) <= 0 {
				continue
			}
			if len(p.Delegates) == size {
				p.More = true
				break
			}
			p.Delegates = append(p.Delegates, d)
		}
		return s.page(p)
	}
}

func held(n byte, bytes uint64) wire.DelegatedUsage {
	return wire.DelegatedUsage{Delegate: grid.PublicKey{n}, Bytes: bytes, Shares: 1}
}

// own makes a key at a server somebody's.
func (r *rig) own(s *server, n byte, name string) {
	r.names.owners[lease.ServerKey{Server: s.id(), Key: grid.PublicKey{n}}] = tally.Owner{Name: name, Quota: new(int64(1000))}
}

func (r *rig) ask(message any) any {
	r.Helper()
	answer := r.world.Ask(r.pid, message)
	if err := r.world.Until(func() bool { return *answer != nil }, time.Hour); err != nil {
		r.Fatalf("%T: %v", message, err)
	}
	return *answer
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
	thief.holds(10, held(1, 2000), held(2, 999))         // bob's key at the good server
	mad.below = func(of *wire.UsageBelow) wire.Message { // goes back
		return mad.page(wire.UsagePage{Of: asker, Delegates: []wire.DelegatedUsage{held(1, 1), held(5, 1)}, More: true})
	}
	n := uint64(0)
	endless.below = func(of *wire.UsageBelow) wire.Message {
		page := wire.UsagePage{Of: asker, After: of.After, More: true}
		for range wire.MaxBelow {
			n++
			k := grid.PublicKey{byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
			page.Delegates = append(page.Delegates, wire.DelegatedUsage{Delegate: k, Bytes: 1})
		}
		return endless.page(page)
	}
	s := r.collect()
	if bytesOf(s, "bob") != 20 || bytesOf(s, "alice") != 10+2000+10+10 || bytesOf(s, "") != 999 {
		t.Errorf("alice %d, bob %d, nobody %d", bytesOf(s, "alice"), bytesOf(s, "bob"), bytesOf(s, ""))
	}
	if v := stateOf(r, s, thief); v.DoubtfulOf != 1 || v.UnknownKeys != 1 {
		t.Errorf("the thief: %+v", v)
	}
	if v := stateOf(r, s, mad); !strings.Contains(v.Err, "missing") || v.Bytes != 10 {
		t.Errorf("%s: %+v", v.Nickname, v)
	}
	if v := stateOf(r, s, endless); !strings.Contains(v.Err, "makes no sense") || v.Bytes != 10 {
		t.Errorf("%s: %+v", v.Nickname, v)
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
	r.pass(time.Second)
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

// partner has a server with a partner, key 2, whose customers are 3 and 4, and a
// friend of customer 3, key 5.
func (s *server) partner() {
	below := func(d wire.DelegatedUsage) wire.DelegatedUsage { d.Below = true; return d }
	s.holdsBelow(1, map[grid.PublicKey][]wire.DelegatedUsage{
		{}:  {{Delegate: asker, Bytes: 7, Shares: 1}, held(1, 10), below(held(2, 100))},
		{2}: {below(held(3, 60)), held(4, 30)},
		{3}: {held(2, 1), held(5, 20)}, // keys that signed for each other come to an end
	})
}

// What a partner's customers hold is shown below him, added up over servers where
// they have names, and in nobody's sum twice.
func TestCollectsTheTree(t *testing.T) {
	r := newRig(t, 6, 2)
	for _, s := range r.servers {
		s.partner()
		r.own(s, 2, "partner")
		r.own(s, 3, "anna")
	}
	r.start()
	s := r.collect()
	if s.Bytes != 2*117 || bytesOf(s, "partner") != 200 || bytesOf(s, tally.OwnName) != 14 || bytesOf(s, "") != 20 || bytesOf(s, "anna") != 0 {
		t.Errorf("summary %+v", s)
	}
	for _, a := range s.Accounts {
		if a.Name != "partner" {
			continue
		}
		if len(a.Below) != 2 || a.Below[0].Key != (grid.PublicKey{4}) || a.Below[0].Bytes != 60 || a.Below[0].Keys != 2 {
			t.Fatalf("below the partner: %+v", a.Below)
		}
		anna := a.Below[1]
		if anna.Name != "anna" || anna.Bytes != 120 || len(anna.Below) != 2 || anna.Below[1].Bytes != 2 && anna.Below[0].Bytes != 40 {
			t.Errorf("anna: %+v", anna)
		}
	}
	asked := r.servers[0].asked
	if asked != 3+2+2 {
		t.Errorf("%d questions", asked)
	}
	// Who is given the pages needs to believe nobody else.
	r.pass(time.Minute)
	for _, v := range r.servers {
		got, err := aggregator.ReadReport(v.id(), r.store.pages[v.id()])
		if err != nil || len(got.Rows) != 7 || got.Of != asker || got.Said == 0 {
			t.Errorf("report %+v, %v", got, err)
		}
	}
}

// An aggregator that leaves pages out, changes or exchanges them, is found out
// by whoever reads them; one that shows old ones can't say that they are new.
func TestLyingAggregator(t *testing.T) {
	r := newRig(t, 7, 2)
	honest, other := r.servers[0], r.servers[1]
	honest.partner()
	other.partner()
	r.start()
	r.collect()
	r.pass(time.Second) // it is kept a moment later
	pages, theirs := r.store.pages[honest.id()], r.store.pages[other.id()]
	first, err := aggregator.ReadReport(honest.id(), pages)
	if err != nil {
		t.Fatal(err)
	}
	for i := range pages {
		dropped := slices.Delete(slices.Clone(pages), i, i+1)
		if _, err := aggregator.ReadReport(honest.id(), dropped); !errors.Is(err, aggregator.ErrIncomplete) {
			t.Errorf("without page %d: %v", i, err)
		}
		inflated := slices.Clone(pages)
		inflated[i] = bytes.Clone(pages[i])
		inflated[i][len(inflated[i])/2] ^= 1
		if _, err := aggregator.ReadReport(honest.id(), inflated); err == nil {
			t.Errorf("page %d was changed, and believed", i)
		}
		exchanged := slices.Clone(pages)
		exchanged[i] = theirs[i]
		if _, err := aggregator.ReadReport(honest.id(), exchanged); !errors.Is(err, wire.ErrUsageSignature) {
			t.Errorf("another server's page %d: %v", i, err)
		}
	}
	if _, err := aggregator.ReadReport(honest.id(), append(slices.Clone(pages), pages[0])); !errors.Is(err, aggregator.ErrNonsense) {
		t.Errorf("a page too many: %v", err)
	}
	if _, err := aggregator.ReadReport(honest.id(), nil); !errors.Is(err, aggregator.ErrIncomplete) {
		t.Errorf("nothing: %v", err)
	}
	r.pass(30 * time.Hour)
	r.collect()
	mixed := append(slices.Clone(r.store.pages[honest.id()][:1]), pages[1:]...)
	if got, err := aggregator.ReadReport(honest.id(), mixed); err != nil || got.Said != first.Said {
		t.Errorf("old pages behind a new one are of %d, want %d (%v)", got.Said, first.Said, err)
	}
}

// What another server signed, and what was not signed at all, is no report; a
// clock that is wrong is told, and changes nothing.
func TestServersThatDoNotSign(t *testing.T) {
	r := newRig(t, 8, 4)
	good, thief, unsigned, late := r.servers[0], r.servers[1], r.servers[2], r.servers[3]
	for _, s := range r.servers {
		s.holds(10, held(1, 10))
		r.own(s, 1, "alice")
	}
	thief.below = func(*wire.UsageBelow) wire.Message {
		return good.page(wire.UsagePage{Of: asker, Delegates: []wire.DelegatedUsage{held(1, 10)}})
	}
	unsigned.below = func(*wire.UsageBelow) wire.Message {
		b := good.page(wire.UsagePage{Of: asker}).(*wire.UsageBelowReport).Page
		b[len(b)-1] ^= 1
		return &wire.UsageBelowReport{Page: b}
	}
	late.below = func(*wire.UsageBelow) wire.Message {
		return late.page(wire.UsagePage{Of: asker, At: r.world.Now().Add(-25 * time.Hour).Unix(), Delegates: []wire.DelegatedUsage{held(1, 10)}})
	}
	r.start()
	s := r.collect()
	for _, v := range []*server{thief, unsigned} {
		if v := stateOf(r, s, v); v.State != tally.Missing || !strings.Contains(v.Err, "not signed by that server") {
			t.Errorf("%+v", v)
		}
	}
	if v := stateOf(r, s, late); v.State != tally.Fresh || v.Bytes != 10 || v.Ahead != -25*60*60 {
		t.Errorf("%+v", v)
	}
	if v := stateOf(r, s, good); v.Ahead != 0 || bytesOf(s, "alice") != 20 {
		t.Errorf("%+v, alice %d", v, bytesOf(s, "alice"))
	}
}
