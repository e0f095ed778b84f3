package sim_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/fake"
	"github.com/tarn-grid/tarn/transport/wire"
)

// unnoticed is how long a file takes to be stored or read, at most, whatever
// happens to servers that have nothing to do with it: a few rounds to some
// servers, with a disk in each.
const unnoticed = time.Second

// errands are files that go to four servers of ten, and what is asked of as many
// again: one goes along with its offers, one is pulled.
var errands = []struct {
	file.Params
	size int
}{{inTable, 1000}, {inFiles, 150_000}}

// bystanders is a grid in which one server goes wrong while clients store and
// read files that have nothing to do with it.
type bystanders struct {
	*simGrid
	bad     *storageNode
	slowest time.Duration
}

// beside builds the grid; prepare may be nil.
func beside(w *sim.World, prepare func(*bystanders)) (*bystanders, error) {
	b := &bystanders{}
	g, err := aGrid{servers: 10, clients: 2, prepare: func(g *simGrid) {
		b.simGrid, b.bad = g, g.servers[0]
		if prepare != nil {
			prepare(b)
		}
	}}.build(w)
	b.simGrid = g
	return b, err
}

// elsewhere is content of a file for whose sake the bad server is asked nothing.
func (b *bystanders) elsewhere(c *clientNode, size int, p file.Params) ([]byte, error) {
	s, err := b.picture(c)
	if err != nil {
		return nil, err
	}
	var list []placement.Candidate
	for _, known := range s.Servers {
		list = append(list, placement.Candidate{ID: known.Announcement.Server, Seed: known.Announcement.PermutationSeed})
	}
	for range 1000 {
		data := b.content(size)
		key, err := keyOf(data, p)
		if err != nil {
			return nil, err
		}
		order := placement.Permute(key.StorageIndex(), list)
		if at := slices.IndexFunc(order, func(c placement.Candidate) bool { return c.ID == b.bad.id() }); at < 0 || at >= 2*p.Total {
			return data, nil
		}
	}
	return nil, errors.New("every file would go to the bad server")
}

// run does errands. trouble is called as each of them begins.
func (b *bystanders) run(rounds int, trouble func()) error {
	for i := range rounds {
		for _, e := range errands {
			writer, reader := b.clients[i%2], b.clients[(i+1)%2]
			data, err := b.elsewhere(writer, e.size, e.Params)
			if err != nil {
				return err
			}
			var f *storedFile
			if err := b.errand("put", trouble, func() (err error) { f, err = b.putNow(writer, data, e.Params); return err }); err != nil {
				return err
			}
			if err := b.errand("get", trouble, func() error { return b.getNow(reader, f) }); err != nil {
				return err
			}
		}
	}
	return b.settled()
}

// errand does one thing and notes how long it took.
func (b *bystanders) errand(what string, trouble func(), do func() error) error {
	if trouble != nil {
		trouble()
	}
	began := b.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s beside a server that goes wrong: %w", what, err)
	}
	b.slowest = max(b.slowest, b.Now().Sub(began))
	return b.For(10 * time.Second) // supervision gives up who fails ten times in a minute
}

// within holds that no errand took longer.
func (b *bystanders) within(bound time.Duration) error {
	if b.slowest > bound {
		return fmt.Errorf("somebody waited %v, and %v is the most", b.slowest, bound)
	}
	return nil
}

// failing makes an actor of each client fail at the first message that comes to it
// after some moment at the beginning of an errand.
type failing struct {
	*bystanders
	actor    string // its id, below that of the client
	due      map[string]bool
	failures int
}

// blow is a message that comes if no other does.
type blow struct{}

func (f *failing) inject() {
	f.due = map[string]bool{}
	f.Inject = func(id string, msg any) bool {
		if !f.due[id] || orders(msg) {
			return false
		}
		delete(f.due, id)
		f.failures++
		return true
	}
}

// soon is at once in half of all cases: then what an errand begins with is lost.
func (f *failing) soon() {
	for _, c := range f.clients {
		id := c.name + f.actor
		fail := func() {
			f.due[id] = true
			f.After(200*time.Millisecond, func() { f.Sys.Send(actor.NewPID(c.pid.Address, id), blow{}) })
		}
		if f.oneOf(2) == 0 {
			fail()
			continue
		}
		f.After(f.upTo(200*time.Millisecond), fail)
	}
}

// actorsFail is a grid in which one actor of each client fails again and again.
func actorsFail(which func(b *bystanders) string, bound time.Duration) func(w *sim.World) error {
	return func(w *sim.World) error {
		b, err := beside(w, nil)
		if err != nil {
			return err
		}
		f := &failing{bystanders: b, actor: which(b)}
		f.inject()
		const rounds = 8
		if err := b.run(rounds, f.soon); err != nil {
			return err
		}
		if errands := 4 * rounds; f.failures < errands {
			return fmt.Errorf("only %d failures in %d errands", f.failures, errands)
		}
		return b.within(bound)
	}
}

// brokerBound is how long an errand may take while the broker fails, which may have
// lost what it was asked, and learns anew who the servers are.
const brokerBound = 2 * time.Second

func TestServerActorFailsUnnoticedSeeds(t *testing.T) {
	checkSeeds(t, 2, actorsFail(func(b *bystanders) string { return "/client/server/" + b.bad.id().String() }, unnoticed))
}

func TestBrokerFailsSeeds(t *testing.T) {
	checkSeeds(t, 2, actorsFail(func(*bystanders) string { return "/client/broker" }, brokerBound))
}

// TestFailureOfAllIsNoticed plants what supervision keeps from happening: with one
// actor all that are beside it fail.
func TestFailureOfAllIsNoticed(t *testing.T) {
	all := func(*bystanders) string { return "/client" }
	for _, seed := range sim.Seeds(4) {
		if err := actorsFail(all, unnoticed)(sim.New(seed, nil)); err == nil {
			t.Errorf("seed %d: nobody noticed", seed)
		}
	}
}

// nonsense are ways in which a server can be of no use to anybody, besides those
// of liars that still store.
var nonsense = map[string]func(b *bystanders) func(transport.Session, fake.Accept) transport.SessionEvents{
	"frames that can't be read": says(func(f wire.Frame) []wire.Frame { return []wire.Frame{with(f, gibberish{})} }),
	"wrong ids": says(func(f wire.Frame) []wire.Frame {
		f.ID += 1000
		return only(f)
	}),
	"answers nobody asked for": says(unasked),
	"everything twice":         says(twice),
	"too much":                 says(tooMuch),
	"another answer":           says(func(f wire.Frame) []wire.Frame { return only(with(f, &wire.Leased{Count: 7})) }),
	"nothing":                  says(silence),
	"nothing, ever": func(*bystanders) func(transport.Session, fake.Accept) transport.SessionEvents {
		return func(transport.Session, fake.Accept) transport.SessionEvents {
			deaf := func(transport.Event) {}
			return transport.SessionEvents{Incoming: func(transport.Conversation, transport.Protocol) (transport.Handler, int) { return deaf, 0 }}
		}
	},
}

func says(answers func(wire.Frame) []wire.Frame) func(*bystanders) func(transport.Session, fake.Accept) transport.SessionEvents {
	return func(b *bystanders) func(transport.Session, fake.Accept) transport.SessionEvents {
		return (&liar{g: b.simGrid, answers: answers}).wrap
	}
}

// gibberish is a message that nobody knows.
type gibberish struct{}

func (gibberish) Kind() wire.Kind { return 0xff }

func (gibberish) Validate() error { return nil }

// usefulAtFirst is a grid in which one server is well until all are connected, and
// then it, and every connection to it, is not.
func usefulAtFirst(name string) func(w *sim.World) error {
	return func(w *sim.World) error {
		b, err := beside(w, nil)
		if err != nil {
			return err
		}
		b.bad.lies = nonsense[name](b)
		restart := func() { b.bad.bounce(b.bad.life, time.Second) }
		restart()
		if err := b.run(3, func() { b.After(b.upTo(time.Second), func() { b.drop(b.bad) }) }); err != nil {
			return err
		}
		return b.within(unnoticed)
	}
}

// drop breaks the connections of all clients with a server.
func (g *simGrid) drop(s *storageNode) {
	for _, c := range g.clients {
		g.net.Drop(c.name, s.name)
	}
}

func TestNonsenseUnnoticedSeeds(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(nonsense)) {
		for _, seed := range fewer(1) {
			if err := check(seed, usefulAtFirst(name)); err != nil {
				t.Errorf("a server that says %s: %v", name, err)
			}
		}
	}
}
