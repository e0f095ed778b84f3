package sim_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/wire"
)

// flapper is a storage server that comes and goes, each time for up to a minute. It
// lets the client read, and has none of what it reads.
type flapper struct {
	*simGrid
	name string
	key  ed25519.PrivateKey
	way  int // of going
}

// ways of going: closed and refusing; without a word; soon after each login; never
// answering; answering nonsense.
const ways = 5

func newFlapper(g *simGrid, n int) (*flapper, error) {
	f := &flapper{simGrid: g, name: fmt.Sprintf("flapper%d", n), key: newKey(g.World), way: n % ways}
	_, err := g.net.Listen(f.name, f.key, f.accept)
	f.flap()
	return f, err
}

// flap has it come and go for ever.
func (f *flapper) flap() {
	f.After(f.upTo(time.Minute), func() {
		f.away(true)
		f.After(f.upTo(time.Minute), func() {
			f.away(false)
			f.flap()
		})
	})
}

func (f *flapper) away(away bool) {
	for _, c := range f.clients {
		switch {
		case f.way == 0:
			f.net.Refuse(f.name, away)
			f.net.Drop(c.name, f.name)
		case f.way == 1 && away:
			f.net.Partition(c.name, f.name)
		case f.way == 1:
			f.net.Heal(c.name, f.name)
		}
	}
}

func (f *flapper) accept(s transport.Session) transport.SessionEvents {
	s.Admit()
	return transport.SessionEvents{Incoming: func(c transport.Conversation, _ transport.Protocol) (transport.Handler, int) {
		return func(ev transport.Event) {
			if r, ok := ev.(transport.Received); ok {
				f.heard(s, c, r.Frame)
			}
		}, 1 << 20
	}}
}

func (f *flapper) heard(s transport.Session, c transport.Conversation, m wire.Frame) {
	m.Release()
	answer := f.answer(m.Message)
	switch {
	case f.way == 3:
	case f.way == 4:
		c.Send(wire.Frame{ID: m.ID, Answer: true, Message: gibberish{}})
	default:
		c.Send(wire.Frame{ID: m.ID, Answer: true, Message: answer})
	}
	if _, reads := m.Message.(*wire.LoginWithoutKey); reads && f.way == 2 {
		f.After(f.upTo(20*time.Second), s.Close)
	}
}

func (f *flapper) answer(m wire.Message) wire.Message {
	switch m.(type) {
	case *wire.Hello:
		return &wire.Hello{Version: wire.Version, MaxBody: wire.MaxRead, MaxRequests: 64}
	case *wire.Find:
		return &wire.Found{}
	}
	return wire.NewError(wire.NotAccepted, "no account here")
}

func (f *flapper) announcement() (client.Cached, error) {
	id := grid.ServerID(grid.PublicKeyOf(f.key))
	signed, err := wire.SignAnnouncement(f.key, grid.Announcement{
		Server: id, Nickname: f.name, Hints: []grid.Hint{grid.Hint("/dns/" + f.name + "/tcp/1")}, NodeID: id.DefaultNodeID(), PermutationSeed: id[:],
	})
	return client.Cached{Signed: signed, Heard: f.Now()}, err
}

// dials is a Dialer that notes when it is asked to reach servers.
type dials struct {
	transport.Dialer
	but      grid.ServerID // the introducer
	now      func() time.Time
	at       []time.Time
	underWay int
	most     int
}

func (d *dials) Dial(t transport.Target, ev transport.SessionEvents, done func(transport.Session, error)) func() {
	if t.Server == d.but {
		return d.Dialer.Dial(t, ev, done)
	}
	d.at = append(d.at, d.now())
	d.underWay++
	d.most = max(d.most, d.underWay)
	return d.Dialer.Dial(t, ev, func(s transport.Session, err error) {
		d.underWay--
		done(s, err)
	})
}

// mostWithin is the largest number of dials in any stretch of this length that
// begins after since.
func (d *dials) mostWithin(length time.Duration, since time.Time) int {
	most := 0
	first, _ := slices.BinarySearchFunc(d.at, since, time.Time.Compare)
	for from, i := first, first; i < len(d.at); i++ {
		for d.at[i].Sub(d.at[from]) >= length {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// flock is a grid in which a client knows many servers, of which nine in ten flap.
type flock struct {
	*simGrid
	steady, flapping int
	connects, back   time.Duration // until all steady ones are, at first and after they dropped, at most
	perSecond        int           // dials, at most, once they are
	dials            dials
}

func (f *flock) build(w *sim.World) error {
	var err error
	g, failed := aGrid{servers: f.steady, clients: 1, prepare: func(g *simGrid) { err = f.prepare(g) }}.build(w)
	f.simGrid = g
	return errors.Join(failed, err)
}

func (f *flock) prepare(g *simGrid) error {
	c := g.clients[0]
	for n := range f.flapping {
		s, err := newFlapper(g, n)
		if err != nil {
			return err
		}
		known, err := s.announcement()
		if err != nil {
			return err
		}
		c.cache.list = append(c.cache.list, known)
	}
	config := c.config
	f.dials.now, f.dials.but = g.Now, g.intro.target().Server
	c.config = func() actors.Config {
		a := config()
		f.dials.Dialer = a.Client.Dialer
		a.Client.Dialer = &f.dials
		return a
	}
	return nil
}

// flockGet is how long a file takes to be read, at most, beside a flock: many are
// asked first of which some have gone without a word. Storing takes as long as ever.
const flockGet = 3 * time.Second

// flies lets the flock flap, and its client store and read.
func (f *flock) flies(w *sim.World) error {
	if err := f.build(w); err != nil {
		return err
	}
	connected := f.Now()
	if took := connected.Sub(simStart); took > f.connects {
		return fmt.Errorf("the steady ones were connected after %v", took)
	}
	for range 5 {
		began := f.Now()
		for _, s := range f.servers {
			f.drop(s)
		}
		if err := f.For(time.Second); err != nil {
			return err
		}
		if err := f.connected(); err != nil {
			return err
		}
		if took := f.Now().Sub(began); took > f.back {
			return fmt.Errorf("the steady ones were back after %v", took)
		}
		if err := f.errands(); err != nil {
			return err
		}
		if err := f.For(time.Minute); err != nil {
			return err
		}
	}
	return errors.Join(f.settled(), f.spread(connected))
}

func (f *flock) errands() error {
	for _, e := range errands {
		p := file.Params{Needed: 3, Happy: 7, Total: 10, SegmentSize: e.SegmentSize}
		began := f.Now()
		stored, err := f.putNow(f.clients[0], f.content(e.size), p)
		if err != nil {
			return err
		}
		put := f.Now()
		if err := f.getNow(f.clients[0], stored); err != nil {
			return err
		}
		if got := f.Now(); put.Sub(began) > unnoticed || got.Sub(put) > flockGet {
			return fmt.Errorf("a file was stored within %v and read within %v", put.Sub(began), got.Sub(put))
		}
	}
	return nil
}

// spread holds that no more is dialled at a time than may be.
func (f *flock) spread(since time.Time) error {
	first, later := f.dials.mostWithin(time.Minute, simStart), f.dials.mostWithin(time.Minute, since)
	second := f.dials.mostWithin(time.Second, since)
	if first > 300+120 || later > 300+1 || second > f.perSecond || f.dials.most > 32 {
		return fmt.Errorf("%d dials in a minute, %d in a later one, %d in a second, %d at a time", first, later, second, f.dials.most)
	}
	f.Note("%d dials in a minute, %d in a later one, %d in a second, %d at a time", first, later, second, f.dials.most)
	return nil
}

// TestFlock: of two hundred servers nine in ten flap, in five ways, and the others'
// uploads and downloads don't notice. With the build tag integration there are a
// thousand of them (TestThousandFlap).
func TestFlock(t *testing.T) {
	checkSeeds(t, 1, func(w *sim.World) error {
		return (&flock{steady: 20, flapping: 180, connects: 2 * time.Minute, back: time.Minute, perSecond: 32}).flies(w)
	})
}
